"""What a link was told to serve, where desired values are text inside the devices."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from types import MappingProxyType

from dmi.reports import Desired
from dmi.resources import Device, DeviceModel, Key
from mapper_sdk.link.base import Served

__all__ = ["Wanted"]


class Wanted:
    """Passes models and devices on, and their desired texts as wishes of their own."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._models: dict[Key, DeviceModel] = {}
        self._devices: dict[Key, Device] = {}

    @property
    def devices(self) -> Mapping[Key, Device]:
        """The devices as they were last put."""
        return MappingProxyType(self._devices)

    @property
    def models(self) -> Mapping[Key, DeviceModel]:
        """The models as they were last put."""
        return MappingProxyType(self._models)

    def desired(self, device: Key, name: str) -> str:
        """Desired text of a property; empty when nothing is desired."""
        known = self._devices.get(device)
        return _desired(known).get(name, "") if known else ""

    def put_model(self, model: DeviceModel) -> None:
        """A model is new or changed."""
        self._models[model.key] = model
        self._served.put_model(model)

    def remove_model(self, key: Key) -> None:
        """A model is gone; unknown ones are ignored."""
        self._models.pop(key, None)
        self._served.remove_model(key)

    def put_device(self, device: Device) -> None:
        """A device is new or changed, and so may be what is desired of it."""
        before = self._devices.get(device.key)
        self._devices[device.key] = device
        self._served.put_device(device)
        old, new = (_desired(before) if before else {}), _desired(device)
        for name in old.keys() - new.keys():
            self._served.put_desired(Desired(device.key, name, None))
        for name, text in new.items():
            if old.get(name) != text:
                self._served.put_desired(Desired(device.key, name, text))

    def remove_device(self, key: Key) -> None:
        """A device is gone; unknown ones are ignored."""
        self._devices.pop(key, None)
        self._served.remove_device(key)

    def keep_only(self, models: AbstractSet[Key], devices: AbstractSet[Key]) -> None:
        """A list has ended: everything that it did not hold is gone."""
        self._models = {key: model for key, model in self._models.items() if key in models}
        self._devices = {key: device for key, device in self._devices.items() if key in devices}
        self._served.keep_only(models, devices)


def _desired(device: Device) -> dict[str, str]:
    """Desired texts by property; an empty one is none, as EdgeCore always sends one."""
    return {
        prop.name: prop.desired.value
        for prop in device.spec.properties
        if prop.desired is not None and prop.desired.value
    }

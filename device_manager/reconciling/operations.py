"""What the manager asks of a v1beta1 mapper: the operations, and the objects they carry."""

from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import Protocol

import orjson

from device_manager.node import Node
from device_manager.records import MapperRecord
from dmi.errors import ConversionError
from dmi.reports import OutcomeStatus
from dmi.resources import (
    Device,
    DeviceModel,
    DeviceProperty,
    Key,
    ModelProperty,
    TwinProperty,
    merge_defaults,
)
from dmi.values import format_value

__all__ = [
    "Executor",
    "Operation",
    "Verb",
    "digest",
    "wanted_device",
    "wanted_devices",
    "wanted_model",
    "wanted_models",
]


class Verb(StrEnum):
    """The calls of `v1beta1.DeviceMapperService` that change something."""

    CREATE_MODEL = "CreateDeviceModel"
    UPDATE_MODEL = "UpdateDeviceModel"
    REMOVE_MODEL = "RemoveDeviceModel"
    REGISTER_DEVICE = "RegisterDevice"
    UPDATE_DEVICE = "UpdateDevice"
    REMOVE_DEVICE = "RemoveDevice"


@dataclass(frozen=True, slots=True)
class Operation:
    """One call to a mapper.

    Attributes:
        key: Of the device or model.
        subject: What is sent, complete: defaults merged, desired values as text. None
            for the two removals.
    """

    verb: Verb
    key: Key
    subject: Device | DeviceModel | None = None

    def __str__(self) -> str:
        return f"{self.verb} {self.key}"


class Executor(Protocol):
    """Makes the calls."""

    async def call(self, mapper: MapperRecord, operation: Operation) -> None:
        """Return after the mapper has said yes.

        Raises:
            UnavailableError: Nobody listens at the mapper's address.
            DmiError: The mapper said no, or what it said makes no sense.
        """


def wanted_device(node: Node, protocol: str, key: Key) -> Device | None:
    """What the mapper of a protocol should hold of a device; None when nothing.

    Properties that the model does not declare are left out: KubeEdge's own mapper crashes
    on them. So is the whole device while its model is missing.
    """
    device = node.devices.get(key)
    if device is None or device.spec.protocol.protocol_name != protocol:
        return None
    model = node.models.get(device.model_key)
    if model is None:
        return None
    declared = {prop.name: prop for prop in model.spec.properties}
    merged = merge_defaults(device, model)
    properties = [
        _with_desired(node, key, prop, declared[prop.name])
        for prop in merged.spec.properties
        if prop.name in declared
    ]
    spec = merged.spec.model_copy(update={"properties": properties})
    return merged.model_copy(update={"spec": spec})


def _with_desired(
    node: Node, key: Key, prop: DeviceProperty, declared: ModelProperty
) -> DeviceProperty:
    """The property with what is wished now, which may be newer than the Device's text."""
    wish = node.twin(key, prop.name).desired
    text = ""
    if wish is not None and wish.status is not OutcomeStatus.REJECTED:
        try:
            text = format_value(wish.value, declared.type)
        except ConversionError:
            # Bytes that are no text, or a wish from before the model changed its type:
            # this contract cannot carry it.
            text = ""
    metadata = prop.desired.metadata if prop.desired is not None else {}
    return prop.model_copy(update={"desired": TwinProperty(value=text, metadata=metadata)})


def wanted_model(node: Node, protocol: str, key: Key) -> DeviceModel | None:
    """What the mapper of a protocol should hold of a model: its own, and its devices' models."""
    model = node.models.get(key)
    if model is None or model.spec.protocol == protocol:
        return model
    used = any(
        node.devices[user].spec.protocol.protocol_name == protocol for user in node.users(key)
    )
    return model if used else None


def wanted_devices(node: Node, protocol: str) -> dict[Key, Device]:
    """All devices that the mapper of a protocol should hold."""
    found = ((key, wanted_device(node, protocol, key)) for key in sorted(node.devices))
    return {key: device for key, device in found if device is not None}


def wanted_models(node: Node, protocol: str) -> dict[Key, DeviceModel]:
    """All models that the mapper of a protocol should hold."""
    found = ((key, wanted_model(node, protocol, key)) for key in sorted(node.models))
    return {key: model for key, model in found if model is not None}


def digest(item: Device | DeviceModel) -> bytes:
    """Sixteen bytes that differ when the mapper would have to be told.

    Only the spec reaches a v1beta1 mapper; values left out and values spelled out that are
    the defaults are the same.
    """
    spec = item.spec.model_dump(mode="json", by_alias=True)
    return blake2b(orjson.dumps(spec, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()

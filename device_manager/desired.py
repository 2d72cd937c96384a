"""What is wanted on this node: models and devices, who wants them, what is wrong with them."""

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

from dmi.errors import ConflictError
from dmi.manifests.checks import check_device, check_model
from dmi.resources import Device, DeviceModel, Key, ModelProperty

__all__ = ["Desired"]

_Nothing: Mapping[str, ModelProperty] = MappingProxyType({})


class Desired:
    """Models and devices by key. A device is kept whether or not its model is there.

    Attributes:
        models: Every model.
        devices: Every device.
        problems: For each device that cannot be served as written, why.
    """

    def __init__(self) -> None:
        self.models: dict[Key, DeviceModel] = {}
        self.devices: dict[Key, Device] = {}
        self.problems: dict[Key, str] = {}
        self._origins: dict[tuple[str, Key], str] = {}
        self._users: dict[Key, dict[Key, None]] = {}
        self._declared: dict[Key, dict[str, ModelProperty]] = {}

    def find(self, kind: str, key: Key) -> Device | DeviceModel | None:
        """An object by its kind's name and key."""
        return self.models.get(key) if kind == "DeviceModel" else self.devices.get(key)

    def origin(self, kind: str, key: Key) -> str | None:
        """Who wants an object; None when nobody does."""
        return self._origins.get((kind, key))

    def owned_by(self, origin: str) -> list[tuple[str, Key]]:
        """Kind and key of everything that one origin wants."""
        return [item for item, owner in self._origins.items() if owner == origin]

    def origins(self) -> set[str]:
        """Everybody who wants something."""
        return set(self._origins.values())

    def users(self, model: Key) -> Collection[Key]:
        """Devices that refer to a model."""
        return tuple(self._users.get(model, ()))

    def declared(self, device: Key, name: str) -> ModelProperty | None:
        """How the model declares a property of a device; None while it does not."""
        known = self.devices.get(device)
        if known is None:
            return None
        return self._declared.get(known.model_key, _Nothing).get(name)

    def check_owner(self, kind: str, key: Key, origin: str, replaceable: Iterable[str]) -> None:
        """Refuse what belongs to somebody else.

        Raises:
            ConflictError: Another origin wants an object of this name.
        """
        owner = self._origins.get((kind, key))
        if owner is None or owner == origin or owner in replaceable:
            return
        where = owner.removeprefix("file:")
        place = f"the file {where}" if where != owner else f"{owner!r}"
        raise ConflictError(f"{kind} {key} belongs to {place}: change or delete it there")

    def put(self, item: Device | DeviceModel, origin: str) -> None:
        """Add or replace an object."""
        key = item.key
        self._origins[item.kind, key] = origin
        if isinstance(item, DeviceModel):
            self.models[key] = item
            self._declared[key] = {prop.name: prop for prop in item.spec.properties}
            self._check(self.users(key))
            return
        self._leave(key)
        self.devices[key] = item
        self._users.setdefault(item.model_key, {})[key] = None
        self._check([key])

    def remove(self, kind: str, key: Key) -> None:
        """Forget an object; unknown ones are ignored."""
        self._origins.pop((kind, key), None)
        if kind == "DeviceModel":
            self.models.pop(key, None)
            self._declared.pop(key, None)
            self._check(self.users(key))
            return
        self._leave(key)
        self.devices.pop(key, None)
        self.problems.pop(key, None)

    def _leave(self, device: Key) -> None:
        """Take a device off the list of its model's users."""
        known = self.devices.get(device)
        if known is None:
            return
        users = self._users[known.model_key]
        del users[device]
        if not users:
            del self._users[known.model_key]

    def _check(self, devices: Iterable[Key]) -> None:
        for key in devices:
            device = self.devices[key]
            model = self.models.get(device.model_key)
            faults = check_device(device, model) + (check_model(model) if model else [])
            if faults:
                self.problems[key] = "; ".join(map(str, faults))
            else:
                self.problems.pop(key, None)

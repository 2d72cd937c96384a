"""What the handles of one v1 report stream stand for, kept true while devices change."""

from collections.abc import Iterable
from types import MappingProxyType
from typing import Final, NamedTuple

from device_manager.dmi_service.leases import Leases, Session
from device_manager.node import Node
from dmi.errors import OverloadedError
from dmi.proto.v1 import api_pb2 as pb
from dmi.resources import DataType, Key

__all__ = ["MOST_HANDLES", "Bindings", "Bound", "Place"]

MOST_HANDLES: Final = 500_000
"""In one stream."""

_KINDS: Final = MappingProxyType(
    {
        DataType.INT: int,
        DataType.FLOAT: float,
        DataType.DOUBLE: float,
        DataType.BOOLEAN: bool,
        DataType.STRING: str,
        DataType.STREAM: str,
        DataType.BYTES: bytes,
    }
)


class Bound(NamedTuple):
    """What a handle stands for; `refusal` is why its readings are not taken, or empty."""

    device: Key
    property: str
    type: DataType
    refusal: str


class Place(NamedTuple):
    """Where a handle's readings go, if their values are of this class."""

    device: Key
    property: str
    kind: type


_UNBOUND: Final = Bound(Key("", ""), "", DataType.STRING, "unbound")


class Bindings:
    """The handles of one stream.

    Attributes:
        ready: Those that are not refused.
    """

    def __init__(self, node: Node, leases: Leases, session: Session) -> None:
        self._node = node
        self._leases = leases
        self._session = session
        self._version = node.version
        self._generation = leases.generation
        self._bound: dict[int, Bound] = {}
        self._devices: dict[Key, tuple[Key, set[int]]] = {}
        self._told: set[int] = set()
        self.ready: dict[int, Place] = {}

    def add(self, bindings: Iterable[pb.Binding]) -> list[int]:
        """Note what handles stand for; gives those that are refused.

        Raises:
            OverloadedError: They are too many.
        """
        refused = []
        for said in bindings:
            handle = said.handle
            self._release(handle)
            device = Key(said.device.namespace, said.device.name)
            # One Key object per device: equal ones are then told by identity, quickly.
            device, handles = self._devices.setdefault(device, (device, set()))
            handles.add(handle)
            self._resolve(handle, device, said.property)
            if self._bound[handle].refusal and self.tell(handle):
                refused.append(handle)
        if len(self._bound) > MOST_HANDLES:
            raise OverloadedError(f"more than {MOST_HANDLES} handles in one stream")
        return refused

    def _release(self, handle: int) -> None:
        """A handle is about to stand for something else; what nobody stands for is forgotten."""
        before = self._bound.get(handle)
        if before is None:
            return
        self._told.discard(handle)
        handles = self._devices[before.device][1]
        handles.discard(handle)
        if not handles:
            del self._devices[before.device]

    def find(self, handle: int) -> Bound:
        """What a handle stands for."""
        return self._bound.get(handle, _UNBOUND)

    def tell(self, handle: int) -> bool:
        """Whether the mapper has yet to be told that this handle is refused."""
        if handle in self._told:
            return False
        if handle in self._bound:
            self._told.add(handle)
        return True

    def refusal(self, device: Key) -> str:
        """Why this mapper may not speak for a device; empty when it may."""
        if device not in self._node.devices:
            return "unknown_device"
        return "" if self._leases.owner(device) is self._session else "not_assigned"

    def refresh(self) -> None:
        """Look again at what may stand differently since the last look."""
        version, generation = self._node.version, self._leases.generation
        if version == self._version and generation == self._generation:
            return
        touched = self._touched() if generation == self._generation else set(self._devices)
        self._version, self._generation = version, generation
        for key in touched & self._devices.keys():
            device, handles = self._devices[key]
            for handle in handles:
                self._resolve(handle, device, self._bound[handle].property)

    def _touched(self) -> set[Key]:
        changes = self._node.changes_since(self._version)
        if changes is None:
            return set(self._devices)
        touched = {change.key for change in changes if change.kind == "device"}
        models = {change.key for change in changes if change.kind == "model"}
        if models:
            known = self._node.devices
            touched |= {k for k in self._devices if k in known and known[k].model_key in models}
        return touched

    def _resolve(self, handle: int, device: Key, name: str) -> None:
        refusal = self.refusal(device)
        declared = None if refusal else self._node.property_type(device, name)
        # A model may have more properties than its device: those are not kept.
        if declared is None or name not in self._node.twins(device):
            refusal = refusal or "unknown_property"
            self._bound[handle] = Bound(device, name, DataType.STRING, refusal)
            self.ready.pop(handle, None)
        else:
            self._bound[handle] = Bound(device, name, declared.type, "")
            self.ready[handle] = Place(device, name, _KINDS[declared.type])
            self._told.discard(handle)

"""What one v1 mapper has been told of what is wanted, and what it must be told next."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from device_manager.dmi_service.leases import Leases, Session
from device_manager.node import Node
from device_manager.records import Change, Wish
from dmi.convert.v1 import desired_to_v1, device_to_v1, key_to_v1, model_to_v1
from dmi.proto.v1 import api_pb2 as pb
from dmi.reports import Desired, OutcomeStatus
from dmi.resources import Key

__all__ = ["View", "Watcher"]

_NOTHING = 0
_UNSURE = -1


@dataclass(slots=True)
class View:
    """What a mapper holds, as far as the manager knows.

    Attributes:
        version: Of what is wanted, when the mapper was last in step with it.
        members: Who shared the protocol's devices then.
        shared_since: Version from which on `members` were these; a mapper that has
            seen nothing later may have missed devices that moved.
        models: What it was told of.
        devices: What it was told of: for each the version of each wish, 0 for none, -1
            where the mapper may hold something older.
    """

    version: int = 0
    members: tuple[str, ...] = ()
    shared_since: int = -1
    models: set[Key] = field(default_factory=set)
    devices: dict[Key, dict[str, int]] = field(default_factory=dict)


@dataclass(slots=True)
class _Touched:
    """Keys that changed since a version, each once however often it changed."""

    models: dict[Key, None] = field(default_factory=dict)
    devices: dict[Key, None] = field(default_factory=dict)
    wishes: dict[tuple[Key, str], None] = field(default_factory=dict)


class Watcher:
    """Brings one mapper into step, again and again.

    Level-triggered: what is sent is what holds when it is sent, so a mapper that reads
    slowly gets fewer events, never a longer queue. Only the `Synced` that ends a round
    carries the version reached; the events before it carry the one before, so that a
    mapper that is cut off in the middle resumes where nothing is missed.
    """

    def __init__(self, node: Node, leases: Leases, session: Session, view: View) -> None:
        self._node = node
        self._leases = leases
        self._session = session
        self.view = view

    def resume(self, version: int) -> bool:
        """Go on from a version that the mapper has seen; False when it needs the list."""
        view = self.view
        changes = self._node.changes_since(version) if version <= self._node.version else None
        if changes is None or not view.shared_since < version or view.members != self._members():
            return False
        # What was sent after that version may not have arrived.
        touched = _touched(changes)
        view.models.update(touched.models)
        for key in touched.devices:
            view.devices[key] = dict.fromkeys(view.devices.get(key, ()), _UNSURE)
        for key, name in touched.wishes:
            # Others' devices stay out: one that is in the view counts as told when it moves here.
            if (told := view.devices.get(key)) is not None:
                told[name] = _UNSURE
        view.version = version
        return True

    def list_all(self) -> Iterator[pb.WatchEvent]:
        """Everything afresh."""
        view = self.view = View()
        version, members = self._node.version, self._members()
        devices = self._leases.served(self._session)
        models = sorted({self._node.devices[key].model_key for key in devices})
        yield self._event(relist=pb.Relist())
        for key in models:
            yield from self._model(key, used=True)
        for key in devices:
            yield from self._device(key)
        view.members, view.shared_since = members, version - 1
        yield self._synced(version)

    def changes(self, *, always: bool = False) -> Iterator[pb.WatchEvent]:
        """What is different from what the mapper holds; nothing when it is in step.

        Args:
            always: End with `Synced` even if there was nothing to say.
        """
        version, members = self._node.version, self._members()
        moved = members != self.view.members
        log = self._node.changes_since(self.view.version)
        if log is None:
            yield from self.list_all()
            return
        sent = always
        if moved:
            # Before anything is sent: a mapper that is cut off in the middle has a part of
            # the move, and must list afresh also when everybody is back by then.
            self.view.members, self.view.shared_since = members, version
        for event in self._round(_touched(log), moved=moved):
            sent = True
            yield event
        self.view.version = version
        if sent:
            yield self._synced(version)

    def _round(self, touched: _Touched, *, moved: bool) -> Iterator[pb.WatchEvent]:
        if moved:
            served = set(self._leases.served(self._session))
            touched.devices.update(dict.fromkeys(sorted(served ^ self.view.devices.keys())))
        gone = [key for key in touched.devices if not self._mine(key)]
        for key in gone:
            if self.view.devices.pop(key, None) is not None:
                yield self._event(device_gone=key_to_v1(key))
        for key in touched.models:
            yield from self._model(key)
        for key in touched.devices:
            yield from self._device(key)
        for key, name in touched.wishes:
            yield from self._wish(key, name)

    def _model(self, key: Key, *, used: bool = False) -> Iterator[pb.WatchEvent]:
        model = self._node.models.get(key)
        if model is None:
            if key in self.view.models:
                self.view.models.discard(key)
                yield self._event(model_gone=key_to_v1(key))
        elif used or key in self.view.models or self._uses(key):
            self.view.models.add(key)
            yield self._event(model_put=model_to_v1(model))

    def _device(self, key: Key) -> Iterator[pb.WatchEvent]:
        device = self._node.devices.get(key)
        if device is None or not self._mine(key):
            return
        if device.model_key not in self.view.models:
            yield from self._model(device.model_key, used=True)
        names = dict.fromkeys([*self._node.twins(key), *self.view.devices.setdefault(key, {})])
        yield self._event(device_put=device_to_v1(device))
        for name in names:
            yield from self._wish(key, name)

    def _wish(self, key: Key, name: str) -> Iterator[pb.WatchEvent]:
        told = self.view.devices.get(key)
        if told is None or not self._mine(key):
            return
        twin = self._node.twins(key).get(name)
        wish = twin.desired if twin else None
        version = wish.version if wish else _NOTHING
        if told.get(name, _NOTHING) != version:
            told[name] = version
            yield self._event(desired_put=desired_to_v1(_desired(key, name, wish)))

    def _mine(self, key: Key) -> bool:
        return self._leases.owner(key) is self._session

    def _uses(self, model: Key) -> bool:
        devices = self._node.devices
        return any(self._mine(key) for key in list(devices) if devices[key].model_key == model)

    def _members(self) -> tuple[str, ...]:
        return self._leases.members(self._session.record.protocol)

    def _event(self, **event: object) -> pb.WatchEvent:
        return pb.WatchEvent(version=self.view.version, **event)  # type: ignore[arg-type]  # one of the oneof

    def _synced(self, version: int) -> pb.WatchEvent:
        self.view.version = version
        return pb.WatchEvent(version=version, synced=pb.Synced(epoch=self._node.epoch))


def _touched(changes: list[Change]) -> _Touched:
    touched = _Touched()
    for change in changes:
        match change.kind:
            case "model":
                touched.models[change.key] = None
            case "device":
                touched.devices[change.key] = None
            case _:
                touched.wishes[change.key, change.property] = None
    return touched


def _desired(device: Key, name: str, wish: Wish | None) -> Desired:
    if wish is None:
        return Desired(device, name, None)
    # Written and never read back: the mapper may have died in between, and to write the
    # same once more does no harm. Where the device answered with another value ("differs")
    # a second write would change nothing.
    hanging = wish.status is OutcomeStatus.WRITTEN and not wish.reason
    settled = wish.status is not OutcomeStatus.PENDING and not hanging
    return Desired(device, name, wish.value, wish.version, settled)

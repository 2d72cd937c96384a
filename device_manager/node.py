"""The node's memory: what is wanted, what is known, and everything kept on disk."""

import asyncio
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

from device_manager import events
from device_manager.changes import ChangeLog
from device_manager.commands.book import CommandBook
from device_manager.desired import Desired
from device_manager.enacting import Enactor
from device_manager.intake import Intake, Streams
from device_manager.known import UNKNOWN, Known
from device_manager.planning import Planner
from device_manager.reconciling.actual import Actual
from device_manager.records import (
    Change,
    MapperRecord,
    StateRecord,
    TwinReading,
    TwinRecord,
    Wish,
)
from device_manager.roster import Roster, mapper_id
from device_manager.storage import rows
from device_manager.storage.database import Synchronous
from device_manager.storage.rows import Contents, Twin
from device_manager.storage.store import Store, Write, committed
from device_manager.wishes import checked_value
from dmi.clock import Clock, SystemClock
from dmi.errors import NotFoundError
from dmi.feed import Feed
from dmi.readings import Value
from dmi.reports import DeviceState, Outcome
from dmi.resources import Device, DeviceModel, Key, ModelProperty

__all__ = ["Node", "mapper_id"]


class Node:
    """One node's desired and known state. Not thread-safe: one event loop uses it.

    What is wanted becomes visible after its commit, in the order of the calls. What is
    reported is visible at once, and acknowledged after its commit.

    Attributes:
        epoch: Id of the database; another one means that all versions start anew.
        feed: What changes, as JSON-ready objects (see `device_manager.events`).
        actual: What the v1beta1 mappers hold.
        commands: Calls of methods.
        models: Every model.
        devices: Every device, served or not.
        problems: For each device that cannot be served as written, why.
        mappers: Every mapper that registered and is not forgotten, by `mapper_id`.
        upstream_errors: What is wrong at each source of devices.
    """

    def __init__(self, store: Store, contents: Contents, clock: Clock) -> None:
        """Take over a store and what it holds; `Node.open` is the usual way."""
        self._store = store
        self._clock = clock
        self._lock = asyncio.Lock()
        self._desired = Desired()
        self._log = ChangeLog(contents.version)
        self.epoch = contents.epoch
        self.feed: Feed[events.Json] = Feed()
        self._known = Known(self.feed, self._desired.declared)
        self._planner = Planner(self._desired, self._known, self._log)
        self._enactor = Enactor(self._desired, self._known, self._log, self.feed)
        self._intake = Intake(store, self._known, Streams(contents.streams), clock)
        self.actual = Actual(store, contents.accepted)
        self.commands = CommandBook(store, self.feed, clock, contents.commands)
        self._roster = Roster(store, self.feed, clock, contents.mappers)
        self._upstream_errors: dict[str, list[str]] = {}
        self.models: Mapping[Key, DeviceModel] = MappingProxyType(self._desired.models)
        self.devices: Mapping[Key, Device] = MappingProxyType(self._desired.devices)
        self.problems: Mapping[Key, str] = MappingProxyType(self._desired.problems)
        self.mappers = self._roster.mappers
        self.upstream_errors: Mapping[str, list[str]] = MappingProxyType(self._upstream_errors)
        self._load(contents)

    @classmethod
    async def open(
        cls,
        path: Path | str,
        clock: Clock | None = None,
        *,
        synchronous: Synchronous = "normal",
    ) -> "Node":
        """Open or create the database and load everything.

        Raises:
            ConfigError: It cannot be used; the message says why and what to do.
        """
        store, contents = await Store.open(Path(path), synchronous)
        return cls(store, contents, clock or SystemClock())

    async def close(self) -> None:
        """Commit what is left and close the database."""
        await self._store.close()

    def _load(self, contents: Contents) -> None:
        for item, origin in contents.objects:
            self._desired.put(item, origin)
            if isinstance(item, Device):
                self._known.twins.setdefault(item.key, {})
        self._known.load(contents.twins, contents.states)

    # ------------------------------------------------------------- wanted ----

    async def apply(
        self, *objects: Device | DeviceModel, origin: str, replaceable: Collection[str] = ()
    ) -> None:
        """Want these objects, all of them or none; equal ones change nothing.

        A desired value in a Device that differs from the last one applied becomes a
        wish; one that the model does not allow becomes a wish that is REJECTED.

        Args:
            objects: In any order; models may come after their devices.
            origin: Who wants them: "api", or "file:" and a path.
            replaceable: Other origins from which they may be taken over.

        Raises:
            ConflictError: One of them belongs to another origin.
            UnavailableError: The disk takes nothing now; nothing is changed.
        """
        models: dict[Key, DeviceModel | None] = {}
        devices: dict[Key, Device | None] = {}
        async with self._lock:
            for item in objects:
                self._desired.check_owner(item.kind, item.key, origin, replaceable)
                if self._is_there(item, origin):
                    models.pop(item.key, None) if isinstance(item, DeviceModel) else devices.pop(
                        item.key, None
                    )
                elif isinstance(item, DeviceModel):
                    models[item.key] = item
                else:
                    devices[item.key] = item
            await self._change(origin, models, devices)

    def _is_there(self, item: Device | DeviceModel, origin: str) -> bool:
        same_owner = self._desired.origin(item.kind, item.key) == origin
        return same_owner and self._desired.find(item.kind, item.key) == item

    async def delete(self, kind: str, key: Key, origin: str) -> None:
        """Want an object no more; a device takes its twins along.

        Args:
            kind: "Device" or "DeviceModel".
            key: Its identity.
            origin: Who asks; must be who wanted it.

        Raises:
            NotFoundError: There is no such object.
            ConflictError: It belongs to another origin.
            UnavailableError: The disk takes nothing now; nothing is changed.
        """
        async with self._lock:
            if self._desired.find(kind, key) is None:
                word = "model" if kind == "DeviceModel" else "device"
                raise NotFoundError(f"there is no {word} {key}")
            self._desired.check_owner(kind, key, origin, ())
            if kind == "DeviceModel":
                await self._change(origin, {key: None}, {})
            else:
                await self._change(origin, {}, {key: None})

    async def _change(
        self,
        origin: str,
        models: Mapping[Key, DeviceModel | None],
        devices: Mapping[Key, Device | None],
    ) -> None:
        if not models and not devices:
            return
        self._store.require_well()
        plan = self._planner.plan(origin, models, devices, self._clock.time())
        enact = partial(self._enactor.enact, plan)
        # The next one must not plan before this one is enacted, whoever gives up waiting.
        await committed(self._store.submit(Write(plan.statements, on_commit=enact)))

    async def set_desired(self, device: Key, property: str, value: Value | str) -> Wish:
        """Wish a property to have a value; each call is a wish of its own, equal or not.

        Args:
            device: Which device.
            property: Which property.
            value: Text is parsed by the type that the model declares.

        Raises:
            NotFoundError: No such device or property, or no model declares it.
            AccessDeniedError: The property is ReadOnly.
            ConversionError: The value does not fit the type.
            OutOfRangeError: It lies outside the declared bounds.
            UnavailableError: The disk takes nothing now; nothing is changed.
        """
        twin = self._twin(device, property)
        declared = self.property_type(device, property)
        if declared is None:
            model = self.devices[device].model_key
            raise NotFoundError(
                f"no model {model} declares property {property!r}", device=str(device)
            )
        known = checked_value(declared, value)
        self._store.require_well()
        wish = Wish(known, self._log.reserve(), self._clock.time())
        await self._wish(twin, wish, wish.version)
        return wish

    async def clear_desired(self, device: Key, property: str) -> None:
        """Wish nothing of a property any more.

        Raises:
            NotFoundError: No such device or property.
            UnavailableError: The disk takes nothing now; nothing is changed.
        """
        twin = self._twin(device, property)
        if twin.desired is None:
            return
        self._store.require_well()
        await self._wish(twin, None, self._log.reserve())

    async def _wish(self, twin: Twin, wish: Wish | None, version: int) -> None:
        def enact() -> None:
            # The device may have been deleted while this was under way.
            if self._known.find(twin.device, twin.property) is twin:
                self._known.put_wish(twin, wish)
                self._log.record(Change(version, "desired", twin.device, twin.property))

        keep = rows.wish_put(twin.row, wish) if wish is not None else rows.wish_remove(twin.row)
        write = Write([keep, rows.setting_put("version", version)], on_commit=enact)
        await self._store.submit(write)
        if self._known.find(twin.device, twin.property) is not twin:
            raise NotFoundError("was deleted meanwhile", device=str(twin.device))

    # -------------------------------------------------------------- known ----

    def twins(self, device: Key) -> Mapping[str, TwinRecord]:
        """The twins of a device by property, also before the first reading."""
        return self._known.twins.get(device, {})

    def twin(self, device: Key, property: str) -> TwinRecord:
        """Both sides of one property.

        Raises:
            NotFoundError: No such device or property.
        """
        return self._twin(device, property)

    def _twin(self, device: Key, name: str) -> Twin:
        twin = self._known.find(device, name)
        if twin is None:
            if device not in self.devices:
                raise NotFoundError(f"there is no device {device}")
            raise NotFoundError(f"there is no property {name!r}", device=str(device))
        return twin

    def state(self, device: Key) -> StateRecord:
        """Whether a device answers; "unknown" until somebody has said."""
        return self._known.states.get(device, UNKNOWN)

    def property_type(self, device: Key, property: str) -> ModelProperty | None:
        """How the model declares a property of a device; None while it does not."""
        return self._desired.declared(device, property)

    async def apply_report(
        self,
        stream_id: str,
        sequence: int,
        readings: list[TwinReading],
        states: list[DeviceState],
        outcomes: list[Outcome],
    ) -> None:
        """Take one batch, all of it or nothing, once; return after its commit.

        What it says of unknown devices and properties is left out.

        Args:
            stream_id: Of the mapper process.
            sequence: Grows with each batch of a stream; 0 where the link has none.
            readings: In the order they were made.
            states: Of devices.
            outcomes: Of wishes; those of any but the latest wish are left out.

        Raises:
            UnavailableError: It is not on disk yet; the same batch may be sent again,
                as often as necessary.
        """
        await self._intake.apply(stream_id, sequence, readings, states, outcomes)

    def committed_sequence(self, stream_id: str) -> int:
        """Sequence of the last batch of a stream that is on disk; 0 if unknown."""
        return self._intake.committed(stream_id)

    def taken_sequence(self, stream_id: str) -> int:
        """Sequence of the last batch of a stream that is on disk or on its way; 0 if unknown."""
        return self._intake.taken(stream_id)

    async def set_state(self, device: Key, state: StateRecord) -> None:
        """Take what a mapper, or its absence, says of a device.

        The same word keeps its beginning; the last time online is kept while offline.

        Raises:
            NotFoundError: There is no such device.
            UnavailableError: It is not on disk yet; it will be.
        """
        if device not in self.devices:
            raise NotFoundError(f"there is no device {device}")
        statements = self._known.put_state(device, state)
        if statements:
            await self._store.submit(Write(statements, keep=True))

    # ------------------------------------------------------------ mappers ----

    async def put_mapper(self, record: MapperRecord) -> None:
        """Remember a mapper, or what is different about it.

        Raises:
            UnavailableError: It is not on disk yet; it will be.
        """
        await self._roster.put(record)

    # ---------------------------------------------------------- upstreams ----

    def owned_by(self, origin: str) -> list[tuple[str, Key]]:
        """Kind and key of everything that one origin wants."""
        return self._desired.owned_by(origin)

    def origin(self, kind: str, key: Key) -> str | None:
        """Who wants an object; None when nobody does."""
        return self._desired.origin(kind, key)

    def origins(self) -> set[str]:
        """Everybody who wants something."""
        return self._desired.origins()

    def users(self, model: Key) -> Collection[Key]:
        """Devices that refer to a model, whether it is there or not."""
        return self._desired.users(model)

    def find(self, kind: str, key: Key) -> Device | DeviceModel | None:
        """An object by its kind ("Device" or "DeviceModel") and key."""
        return self._desired.find(kind, key)

    def report_upstream(self, origin: str, errors: list[str]) -> None:
        """Say what is wrong at a source of devices; an empty list means nothing any more."""
        if errors == self._upstream_errors.get(origin, []):
            return
        if errors:
            self._upstream_errors[origin] = errors
        else:
            del self._upstream_errors[origin]
        self.feed.publish(partial(events.upstream, origin, errors))

    # ----------------------------------------------------------- watching ----

    @property
    def version(self) -> int:
        """Grows with each change of what is wanted."""
        return self._log.version

    def changes_since(self, version: int) -> list[Change] | None:
        """What changed after `version`; None when that is forgotten, or never was."""
        return self._log.since(version)

    async def wait_change(self, after: int) -> None:
        """Return when `version` is more than `after`."""
        await self._log.wait(after)

    @property
    def storage_error(self) -> str:
        """Why nothing can be committed now; empty when all is well."""
        return self._store.error

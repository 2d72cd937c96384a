"""The commands of this node: made once, given to one mapper process, followed to their end."""

import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Final

from device_manager import events
from device_manager.commands.records import OUTCOME_UNKNOWN, CommandRecord
from device_manager.commands.room import Room
from device_manager.storage.command_rows import command_put, command_remove, packed
from device_manager.storage.store import Store, Write, committed
from dmi.bell import Bell
from dmi.clock import Clock
from dmi.errors import ConflictError, NotFoundError, OverloadedError, UnavailableError
from dmi.feed import Feed
from dmi.readings import Value
from dmi.reports import CommandProgress, Phase
from dmi.resources import Key

__all__ = ["LARGEST_RESULTS", "MOST_OPEN", "CommandBook"]

MOST_OPEN: Final = 1000
"""Commands that have not ended; more are refused."""
_MICRO: Final = 1_000_000
LARGEST_RESULTS: Final = 256 * 1024
"""Bytes of one command's results, as JSON, that are kept."""
_LARGEST_TOLD: Final = 4096
"""Bytes of arguments and results that go into an event."""


class CommandBook:
    """Every command by its id. A command is there once it is on disk.

    What happens to it afterwards is visible at once and goes to the disk as soon as that
    takes it; nothing is sent to a mapper before the disk knows who gets it, so that no
    crash can lead to a second run.

    Attributes:
        records: Oldest first.
        open: Those that have not ended.
        ended: How many commands have ended since the process began, by phase.
        processes: Of mappers whose stream of commands is open.
        bell: Rings when something may have to be sent, or ends.
    """

    def __init__(
        self, store: Store, feed: Feed[events.Json], clock: Clock, kept: Iterable[CommandRecord]
    ) -> None:
        self._store = store
        self._feed = feed
        self._clock = clock
        self._records: dict[str, CommandRecord] = {}
        self._open: dict[str, CommandRecord] = {}
        self._keys: dict[str, str] = {}
        self._coming: dict[str, CommandRecord] = {}
        self._settled: dict[str, set[str]] = {}
        self._room = Room()
        self._last = 0
        self.records: Mapping[str, CommandRecord] = MappingProxyType(self._records)
        self.open: Mapping[str, CommandRecord] = MappingProxyType(self._open)
        self.ended: Counter[Phase] = Counter()
        self.processes: set[str] = set()
        self.bell = Bell()
        for record in kept:
            self._put(record)
            self._last = max(self._last, int(record.id.partition("-")[0], 16))

    def find(self, command_id: str) -> CommandRecord:
        """A command.

        Raises:
            NotFoundError: There is none of this id, or it is forgotten.
        """
        record = self._records.get(command_id)
        if record is None:
            raise NotFoundError(f"there is no command {command_id!r}")
        return record

    # -------------------------------------------------------------- made ----

    def known(
        self, key: str, device: Key, method: str, arguments: Mapping[str, Value]
    ) -> CommandRecord | None:
        """The command that was asked for under a key before; None for a new or no key.

        Raises:
            ConflictError: It was another call that had this key.
        """
        record = self._coming.get(key) or self._records.get(self._keys.get(key, ""))
        if not key or record is None:
            return None
        if (record.device, record.method, packed(record.arguments)) != (
            device,
            method,
            packed(arguments),
        ):
            raise ConflictError("the idempotency key belongs to another call")
        return record

    async def submit(
        self,
        device: Key,
        method: str,
        arguments: Mapping[str, Value],
        seconds: float,
        *,
        caller: str = "",
        key: str = "",
    ) -> CommandRecord:
        """Take a command; it is on disk when this returns.

        Args:
            device: Whose method it is.
            method: Name of the method.
            arguments: Checked and typed.
            seconds: How long it may wait for its start.
            caller: Who asks, in words.
            key: The same key gives the same command; empty for none.

        Raises:
            ConflictError: Another call had this key.
            OverloadedError: Too many commands have not ended.
            UnavailableError: The disk takes nothing now; there is no command.
        """
        known = self.known(key, device, method, arguments)
        if known is not None:
            return await self._again(known)
        if len(self._open) + len(self._coming) >= MOST_OPEN:
            raise OverloadedError(f"{MOST_OPEN} commands have not ended: too many")
        self._store.require_well()
        now = self._clock.time()
        record = CommandRecord(
            self._new_id(now), device, method, arguments, now + seconds, now, caller, key
        )
        await self._write_down(replace(record, updated=now))
        return self._records[record.id]

    async def _again(self, known: CommandRecord) -> CommandRecord:
        """A command that was asked for before; it may be on its way to the disk, or to nowhere."""
        await self._store.flush()
        if known.id not in self._records:
            raise UnavailableError("the database has not taken the command")
        return self._records[known.id]

    async def _write_down(self, record: CommandRecord) -> None:
        slot = record.key or record.id
        self._coming[slot] = record
        try:
            write = Write([command_put(record)], on_commit=partial(self._enter, record))
            await committed(self._store.submit(write))
        finally:
            del self._coming[slot]

    def _new_id(self, now: float) -> str:
        """Ids grow, and are unlike those of any other store: mappers remember them."""
        self._last = max(self._last + 1, round(now * _MICRO))
        return f"{self._last:014x}-{secrets.token_hex(5)}"

    def _enter(self, record: CommandRecord) -> None:
        self._put(record)
        self._tell(record)
        gone = self._room.too_much(self._records.values(), self._clock.time())
        for command_id in gone:
            self._forget(self._records[command_id])
        if gone:
            self._store.post(Write([command_remove(one) for one in gone], keep=True))

    # ------------------------------------------------------------- given ----

    @contextmanager
    def stream(self, mapper: str, process: str) -> Iterator[None]:
        """Note that a mapper's stream is open. What older processes of it had is lost."""
        for record in list(self._open.values()):
            if record.mapper == mapper and record.process != process:
                self.lose(record, f"mapper {mapper} was started anew")
        self.processes.add(process)
        try:
            yield
        finally:
            self.processes.discard(process)
            self._settled.pop(process, None)
            self.bell.ring()

    def give(self, record: CommandRecord, mapper: str, process: str) -> None:
        """Say who gets a command; it is sent after the next `flush` only."""
        self._update(replace(record, mapper=mapper, process=process))

    async def flush(self) -> None:
        """Return when all that was said so far is on disk.

        Raises:
            UnavailableError: The disk takes nothing now.
        """
        await self._store.flush()

    def given_to(self, process: str) -> list[CommandRecord]:
        """The commands that a mapper process got and that have not ended."""
        return [record for record in self._open.values() if record.process == process]

    def take_settled(self, process: str) -> list[str]:
        """Ids whose outcome is on disk and of which the process must be told; given once."""
        return sorted(self._settled.pop(process, ()))

    def hear(self, process: str, progress: CommandProgress) -> None:
        """Take what a mapper process says of a command that it was given."""
        record = self._open.get(progress.id)
        if record is None:
            # It was said before, or nobody wants to know any more.
            self._settle(process, progress.id)
            return
        if record.process != process or progress.phase < record.phase:
            return
        now = self._clock.time()
        moment = progress.time if 0 < progress.time <= now else now
        if progress.phase is record.phase and progress.percent == record.percent:
            return
        told = replace(
            record,
            phase=progress.phase,
            percent=progress.percent,
            reason=progress.reason,
            message=progress.message,
            started=record.started or (moment if progress.phase is Phase.RUNNING else 0.0),
            updated=moment,
        )
        self._update(_with_results(told, progress.results))

    def _settle(self, process: str, command_id: str) -> None:
        # A process without a stream says it again on its next one.
        if process in self.processes:
            self._settled.setdefault(process, set()).add(command_id)
            self.bell.ring()

    # ------------------------------------------------------------- ended ----

    def end(self, record: CommandRecord, phase: Phase, reason: str, message: str) -> None:
        """Let a command end that no mapper will answer any more."""
        now = self._clock.time()
        self._update(replace(record, phase=phase, reason=reason, message=message, updated=now))

    def lose(self, record: CommandRecord, why: str) -> None:
        """Let a command end of which nobody can say whether it ran."""
        text = f"{why}: nobody knows whether {record.method!r} was run"
        self.end(record, Phase.UNSUCCESSFUL, OUTCOME_UNKNOWN, text)

    def cancel(self, command_id: str) -> CommandRecord:
        """Take a command back: at once where no mapper has it, else the mapper is asked.

        Raises:
            NotFoundError: There is no such command.
            ConflictError: It runs, or has ended.
        """
        record = self.find(command_id)
        if record.phase is Phase.CANCELLED or (record.cancelling and not record.phase.is_final):
            return record
        if record.phase is not Phase.ACCEPTED:
            what = "has ended" if record.phase.is_final else "has begun"
            raise ConflictError(f"command {command_id} {what}: it cannot be taken back")
        if record.process:
            self._update(replace(record, cancelling=True))
        else:
            self.end(record, Phase.CANCELLED, "cancelled", "it was taken back before it began")
        return self._records[command_id]

    # ----------------------------------------------------------- details ----

    def _update(self, record: CommandRecord) -> None:
        self._put(record)
        if record.phase.is_final:
            self.ended[record.phase] += 1
        keep = Write([command_put(record)], keep=True)
        if record.phase.is_final and record.process:
            keep.on_commit = partial(self._settle, record.process, record.id)
        self._store.post(keep)
        self._tell(record)

    def _put(self, record: CommandRecord) -> None:
        self._records[record.id] = record
        self._room.note(record)
        if record.key:
            self._keys[record.key] = record.id
        if record.phase.is_final:
            self._open.pop(record.id, None)
        else:
            self._open[record.id] = record

    def _tell(self, record: CommandRecord) -> None:
        if self._room.size(record.id) > _LARGEST_TOLD:
            # The feed keeps thousands of events.
            record = replace(record, arguments={}, results={})
        self._feed.publish(partial(events.command, record))
        self.bell.ring()

    def _forget(self, record: CommandRecord) -> None:
        del self._records[record.id]
        self._room.forget(record.id)
        if self._keys.get(record.key) == record.id:
            del self._keys[record.key]


def _with_results(record: CommandRecord, results: Mapping[str, Value]) -> CommandRecord:
    size = len(packed(results))
    if size <= LARGEST_RESULTS:
        return replace(record, results=results)
    text = f"its results are {size} bytes long; at most {LARGEST_RESULTS} are kept"
    return replace(record, reason="too_large", message=text)

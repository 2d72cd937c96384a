"""Taking reports in: each batch of a stream once, answered after its commit."""

from collections.abc import Sequence
from functools import partial

from device_manager.known import Known
from device_manager.records import TwinReading
from device_manager.storage import rows
from device_manager.storage.rows import Statement
from device_manager.storage.store import Store, Write
from dmi.clock import Clock
from dmi.errors import UnavailableError
from dmi.reports import DeviceState, Outcome

__all__ = ["Intake", "Streams"]


class Intake:
    """The way of a report into what is known and onto the disk."""

    def __init__(self, store: Store, known: Known, streams: "Streams", clock: Clock) -> None:
        self._store = store
        self._known = known
        self._streams = streams
        self._clock = clock

    async def apply(
        self,
        stream_id: str,
        sequence: int,
        readings: Sequence[TwinReading],
        states: Sequence[DeviceState],
        outcomes: Sequence[Outcome],
    ) -> None:
        """Take one batch; see `Node.apply_report`.

        Raises:
            UnavailableError: It is not on disk yet.
        """
        await self._store.room()
        self._store.require_well()
        statements: list[Statement] = []
        if sequence:
            if self._streams.committed(stream_id) == 0:
                statements += self._streams.prune()
            if not self._streams.take(stream_id, sequence):
                await self._wait_for(stream_id, sequence)
                return
        kept = self._known.apply_readings(readings, self._clock.time())
        statements += self._known.apply_outcomes(outcomes)
        statements += self._known.apply_states(states)
        write = Write(statements, kept, keep=True)
        if sequence:
            write.stream = (stream_id, sequence)
            write.on_commit = partial(self._streams.commit, stream_id, sequence)
        await self._store.submit(write)

    def committed(self, stream_id: str) -> int:
        """Sequence of the last batch of a stream that is on disk; 0 if unknown."""
        return self._streams.committed(stream_id)

    def taken(self, stream_id: str) -> int:
        """Sequence of the last batch of a stream that is on disk or on its way there."""
        return self._streams.taken(stream_id)

    async def _wait_for(self, stream_id: str, sequence: int) -> None:
        """A batch was sent again: it is on disk, or on its way."""
        if self._streams.committed(stream_id) < sequence:
            await self._store.flush()
        if self._streams.committed(stream_id) < sequence:
            raise UnavailableError(f"batch {sequence} is not on disk")


class Streams:
    """The last batch of each mapper process: what was taken, and what is committed.

    A stream belongs to one process of a mapper, so old ones pile up; the store forgets
    those that are silent longest.
    """

    def __init__(self, committed: dict[str, int], remembered: int = 1000) -> None:
        """Start with what the store remembers, longest silent first."""
        self._committed = committed
        self._taken = dict(committed)
        self._remembered = remembered

    def committed(self, stream_id: str) -> int:
        """Last sequence that is on disk; 0 if unknown."""
        return self._committed.get(stream_id, 0)

    def taken(self, stream_id: str) -> int:
        """Last sequence that came; 0 if unknown."""
        return self._taken.get(stream_id, 0)

    def take(self, stream_id: str, sequence: int) -> bool:
        """Say whether this batch comes for the first time; from now on it does not."""
        if sequence <= self._taken.get(stream_id, 0):
            return False
        self._taken[stream_id] = sequence
        return True

    def commit(self, stream_id: str, sequence: int) -> None:
        """A batch is on disk."""
        # Put back at the end: the order says who was silent longest.
        before = self._committed.pop(stream_id, 0)
        self._committed[stream_id] = max(before, sequence)

    def prune(self) -> list[Statement]:
        """Forget the streams that are too many."""
        extra = len(self._committed) - self._remembered
        if extra <= 0:
            return []
        gone = list(self._committed)[:extra]
        for stream_id in gone:
            del self._committed[stream_id]
            self._taken.pop(stream_id, None)
        return [rows.stream_remove(stream_id) for stream_id in gone]

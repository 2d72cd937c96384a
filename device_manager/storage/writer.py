"""The thread that writes the database: everything that waits becomes one transaction."""

import queue
import sqlite3
import threading
import time
from asyncio import Future
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from device_manager.storage import rows
from device_manager.storage.rows import Sql, Statement
from dmi.errors import DmiError, UnavailableError
from dmi.readings import Reading

__all__ = ["Pending", "Write", "Writer"]

_CHUNKS: Final = (512, 64, 8, 1)
"""Rows per statement; few sizes, so that the prepared statements are kept."""
_FIRST_WAIT: Final = 0.1
_LONGEST_WAIT: Final = 2.0
_TROUBLE: Final = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    }
)
"""What lies with the disk; everything else lies with the write."""


@dataclass(slots=True)
class Write:
    """Something to be kept, whole or not at all.

    Attributes:
        statements: Run in order.
        readings: By row of their twin; only the newest of one transaction is written.
        stream: Id and sequence of the report that this is.
        keep: Try again after the disk had trouble, instead of dropping it.
        on_commit: Called on the event loop after the commit, in order of submission.
    """

    statements: Sequence[Statement] = ()
    readings: Mapping[int, Reading] = field(default_factory=dict)
    stream: tuple[str, int] | None = None
    keep: bool = False
    on_commit: Callable[[], None] | None = None


@dataclass(slots=True)
class Pending:
    """A write on its way, and who waits for it."""

    write: Write
    future: "Future[None] | None"


Report = Callable[[list[Pending], Exception | None], None]
"""Told after each try, on the writing thread: UnavailableError means that the disk takes
nothing now and the writes that say `keep` stay; another error, that these are refused."""

_PROBE: Final = Write([rows.setting_put("probe", 0)])


class Writer:
    """Owns the connection from `start` to `stop`."""

    def __init__(self, connection: sqlite3.Connection, report: Report) -> None:
        self._connection = connection
        self._report = report
        self._trouble = False
        self._queue: queue.SimpleQueue[Pending | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="dmi-store", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, pending: Pending) -> None:
        """Hand over a write; returns at once."""
        self._queue.put(pending)

    def stop(self) -> None:
        """Write what is left and close the connection; blocks."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        group: list[Pending] = []
        wait = 0.0
        closing = False
        while not closing:
            closing = self._collect(group, wait)
            group = self._settle(group)
            wait = min(_LONGEST_WAIT, max(_FIRST_WAIT, 2 * wait)) if self._trouble else 0.0
        self._connection.close()

    def _collect(self, group: list[Pending], wait: float) -> bool:
        """Add all that waits: block for the first one, or in trouble for `wait` seconds.

        Returns:
            Whether the writer is to stop.
        """
        deadline = time.monotonic() + wait
        try:
            if wait:
                while True:
                    item = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
                    if item is None:
                        return True
                    group.append(item)
            item = self._queue.get()
            while item is not None:
                group.append(item)
                item = self._queue.get_nowait()
        except queue.Empty:
            return False
        return True

    def _settle(self, group: list[Pending]) -> list[Pending]:
        """Try to commit all; give back what is to be tried again."""
        if not group and not self._trouble:
            return []
        try:
            self._commit(group)
        except UnavailableError as error:
            self._trouble = True
            self._report(group, error)
            return [pending for pending in group if pending.write.keep]
        except DmiError as error:
            if len(group) == 1:
                self._report(group, error)
                return []
            # One of them is refused: each for itself, so that the others are kept.
            return self._settle_each(group)
        self._trouble = False
        self._report(group, None)
        return []

    def _settle_each(self, group: list[Pending]) -> list[Pending]:
        """Settle one after the other, up to the first one that the disk does not take.

        Those behind it wait with it: none may overtake another.
        """
        before, self._trouble = self._trouble, False
        for place, pending in enumerate(group):
            left = self._settle([pending])
            if self._trouble:
                rest = group[place + 1 :]
                self._report(rest, UnavailableError("an earlier write waits for the disk"))
                return left + [one for one in rest if one.write.keep]
        # If all were refused, nobody knows yet whether the disk is well again.
        self._trouble = before
        return []

    def _commit(self, group: list[Pending]) -> None:
        """Write all of them in one transaction.

        Raises:
            UnavailableError: The disk takes nothing now.
            DmiError: The database refuses one of them.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            # With nothing to write, the disk is still asked whether it is well again.
            self._write([pending.write for pending in group] or [_PROBE])
            self._connection.execute("COMMIT")
        except (sqlite3.Error, ValueError, OverflowError) as error:
            self._roll_back()
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            kind = UnavailableError if code in _TROUBLE else DmiError
            raise kind(str(error)) from error

    def _roll_back(self) -> None:
        # A full disk may have ended the transaction already.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _write(self, writes: Iterable[Write]) -> None:
        execute = self._connection.execute
        readings: dict[int, Reading] = {}
        streams: dict[str, int] = {}
        for write in writes:
            for sql, params in write.statements:
                execute(sql, params)
            readings.update(write.readings)
            if write.stream is not None:
                streams[write.stream[0]] = write.stream[1]
        self._write_readings(sorted(readings.items(), key=_row))
        now = time.time()
        for stream_id, sequence in streams.items():
            execute(*rows.stream_put(stream_id, sequence, now))

    def _write_readings(self, readings: list[tuple[int, Reading]]) -> None:
        place, left = 0, len(readings)
        for size in _CHUNKS:
            sql = rows.readings_sql(size) if left >= size else ""
            while left >= size:
                params: list[Sql] = rows.reading_params(readings[place : place + size])
                self._connection.execute(sql, params)
                place, left = place + size, left - size


def _row(item: tuple[int, Reading]) -> int:
    return item[0]

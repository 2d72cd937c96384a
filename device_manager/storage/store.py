"""The manager's memory on disk: writes go in, and are answered after their commit."""

import asyncio
import gc
import logging
import secrets
import sqlite3
from pathlib import Path

from device_manager.storage import rows
from device_manager.storage.database import Synchronous, open_database, reading_failed
from device_manager.storage.rows import Contents
from device_manager.storage.writer import Pending, Write, Writer
from dmi.errors import DmiError, UnavailableError

__all__ = ["Store", "Write", "committed"]

log = logging.getLogger(__name__)


class Store:
    """One SQLite file, one thread that writes it, and a bounded queue between.

    Everything that waits when the thread is free becomes one transaction. While the
    disk takes nothing, those who wait get UnavailableError and `error` says why; the
    thread keeps on trying, so it recovers without anyone asking.

    Attributes:
        error: Why nothing can be committed now; empty when all is well.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, limit: int = 4096) -> None:
        """Start the writing thread.

        Args:
            connection: Opened by `open_database`; the store closes it.
            path: For messages.
            limit: How many writes may wait; more wait in `room`.
        """
        self.error = ""
        self._path = path
        self._limit = limit
        self._waiting = 0
        self._room = asyncio.Event()
        self._room.set()
        self._loop = asyncio.get_running_loop()
        self._writer = Writer(connection, self._report)
        self._writer.start()

    @classmethod
    async def open(
        cls, path: Path, synchronous: Synchronous = "normal", *, limit: int = 4096
    ) -> tuple["Store", Contents]:
        """Open or create the file; give all that it holds too.

        Raises:
            ConfigError: It cannot be used; the message says why and what to do.
        """
        connection = await asyncio.to_thread(open_database, path, synchronous)
        try:
            contents = await asyncio.to_thread(_read, connection, path)
        except BaseException:
            connection.close()
            raise
        return cls(connection, path, limit), contents

    def submit(self, write: Write) -> asyncio.Future[None]:
        """Hand over a write; the future ends after its commit, or with why there was none.

        Raises (from the future):
            UnavailableError: The disk takes nothing now. The write is dropped, unless
                it says `keep`: then it is committed as soon as that is possible.
            DmiError: The database refuses this very write.
        """
        future: asyncio.Future[None] = self._loop.create_future()
        self._put(Pending(write, future))
        return future

    def post(self, write: Write) -> None:
        """Hand over a write whose commit nobody waits for; it should say `keep`."""
        self._put(Pending(write, None))

    async def room(self) -> None:
        """Return when the queue has room."""
        while self._waiting >= self._limit:
            self._room.clear()
            await self._room.wait()

    def require_well(self) -> None:
        """Let pass while the disk takes writes.

        Raises:
            UnavailableError: It does not.
        """
        if self.error:
            raise UnavailableError(f"the database takes nothing now: {self.error}")

    async def flush(self) -> None:
        """Return when everything handed over so far is committed.

        Raises:
            UnavailableError: The disk takes nothing now.
        """
        await self.submit(Write())

    async def close(self) -> None:
        """Commit what is left, once more if the disk is in trouble, and close the file."""
        await asyncio.to_thread(self._writer.stop)

    def _put(self, pending: Pending) -> None:
        self._waiting += 1
        self._writer.put(pending)

    def _report(self, group: list[Pending], error: Exception | None) -> None:
        """Called by the writing thread after each try."""
        tell = self._committed if error is None else self._failed
        self._loop.call_soon_threadsafe(tell, group, error)

    def _committed(self, group: list[Pending], _: Exception | None) -> None:
        if self.error:
            log.warning("the database %s takes writes again", self._path)
            self.error = ""
        for pending in group:
            if pending.write.on_commit is not None:
                pending.write.on_commit()
            if pending.future is not None and not pending.future.done():
                pending.future.set_result(None)
        self._leave(len(group))

    def _failed(self, group: list[Pending], error: Exception | None) -> None:
        refused = not isinstance(error, UnavailableError)
        if refused:
            log.error("the database %s refuses a write: %s", self._path, error)
        elif not self.error:
            log.error("the database %s cannot be written: %s", self._path, error)
        if not refused:
            self.error = str(error)
        for pending in group:
            if pending.future is not None and not pending.future.done():
                pending.future.set_exception(
                    DmiError(str(error)) if refused else UnavailableError(str(error))
                )
        self._leave(sum(refused or not pending.write.keep for pending in group))

    def _leave(self, count: int) -> None:
        self._waiting -= count
        self._room.set()


async def committed(write: asyncio.Future[None]) -> None:
    """Wait for a write to its end, even when cancelled; only then is the cancellation passed on.

    For those who hold what must not be let go of before the commit, such as a lock.

    Raises:
        UnavailableError: The disk takes nothing now.
        DmiError: The database refuses this very write.
    """
    cancelled: asyncio.CancelledError | None = None
    while not write.done():
        try:
            await asyncio.wait([write])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        write.exception()  # Marks it as seen.
        raise cancelled
    write.result()


def _read(connection: sqlite3.Connection, path: Path) -> Contents:
    # Everything that is made here stays: looking for garbage in between takes most of the time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        _tidy(connection)
        return rows.load(connection)
    except (sqlite3.DatabaseError, ValueError) as error:
        raise reading_failed(error, path) from error
    finally:
        if collecting:
            gc.enable()


def _tidy(connection: sqlite3.Connection) -> None:
    """Give a new file its epoch; drop what a delete and a late report left behind."""
    epoch = secrets.token_hex(8)
    connection.execute("INSERT OR IGNORE INTO setting VALUES ('epoch', ?)", (epoch,))
    connection.execute("DELETE FROM reading WHERE twin NOT IN (SELECT id FROM twin)")
    connection.execute("DELETE FROM wish WHERE twin NOT IN (SELECT id FROM twin)")

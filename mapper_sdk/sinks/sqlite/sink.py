"""The sink to an SQLite file: everything happens in one thread of its own."""

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar, Final, TypeVar

from pydantic import BaseModel, Field

from dmi.errors import DmiError, UnavailableError
from mapper_sdk.delivery.disk.database import inode
from mapper_sdk.delivery.sink import Item, Settings, Sink
from mapper_sdk.sinks.sqlite.archive import Archive
from mapper_sdk.sinks.sqlite.file import (
    DamagedFileError,
    Synchronous,
    connect,
    is_damage,
    move_aside,
    opening_failed,
    translated,
)
from mapper_sdk.sinks.sqlite.history import SqliteHistory
from mapper_sdk.sinks.tables import SqlPlace

__all__ = ["SqliteSink", "SqliteTarget"]

log = logging.getLogger(__name__)

_DAY: Final = 86_400.0
_MEBIBYTE: Final = 2**20
_T = TypeVar("_T")


class SqliteTarget(Settings):
    """An SQLite file on the node."""

    path: Path = Field(
        description="The file. It is made when missing, with its folder, for this user only."
    )
    keep_days: float | None = Field(
        default=30,
        gt=0,
        description="How long readings are kept; null: until the file is full.",
        json_schema_extra={"unit": "days"},
    )
    max_size: int = Field(
        default=1024,
        ge=1,
        description="How large the file may become before the oldest readings go.",
        json_schema_extra={"unit": "MiB"},
    )
    synchronous: Synchronous = Field(
        default="normal",
        description="normal: what was committed survives the end of the process, but the last "
        "moments may be lost with the machine's power. full: survives that too, more slowly.",
    )
    timeout: float = Field(
        default=5.0,
        gt=0,
        description="How long to wait for another process that holds the file.",
        json_schema_extra={"unit": "s"},
    )
    move_damaged_aside: bool = Field(
        default=False,
        description="Rename a damaged file and begin an empty one, instead of waiting for a human.",
    )


class SqliteSink(Sink[SqliteTarget, SqlPlace]):
    """Writes batches as transactions; `history` reads them while it writes."""

    kind: ClassVar[str] = "sqlite"
    target_model: ClassVar[type[BaseModel]] = SqliteTarget
    place_model: ClassVar[type[BaseModel]] = SqlPlace

    def __init__(self, target: SqliteTarget) -> None:
        """Keep the settings; the file is not touched yet."""
        super().__init__(target)
        self._thread: ThreadPoolExecutor | None = None
        self._archive: Archive | None = None
        self._inode: tuple[int, int] | None = None
        self._suspect = False

    def history(self) -> SqliteHistory:
        """Give the past of what this file holds; it does not need the sink to be open."""
        return SqliteHistory(self.target.path)

    async def open(self) -> None:
        """Open or make the file.

        Raises:
            ConfigError: It is damaged, another program's, or cannot be written.
            UnavailableError: The disk is full, or others hold the file.
        """
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-sink")
        await self._run(self._open)

    async def send(self, items: Sequence[Item[SqlPlace]]) -> Mapping[int, DmiError]:
        """Commit them, and delete a slice of what is too old.

        Raises:
            UnavailableError: The disk is full or fails; the file is damaged, was changed, or is
                not there any more.
        """
        return await self._run(lambda: self._send(items))

    async def close(self) -> None:
        """Let go of the file, after what is being written."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        closed = thread.submit(self._close)
        thread.shutdown(wait=False)
        await asyncio.wrap_future(closed)

    async def _run(self, work: Callable[[], _T]) -> _T:
        if self._thread is None:
            raise UnavailableError(f"{self.target.path} is not open")
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    # ------------------------------------------------------ in the thread ----

    def _open(self) -> None:
        if self._archive is not None:
            return
        try:
            self._archive = self._make_archive(check=self._suspect)
        except DamagedFileError as error:
            if not self.target.move_damaged_aside:
                raise
            log.error("sink sqlite: %s; it is now %s", error, move_aside(self.target.path))
            self._archive = self._make_archive()
        self._suspect = False

    def _make_archive(self, *, check: bool = False) -> Archive:
        target = self.target
        connection = connect(target.path, target.synchronous, patience=target.timeout, check=check)
        self._inode = inode(target.path)
        keep = None if target.keep_days is None else target.keep_days * _DAY
        try:
            return Archive(connection, target.path, keep, target.max_size * _MEBIBYTE)
        except sqlite3.Error as error:
            connection.close()
            raise opening_failed(error, target.path) from error

    def _send(self, items: Sequence[Item[SqlPlace]]) -> Mapping[int, DmiError]:
        if self._archive is None:
            raise UnavailableError(f"{self.target.path} is not open")
        try:
            refused = self._archive.add(items)
        except sqlite3.Error as error:
            # Opening it anew will read it all and tell a human; the readings stay with us.
            self._suspect = self._suspect or is_damage(error)
            raise translated(error, self.target.path) from error
        # SQLite does not notice, and what has no name any more is gone when it is closed.
        if inode(self.target.path) != self._inode:
            raise UnavailableError(f"the file {self.target.path} was taken away or replaced")
        return refused

    def _close(self) -> None:
        archive, self._archive = self._archive, None
        if archive is not None:
            with contextlib.suppress(sqlite3.Error):
                archive.close()

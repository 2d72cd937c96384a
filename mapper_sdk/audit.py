"""The audit trail: who changed what, when, and what came of it."""

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dmi.errors import UnavailableError
from dmi.resources import Key

__all__ = ["Audit", "Entry"]

log = logging.getLogger(__name__)

MOST_KEPT: Final = 100_000
"""Entries in a database; the oldest go first."""

_MOST_REMEMBERED: Final = 10_000
_LONGEST_TEXT: Final = 2000
_FILE: Final = "audit.db"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS audit (
  id INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, client TEXT NOT NULL,
  action TEXT NOT NULL, namespace TEXT NOT NULL, device TEXT NOT NULL, target TEXT NOT NULL,
  given TEXT NOT NULL, result TEXT NOT NULL, message TEXT NOT NULL)
"""
_COLUMNS: Final = "time, client, action, namespace, device, target, given, result, message"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that somebody did.

    Attributes:
        time: When it was over, in seconds since 1970.
        client: Who did it, as the guard knows them.
        action: `write`, `call` or `loglevel`.
        namespace: Of the device; empty where there is none.
        device: Its name; empty where there is none.
        target: What was done it to: a property, a method, a logger.
        given: The value or the arguments as JSON, at most 2,000 characters of it.
        result: `ok`, or the reason word of the error.
        message: What went wrong, for people.
        id: Number of the entry; grows.
    """

    time: float
    client: str
    action: str
    namespace: str
    device: str
    target: str
    given: str
    result: str
    message: str = ""
    id: int = 0


class Audit:
    """Keeps entries in a database, or without one in memory and in the log.

    Attributes:
        failed: Entries that the database did not take; they are in the log then.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Start with what is there.

        Args:
            folder: Where the database is or will be; None keeps the last 10,000 entries in
                memory and writes each to the log.
        """
        self.failed = 0
        self._folder = folder
        self._remembered: deque[Entry] = deque(maxlen=_MOST_REMEMBERED)
        self._count = 0
        self._pending: list[Entry] = []
        self._lock = asyncio.Lock()

    async def note(
        self,
        client: str,
        action: str,
        device: Key | None,
        target: str,
        given: bytes,
        result: str = "ok",
        message: str = "",
    ) -> None:
        """Keep an entry; it is in the database when this returns."""
        namespace, name = device or ("", "")
        text = given[: 4 * _LONGEST_TEXT].decode(errors="replace")[:_LONGEST_TEXT]
        told = message[:_LONGEST_TEXT]
        entry = Entry(time.time(), client, action, namespace, name, target, text, result, told)
        if self._folder is None:
            self._remember(entry)
            return
        self._pending.append(entry)
        async with self._lock:
            # Whoever comes first writes what has gathered meanwhile, in one transaction.
            entries, self._pending = self._pending, []
            if entries:
                await asyncio.to_thread(self._store, self._folder / _FILE, entries)

    async def entries(
        self,
        *,
        namespace: str = "",
        device: str = "",
        client: str = "",
        before: int = 0,
        limit: int = 100,
    ) -> list[Entry]:
        """Give what was noted, newest first.

        Args:
            namespace: Of devices of this namespace only.
            device: Of devices of this name only.
            client: Of this client only.
            before: Only entries with a smaller number; 0 for the newest.
            limit: Most entries.

        Raises:
            UnavailableError: The database cannot be read now.
        """
        wanted = {"namespace": namespace, "device": device, "client": client}
        wanted = {name: value for name, value in wanted.items() if value}
        if self._folder is None:
            found = (
                entry
                for entry in reversed(self._remembered)
                if (not before or entry.id < before)
                and all(getattr(entry, name) == value for name, value in wanted.items())
            )
            return [entry for entry, _ in zip(found, range(limit), strict=False)]
        file = self._folder / _FILE
        try:
            return await asyncio.to_thread(_select, file, wanted, before, limit)
        except sqlite3.Error as error:
            raise UnavailableError(f"the audit trail cannot be read: {error}") from error

    def _remember(self, entry: Entry) -> None:
        self._count += 1
        numbered = Entry(*_values(entry), id=self._count)
        self._remembered.append(numbered)
        _log(numbered)

    def _store(self, file: Path, entries: list[Entry]) -> None:
        try:
            _insert(file, entries)
        except (sqlite3.Error, OSError) as error:
            # What was done is done: the client must learn of it all the same.
            self.failed += len(entries)
            log.error("the audit trail takes nothing: %s", error)
            for entry in entries:
                _log(entry)


def _values(entry: Entry) -> tuple[float, str, str, str, str, str, str, str, str]:
    return (
        entry.time,
        entry.client,
        entry.action,
        entry.namespace,
        entry.device,
        entry.target,
        entry.given,
        entry.result,
        entry.message,
    )


def _log(entry: Entry) -> None:
    log.info(
        "%s: %s %s/%s %s %s: %s %s",
        entry.client,
        entry.action,
        entry.namespace,
        entry.device,
        entry.target,
        entry.given,
        entry.result,
        entry.message,
    )


def _connect(file: Path) -> sqlite3.Connection:
    file.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(file, timeout=5.0)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=NORMAL")
    database.execute(_SCHEMA)
    return database


def _insert(file: Path, entries: Iterable[Entry]) -> None:
    rows = [_values(entry) for entry in entries]
    with contextlib.closing(_connect(file)) as database, database:
        marks = ", ".join("?" * len(rows[0]))
        database.executemany(f"INSERT INTO audit ({_COLUMNS}) VALUES ({marks})", rows)  # noqa: S608 - constants
        database.execute(
            "DELETE FROM audit WHERE id <= (SELECT max(id) FROM audit) - ?", (MOST_KEPT,)
        )


def _select(file: Path, wanted: dict[str, str], before: int, limit: int) -> list[Entry]:
    conditions = [f"{name} = ?" for name in wanted] + (["id < ?"] if before else [])
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    values = [*wanted.values(), *([before] if before else []), limit]
    sql = f"SELECT {_COLUMNS}, id FROM audit {where} ORDER BY id DESC LIMIT ?"  # noqa: S608 - constants
    with contextlib.closing(_connect(file)) as database:
        return [Entry(*row) for row in database.execute(sql, values)]

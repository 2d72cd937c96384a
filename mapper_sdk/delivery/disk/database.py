"""Opening a target's SQLite file, and telling a full disk from a damaged file."""

import contextlib
import os
import sqlite3
import time
from pathlib import Path
from typing import Final

from dmi.errors import DmiError, UnavailableError

__all__ = ["DamagedError", "connect", "inode", "move_aside", "translated"]

_OURS: Final = 0x646D6973
_VERSION: Final = 1
_SIDE_FILES: Final = ("", "-wal", "-shm", "-journal")
_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

_SCHEMA: Final = f"""
BEGIN IMMEDIATE;
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE routes (id INTEGER PRIMARY KEY, body TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE batches (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  stored REAL NOT NULL, readings INTEGER NOT NULL, size INTEGER NOT NULL, data BLOB NOT NULL
) STRICT;
CREATE TABLE gaps (
  id INTEGER PRIMARY KEY,
  namespace TEXT NOT NULL, device TEXT NOT NULL, property TEXT NOT NULL, reason TEXT NOT NULL,
  first REAL NOT NULL, last REAL NOT NULL, readings INTEGER NOT NULL, noted REAL NOT NULL
) STRICT;
PRAGMA application_id = {_OURS};
PRAGMA user_version = {_VERSION};
COMMIT;
"""


class DamagedError(DmiError):
    """The file is not a sound database of ours, or not there any more."""


def connect(path: Path) -> sqlite3.Connection:
    """Open or create a target's file, for this user only (mode 0600).

    Raises:
        DamagedError: It is damaged, another program's, or of a newer version of this one.
        UnavailableError: The disk or the folder does not let us.
    """
    try:
        # SQLite gives its side files the mode of the database, so this covers them.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise UnavailableError(f"{path}: {error.strerror}") from error
    connection = sqlite3.connect(path, timeout=0.2, isolation_level=None, check_same_thread=False)
    try:
        _prepare(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise translated(error, path) from error
    except DamagedError:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA wal_autocheckpoint = 2000")
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if not tables:
        connection.executescript(_SCHEMA)
    elif (owner, version) != (_OURS, _VERSION):
        raise DamagedError(f"{path}: not a spool of this version")


def translated(error: sqlite3.Error, path: Path) -> DmiError:
    """Give the error of ours that says the same."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in _DAMAGE:
        return DamagedError(f"{path}: {error}")
    return UnavailableError(f"{path}: {error}")


def inode(path: Path) -> tuple[int, int] | None:
    """Tell the file from any other one that may get its name; None when there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def move_aside(path: Path) -> Path:
    """Rename a damaged file, with its side files; nothing is deleted. Gives the new place."""
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    number = 1
    while aside.exists():
        aside = path.with_name(f"{path.name}.damaged-{stamp}-{number}")
        number += 1
    for suffix in _SIDE_FILES:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    return aside

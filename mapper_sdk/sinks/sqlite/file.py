"""The SQLite file itself: made, checked, put aside when damaged; its errors as ours."""

import contextlib
import os
import sqlite3
import time
from pathlib import Path
from typing import Final, Literal

from dmi.errors import ConfigError, DmiError, RefusedError, UnavailableError
from mapper_sdk.sinks.tables import SCHEMA_VERSION

__all__ = [
    "DamagedFileError",
    "Synchronous",
    "connect",
    "is_damage",
    "move_aside",
    "opening_failed",
    "translated",
]

Synchronous = Literal["normal", "full"]
"""`normal` survives the death of the process, `full` that of the machine's power too."""

_OURS: Final = 0x646D6932
"""Marks the file as a sink's; the manager's own database has another mark."""

_OLDEST_SQLITE: Final = (3, 37, 0)  # STRICT tables
_SIDE_FILES: Final = ("", "-wal", "-shm")
_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_REFUSALS: Final = frozenset(
    {sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_CONSTRAINT}
)
_FORBIDDEN: Final = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH})

_COLUMNS: Final = """
  source INTEGER NOT NULL, time INTEGER NOT NULL, value ANY,
  quality INTEGER NOT NULL, reason TEXT NOT NULL
"""
_VIEWED: Final = """
  SELECT s.namespace, s.device, s.property, s.type, s.unit, r.time,
    strftime('%Y-%m-%dT%H:%M:%f', r.time / 1e6, 'unixepoch') || 'Z' AS utc, r.value,
    CASE r.quality WHEN 0 THEN 'GOOD' WHEN 1 THEN 'UNCERTAIN' ELSE 'BAD' END AS quality, r.reason
"""
_SCHEMA: Final = f"""
CREATE TABLE IF NOT EXISTS sources (
  id INTEGER PRIMARY KEY, namespace TEXT NOT NULL, device TEXT NOT NULL,
  property TEXT NOT NULL, type TEXT NOT NULL, unit TEXT NOT NULL,
  UNIQUE (namespace, device, property, type, unit)
) STRICT;
CREATE TABLE IF NOT EXISTS samples ({_COLUMNS}, PRIMARY KEY (source, time)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS recent ({_COLUMNS}, PRIMARY KEY (time, source)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS boundary (
  only INTEGER PRIMARY KEY CHECK (only = 0), time INTEGER NOT NULL
) STRICT;
INSERT OR IGNORE INTO boundary VALUES (0, 0);
CREATE VIEW IF NOT EXISTS readings AS
  {_VIEWED} FROM sources s JOIN samples r ON r.source = s.id
  UNION ALL
  {_VIEWED} FROM sources s JOIN recent r ON r.source = s.id;
PRAGMA application_id = {_OURS};
PRAGMA user_version = {SCHEMA_VERSION};
"""  # noqa: S608 - made of constants
_STEP: Final = 0.01
_NEED_SOURCES: Final = frozenset({"samples", "recent"})


class DamagedFileError(ConfigError):
    """The file is not a sound database; the message says what to do."""

    def __init__(self, path: Path, found: str) -> None:
        super().__init__(
            f"the file {path} is damaged: {found}. Restore it from a backup, move it away, or set"
            " moveDamagedAside: it is then renamed, nothing is deleted, and an empty one begins"
        )


def connect(
    path: Path, synchronous: Synchronous, *, patience: float = 5.0, check: bool = False
) -> sqlite3.Connection:
    """Open or make the file; several processes may do so at once.

    The file is for this user only (mode 0600); its folder is made when missing.

    Args:
        path: Where it is.
        synchronous: What a commit must survive.
        patience: Seconds to wait for another process that holds the file.
        check: Read all of it first, because there were signs of damage.

    Raises:
        DamagedFileError: It is not a sound database.
        ConfigError: It cannot be opened or belongs to another program or version.
        UnavailableError: The disk is full, or others hold it.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise ConfigError(f"SQLite 3.37 is needed; this Python has {sqlite3.sqlite_version}")
    _create(path)
    connection = sqlite3.connect(
        path, timeout=patience, isolation_level=None, check_same_thread=False
    )
    try:
        _into_wal(connection, patience)
        _prepare(connection, path, synchronous, check=check)
    except sqlite3.Error as error:
        connection.close()
        raise opening_failed(error, path) from error
    except DmiError:
        connection.close()
        raise
    return connection


def move_aside(path: Path) -> Path:
    """Rename the file and its side files; give the new name."""
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    number, aside = 0, path.with_name(f"{path.name}.damaged-{stamp}")
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.damaged-{stamp}-{number}")
    for suffix in _SIDE_FILES:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    return aside


def is_damage(error: sqlite3.Error) -> bool:
    """Whether it says that the file is no sound database."""
    return _code(error) in _DAMAGE


def opening_failed(error: sqlite3.Error, path: Path) -> DmiError:
    """Give our error for one of SQLite's, met while the file was opened."""
    if is_damage(error):
        return DamagedFileError(path, str(error))
    if _code(error) in _FORBIDDEN:
        return ConfigError(f"the file {path} cannot be written: {error}")
    return translated(error, path)


def translated(error: sqlite3.Error, path: Path) -> DmiError:
    """Give our error for one of SQLite's, met while the file was in use.

    Only what lies with a reading is final. A full or failing disk, a lock, and tables that
    somebody dropped are tried again, after the file was opened anew.
    """
    if _code(error) in _REFUSALS:
        return RefusedError(f"{path}: {error}")
    return UnavailableError(f"the file {path} cannot be used now: {error}")


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def _create(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # One that is there is not opened: closing it would end the locks of all connections
        # that this process has to it.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        if not path.is_file():
            raise ConfigError(f"the file {path} cannot be opened: it is no file")
        # SQLite gives its side files the mode of the database, so this covers them.
        path.chmod(0o600)
    except OSError as error:
        raise ConfigError(f"the file {path} cannot be opened: {error.strerror}") from error


def _into_wal(connection: sqlite3.Connection, patience: float) -> None:
    """Switch to the write-ahead log. SQLite itself waits for nobody who does the same."""
    end = time.monotonic() + patience
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(_STEP)
        else:
            return


def _prepare(
    connection: sqlite3.Connection, path: Path, synchronous: Synchronous, *, check: bool
) -> None:
    connection.execute(f"PRAGMA synchronous = {synchronous.upper()}")
    connection.execute("PRAGMA wal_autocheckpoint = 4000")
    connection.execute("PRAGMA journal_size_limit = 67108864")
    connection.execute("PRAGMA cache_size = -16384")
    connection.execute("PRAGMA temp_store = MEMORY")
    if check:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise DamagedFileError(path, found)
    # The lock is held while looking: of two processes, the second finds what the first made.
    connection.execute("BEGIN IMMEDIATE")
    try:
        _make_tables(connection, path)
    except (sqlite3.Error, DmiError):
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _make_tables(connection: sqlite3.Connection, path: Path) -> None:
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    found = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    if found and owner != _OURS:
        raise ConfigError(f"{path} is another program's database: name another file")
    if found and version != SCHEMA_VERSION:
        raise ConfigError(
            f"the tables of {path} have version {version}, this program knows {SCHEMA_VERSION}:"
            " name another file, or use the dmi-toolkit that made it"
        )
    if "sources" not in found and found & _NEED_SOURCES:
        raise ConfigError(
            f"{path} has samples, but its table `sources` is gone, so nobody knows of what they"
            " are: restore it, or drop `samples` and `recent` too"
        )
    for statement in _SCHEMA.split(";"):
        connection.execute(statement)

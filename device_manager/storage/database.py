"""Opening the manager's SQLite file: checks, migrations, and putting a broken one aside."""

import contextlib
import os
import re
import sqlite3
import time
from importlib import resources
from pathlib import Path
from typing import Final, Literal, NoReturn

from dmi.errors import ConfigError

__all__ = ["CorruptDatabaseError", "Synchronous", "open_database", "quarantine", "reading_failed"]

Synchronous = Literal["normal", "full"]
"""`normal` survives the death of the process, `full` that of the machine's power too."""

_OURS: Final = 0x646D6931
_OLDEST_SQLITE: Final = (3, 37, 0)
_MIGRATION: Final = re.compile(r"(\d{4})_\w+\.sql")
_SIDE_FILES: Final = ("", "-wal", "-shm", "-journal")
_UNUSABLE: Final = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
    }
)
"""What says nothing about the soundness of the file."""
_BROKEN: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class CorruptDatabaseError(ConfigError):
    """The file is not a sound database; the message says what to do."""

    def __init__(self, path: Path, found: str) -> None:
        super().__init__(
            f"the database {path} is damaged: {found}. `dmi manager --quarantine-corrupt` moves"
            " it aside, deletes nothing, and starts with an empty one: devices from files come"
            " back by themselves, those made with the API and all last values do not"
        )


def open_database(
    path: Path, synchronous: Synchronous = "normal", *, busy_timeout: float = 0.2
) -> sqlite3.Connection:
    """Open or create the database, check it and bring its tables up to date.

    The file is for this user only (mode 0600) and for this process only: a second
    manager on the same file is refused.

    Args:
        path: Its folder is created when missing.
        synchronous: What a commit must survive.
        busy_timeout: How long to wait for a predecessor to let go of the file, in seconds.

    Raises:
        CorruptDatabaseError: It is not a database, or a damaged one.
        ConfigError: It cannot be opened, is in use, belongs to another program, or was
            written by a newer version of this one.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        needed = ".".join(map(str, _OLDEST_SQLITE))
        raise ConfigError(f"SQLite {needed} is needed; this Python has {sqlite3.sqlite_version}")
    _create(path)
    connection = sqlite3.connect(
        path, timeout=busy_timeout, isolation_level=None, check_same_thread=False
    )
    try:
        _prepare(connection, path, synchronous)
    except sqlite3.Error as error:
        connection.close()
        _translate(error, path, busy_timeout)
    except ConfigError:
        connection.close()
        raise
    return connection


def quarantine(path: Path) -> Path | None:
    """Move the database aside, with its side files; nothing is deleted.

    Returns:
        Its new place; None when there was no file.
    """
    if not path.exists():
        return None
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    aside = path.with_name(f"{path.name}.corrupt-{stamp}")
    number = 1
    while aside.exists():
        aside = path.with_name(f"{path.name}.corrupt-{stamp}-{number}")
        number += 1
    for suffix in _SIDE_FILES:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    return aside


def reading_failed(error: Exception, path: Path) -> ConfigError:
    """What to raise when a database that was opened cannot be read or tidied.

    A full disk is not damage: nobody should put a sound database aside for it.
    """
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in _UNUSABLE:
        return ConfigError(f"the database {path} cannot be used: {error}")
    return CorruptDatabaseError(path, str(error))


def _create(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # SQLite gives its side files the mode of the database, so this covers them.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)
    except OSError as error:
        raise ConfigError(f"the database {path} cannot be opened: {error.strerror}") from error


def _prepare(connection: sqlite3.Connection, path: Path, synchronous: Synchronous) -> None:
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous.upper()}")
    connection.execute("PRAGMA wal_autocheckpoint = 2000")
    # The exclusive lock is only taken by the first access.
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("COMMIT")
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise CorruptDatabaseError(path, found)
    _migrate(connection, path)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables and owner != _OURS:
        raise ConfigError(f"{path} is another program's database: give the manager its own file")
    steps = _migrations()
    newest = max(steps)
    if version > newest:
        raise ConfigError(
            f"the database {path} has schema version {version}, this program knows up to"
            f" {newest}: install the newer dmi-toolkit again, or give the manager another file"
        )
    for number in range(version + 1, newest + 1):
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE; {steps[number]}; PRAGMA user_version = {number}; COMMIT;"
            )
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _migrations() -> dict[int, str]:
    folder = resources.files("device_manager.storage.schema")
    return {
        int(match[1]): entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if (match := _MIGRATION.fullmatch(entry.name))
    }


def _translate(error: sqlite3.Error, path: Path, busy_timeout: float) -> NoReturn:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in _BROKEN:
        raise CorruptDatabaseError(path, str(error)) from error
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        raise ConfigError(
            f"the database {path} is in use by another process (waited {busy_timeout:g} s):"
            " is a manager running already?"
        ) from error
    raise ConfigError(f"the database {path} cannot be used: {error}") from error

"""The MySQL sink's tables and statements; tables are made once, by whoever comes first."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import orjson
from asyncmy.connection import Connection

from dmi.errors import ConfigError, UnavailableError
from mapper_sdk.sinks.tables import SCHEMA_VERSION, Identity, WideRow

__all__ = ["Schema", "divided", "run"]

_SIZES: Final = (500, 50, 5, 1)
"""Rows of one statement; few sizes, so that the server keeps each one prepared."""

_SOURCES: Final = 200
"""Most sources that one call deletes of."""

_LOCK: Final = "dmi-toolkit makes tables"
_TIME: Final = "TIMESTAMP'1970-01-01 00:00:00' + INTERVAL %s MICROSECOND"
_VALUES: Final = ("value_int", "value_double", "value_bool", "value_text", "value_bytes")
_CELLS: Final = (*_VALUES, "quality", "reason")
_TEXT: Final = "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL"

_TABLES: Final[Mapping[str, str]] = {
    # Names are told apart by their digest: they may be long, and no collation treats two
    # different ones as equal.
    "sources": f"""
        CREATE TABLE {{prefix}}sources (
          id INT AUTO_INCREMENT PRIMARY KEY, digest BINARY(32) NOT NULL UNIQUE,
          namespace VARCHAR(255) {_TEXT}, device VARCHAR(255) {_TEXT},
          property VARCHAR(512) {_TEXT}, type VARCHAR(16) {_TEXT}, unit VARCHAR(255) {_TEXT}
        ) ENGINE = InnoDB""",
    "samples": f"""
        CREATE TABLE {{prefix}}samples (
          source INT NOT NULL, time DATETIME(6) NOT NULL,
          value_int BIGINT, value_double DOUBLE, value_bool BOOLEAN,
          value_text LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, value_bytes LONGBLOB,
          quality TINYINT NOT NULL, reason TEXT {_TEXT},
          PRIMARY KEY (source, time),
          FOREIGN KEY (source) REFERENCES {{prefix}}sources (id)
        ) ENGINE = InnoDB""",
    "readings": """
        CREATE OR REPLACE VIEW {prefix}readings AS
        SELECT s.namespace, s.device, s.property, s.type, s.unit, r.time,
          coalesce(r.value_double, r.value_int, r.value_bool) AS value,
          r.value_int, r.value_double, r.value_bool, r.value_text, r.value_bytes,
          CASE r.quality WHEN 0 THEN 'GOOD' WHEN 1 THEN 'UNCERTAIN' ELSE 'BAD' END AS quality,
          r.reason
        FROM {prefix}sources s JOIN {prefix}samples r ON r.source = s.id""",
    # The last one: when it is there, all are.
    "version": "CREATE TABLE {prefix}version (version INT PRIMARY KEY) ENGINE = InnoDB",
}


async def run(connection: Connection, query: str, *values: object) -> Sequence[tuple[Any, ...]]:
    """Run one statement; give its rows, or none. Values go to the server apart from it."""
    async with connection.cursor() as cursor:
        await cursor.execute(query, values)
        return await cursor.fetchall() if cursor.description else ()


def divided(rows: Sequence[WideRow], largest: int) -> Iterator[Sequence[WideRow]]:
    """Divide rows into statements of few different sizes, none of more than `largest` bytes."""
    start = 0
    while start < len(rows):
        size = next(
            size
            for size in _SIZES
            if size == 1
            or (size <= len(rows) - start and _bytes(rows[start : start + size]) <= largest)
        )
        yield rows[start : start + size]
        start += size


def _bytes(rows: Iterable[WideRow]) -> int:
    # Four bytes are the most that a character has in UTF-8.
    return sum(80 + 4 * len(row[5] or "") + len(row[6] or b"") + 4 * len(row[8]) for row in rows)


class Schema:
    """Statements for the tables whose names begin with one prefix.

    Args:
        prefix: Checked to be part of a plain word; may be empty.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._inserts: dict[int, str] = {}
        self._alias = False

    async def prepare(self, connection: Connection, patience: float) -> None:
        """Make the tables unless they are there.

        Args:
            connection: To the database.
            patience: Seconds to wait for somebody else who is making them.

        Raises:
            ConfigError: They are of another version, or not whole.
        """
        ((version,),) = await run(connection, "SELECT version()")
        # MySQL has given up VALUES() in favour of an alias, which MariaDB does not know.
        self._alias = "mariadb" not in str(version).lower()
        self._inserts.clear()
        if not await self._missing(connection):
            return
        ((got,),) = await run(connection, "SELECT get_lock(%s, %s)", _LOCK, patience)
        if not got:
            raise UnavailableError("somebody else has been making the tables for too long")
        try:
            for name in await self._missing(connection):
                await run(connection, _TABLES[name].format(prefix=self._prefix))
                if name == "version":
                    await run(
                        connection,
                        f"INSERT INTO {self._prefix}version VALUES (%s)",  # noqa: S608 - checked
                        SCHEMA_VERSION,
                    )
        finally:
            await run(connection, "SELECT release_lock(%s)", _LOCK)

    async def numbers(
        self, connection: Connection, wanted: Sequence[Identity]
    ) -> Mapping[Identity, int]:
        """Give the number of each source; new ones get one."""
        digests = {_digest(source): source for source in wanted}
        found = await self._known(connection, list(digests))
        for digest, source in digests.items():
            if digest not in found:
                await run(
                    connection,
                    f"INSERT INTO {self._prefix}sources"  # noqa: S608 - checked
                    " (digest, namespace, device, property, type, unit)"
                    " VALUES (%s, %s, %s, %s, %s, %s) ON DUPLICATE KEY UPDATE id = id",
                    *(digest, *source),
                )
        if len(found) < len(digests):
            found = await self._known(connection, list(digests))
        return {source: found[digest] for digest, source in digests.items()}

    def insert(self, rows: int) -> str:
        """Give the statement that adds so many samples; one that is there is replaced."""
        if rows not in self._inserts:
            row = f"(%s, {_TIME}, {', '.join(['%s'] * len(_CELLS))})"
            new = "new.{}" if self._alias else "VALUES({})"
            changed = ", ".join(f"{cell} = {new.format(cell)}" for cell in _CELLS)
            self._inserts[rows] = (
                f"INSERT INTO {self._prefix}samples (source, time, {', '.join(_CELLS)})"  # noqa: S608 - checked
                f" VALUES {', '.join([row] * rows)}{' AS new' * self._alias}"
                f" ON DUPLICATE KEY UPDATE {changed}"
            )
        return self._inserts[rows]

    async def delete(self, connection: Connection, cutoff: int, most: int) -> bool:
        """Delete samples from before a time in microseconds; say whether there may be more."""
        samples = f"{self._prefix}samples"
        old = await run(
            connection,
            f"SELECT id FROM {self._prefix}sources s WHERE EXISTS (SELECT 1 FROM {samples}"  # noqa: S608 - checked
            f" WHERE source = s.id AND time < {_TIME}) LIMIT {_SOURCES}",
            cutoff,
        )
        left = most
        for (source,) in old:
            async with connection.cursor() as cursor:
                await cursor.execute(
                    f"DELETE FROM {samples} WHERE source = %s AND time < {_TIME}"  # noqa: S608 - checked
                    " ORDER BY time LIMIT %s",
                    (source, cutoff, left),
                )
                left -= int(str(cursor.rowcount))
            if left <= 0:
                return True
        return len(old) == _SOURCES

    async def _known(self, connection: Connection, digests: Sequence[bytes]) -> dict[bytes, int]:
        marks = ", ".join(["%s"] * len(digests))
        rows = await run(
            connection,
            f"SELECT digest, id FROM {self._prefix}sources WHERE digest IN ({marks})",  # noqa: S608 - checked
            *digests,
        )
        return dict(rows)

    async def _missing(self, connection: Connection) -> Sequence[str]:
        """Give what is to be made, in order.

        Raises:
            ConfigError: The tables are of another version, or not whole.
        """
        rows = await run(
            connection,
            "SELECT table_name FROM information_schema.tables WHERE table_schema = database()",
        )
        there = {str(name) for (name,) in rows}
        missing = [name for name in _TABLES if f"{self._prefix}{name}" not in there]
        if "version" not in missing:
            ((version,),) = await run(
                connection,
                f"SELECT max(version) FROM {self._prefix}version",  # noqa: S608 - checked
            )
            if version not in (None, SCHEMA_VERSION):
                raise ConfigError(
                    f"the tables {self._prefix}... have version {version}, this program knows"
                    f" {SCHEMA_VERSION}: set another prefix, or use the dmi-toolkit that made them"
                )
        if "sources" in missing and "samples" not in missing:
            raise ConfigError(
                f"table {self._prefix}samples is there but {self._prefix}sources is gone, so"
                " nobody knows of what the samples are: restore it, or drop the samples too"
            )
        return missing


def _digest(source: Identity) -> bytes:
    return hashlib.sha256(orjson.dumps(list(source))).digest()

"""The PostgreSQL sink's tables and statements; tables are made once, by whoever comes first."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

from dmi.errors import ConfigError
from mapper_sdk.sinks.tables import SCHEMA_VERSION, Identity

__all__ = ["Connection", "Schema"]

_LOCK: Final = 0x646D_6933
"""Whoever makes tables holds this advisory lock of the database."""

_TABLES: Final = """
CREATE SCHEMA IF NOT EXISTS {schema};
CREATE TABLE IF NOT EXISTS {schema}.version (version integer PRIMARY KEY);
CREATE TABLE IF NOT EXISTS {schema}.sources (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  namespace text NOT NULL, device text NOT NULL, property text NOT NULL,
  type text NOT NULL, unit text NOT NULL,
  UNIQUE (namespace, device, property, type, unit)
);
CREATE TABLE IF NOT EXISTS {schema}.samples (
  source integer NOT NULL REFERENCES {schema}.sources,
  quality smallint NOT NULL,
  time timestamptz NOT NULL,
  value_int bigint, value_double double precision, value_bool boolean,
  value_text text, value_bytes bytea,
  reason text NOT NULL,
  PRIMARY KEY (source, time)
);
CREATE OR REPLACE VIEW {schema}.readings AS
SELECT s.namespace, s.device, s.property, s.type, s.unit, r.time,
  coalesce(r.value_double, r.value_int, r.value_bool::int) AS value,
  r.value_int, r.value_double, r.value_bool, r.value_text, r.value_bytes,
  CASE r.quality WHEN 0 THEN 'GOOD' WHEN 1 THEN 'UNCERTAIN' ELSE 'BAD' END AS quality, r.reason
FROM {schema}.sources s JOIN {schema}.samples r ON r.source = s.id;
INSERT INTO {schema}.version VALUES ({version}) ON CONFLICT DO NOTHING;
"""
_NAMES: Final = ("version", "sources", "samples", "readings")
_TIME: Final = "'epoch'::timestamptz + {} * interval '1 microsecond'"
_IDENTITY: Final = "unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])"


class Transaction(AbstractAsyncContextManager[object], Protocol):
    """A block that is committed at its end, or undone by an error."""


class Connection(Protocol):
    """What is used of asyncpg's connection, which has no annotations of its own."""

    async def execute(self, query: str, *arguments: object) -> str:
        """Run statements; give PostgreSQL's word for what was done, as `DELETE 5`."""

    async def fetch(self, query: str, *arguments: object) -> Sequence[Sequence[object]]:
        """Run a query; give its rows."""

    async def fetchval(self, query: str, *arguments: object) -> object:
        """Run a query; give the first column of its first row, None without one."""

    def transaction(self) -> AbstractAsyncContextManager[object]:
        """Begin a transaction for the block."""

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - theirs
        """Take leave of the server."""

    def terminate(self) -> None:
        """Drop the connection."""


class Schema:
    """Statements for the tables in one PostgreSQL schema.

    Args:
        name: Of the schema; checked to be a plain word.

    Attributes:
        insert: Adds samples; nine arrays. A sample that is there already is left as it is.
        delete: Deletes what is older than $1, at most $2 samples.
        drop_chunks: The same for a TimescaleDB hypertable: whole chunks, by $1.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._quoted = quoted = f'"{name}"'
        cells = "value_int, value_double, value_bool, value_text, value_bytes, quality, reason"
        changed = ", ".join(f"{cell} = excluded.{cell}" for cell in cells.split(", "))
        theirs = ", ".join(f"r.{cell}" for cell in cells.split(", "))
        ours = ", ".join(f"excluded.{cell}" for cell in cells.split(", "))
        self.insert = (
            f"INSERT INTO {quoted}.samples AS r (source, time, {cells})"  # noqa: S608 - checked
            f" SELECT source, {_TIME.format('micros')}, {cells} FROM unnest($1::int[],"
            " $2::bigint[], $3::bigint[], $4::double precision[], $5::boolean[], $6::text[],"
            f" $7::bytea[], $8::smallint[], $9::text[]) AS b (source, micros, {cells})"
            f" ON CONFLICT (source, time) DO UPDATE SET {changed}"
            f" WHERE ({theirs}) IS DISTINCT FROM ({ours})"
        )
        self.delete = (
            f"DELETE FROM {quoted}.samples WHERE ctid = ANY (ARRAY(SELECT r.ctid"  # noqa: S608 - checked
            f" FROM {quoted}.sources s CROSS JOIN LATERAL (SELECT ctid FROM {quoted}.samples"
            " WHERE source = s.id AND time < $1::timestamptz ORDER BY time LIMIT $2) r LIMIT $2))"
        )
        self.drop_chunks = f"SELECT drop_chunks('{quoted}.samples', older_than => $1::timestamptz)"
        self._find = (
            "SELECT s.id, w.* FROM"  # noqa: S608 - checked
            f" {_IDENTITY} AS w (namespace, device, property, type, unit)"
            f" JOIN {quoted}.sources s USING (namespace, device, property, type, unit)"
        )
        self._add = (
            f"INSERT INTO {quoted}.sources (namespace, device, property, type, unit)"  # noqa: S608 - checked
            f" SELECT * FROM {_IDENTITY} ON CONFLICT DO NOTHING"
        )

    async def prepare(self, connection: Connection) -> bool:
        """Make the tables unless they are there; say whether samples are a hypertable.

        Raises:
            ConfigError: They are of another version, or not whole.
        """
        if not await self._complete(connection):
            async with connection.transaction():
                await connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
                if not await self._complete(connection):
                    await self._make(connection)
        return await self._timescale(connection) and bool(
            await connection.fetchval(
                "SELECT count(*) FROM timescaledb_information.hypertables"
                " WHERE hypertable_schema = $1 AND hypertable_name = 'samples'",
                self._name,
            )
        )

    async def numbers(
        self, connection: Connection, wanted: Sequence[Identity]
    ) -> Mapping[Identity, int]:
        """Give the number of each source; new ones get one."""
        found = await self._known(connection, wanted)
        missing = [source for source in wanted if source not in found]
        if missing:
            await connection.execute(self._add, *map(list, zip(*missing, strict=True)))
            found |= await self._known(connection, missing)
        return found

    async def _known(
        self, connection: Connection, wanted: Sequence[Identity]
    ) -> dict[Identity, int]:
        rows = await connection.fetch(self._find, *map(list, zip(*wanted, strict=True)))
        return {
            Identity(*map(str, names)): number for number, *names in rows if isinstance(number, int)
        }

    async def _complete(self, connection: Connection) -> bool:
        """Whether all tables are there, in our version."""
        names = [f"{self._quoted}.{name}" for name in _NAMES]
        rows = await connection.fetch(
            "SELECT to_regclass(name) IS NOT NULL FROM unnest($1::text[]) AS n (name)", names
        )
        version, sources, samples, readings = (bool(there) for (there,) in rows)
        if version:
            known = await connection.fetchval(f"SELECT max(version) FROM {self._quoted}.version")  # noqa: S608 - checked
            if known not in (None, SCHEMA_VERSION):
                raise ConfigError(
                    f"the tables in schema {self._name} have version {known}, this program knows"
                    f" {SCHEMA_VERSION}: name another schema, or use the dmi-toolkit that made them"
                )
        if samples and not sources:
            raise ConfigError(
                f"table {self._name}.samples is there but `sources` is gone, so nobody knows of"
                " what the samples are: restore it, or drop `samples` too"
            )
        return version and sources and samples and readings

    async def _make(self, connection: Connection) -> None:
        made = await connection.fetchval(
            "SELECT to_regclass($1) IS NULL", f"{self._quoted}.samples"
        )
        await connection.execute(_TABLES.format(schema=self._quoted, version=SCHEMA_VERSION))
        # Only an empty table: moving many rows into chunks would hold everybody up.
        if made and await self._timescale(connection):
            await connection.execute(
                f"SELECT create_hypertable('{self._quoted}.samples', 'time', if_not_exists => true)"
            )

    async def _timescale(self, connection: Connection) -> bool:
        return bool(
            await connection.fetchval(
                "SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'"
            )
        )

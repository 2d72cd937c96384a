"""The sink to PostgreSQL: a batch is one statement, sent as columns."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, ClassVar, Final

import asyncpg  # type: ignore[import-untyped]
from pydantic import AfterValidator, BaseModel, Field

from dmi.errors import DmiError, UnavailableError
from dmi.readings import Value
from mapper_sdk.delivery.sink import Item, Sink
from mapper_sdk.sinks.postgresql.errors import FAILURES, opening_failed, sending_failed
from mapper_sdk.sinks.postgresql.schema import Connection, Schema
from mapper_sdk.sinks.sql_servers import (
    SqlServer,
    checked_place,
    context_of,
    deadline,
    password_of,
    place_of,
)
from mapper_sdk.sinks.tables import Pace, Row, Sources, SqlPlace, make_rows, portions, widen

__all__ = ["PostgresqlSink", "PostgresqlTarget"]

log = logging.getLogger(__name__)

_PORT: Final = 5432
_SLICE: Final = 10_000
_GOODBYE: Final = 1.0
_LARGEST: Final = 16 * 2**20
"""Text and bytes of one statement; the server's own limit is 1 GiB."""


class PostgresqlTarget(SqlServer):
    """A PostgreSQL server, version 12 or newer, and a database on it."""

    address: Annotated[str, AfterValidator(checked_place(_PORT))] = Field(
        description="`HOST:PORT` of the server, port 5432 without one; or the folder of its Unix"
        " socket, such as `/var/run/postgresql`."
    )
    db_schema: str = Field(
        default="dmi",
        alias="schema",
        pattern=r"^[a-z_][a-z0-9_]{0,62}$",
        description="Schema that the tables are in; made when missing and allowed.",
    )


class PostgresqlSink(Sink[PostgresqlTarget, SqlPlace]):
    """One connection. Makes its tables once, and a TimescaleDB hypertable where it can."""

    kind: ClassVar[str] = "postgresql"
    target_model: ClassVar[type[BaseModel]] = PostgresqlTarget
    place_model: ClassVar[type[BaseModel]] = SqlPlace

    def __init__(self, target: PostgresqlTarget) -> None:
        """Keep the settings; reach nobody yet."""
        super().__init__(target)
        self._name = f"postgresql {target.address}"
        self._schema = Schema(target.db_schema)
        self._connection: Connection | None = None
        self._sources = Sources()
        self._pace = Pace()
        self._hypertable = False
        self._sound = True

    async def open(self) -> None:
        """Connect, and make the tables unless they are there.

        Raises:
            ConfigError: Login, database, permission, version or certificate are not right.
            UnavailableError: The server cannot be reached now.
        """
        if self._connection is not None:
            return
        password = await asyncio.to_thread(password_of, self.target)
        context = await asyncio.to_thread(context_of, self.target)
        host, port = place_of(self.target.address, _PORT)
        try:
            async with deadline(self.target.timeout, self._name):
                connection = await asyncpg.connect(
                    host=host,
                    port=port,
                    user=self.target.username or None,
                    password=password,
                    database=self.target.database,
                    ssl=context or False,
                    timeout=None,
                    server_settings={"application_name": "dmi-toolkit"},
                )
        except FAILURES as error:
            raise opening_failed(error, self._name) from error
        self._connection, self._sources, self._sound = connection, Sources(), False
        try:
            async with deadline(self.target.timeout, self._name):
                self._hypertable = await self._schema.prepare(connection)
        except FAILURES as error:
            await self.close()
            raise opening_failed(error, self._name) from error
        except DmiError:
            await self.close()
            raise
        self._sound = True

    async def send(self, items: Sequence[Item[SqlPlace]]) -> Mapping[int, DmiError]:
        """Commit them in one statement, or several where values are very large.

        Now and then, a slice of what is too old is deleted.

        Raises:
            UnavailableError: The server does not answer, is busy or full, or was changed.
            ConversionError: It holds one of these readings to be impossible.
        """
        if not items:
            return {}
        async with self._use() as connection:
            unknown = self._sources.unknown(items)
            if unknown:
                numbers = await self._schema.numbers(connection, list(unknown))
                for source, routes in unknown.items():
                    self._sources.learn(routes, numbers[source])
            rows, refused = make_rows(items, self._sources, _problem)
            for part in portions(rows, _LARGEST):
                await connection.execute(self._schema.insert, *_columns(part))
        if self.target.keep_days is not None and self._pace.due():
            await self._expire(self.target.keep_days)
        return refused

    async def close(self) -> None:
        """Take leave of the server, or just go when it did not answer."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._sound:
            with suppress(*FAILURES):
                await connection.close(timeout=_GOODBYE)
        connection.terminate()

    @asynccontextmanager
    async def _use(self) -> AsyncIterator[Connection]:
        if self._connection is None:
            raise UnavailableError(f"{self._name} is not connected")
        sound, self._sound = self._sound, False  # until it is known to have ended well
        try:
            async with deadline(self.target.timeout, self._name):
                yield self._connection
        except asyncpg.PostgresError as error:
            self._sound = sound
            raise sending_failed(error, self._name) from error
        except FAILURES as error:
            raise sending_failed(error, self._name) from error
        self._sound = sound

    async def _expire(self, days: float) -> None:
        """Delete a slice; a failure is told and does not undo what was sent."""
        cutoff = datetime.now(UTC) - timedelta(days=days)
        self._pace.done(more=False)
        try:
            async with self._use() as connection:
                if self._hypertable:
                    await connection.execute(self._schema.drop_chunks, cutoff)
                    return
                done = await connection.execute(self._schema.delete, cutoff, _SLICE)
        except DmiError as error:
            log.warning("sink %s: old readings stay for now: %s", self._name, error)
        else:
            self._pace.done(more=int(done.rpartition(" ")[2]) >= _SLICE)


def _columns(rows: Sequence[Row]) -> list[list[object]]:
    return [list(column) for column in zip(*map(widen, rows), strict=True)]


def _problem(value: Value) -> str:
    impossible = isinstance(value, str) and "\0" in value
    return "PostgreSQL has no text with the character NUL" if impossible else ""

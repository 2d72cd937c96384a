"""The sink to MariaDB and MySQL: a batch is one transaction of a few statements with many rows."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any, ClassVar, Final

import asyncmy
from asyncmy.connection import Connection
from asyncmy.errors import OperationalError
from pydantic import AfterValidator, BaseModel, Field

from dmi.errors import ConfigError, DmiError, UnavailableError
from dmi.readings import Value
from dmi.resources import DbMySQL, Resource
from mapper_sdk.delivery.sink import Item, Sink
from mapper_sdk.sinks.mysql.errors import FAILURES, opening_failed, sending_failed
from mapper_sdk.sinks.mysql.schema import Schema, divided, run
from mapper_sdk.sinks.sql_servers import (
    SqlServer,
    checked_place,
    context_of,
    deadline,
    password_of,
    place_of,
)
from mapper_sdk.sinks.tables import (
    MICROSECONDS,
    Pace,
    Row,
    Sources,
    SqlPlace,
    infinity,
    make_rows,
    widen,
)

__all__ = ["MysqlSink", "MysqlTarget"]

log = logging.getLogger(__name__)

_PORT: Final = 3306
_DAY: Final = 86_400.0
_PAUSE: Final = 300.0
_SLICE: Final = 10_000
_GOODBYE: Final = 1.0
_PREPARED: Final = 16
_HEAD: Final = 4096
"""What a statement needs of a packet besides its values, at most."""

_MODE: Final = "'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'"
"""Whatever the server's own is: a value that does not fit is refused, never bent."""


class _Refusal:
    """Refuses a way to log in that would tell the password to whoever answers or listens."""

    def __init__(self, connection: Connection) -> None:
        raise OperationalError(
            2059,
            "the server asks for the password as it is: set tls, or let the user log in another"
            " way than by mysql_clear_password, mysql_old_password or dialog",
        )


_REFUSED: Final = dict.fromkeys(("mysql_old_password", "dialog"), _Refusal)
_REFUSED_IN_PLAIN: Final = _REFUSED | {"mysql_clear_password": _Refusal}


class MysqlTarget(SqlServer):
    """A MariaDB server from 10.5 or MySQL server from 8.0.19, and a database on it."""

    address: Annotated[str, AfterValidator(checked_place(_PORT))] = Field(
        description="`HOST:PORT` of the server, port 3306 without one; or the path of its Unix"
        " socket, such as `/run/mysqld/mysqld.sock`."
    )
    prefix: str = Field(
        default="dmi_",
        pattern=r"^[a-z0-9_]{0,32}$",
        description="Begins the names of the tables, which are made when missing.",
    )


class MysqlSink(Sink[MysqlTarget, SqlPlace]):
    """One connection. Makes its tables once; values never become part of a statement's text."""

    kind: ClassVar[str] = "mysql"
    target_model: ClassVar[type[BaseModel]] = MysqlTarget
    place_model: ClassVar[type[BaseModel]] = SqlPlace

    def __init__(self, target: MysqlTarget) -> None:
        """Keep the settings; reach nobody yet."""
        super().__init__(target)
        self._name = f"mysql {target.address}"
        self._schema = Schema(target.prefix)
        self._connection: Connection | None = None
        self._sources = Sources()
        self._pace = Pace(_PAUSE)
        self._largest = 0
        self._sound = True

    @classmethod
    def pushed(cls, declared: Resource) -> tuple[dict[str, Any], dict[str, Any]]:
        """Read `dbMethod.mysql`; the tables are ours, KubeEdge's layout is not kept."""
        if not isinstance(declared, DbMySQL):
            return super().pushed(declared)
        client = declared.mysql_client_config
        target = {"address": client.addr, "database": client.database}
        return target | ({"username": client.user_name} if client.user_name else {}), {}

    async def open(self) -> None:
        """Connect, and make the tables unless they are there.

        Raises:
            ConfigError: Login, database, permission, version or certificate are not right.
            UnavailableError: The server cannot be reached now.
        """
        if self._connection is not None:
            return
        try:
            async with deadline(self.target.timeout, self._name):
                self._connection, self._sound = await self._connect(), False
                await self._prepare(self._connection)
        except FAILURES as error:
            await self.close()
            raise opening_failed(error, self._name) from error
        except DmiError:
            await self.close()
            raise
        self._sources, self._sound = Sources(), True

    async def send(self, items: Sequence[Item[SqlPlace]]) -> Mapping[int, DmiError]:
        """Commit them in one transaction, and now and then delete a slice of what is too old.

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
            rows, refused = make_rows(items, self._sources, self._problem)
            await self._insert(connection, rows)
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
                async with asyncio.timeout(_GOODBYE):
                    await connection.ensure_closed()
        connection.close()

    async def _connect(self) -> Connection:
        target = self.target
        password = await asyncio.to_thread(password_of, target)
        context = await asyncio.to_thread(context_of, target)
        host, port = place_of(target.address, _PORT)
        by_socket = host.startswith("/")
        try:
            return await asyncmy.connect(
                host="localhost" if by_socket else host,
                port=port,
                unix_socket=host if by_socket else None,
                user=target.username or None,
                password=(password or "").encode(),
                database=target.database,
                ssl=context,
                auth_plugin_map=_REFUSED if by_socket or context else _REFUSED_IN_PLAIN,
                charset="utf8mb4",
                sql_mode=_MODE,
                autocommit=True,
                stmt_cache_size=_PREPARED,
                program_name="dmi-toolkit",
            )
        except RuntimeError as error:  # a way to log in that needs one more library
            raise ConfigError(f"{self._name}: {error}") from error

    async def _prepare(self, connection: Connection) -> None:
        ((largest,),) = await run(connection, "SELECT @@max_allowed_packet")
        self._largest = int(largest) - _HEAD
        await self._schema.prepare(connection, self.target.timeout)

    async def _insert(self, connection: Connection, rows: Sequence[Row]) -> None:
        await connection.begin()
        for part in divided([widen(row) for row in rows], self._largest // 2):
            values = [cell for row in part for cell in row]
            await run(connection, self._schema.insert(len(part)), *values)
        await connection.commit()

    @asynccontextmanager
    async def _use(self) -> AsyncIterator[Connection]:
        if self._connection is None:
            raise UnavailableError(f"{self._name} is not connected")
        connection, sound, self._sound = self._connection, self._sound, False
        try:
            async with deadline(self.target.timeout, self._name):
                try:
                    yield connection
                except FAILURES:
                    await connection.rollback()
                    self._sound = sound  # it still answers
                    raise
        except FAILURES as error:
            raise sending_failed(error, self._name) from error
        self._sound = sound

    async def _expire(self, days: float) -> None:
        """Delete a slice; a failure is told and does not undo what was sent."""
        cutoff = round((time.time() - days * _DAY) * MICROSECONDS)
        self._pace.done(more=False)
        try:
            async with self._use() as connection:
                more = await self._schema.delete(connection, cutoff, _SLICE)
        except DmiError as error:
            log.warning("sink %s: old readings stay for now: %s", self._name, error)
        else:
            self._pace.done(more=more)

    def _problem(self, value: Value) -> str:
        if isinstance(value, (str, bytes)):
            size = len(value.encode()) if isinstance(value, str) else len(value)
            if size > self._largest:
                return f"its {size} bytes are more than the server's max_allowed_packet takes"
            return ""
        return infinity(value)

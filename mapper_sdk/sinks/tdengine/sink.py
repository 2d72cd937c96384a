"""TDengine 3, by the REST interface of its taosAdapter: SQL in the body of a POST.

A row is known by its table and time, and a later one replaces it: a batch that is sent again
changes nothing.
"""

import asyncio
import base64
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final

import aiohttp
from pydantic import AfterValidator, Field

from dmi.errors import ConfigError, ConversionError, DmiError, UnavailableError
from dmi.resources import DbTDEngine, Resource
from dmi.secret_refs import SecretRef, read_secret
from mapper_sdk.delivery.sink import Item, Settings, Sink
from mapper_sdk.sinks.addresses import checked_address
from mapper_sdk.sinks.http_answers import failure
from mapper_sdk.sinks.tdengine.answers import TDengineError, rows_of, translated
from mapper_sdk.sinks.tdengine.sql import Row, Table, inserts, precision_of, schema
from mapper_sdk.sinks.tls import Tls, make_context

__all__ = ["TDenginePlace", "TDengineSink", "TDengineTarget"]

_PORT: Final = 6041
_LONGEST_STATEMENT: Final = 512 * 1024  # the server's own limit is 1 MiB by default
_MICROSECONDS: Final[Mapping[str, tuple[int, int]]] = {
    "ms": (1, 1000),
    "us": (1, 1),
    "ns": (1000, 1),
}


class TDengineTarget(Settings):
    """A taosAdapter and a database behind it."""

    address: Annotated[str, AfterValidator(checked_address(_PORT))] = Field(
        description="`HOST:PORT` of the taosAdapter; port 6041 without one."
    )
    database: str = Field(
        pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$",
        description="Name of the database, in TDengine always in small letters. KubeEdge:"
        " `dbName`.",
    )
    create: bool = Field(
        default=True, description="Make the database, with microseconds, where it is not there."
    )
    username: str = Field(default="root", description="Name of the user.")
    password: SecretRef | None = Field(
        default=None, description="Where the password is: `env:NAME` or `file:/path`."
    )
    timeout: float = Field(
        default=10.0,
        gt=0,
        le=300,
        description="How long one request may take.",
        json_schema_extra={"unit": "s"},
    )
    tls: Tls | None = Field(
        default=None, description="TLS, see [TLS](#tls): of an adapter with `https`."
    )


class TDenginePlace(Settings):
    """Where readings go: the tables are the target's, so nothing is to choose."""


class TDengineSink(Sink[TDengineTarget, TDenginePlace]):
    """Writes to one database, many rows in a statement."""

    kind: ClassVar[str] = "tdengine"
    target_model = TDengineTarget
    place_model = TDenginePlace

    def __init__(self, target: TDengineTarget) -> None:
        super().__init__(target)
        self._session: aiohttp.ClientSession | None = None
        self._unit = _MICROSECONDS["us"]

    @classmethod
    def pushed(cls, declared: Resource) -> tuple[dict[str, Any], dict[str, Any]]:
        """Read `dbMethod.TDEngine`."""
        if not isinstance(declared, DbTDEngine):
            return super().pushed(declared)
        config = declared.client_config
        return {"address": config.addr, "database": config.db_name}, {}

    async def open(self) -> None:
        """See `Sink.open`. Makes the database and its supertables, once."""
        target = self.target
        headers = {}
        if target.password:
            password = await asyncio.to_thread(read_secret, target.password)
            token = f"{target.username}:{password}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(token).decode('ascii')}"
        context = await asyncio.to_thread(make_context, target.tls) if target.tls else True
        self._session = aiohttp.ClientSession(
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=target.timeout),
            connector=aiohttp.TCPConnector(ssl=context),
        )
        try:
            await self._prepare()
        except TDengineError as error:
            await self.close()
            problem = translated(error)
            raise (problem if problem.retryable else ConfigError(str(error))) from error
        except DmiError:
            await self.close()
            raise

    async def _prepare(self) -> None:
        name = self.target.database.lower()
        if self.target.create:
            await self._run(f"CREATE DATABASE IF NOT EXISTS `{name}` PRECISION 'us'", "")
        found = await self._run(precision_of(name), "")
        if not found or found[0][0] not in _MICROSECONDS:
            raise ConfigError(f"TDengine has no database {name!r}, or of an unknown precision")
        self._unit = _MICROSECONDS[found[0][0]]
        for statement in schema():
            await self._run(statement, name)

    async def send(self, items: Sequence[Item[TDenginePlace]]) -> Mapping[int, DmiError]:
        """See `Sink.send`. What was written before an error is written again, to the same rows."""
        rows, failed = self._rows(items)
        for statement, indexes in inserts(rows, _LONGEST_STATEMENT):
            try:
                await self._run(statement, self.target.database.lower())
            except TDengineError as error:
                problem = translated(error)
                if len(indexes) > 1 or problem.retryable or isinstance(problem, ConfigError):
                    raise problem from error
                failed[indexes[0]] = problem
        return failed

    def _rows(
        self, items: Sequence[Item[TDenginePlace]]
    ) -> tuple[Sequence[Row], dict[int, DmiError]]:
        rows: list[Row] = []
        failed: dict[int, DmiError] = {}
        times, by = self._unit
        for index, (route, reading) in enumerate(items):
            try:
                table = route.cache
                if not isinstance(table, Table):
                    table = route.cache = Table(route.source)
                moment = round(reading.time * 1e6 / by) * times
                rows.append(Row.make(index, table, reading, moment))
            except ConversionError as error:
                failed[index] = error
        return rows, failed

    async def _run(self, statement: str, database: str) -> list[list[Any]]:
        """Run a statement and give the rows of its answer.

        Raises:
            TDengineError: The server says that it could not.
            DmiError: There was no such answer.
        """
        if self._session is None:
            raise UnavailableError("not open")
        scheme = "https" if self.target.tls else "http"
        url = f"{scheme}://{self.target.address}/rest/sql/{database}".rstrip("/")
        try:
            async with self._session.post(
                url, data=statement.encode(), allow_redirects=False
            ) as response:
                said = await response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise failure(error) from error
        return rows_of(response.status, said)

    async def close(self) -> None:
        """See `Sink.close`."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

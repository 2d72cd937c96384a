"""Redis: streams of readings, the latest of each property, channels, KubeEdge's sorted set.

A repetition is told apart on the server, by small scripts: a stream takes each reading
once, and the latest value never goes back in time, in whatever order readings arrive (live
ones overtake those that were kept while Redis was away).
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final

import orjson
import redis.asyncio as aioredis
from pydantic import AfterValidator, Field, model_validator
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from dmi.errors import (
    ConfigError,
    ConversionError,
    DeadlineError,
    DmiError,
    OverloadedError,
    RefusedError,
    UnavailableError,
)
from dmi.readings import Reading, Value
from dmi.resources import DbRedis, Resource
from dmi.secret_refs import SecretRef, read_secret
from dmi.values import format_value
from mapper_sdk.delivery.sink import Item, Route, Settings, Sink, Source
from mapper_sdk.sinks.addresses import checked_address, host_and_port
from mapper_sdk.sinks.payloads import QUALITIES, Template, checked_template, reading_json
from mapper_sdk.sinks.redis_scripts import ADD_ONCE, ADD_TO_SET, SET_IF_NEWER
from mapper_sdk.sinks.tls import Tls

__all__ = ["Layout", "RedisPlace", "RedisSink", "RedisTarget"]

_log = logging.getLogger(__name__)

_PORT: Final = 6379
_REMEMBER_LATE: Final = 86_400  # seconds that a reading which came late is known for
_NAMES: Final = ("namespace", "device", "property")


class Layout(StrEnum):
    """What a reading becomes in Redis."""

    STREAM = "stream"
    LATEST = "latest"
    PUBLISH = "publish"
    ZSET = "zset"


_KEYS: Final[Mapping[Layout, str]] = {
    Layout.STREAM: "dmi:{namespace}:{device}:{property}",
    Layout.LATEST: "dmi:latest:{namespace}:{device}:{property}",
    Layout.PUBLISH: "dmi:{namespace}:{device}:{property}",
    Layout.ZSET: "{device}",
}


class RedisTarget(Settings):
    """A Redis server, version 6.2 or newer, and one of its databases. Not a cluster."""

    address: Annotated[str, AfterValidator(checked_address(_PORT))] = Field(
        description="`HOST:PORT` of the server; port 6379 without one."
    )
    db: int = Field(default=0, ge=0, description="Number of the database.")
    username: str = Field(default="", description="Name of the ACL user; `default` without one.")
    password: SecretRef | None = Field(
        default=None, description="Where the password is: `env:NAME` or `file:/path`."
    )
    tls: Tls | None = Field(
        default=None, description="TLS, see [TLS](#tls): of a server that listens with TLS."
    )
    timeout: float = Field(
        default=5.0,
        gt=0,
        le=300,
        description="How long to wait for the server.",
        json_schema_extra={"unit": "s"},
    )

    @model_validator(mode="after")
    def _possible(self) -> "RedisTarget":
        if self.tls and self.tls.server_name:
            raise ValueError("redis: the client cannot check another name than the address's")
        return self


class RedisPlace(Settings):
    """What one property's readings become, and under which key."""

    layout: Layout = Field(
        default=Layout.STREAM,
        description="`stream`: an entry for each reading. `latest`: a hash that holds the newest."
        " `publish`: JSON to a channel. `zset`: KubeEdge's sorted set, JSON by time.",
    )
    key: Annotated[str, AfterValidator(checked_template)] = Field(
        default="",
        description="Template of the key or channel; without it"
        " `dmi:{namespace}:{device}:{property}`, for the hash `dmi:latest:...`, for KubeEdge's"
        " sorted set `{device}`.",
    )
    length: int = Field(
        default=10_000,
        ge=1,
        description="Entries that a stream (about) or a sorted set keeps; the oldest go first.",
    )


class _Way:
    """What is the same for all readings of one route."""

    __slots__ = ("key", "names", "place", "source")

    def __init__(self, route: Route[RedisPlace]) -> None:
        self.source, self.place = route.source, route.place
        template = Template(route.place.key or _KEYS[route.place.layout])
        self.key = template.fill(route.source, _key_part)
        names = (*route.source.device, route.source.property)
        self.names: list[str | bytes] = []
        for name, value in zip(_NAMES, names, strict=True):
            if name not in template.fields:
                self.names += [name, value]
        self.names += ["type", route.source.type.value]

    def fields(self, reading: Reading) -> list[str | bytes]:
        """A reading as names and values in turn; Redis knows text and bytes only."""
        fields = [*self.names, "time", f"{reading.time:.6f}"]
        if reading.value is not None:
            fields += ["value", _text(reading.value)]
        fields += ["quality", QUALITIES[reading.quality]]
        return [*fields, "reason", reading.reason] if reading.reason else fields


def _key_part(name: str) -> str:
    return name.replace("%", "%25").replace(":", "%3A")


def _text(value: Value) -> str | bytes:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, (str, bytes)) else repr(value)


def _kubeedge_json(source: Source, reading: Reading, value: Value) -> bytes:
    """One member of KubeEdge's sorted set.

    Source:
        mapper-framework `data/dbmethod/redis` and `pkg/common` (DataModel).
    """
    return orjson.dumps(
        {
            "DeviceName": source.device.name,
            "PropertyName": source.property,
            "Namespace": source.device.namespace,
            "Value": format_value(value, source.type),
            "Type": source.type.value.lower(),
            "TimeStamp": round(reading.time * 1000),
        }
    )


Command = tuple[str | bytes | int | float, ...]


class RedisSink(Sink[RedisTarget, RedisPlace]):
    """Writes to one database, over one connection, each batch in one exchange."""

    kind: ClassVar[str] = "redis"
    target_model = RedisTarget
    place_model = RedisPlace

    def __init__(self, target: RedisTarget) -> None:
        super().__init__(target)
        self._redis: aioredis.Redis | None = None
        self._add_once = self._set_if_newer = self._add_to_set = ""
        self._writers: Mapping[Layout, Callable[[_Way, Reading], Command | None]] = {
            Layout.STREAM: self._stream,
            Layout.LATEST: self._latest,
            Layout.PUBLISH: self._publish,
            Layout.ZSET: self._zset,
        }

    @classmethod
    def pushed(cls, declared: Resource) -> tuple[dict[str, Any], dict[str, Any]]:
        """Read `dbMethod.redis`. The pool's settings mean nothing: there is one connection."""
        if not isinstance(declared, DbRedis):
            return super().pushed(declared)
        config = declared.redis_client_config
        return {"address": config.addr, "db": config.db}, {}

    async def open(self) -> None:
        """See `Sink.open`."""
        self._redis = self._client()
        try:
            # The first one also logs in; a wrong password shows here.
            self._add_once = await self._redis.script_load(ADD_ONCE)
            self._set_if_newer = await self._redis.script_load(SET_IF_NEWER)
            self._add_to_set = await self._redis.script_load(ADD_TO_SET)
        except (exceptions.RedisError, OSError) as error:
            await self.close()
            problem = _translated(error)
            raise (
                ConfigError(str(problem)) if isinstance(problem, RefusedError) else problem
            ) from error

    def _client(self) -> aioredis.Redis:
        target = self.target
        host, port = host_and_port(target.address, _PORT)
        tls = target.tls or Tls()
        return aioredis.Redis(
            host=host,
            port=port,
            db=target.db,
            username=target.username or None,
            password=read_secret(target.password) if target.password else None,
            socket_timeout=target.timeout,
            socket_connect_timeout=target.timeout,
            retry=Retry(NoBackoff(), 0),  # repeating is the worker's business
            single_connection_client=True,
            client_name="dmi-mapper",
            ssl=target.tls is not None,
            ssl_cert_reqs="none" if tls.insecure else "required",
            ssl_check_hostname=not tls.insecure,
            ssl_ca_certs=str(tls.ca) if tls.ca else None,
            ssl_certfile=str(tls.certificate) if tls.certificate else None,
            ssl_keyfile=str(tls.key) if tls.key else None,
        )

    async def send(self, items: Sequence[Item[RedisPlace]]) -> Mapping[int, DmiError]:
        """See `Sink.send`."""
        commands, indexes, refused = self._commands(items)
        if not commands:
            return refused
        for index, answer in zip(indexes, await self._execute(commands), strict=True):
            if isinstance(answer, Exception):
                error = _translated(answer)
                # What is true of the whole server is not the fault of one reading.
                if error.retryable or isinstance(error, ConfigError):
                    raise error from answer
                refused[index] = error
        return refused

    def _commands(
        self, items: Sequence[Item[RedisPlace]]
    ) -> tuple[list[Command], list[int], dict[int, DmiError]]:
        commands: list[Command] = []
        indexes: list[int] = []
        refused: dict[int, DmiError] = {}
        for index, (route, reading) in enumerate(items):
            way = route.cache
            if not isinstance(way, _Way):
                way = route.cache = _Way(route)
            try:
                command = self._writers[way.place.layout](way, reading)
            except ConversionError as error:
                refused[index] = error
                continue
            if command is not None:
                commands.append(command)
                indexes.append(index)
        return commands, indexes, refused

    async def _execute(self, commands: Sequence[Command]) -> Sequence[object]:
        if self._redis is None:
            raise UnavailableError("not open")
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                for command in commands:
                    pipe.execute_command(*command)
                answers: Sequence[object] = await pipe.execute(raise_on_error=False)
        except (exceptions.RedisError, OSError) as error:
            raise _translated(error) from error
        return answers

    def _stream(self, way: _Way, reading: Reading) -> Command:
        milliseconds, rest = divmod(round(reading.time * 1e6), 1000)
        identity = (str(milliseconds), str(rest * 1000))
        limits = (str(way.place.length), str(_REMEMBER_LATE))
        head = ("EVALSHA", self._add_once, "1", way.key)
        return (*head, *identity, *limits, *way.fields(reading))

    def _latest(self, way: _Way, reading: Reading) -> Command:
        head = ("EVALSHA", self._set_if_newer, "1", way.key, f"{reading.time:.6f}")
        return (*head, *way.fields(reading))

    def _publish(self, way: _Way, reading: Reading) -> Command:
        return ("PUBLISH", way.key, reading_json(way.source, reading))

    def _zset(self, way: _Way, reading: Reading) -> Command | None:
        if reading.value is None:
            return None
        member = _kubeedge_json(way.source, reading, reading.value)
        head = ("EVALSHA", self._add_to_set, "1", way.key, str(way.place.length))
        return (*head, str(round(reading.time * 1000)), member)

    async def close(self) -> None:
        """See `Sink.close`."""
        redis, self._redis = self._redis, None
        if redis is not None:
            try:
                await redis.aclose()
            except (exceptions.RedisError, OSError) as error:
                _log.debug("redis %s: closing: %s", self.target.address, error)


_LATER: Final = ("MISCONF", "NOREPLICAS", "BUSY")
_A_HUMAN: Final = (
    exceptions.AuthenticationError,
    exceptions.AuthorizationError,
    exceptions.AuthenticationWrongNumberOfArgsError,
    exceptions.NoPermissionError,
    exceptions.MovedError,
    exceptions.AskError,
    exceptions.ClusterCrossSlotError,
)
_NOT_NOW: Final = (
    exceptions.ConnectionError,
    exceptions.ReadOnlyError,
    exceptions.NoScriptError,
    exceptions.ClusterDownError,
    exceptions.TryAgainError,
)


def _translated(error: Exception) -> DmiError:
    text = str(error) or type(error).__name__
    # The client hides the error of TLS behind its own; only the text is left.
    if isinstance(error, _A_HUMAN) or "CERTIFICATE_VERIFY_FAILED" in text:
        return ConfigError(text)
    if isinstance(error, exceptions.OutOfMemoryError):
        return OverloadedError(text)
    if isinstance(error, (exceptions.TimeoutError, TimeoutError)):
        return DeadlineError(text)
    if isinstance(error, _NOT_NOW) or text.startswith(_LATER):
        return UnavailableError(text)
    if isinstance(error, OSError):
        return UnavailableError(text)
    return RefusedError(text)

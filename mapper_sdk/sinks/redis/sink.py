"""Redis: streams of readings, the latest of each property, channels, KubeEdge's sorted set.

A repetition is told apart on the server, by small scripts: a stream takes each reading
once, and the latest value never goes back in time, in whatever order readings arrive (live
ones overtake those that were kept while Redis was away).
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

import redis.asyncio as aioredis
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from dmi.errors import ConfigError, ConversionError, DmiError, RefusedError, UnavailableError
from dmi.readings import Reading
from dmi.resources import DbRedis, Resource
from dmi.secret_refs import read_secret
from mapper_sdk.delivery.sink import Item, Sink
from mapper_sdk.sinks.addresses import host_and_port
from mapper_sdk.sinks.payloads import reading_json
from mapper_sdk.sinks.redis.entries import Way, kubeedge_json
from mapper_sdk.sinks.redis.errors import translated
from mapper_sdk.sinks.redis.scripts import ADD_ONCE, ADD_TO_SET, SET_IF_NEWER
from mapper_sdk.sinks.redis.settings import PORT, Layout, RedisPlace, RedisTarget
from mapper_sdk.sinks.tls import Tls

__all__ = ["RedisSink"]

_log = logging.getLogger(__name__)

_REMEMBER_LATE: Final = 86_400  # seconds that a reading which came late is known for

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
        self._writers: Mapping[Layout, Callable[[Way, Reading], Command | None]] = {
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
        ref = self.target.password
        self._redis = self._client(await asyncio.to_thread(read_secret, ref) if ref else None)
        try:
            # The first one also logs in; a wrong password shows here.
            self._add_once = await self._redis.script_load(ADD_ONCE)
            self._set_if_newer = await self._redis.script_load(SET_IF_NEWER)
            self._add_to_set = await self._redis.script_load(ADD_TO_SET)
        except (exceptions.RedisError, OSError) as error:
            await self.close()
            problem = translated(error)
            raise (
                ConfigError(str(problem)) if isinstance(problem, RefusedError) else problem
            ) from error

    def _client(self, password: str | None) -> aioredis.Redis:
        target = self.target
        host, port = host_and_port(target.address, PORT)
        tls = target.tls or Tls()
        return aioredis.Redis(
            host=host,
            port=port,
            db=target.db,
            username=target.username or None,
            password=password,
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
                error = translated(answer)
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
            if not isinstance(way, Way):
                way = route.cache = Way(route)
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
            raise translated(error) from error
        return answers

    def _stream(self, way: Way, reading: Reading) -> Command:
        milliseconds, rest = divmod(round(reading.time * 1e6), 1000)
        identity = (str(milliseconds), str(rest * 1000))
        limits = (str(way.place.length), str(_REMEMBER_LATE))
        head = ("EVALSHA", self._add_once, "1", way.key)
        return (*head, *identity, *limits, *way.fields(reading))

    def _latest(self, way: Way, reading: Reading) -> Command:
        head = ("EVALSHA", self._set_if_newer, "1", way.key, f"{reading.time:.6f}")
        return (*head, *way.fields(reading))

    def _publish(self, way: Way, reading: Reading) -> Command:
        return ("PUBLISH", way.key, reading_json(way.source, reading))

    def _zset(self, way: Way, reading: Reading) -> Command | None:
        if reading.value is None:
            return None
        member = kubeedge_json(way.source, reading, reading.value)
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

"""Kafka: each reading as one JSON message, by an idempotent producer.

The broker tells a repetition apart by producer and sequence, as long as the producer lives:
what the client repeats by itself, over a broker that restarts, arrives once. After `close`
the producer is another one, and readings that the worker sends again may arrive twice.
"""

import asyncio
import logging
import re
import ssl
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final

from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped]  # has no annotations
from aiokafka import errors as kafka
from aiokafka.conn import create_conn  # type: ignore[import-untyped]  # has no annotations
from pydantic import AfterValidator, Field, model_validator

from dmi.errors import (
    ConfigError,
    ConversionError,
    DeadlineError,
    DmiError,
    RefusedError,
    TooLargeError,
    UnavailableError,
)
from dmi.secret_refs import SecretRef, read_secret
from mapper_sdk.delivery.sink import Item, Route, Settings, Sink
from mapper_sdk.sinks.addresses import checked_address, host_and_port
from mapper_sdk.sinks.payloads import Template, checked_template, reading_json
from mapper_sdk.sinks.tls import Tls, make_context

__all__ = ["KafkaPlace", "KafkaSink", "KafkaTarget", "Mechanism"]

_log = logging.getLogger(__name__)
# It reports each of its many attempts; what came of them is told by the errors here.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

_PORT: Final = 9092
_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")
_BATCH_BYTES: Final = 512 * 1024

_Address = Annotated[str, AfterValidator(checked_address(_PORT))]
_Text = Annotated[str, Field(min_length=1), AfterValidator(checked_template)]


class Mechanism(StrEnum):
    """How the client shows who it is (SASL)."""

    PLAIN = "PLAIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_512 = "SCRAM-SHA-512"


class Compression(StrEnum):
    """How batches are packed."""

    NONE = "none"
    GZIP = "gzip"


_PACKED: Final[Mapping[Compression, str | None]] = {
    Compression.NONE: None,
    Compression.GZIP: "gzip",
}


class KafkaTarget(Settings):
    """A Kafka cluster."""

    servers: tuple[_Address, ...] = Field(
        min_length=1,
        description="Some of its brokers, each `HOST:PORT`; port 9092 without one.",
    )
    username: str = Field(default="", description="Name for SASL; no SASL without one.")
    password: SecretRef | None = Field(
        default=None, description="Where the password is: `env:NAME` or `file:/path`."
    )
    mechanism: Mechanism = Field(default=Mechanism.PLAIN, description="SASL mechanism.")
    tls: Tls | None = Field(
        default=None, description="TLS, see [TLS](#tls): of brokers that listen with TLS."
    )
    compression: Compression = Field(
        default=Compression.NONE, description="How batches are packed."
    )
    timeout: float = Field(
        default=10.0,
        ge=0.1,
        le=300,
        description="How long a batch may take, with the client's own repetitions.",
        json_schema_extra={"unit": "s"},
    )

    @model_validator(mode="after")
    def _complete(self) -> "KafkaTarget":
        if bool(self.username) != bool(self.password):
            raise ValueError("username and password belong together")
        return self


class KafkaPlace(Settings):
    """Where one property's readings go."""

    topic: _Text = Field(
        default="dmi-readings",
        description="Template of the topic. Names that a topic cannot have are refused.",
    )
    key: _Text = Field(
        default="{namespace}/{device}/{property}",
        description="Template of the key. Messages with one key keep their order.",
    )


class _Way:
    """Topic and key of one route."""

    __slots__ = ("key", "topic")

    def __init__(self, route: Route[KafkaPlace]) -> None:
        self.topic = Template(route.place.topic).fill(route.source, str)
        if not _TOPIC.fullmatch(self.topic) or self.topic in (".", ".."):
            raise ConversionError(f"{self.topic!r} cannot be the name of a topic")
        self.key = Template(route.place.key).fill(route.source, str).encode()


class KafkaSink(Sink[KafkaTarget, KafkaPlace]):
    """Writes to the topics of one cluster; done is what all in-sync replicas have."""

    kind: ClassVar[str] = "kafka"
    target_model = KafkaTarget
    place_model = KafkaPlace

    def __init__(self, target: KafkaTarget) -> None:
        super().__init__(target)
        self._producer: AIOKafkaProducer | None = None
        self._dirty = False

    async def open(self) -> None:
        """See `Sink.open`."""
        options = await self._options()
        try:
            async with asyncio.timeout(self.target.timeout):
                await self._try_login(options)
                self._producer = AIOKafkaProducer(
                    bootstrap_servers=list(self.target.servers),
                    enable_idempotence=True,
                    acks="all",
                    compression_type=_PACKED[self.target.compression],
                    max_batch_size=_BATCH_BYTES,
                    **options,
                )
                await self._producer.start()
        except (kafka.KafkaError, OSError) as error:
            await self.close()
            raise _translated(error) from error

    async def _options(self) -> dict[str, Any]:
        """What a single connection and the producer have in common."""
        target = self.target
        context = await asyncio.to_thread(make_context, target.tls) if target.tls else None
        ref = target.password
        protocol = "SSL" if target.tls else "PLAINTEXT"
        if target.username:
            protocol = f"SASL_{protocol}"
        return {
            "client_id": "dmi-mapper",
            "request_timeout_ms": round(target.timeout * 1000),
            "security_protocol": protocol,
            "ssl_context": context,
            "sasl_mechanism": target.mechanism.value,
            "sasl_plain_username": target.username or None,
            "sasl_plain_password": await asyncio.to_thread(read_secret, ref) if ref else None,
        }

    async def _try_login(self, options: Mapping[str, Any]) -> None:
        """Connect once by hand: the producer only says that it could not, and not why."""
        problem: Exception = kafka.NoBrokersAvailable()
        for text in self.target.servers:
            try:
                connection = await create_conn(*host_and_port(text, _PORT), **options)
            except (kafka.KafkaError, OSError) as error:
                problem = error
                continue
            connection.close()
            return
        raise problem

    async def send(self, items: Sequence[Item[KafkaPlace]]) -> Mapping[int, DmiError]:
        """See `Sink.send`."""
        if self._producer is None:
            raise UnavailableError("not open")
        self._dirty = True
        failed: dict[int, DmiError] = {}
        try:
            async with asyncio.timeout(self.target.timeout):
                sent = await self._hand_over(self._producer, items, failed)
                answers = await asyncio.gather(*sent.values(), return_exceptions=True)
        except (kafka.KafkaError, OSError) as error:
            raise _translated(error) from error
        self._dirty = False
        for index, answer in zip(sent, answers, strict=True):
            if isinstance(answer, kafka.KafkaError):
                failed[index] = _translated(answer)
                if isinstance(failed[index], ConfigError):
                    raise failed[index]
            elif isinstance(answer, BaseException):
                raise answer
        return failed

    async def _hand_over(
        self,
        producer: AIOKafkaProducer,
        items: Sequence[Item[KafkaPlace]],
        failed: dict[int, DmiError],
    ) -> dict[int, asyncio.Future[Any]]:
        """Give the messages to the producer, which batches them by partition."""
        sent: dict[int, asyncio.Future[Any]] = {}
        for index, (route, reading) in enumerate(items):
            try:
                way = route.cache
                if not isinstance(way, _Way):
                    way = route.cache = _Way(route)
                payload = reading_json(route.source, reading)
                moment = round(reading.time * 1000)
                sent[index] = await producer.send(way.topic, payload, way.key, timestamp_ms=moment)
            except ConversionError as error:
                failed[index] = error
            except kafka.MessageSizeTooLargeError as error:
                failed[index] = TooLargeError(str(error))
        return sent

    async def close(self) -> None:
        """See `Sink.close`."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        dirty, self._dirty = self._dirty, False
        try:
            async with asyncio.timeout(self.target.timeout):
                await (_abandon(producer) if dirty else producer.stop())
        except (kafka.KafkaError, OSError) as error:
            _log.debug("kafka %s: closing: %r", self.target.servers[0], error)
            await producer.client.close()


async def _abandon(producer: AIOKafkaProducer) -> None:
    """Close a producer without waiting for what it still has to deliver.

    Its own `stop` waits until all is delivered, which may be never; there is no public way
    around that.
    """
    producer._closed = True
    await asyncio.sleep(0)  # its task must have begun, or the end of that would cancel us too
    await producer._sender.close()
    await producer.client.close()


_A_HUMAN: Final = (
    kafka.AuthenticationFailedError,
    kafka.AuthenticationMethodNotSupported,
    kafka.ClusterAuthorizationFailedError,
    kafka.IllegalSaslStateError,
    kafka.IncompatibleBrokerVersion,
    kafka.InvalidTopicError,
    kafka.SaslAuthenticationFailed,
    kafka.TopicAuthorizationFailedError,
    kafka.UnsupportedSaslMechanismError,
    ssl.SSLCertVerificationError,
)
_THE_READING: Final = (
    kafka.InvalidTimestampError,
    kafka.PolicyViolationError,
    kafka.RecordTooLargeError,
)
_THE_BATCH: Final = (kafka.MessageSizeTooLargeError, kafka.RecordListTooLargeError)


def _translated(error: Exception) -> DmiError:
    text = str(error) or type(error).__name__
    if isinstance(error, _A_HUMAN):
        return ConfigError(text)
    if isinstance(error, _THE_BATCH):
        return TooLargeError(text)
    if isinstance(error, _THE_READING):
        return RefusedError(text)
    if isinstance(error, (TimeoutError, kafka.KafkaTimeoutError, kafka.RequestTimedOutError)):
        return DeadlineError("not taken over in time")
    # What else goes wrong in a cluster passes; readings are not lost to a misunderstanding.
    return UnavailableError(text)

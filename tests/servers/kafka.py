"""A Kafka broker of our own over the real protocol, for want of one that can be installed.

Requests and answers are coded by aiokafka's structures; what a broker must know about
idempotent producers is here: each batch of a producer and partition has the sequence that
follows the last one, one of the last five is answered again, any other is refused.
"""

import asyncio
import contextlib
import ssl
import struct
from collections import defaultdict, deque
from dataclasses import dataclass, field
from io import BytesIO
from typing import NamedTuple

from aiokafka.protocol import admin, metadata, produce, transaction
from aiokafka.protocol.api import RequestHeader_v1
from aiokafka.record.memory_records import MemoryRecords

from tests.servers.process import free_port

PRODUCE, METADATA, HANDSHAKE, VERSIONS, INIT_PRODUCER, AUTHENTICATE = 0, 3, 17, 18, 22, 36
_OUT_OF_ORDER, _UNKNOWN_TOPIC, _SASL_FAILED, _BAD_MECHANISM = 45, 3, 58, 33
_SPOKEN = {
    (PRODUCE, 7): produce.ProduceRequest_v7,
    (METADATA, 5): metadata.MetadataRequest_v5,
    (HANDSHAKE, 1): admin.SaslHandShakeRequest_v1,
    (VERSIONS, 0): admin.ApiVersionRequest_v0,
    (INIT_PRODUCER, 0): transaction.InitProducerIdRequest_v0,
    (AUTHENTICATE, 1): admin.SaslAuthenticateRequest_v1,
}
_PARTITIONS = 2


class Message(NamedTuple):
    """What lies in a partition."""

    key: bytes
    value: bytes
    timestamp: int


@dataclass
class Partition:
    """A log, and what is known of its producers."""

    log: list[Message] = field(default_factory=list)
    batches: dict[int, deque[tuple[int, int, int]]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=5))
    )

    def append(self, batch) -> tuple[int, int]:
        """Take over a batch; give an error code and the offset."""
        messages = [Message(r.key, r.value, r.timestamp) for r in batch]
        first, last = batch.base_sequence, batch.base_sequence + len(messages) - 1
        known = self.batches[batch.producer_id]
        for begin, end, offset in known:
            if (begin, end) == (first, last):
                return 0, offset
        if first != (known[-1][1] + 1 if known else 0):
            return _OUT_OF_ORDER, -1
        known.append((first, last, len(self.log)))
        self.log += messages
        return 0, len(self.log) - len(messages)


class FakeKafka:
    """One broker that keeps what it has over `kill` and `start`.

    Attributes:
        partitions: What was written, by topic and number.
        no_answers: Batches that it will take over without saying so.
        errors: Codes with which it will refuse the next batches.
        missing: Topics that it does not make.
        batches: How often a batch came in, answered or not.
    """

    def __init__(self, users: dict[str, str] | None = None, tls: ssl.SSLContext | None = None):
        self.port = free_port()
        self.partitions: dict[tuple[str, int], Partition] = defaultdict(Partition)
        self.no_answers = 0
        self.errors: list[int] = []
        self.missing: set[str] = set()
        self.batches = 0
        self.came = asyncio.Event()
        self._users, self._tls = users, tls
        self._producers = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def messages(self, topic: str) -> list[Message]:
        """Give all messages of a topic, one partition after the other."""
        return [m for n in range(_PARTITIONS) for m in self.partitions[topic, n].log]

    async def start(self) -> None:
        if self._server is None:
            serve = asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._tls)
            self._server = await serve

    async def kill(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._talk(reader, writer)
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        known = self._users is None
        while True:
            (size,) = struct.unpack(">i", await reader.readexactly(4))
            data = BytesIO(await reader.readexactly(size))
            header = RequestHeader_v1.SCHEMA.decode(data)
            key, version, correlation, _ = header
            request = _SPOKEN[key, version].decode(data)
            if not known and key not in (VERSIONS, HANDSHAKE, AUTHENTICATE):
                return
            if key == AUTHENTICATE:
                known = self._is_known(request.sasl_auth_bytes)
            answer = self._answer(key, request, known)
            if answer is None:
                return
            body = struct.pack(">i", correlation) + answer.encode()
            writer.write(struct.pack(">i", len(body)) + body)
            await writer.drain()

    def _answer(self, key, request, known):
        make = _SPOKEN[key, request.API_VERSION].RESPONSE_TYPE
        if key == VERSIONS:
            return make(0, [(api, version, version) for api, version in _SPOKEN])
        if key == HANDSHAKE:
            good = request.mechanism == "PLAIN"
            return make(0 if good else _BAD_MECHANISM, ["PLAIN"])
        if key == AUTHENTICATE:
            return make(0, "", b"", 0) if known else make(_SASL_FAILED, "who are you?", b"", 0)
        if key == INIT_PRODUCER:
            self._producers += 1
            return make(0, 0, self._producers, 0)
        if key == METADATA:
            topics = [self._topic(name) for name in request.topics or ()]
            return make(0, [(1, "127.0.0.1", self.port, None)], "cluster", 1, topics)
        return self._produce(request, make)

    def _is_known(self, token: bytes) -> bool:
        _, name, password = token.decode().split("\0")
        return self._users is None or self._users.get(name) == password

    def _topic(self, name: str):
        if name in self.missing:
            return (_UNKNOWN_TOPIC, name, False, [])
        return (0, name, False, [(0, n, 1, [1], [1], []) for n in range(_PARTITIONS)])

    def _produce(self, request, make):
        assert request.required_acks == -1
        topics = []
        for name, partitions in request.topics:
            done = [(n, *self._take(name, n, records)) for n, records in partitions]
            topics.append((name, done))
        self.came.set()
        if self.no_answers:
            self.no_answers -= 1
            return None
        return make(topics, 0)

    def _take(self, topic: str, number: int, data: bytes) -> tuple[int, int, int, int]:
        self.batches += 1
        if self.errors:
            return self.errors.pop(0), -1, -1, 0
        batch = MemoryRecords(data).next_batch()
        assert batch.validate_crc()
        error, offset = self.partitions[topic, number].append(batch)
        return error, offset, -1, 0

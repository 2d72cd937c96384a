"""Derived readings by MQTT: what apps publish at a broker becomes readings like any others."""

import asyncio
import logging
import re
from collections import Counter, deque
from typing import Final
from urllib.parse import unquote

from dmi.clock import Clock
from dmi.errors import DmiError, MalformedError, NotFoundError, TooLargeError, UnavailableError
from dmi.resources import Key
from mapper_sdk.derived.config import FIELDS, DerivedMqttConfig
from mapper_sdk.derived.parsing import readings_from_json
from mapper_sdk.mapper import Mapper
from mapper_sdk.sessions.backoff import Backoff
from mapper_sdk.sinks.mqtt.connection import Connection

__all__ = ["DerivedMqtt"]

log = logging.getLogger(__name__)

_WAITING: Final = 10_000
_LARGEST: Final = 256 * 1024
_AT_A_TIME: Final = 100
_SESSION: Final = 3600  # seconds that the broker keeps for us what is published meanwhile


class DerivedMqtt:
    """Subscribes at a broker and hands every reading to the mapper.

    At most 10,000 messages wait; those that come then are dropped and counted.

    Attributes:
        published: Readings that the mapper has taken.
        refused: Messages that were wrong, by reason.
        dropped: Messages that came too fast.
    """

    def __init__(self, mapper: Mapper, settings: DerivedMqttConfig, backoff: Backoff) -> None:
        """Prepare; nobody is reached yet.

        Args:
            mapper: Gets the readings.
            settings: The broker.
            backoff: How long to wait between attempts to reach it.
        """
        self.published = 0
        self.refused: Counter[str] = Counter()
        self.dropped = 0
        self._mapper = mapper
        self._clock: Clock = mapper.clock
        self._address = settings.address
        self._backoff = backoff
        self._pattern = _pattern(settings.topic)
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._bell = asyncio.Event()
        self._connection = Connection(
            settings,
            topics=[(re.sub(r"\{\w+\}", "+", settings.topic), settings.qos)],
            received=self._received,
            lost=self._bell.set,
            session_expiry=_SESSION,
        )

    @property
    def connected(self) -> bool:
        """Whether what is published now comes here."""
        return not self._connection.broken

    async def run(self) -> None:
        """Take readings until cancelled; a broker that is away is tried again."""
        first = True
        while True:
            try:
                await self._connection.open()
                log.info("derived readings are taken from %s", self._address)
                self._backoff.reset()
                first = True
                await self._serve()
            except DmiError as error:
                say = log.warning if first else log.debug
                say("no derived readings from %s: %s", self._address, error)
                first = False
            finally:
                await self._connection.close()
            await self._clock.sleep(self._backoff.next())

    async def _serve(self) -> None:
        """Hand on what comes, until the connection breaks."""
        while not (broken := self._connection.broken):
            await self._bell.wait()
            self._bell.clear()
            while self._waiting:
                for _ in range(min(_AT_A_TIME, len(self._waiting))):
                    self._take(*self._waiting.popleft())
                await asyncio.sleep(0)
        raise UnavailableError(broken)

    def _received(self, topic: str, payload: bytes) -> None:
        """In paho's thread."""
        if len(self._waiting) >= _WAITING:
            self.dropped += 1
            return
        self._waiting.append((topic, payload))
        if len(self._waiting) == 1:
            self._connection.call_in_loop(self._bell.set)

    def _take(self, topic: str, payload: bytes) -> None:
        try:
            self.published += self._publish(topic, payload)
        except DmiError as error:
            self.refused[error.reason] += 1
            # Devices of other mappers may well publish at the same broker.
            news = self.refused[error.reason] == 1 and not isinstance(error, NotFoundError)
            say = log.warning if news else log.debug
            say("a derived reading at %.200r is refused: %s", topic, error)

    def _publish(self, topic: str, payload: bytes) -> int:
        found = self._pattern.fullmatch(topic)
        if found is None:
            raise MalformedError("the topic is not of the form that was subscribed to")
        if len(payload) > _LARGEST:
            raise TooLargeError(f"a message may have {_LARGEST} bytes")
        namespace, device, property_ = (unquote(found[name]) for name in FIELDS)
        session = self._mapper.session(Key(namespace, device))
        point = session.point(property_)
        readings = readings_from_json(payload, point.type, self._clock.time())
        session.derive(property_, readings)
        return len(readings)


def _pattern(topic: str) -> re.Pattern[str]:
    levels = (
        f"(?P<{level[1:-1]}>[^/]+)" if level[1:-1] in FIELDS else re.escape(level)
        for level in topic.split("/")
    )
    return re.compile("/".join(levels))

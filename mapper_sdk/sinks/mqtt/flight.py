"""A batch of messages on its way to a broker: kept by two threads, for each to see."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from dmi.errors import AccessDeniedError, DmiError, OverloadedError, RefusedError

__all__ = ["FAILED", "InFlight", "Message"]

# Reason codes of MQTT 5 (section 2.4); paho gives those of 3.1.1 as these.
FAILED: Final = 0x80
"""The lowest code that tells of a failure."""

_NOT_ALLOWED: Final = 0x87
_QUOTA: Final = 0x97


@dataclass(slots=True, eq=False)
class Message:
    """One message to publish.

    Attributes:
        properties: Those of MQTT 5; ignored where the broker speaks 3.1.1.
    """

    topic: str
    payload: bytes
    qos: int = 0
    retained: bool = False
    properties: Properties | None = None


class _Claim(NamedTuple):
    """A message that one thread is about to publish, and where to note its number."""

    message: Message
    place: int
    numbers: list[int | DmiError | None]


class InFlight:
    """One batch on its way: what is not published yet, not acknowledged yet, refused.

    Whoever has the turn publishes, in order: the event loop or paho's thread. A message that
    was in flight when the connection broke is taken up when it comes again.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        # Held while a message is published. Never waited for: paho's thread comes with a lock
        # of paho's that publishing in the event loop needs.
        self._turn = threading.Lock()
        self._lock = threading.Lock()
        self._messages: Sequence[Message] = ()
        self._next = 0
        self._starting = 0  # claimed, and not known under a number yet
        self._numbers: list[int | DmiError | None] = []
        self._left: set[int] = set()  # published, not acknowledged
        self._early: dict[int, int] = {}  # acknowledged before its number was known here
        self._failed: dict[int, int] = {}  # refused, with the reason code
        self._resumed: dict[tuple[str, bytes], int] = {}  # in flight when the connection broke

    @property
    def remaining(self) -> int:
        """How many are not acknowledged, also of earlier batches."""
        return len(self._messages) - self._next + self._starting + len(self._left)

    def begin(self, messages: Sequence[Message]) -> None:
        """A batch begins."""
        with self._lock:
            self._early.clear()
            self._failed.clear()
            self._messages, self._next = messages, 0
            self._numbers = [None] * len(messages)

    def pump(self, publish: Callable[[Message], int | DmiError], window: int, most: int) -> bool:
        """Publish messages in order while less than `window` are in flight.

        The event loop calls it to begin with, paho's thread for each acknowledgement. The one
        that finds the other at it goes away: that one looks again when it has finished.

        Args:
            publish: Publishes one, and gives its number or why it did not.
            window: Most that are in flight.
            most: Most that are published by this call.

        Returns:
            Whether it stopped because of `most`.
        """
        for _ in range(most):
            if not self._has_room(window) or not self._turn.acquire(blocking=False):
                return False
            try:
                claim = self._claim()
                if claim is not None:
                    known = self._resume(claim.message)
                    number = publish(claim.message) if known is None else known
                    self._started(claim, number, anew=known is None)
            finally:
                self._turn.release()
        return True

    def _has_room(self, window: int) -> bool:
        with self._lock:
            more = self._next < len(self._messages)
            return more and len(self._left) + self._starting < window

    def _claim(self) -> _Claim | None:
        with self._lock:
            if self._next >= len(self._messages):
                return None
            claim = _Claim(self._messages[self._next], self._next, self._numbers)
            self._next += 1
            self._starting += 1
            return claim

    def _resume(self, message: Message) -> int | None:
        """The number under which a message is on its way already, from before a break."""
        if not message.qos or not self._resumed:
            return None
        return self._resumed.pop((message.topic, message.payload), None)

    def _started(self, claim: _Claim, number: int | DmiError, *, anew: bool) -> None:
        with self._lock:
            self._starting -= 1
            claim.numbers[claim.place] = number
            if isinstance(number, DmiError):
                return
            if claim.numbers is not self._numbers and claim.message.qos:
                # The batch was given up meanwhile, and may come again.
                self._resumed[claim.message.topic, claim.message.payload] = number
            if not anew:
                return
            code = self._early.pop(number, None)
            if code is None:
                self._left.add(number)
            elif code >= FAILED:
                self._failed[number] = code

    def acknowledged(self, number: int, code: int) -> None:
        """The broker has answered."""
        with self._lock:
            if number not in self._left:
                if self._starting:
                    self._early[number] = code
                return
            self._left.discard(number)
            if code >= FAILED:
                self._failed[number] = code

    def forget(self) -> None:
        """The broker has begun a new session: nothing is on its way any more."""
        with self._lock:
            self._left.clear()
            self._resumed.clear()

    def outcomes(self, problem: DmiError) -> list[DmiError | None]:
        """End the batch, and say what became of each message.

        Args:
            problem: Why those that are not acknowledged will not be, on this connection.
        """
        found: list[DmiError | None] = []
        with self._lock:
            for message, number in zip(self._messages, self._numbers, strict=True):
                if number is None:
                    found.append(problem)
                elif isinstance(number, DmiError):
                    found.append(number)
                elif number not in self._left:
                    code = self._failed.get(number)
                    found.append(None if code is None else _refusal(code, message))
                else:
                    found.append(problem)
                    if message.qos:
                        self._resumed[message.topic, message.payload] = number
                    else:
                        self._left.discard(number)  # it ends with the connection
            self._messages, self._next, self._numbers = (), 0, []
        return found


def _refusal(code: int, message: Message) -> DmiError:
    reason = ReasonCode(PacketTypes.PUBACK, identifier=code)
    text = f"the broker refuses topic {message.topic!r}: {reason}"
    if code == _NOT_ALLOWED:
        return AccessDeniedError(text)
    return OverloadedError(text) if code == _QUOTA else RefusedError(text)

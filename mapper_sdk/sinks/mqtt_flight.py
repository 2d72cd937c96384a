"""What was published and is not acknowledged yet: kept by two threads, for each to see."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

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


class InFlight:
    """Packet numbers on their way. One batch at a time; a broken one can be resumed.

    paho's thread calls `acknowledged` and `forget`, the event loop all else.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._lock = threading.Lock()
        self._left: set[int] = set()  # published, not acknowledged
        self._early: dict[int, int] = {}  # acknowledged before `publish` has said its number
        self._failed: dict[int, int] = {}  # refused, with the reason code
        self._resumed: dict[tuple[str, bytes], int] = {}  # in flight when the connection broke
        self._sealed = True

    def __len__(self) -> int:
        """How many are not acknowledged."""
        return len(self._left)

    def begin(self) -> None:
        """A batch begins."""
        with self._lock:
            self._sealed = False
            self._early.clear()
            self._failed.clear()

    def resume(self, message: Message) -> int | None:
        """The number under which a message is on its way already, from before a break."""
        if not message.qos or not self._resumed:
            return None
        return self._resumed.pop((message.topic, message.payload), None)

    def started(self, number: int) -> None:
        """A message is on its way; it may have been acknowledged by now."""
        with self._lock:
            code = self._early.pop(number, None)
            if code is None:
                self._left.add(number)
            elif code >= FAILED:
                self._failed[number] = code

    def seal(self) -> bool:
        """The batch is complete; whether all of it is acknowledged already."""
        with self._lock:
            self._sealed = True
            return not self._left

    def acknowledged(self, number: int, code: int) -> bool:
        """The broker has answered; whether that was the last of a complete batch."""
        with self._lock:
            if number not in self._left:
                if not self._sealed:
                    self._early[number] = code
                return False
            self._left.discard(number)
            if code >= FAILED:
                self._failed[number] = code
            return self._sealed and not self._left

    def forget(self) -> None:
        """The broker has begun a new session: nothing is on its way any more."""
        with self._lock:
            self._left.clear()
            self._resumed.clear()

    def outcomes(
        self,
        messages: Sequence[Message],
        numbers: Sequence[int | DmiError],
        problem: DmiError,
    ) -> list[DmiError | None]:
        """What became of each message.

        Args:
            messages: The batch.
            numbers: The number of each, or why it was not even published.
            problem: Why those that are not acknowledged will not be, on this connection.
        """
        found: list[DmiError | None] = []
        with self._lock:
            for message, number in zip(messages, numbers, strict=True):
                if isinstance(number, DmiError):
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
        return found


def _refusal(code: int, message: Message) -> DmiError:
    reason = ReasonCode(PacketTypes.PUBACK, identifier=code)
    text = f"the broker refuses topic {message.topic!r}: {reason}"
    if code == _NOT_ALLOWED:
        return AccessDeniedError(text)
    return OverloadedError(text) if code == _QUOTA else RefusedError(text)

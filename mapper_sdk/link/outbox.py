"""What a v1 link has still to deliver: bounded, in order, each part until it is acknowledged."""

import asyncio
from collections import deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from types import NoneType
from typing import Final, TypeVar

from dmi.readings import Reading
from dmi.reports import DeviceState, Outcome
from mapper_sdk.devices.plan import Point

__all__ = ["BACKLOG", "TOO_BIG", "Outbox", "Sealed"]

BACKLOG: Final = "backlog"
"""Reason under which readings are dropped that found no room."""
TOO_BIG: Final = "too_big"
"""Reason under which readings are dropped whose value no message can carry."""

# Encoding a message holds up the loop for some 3 ms, which the poller's ticks can bear.
_MOST_READINGS: Final = 1000
# Characters of all texts in a message; four bytes each stay below the manager's 16 MiB.
_MOST_TEXT: Final = 3 * 1024 * 1024
_MOST_UNACKED: Final = 128
_MOST_WAITING: Final = 100_000

Item = TypeVar("Item")


@dataclass(slots=True)
class Sealed:
    """One message of the stream: never changed, sent until it is acknowledged."""

    sequence: int
    readings: list[tuple[Point, Reading]] = field(default_factory=list)
    states: list[DeviceState] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)


class Outbox:
    """Readings, states and outcomes on their way up.

    While the manager is away readings are kept up to `most_waiting`; beyond it only the
    newest one of each point stays, and the others are counted. Of states and outcomes the
    last one of each device and of each wish always stays.

    Attributes:
        dropped: Readings dropped so far, by reason.
        acknowledged: Readings that the manager has committed.
        unacked: What was sealed and is not acknowledged yet, in order.
    """

    def __init__(self, *, most_waiting: int = _MOST_WAITING) -> None:
        self.dropped: dict[str, int] = {}
        self.acknowledged = 0
        self.unacked: deque[Sealed] = deque()
        self._most_waiting = self._room = most_waiting
        self._most_urgent = most_waiting
        self._waiting: deque[list[tuple[Point, Reading]]] = deque()
        self._size = 0
        self._states: list[DeviceState] = []
        self._outcomes: list[Outcome] = []
        self._dropped_since: dict[str, int] = {}
        self._last_sequence = 0
        self._something = asyncio.Event()
        self._hurry = asyncio.Event()
        self._window = asyncio.Event()
        self._window.set()
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def waiting(self) -> int:
        """Readings that are not sealed yet."""
        return self._size

    # ------------------------------------------------------------- taking ----

    def add(self, batch: list[tuple[Point, Reading]]) -> None:
        """Take readings; this is on the path of every reading, so it only keeps the list."""
        self._waiting.append(batch)
        self._size += len(batch)
        if self._size >= _MOST_READINGS:
            self._hurry.set()
            if self._size > self._room:
                self._keep_newest()
        if not self._something.is_set():
            self._wake()

    def add_state(self, state: DeviceState) -> None:
        """Take a state; it does not wait for company."""
        self._states.append(state)
        if len(self._states) > self._most_urgent:
            self._states = _newest((state.device, state) for state in self._states)
            self._most_urgent = max(self._most_urgent, 2 * len(self._states))
        self._wake()
        self._hurry.set()

    def add_outcome(self, outcome: Outcome) -> None:
        """Take an outcome; it does not wait for company."""
        self._outcomes.append(outcome)
        if len(self._outcomes) > self._most_urgent:
            self._outcomes = _newest(((o.device, o.property), o) for o in self._outcomes)
            self._most_urgent = max(self._most_urgent, 2 * len(self._outcomes))
        self._wake()
        self._hurry.set()

    # ------------------------------------------------------------- giving ----

    async def ready(self) -> None:
        """Return when there is something to seal, and room for it among the unacknowledged."""
        await self._something.wait()
        await self._window.wait()

    async def linger(self, seconds: float) -> None:
        """Let readings gather for so long, unless something comes that cannot wait."""
        try:
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
        except TimeoutError:
            return

    def seal(self) -> Sealed:
        """Take what waits, up to a good size, as the next message of the stream."""
        self._last_sequence += 1
        readings = self._take()
        sealed = Sealed(
            self._last_sequence, readings, self._states, self._outcomes, self._dropped_since
        )
        self._states, self._outcomes, self._dropped_since = [], [], {}
        self.unacked.append(sealed)
        if len(self.unacked) >= _MOST_UNACKED:
            self._window.clear()
        if self._size <= self._most_waiting // 2:
            self._room = self._most_waiting
        if self._size < _MOST_READINGS:
            self._hurry.clear()
        if not self._waiting:
            self._something.clear()
        return sealed

    def acknowledge(self, sequence: int) -> None:
        """Everything up to here is committed."""
        while self.unacked and self.unacked[0].sequence <= sequence:
            self.acknowledged += len(self.unacked.popleft().readings)
        if len(self.unacked) < _MOST_UNACKED:
            self._window.set()
        if not self.unacked and not self._something.is_set():
            self._empty.set()

    async def drained(self) -> None:
        """Return when all that was taken is acknowledged."""
        await self._empty.wait()

    # ------------------------------------------------------------- inside ----

    def _wake(self) -> None:
        self._something.set()
        self._empty.clear()

    def _take(self) -> list[tuple[Point, Reading]]:
        rows: list[tuple[Point, Reading]] = []
        while self._waiting and len(rows) < _MOST_READINGS:
            rows += self._waiting.popleft()
        self._size -= len(rows)
        cut = _MOST_READINGS
        # Most messages hold nothing but numbers, and need no closer look.
        kinds = {type(reading.value) for _, reading in rows}
        if str in kinds or bytes in kinds:
            rows = self._without_giants(rows)
            cut = _text_limit(rows)
        if NoneType in kinds:
            cut = min(cut, _order_breaks(rows))
        if cut < len(rows):
            self._waiting.appendleft(rows[cut:])
            self._size += len(rows) - cut
            del rows[cut:]
        return rows

    def _without_giants(self, rows: list[tuple[Point, Reading]]) -> list[tuple[Point, Reading]]:
        fit = [row for row in rows if _length(row[1]) <= _MOST_TEXT]
        if len(fit) < len(rows):
            self._count(TOO_BIG, len(rows) - len(fit))
        return fit

    def _keep_newest(self) -> None:
        newest: dict[Point, Reading] = {}
        for batch in self._waiting:
            newest.update(batch)
        lost = self._size - len(newest)
        self._waiting = deque([list(newest.items())])
        self._size = len(newest)
        # Where the points alone fill the room, doing this for every batch would cost too much.
        self._room = max(self._most_waiting, 2 * self._size)
        self._count(BACKLOG, lost)

    def _count(self, reason: str, number: int) -> None:
        for counts in (self.dropped, self._dropped_since):
            counts[reason] = counts.get(reason, 0) + number


def _length(reading: Reading) -> int:
    """Characters or bytes of a value that has such."""
    return len(reading.value) if isinstance(reading.value, str | bytes) else 0


def _text_limit(rows: list[tuple[Point, Reading]]) -> int:
    """How many of these readings fit into one message by the length of their texts."""
    left = _MOST_TEXT
    for position, (_, reading) in enumerate(rows[:_MOST_READINGS]):
        left -= _length(reading)
        if left < 0:
            return position
    return _MOST_READINGS


def _order_breaks(rows: list[tuple[Point, Reading]]) -> int:
    """Where the first value stands that follows a fault of the same point.

    A message carries values and faults in separate columns, so it cannot say which of a
    point's value and fault came last; the value has to go in the next one.
    """
    failed: set[Point] = set()
    for position, (point, reading) in enumerate(rows):
        if reading.value is None:
            failed.add(point)
        elif point in failed:
            return position
    return len(rows)


def _newest(items: Iterable[tuple[Hashable, Item]]) -> list[Item]:
    """The last item of each key, in the order of those last items."""
    newest: dict[Hashable, Item] = {}
    for key, item in items:
        newest.pop(key, None)
        newest[key] = item
    return list(newest.values())

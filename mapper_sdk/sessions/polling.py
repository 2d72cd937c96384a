"""When things are due: one heap of moments for the whole mapper.

Everything is due in slots of 10 ms, so that one wake-up serves all that falls into a
slot. Deadlines are multiples of the period from a first moment, so they do not drift; a
tick that cannot be taken is counted and skipped, never queued.
"""

import asyncio
import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass

from dmi.clock import Clock

__all__ = ["SLOT", "PollStatistics", "Poller", "Ticket"]

SLOT = 0.01
"""Seconds in which things are due together."""

_LONGEST_NAP = 0.05
_GOLDEN = (math.sqrt(5) - 1) / 2
_LATE_SHARE = 0.1
_LATE_LEAST = 0.02


@dataclass(slots=True)
class PollStatistics:
    """What became of the ticks so far.

    Attributes:
        on_time: Begun within a tenth of the period (at least 20 ms) after the deadline.
        late: Begun later than that.
        skipped: Not begun, because the device was still busy with the one before, or
            because the process did not get to run for a whole period.
    """

    on_time: int = 0
    late: int = 0
    skipped: int = 0

    @property
    def total(self) -> int:
        """All ticks that were due."""
        return self.on_time + self.late + self.skipped


class Ticket:
    """Something that is due; cancel it by `Poller.cancel`."""

    __slots__ = ("active", "due", "fire", "lateness", "period")

    def __init__(self, fire: Callable[[], bool], period: float, due: float) -> None:
        self.fire = fire
        self.period = period
        self.due = due
        self.lateness = max(period * _LATE_SHARE, _LATE_LEAST)
        self.active = True


class Poller:
    """Calls functions when they are due. `run` must be running for anything to happen."""

    def __init__(self, clock: Clock) -> None:
        self.statistics = PollStatistics()
        self._clock = clock
        self._slots: dict[int, list[Ticket]] = {}
        self._heap: list[int] = []
        self._added = 0
        self._filled = asyncio.Event()

    def every(self, period: float, fire: Callable[[], bool]) -> Ticket:
        """Call `fire` each `period` seconds (at least one slot).

        Starts are spread over the period. `fire` must return at once; it says False when
        it could not take the tick.
        """
        period = max(period, SLOT)
        self._added += 1
        # Multiples of the golden ratio: however many come and go, they lie evenly.
        first = (self._added * _GOLDEN % 1.0) * period
        if first < _LONGEST_NAP:
            first += math.ceil((_LONGEST_NAP - first) / period) * period
        return self._add(Ticket(fire, period, self._clock.monotonic() + first))

    def after(self, delay: float, fire: Callable[[], bool]) -> Ticket:
        """Call `fire` once, `delay` seconds from now, at most a nap of 50 ms later."""
        return self._add(Ticket(fire, 0.0, self._clock.monotonic() + delay))

    def cancel(self, ticket: Ticket) -> None:
        """Never call it again."""
        ticket.active = False

    async def run(self) -> None:
        """Keep time until cancelled."""
        while True:
            if not self._heap:
                self._filled.clear()
                await self._filled.wait()
            now = self._clock.monotonic()
            wait = self._heap[0] * SLOT - now
            if wait > 0:
                # Short naps: what is added meanwhile may be due before the first one.
                await self._clock.sleep(min(max(wait, 0.001), _LONGEST_NAP))
                continue
            self._fire_slot(now)
            # A mapper that cannot keep up must still answer its other duties.
            await asyncio.sleep(0)

    def _add(self, ticket: Ticket) -> Ticket:
        slot = math.ceil(ticket.due / SLOT)
        tickets = self._slots.get(slot)
        if tickets is None:
            self._slots[slot] = [ticket]
            heapq.heappush(self._heap, slot)
            self._filled.set()
        else:
            tickets.append(ticket)
        return ticket

    def _fire_slot(self, now: float) -> None:
        statistics = self.statistics
        for ticket in self._slots.pop(heapq.heappop(self._heap)):
            if not ticket.active:
                continue
            if not ticket.period:
                ticket.fire()
                continue
            if not ticket.fire():
                statistics.skipped += 1
            elif now - ticket.due > ticket.lateness + SLOT:
                statistics.late += 1
            else:
                statistics.on_time += 1
            ticket.due += ticket.period
            if ticket.due < now:
                missed = math.ceil((now - ticket.due) / ticket.period)
                statistics.skipped += missed
                ticket.due += missed * ticket.period
            self._add(ticket)

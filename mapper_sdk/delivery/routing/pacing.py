"""Report cycles: of a property's readings, the newest one each time that the cycle has passed."""

import heapq
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from dmi.clock import Clock
from dmi.readings import Reading
from mapper_sdk.delivery.inbox import Chunk
from mapper_sdk.delivery.sink import Route
from mapper_sdk.delivery.worker import Worker
from mapper_sdk.sessions.polling import Poller, Ticket

__all__ = ["Pacer", "Way"]

_SLACK: Final = 0.1


@dataclass(slots=True, eq=False)
class Way:
    """One property's way to one target.

    Attributes:
        worker: Who serves the target.
        route: The property's route there.
        pace: Seconds between readings at least; 0 where each one goes.
        due: When the next one may go, on the monotonic clock.
        waiting: The newest one that waits for that.
    """

    worker: Worker
    route: Route[Any]
    pace: float = 0.0
    due: float = 0.0
    waiting: Reading | None = None


class Pacer:
    """Lets one reading of each way pass per cycle: the newest when it is due.

    Where readings come about as often as they may go, each goes at once: a tenth of the cycle
    is forgiven, so that no cycle of reading and reporting of equal length beat.
    """

    def __init__(self, poller: Poller, clock: Clock) -> None:
        self._poller = poller
        self._clock = clock
        self._order = itertools.count()
        self._heap: list[tuple[float, int, Way]] = []
        self._ticket: Ticket | None = None

    def offer(self, pairs: Iterable[tuple[Way, Reading]]) -> None:
        """Take readings that came together."""
        now = self._clock.monotonic()
        passing: list[tuple[Way, Reading]] = []
        for way, reading in pairs:
            if now >= way.due - way.pace * _SLACK:
                way.waiting = None
                passing.append((way, reading))
                in_time = now <= way.due + way.pace * _SLACK
                way.due = (way.due if in_time else now) + way.pace
                continue
            if way.waiting is None:
                self._wait_for(way)
            way.waiting = reading
        _hand_over(passing)

    def _wait_for(self, way: Way) -> None:
        heapq.heappush(self._heap, (way.due, next(self._order), way))
        if self._heap[0][2] is way:
            self._set_alarm()

    def _set_alarm(self) -> None:
        if self._ticket is not None:
            self._poller.cancel(self._ticket)
        delay = self._heap[0][0] - self._clock.monotonic()
        self._ticket = self._poller.after(delay, self._fire)

    def _fire(self) -> bool:
        now = self._clock.monotonic()
        passing: list[tuple[Way, Reading]] = []
        while self._heap and self._heap[0][0] <= now:
            _, _, way = heapq.heappop(self._heap)
            if way.waiting is not None and way.due <= now:
                passing.append((way, way.waiting))
                way.waiting = None
                way.due += way.pace
        _hand_over(passing)
        if self._heap:
            self._set_alarm()
        return True


def _hand_over(passing: Iterable[tuple[Way, Reading]]) -> None:
    """Give readings to their workers, one chunk each."""
    chunks: dict[Worker, tuple[list[Route[Any]], list[Reading]]] = {}
    for way, reading in passing:
        routes, readings = chunks.setdefault(way.worker, ([], []))
        routes.append(way.route)
        readings.append(reading)
    for worker, (routes, readings) in chunks.items():
        worker.put(Chunk(routes, readings))

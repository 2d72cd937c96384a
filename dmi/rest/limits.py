"""How much one client may ask: how often, how much at once, and how long a body may take."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

__all__ = ["Limits", "Rates"]

_MOST_CLIENTS: Final = 4096


@dataclass(frozen=True, slots=True)
class Limits:
    """What is enough for everybody.

    Attributes:
        rate: Requests a second of one client; 0 sets no limit.
        burst: How many may come at once.
        body_seconds: Longest time from a request's head to the end of its body.
        at_once: Answers to one client, streams above all, that are under way at the same
            time: fewer than there are connections. Only where clients are told apart.
    """

    rate: float = 2000.0
    burst: float = 4000.0
    body_seconds: float = 10.0
    at_once: int = 128


class Rates:
    """One token bucket a client; the longest silent one is forgotten when there are many."""

    def __init__(self, rate: float, burst: float) -> None:
        """Start with full buckets; `rate` in requests a second."""
        self._rate = rate
        self._burst = burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str, now: float) -> float:
        """Count one request; give the seconds after which it may come again, 0 to admit it."""
        if not self._rate:
            return 0.0
        level, then = self._buckets.pop(client, (self._burst, now))
        level = min(self._burst, level + (now - then) * self._rate)
        admitted = level >= 1.0
        self._buckets[client] = (level - 1.0 if admitted else level, now)
        if len(self._buckets) > _MOST_CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0 if admitted else (1.0 - level) / self._rate

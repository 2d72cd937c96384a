"""What exchanges with devices took, and how they failed; counted for metrics."""

from bisect import bisect_left
from collections import Counter
from typing import Final

__all__ = ["BOUNDS", "Exchanges", "Histogram"]

BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of durations that are counted together, in seconds."""


class Histogram:
    """How often something took how long."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def took(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """How many took at most how long, as Prometheus wants it."""
        total = 0
        found: list[tuple[str, float]] = []
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), self.counts, strict=True):
            total += count
            found.append((bound, total))
        return found


class Exchanges:
    """All reads of all devices.

    Attributes:
        reads: What they took, the wait for the bus not included.
        failures: Exchanges, connections included, that failed as a whole, by reason.
    """

    def __init__(self) -> None:
        self.reads = Histogram()
        self.failures: Counter[str] = Counter()

    def took(self, seconds: float) -> None:
        """A read was answered."""
        self.reads.took(seconds)

    def failed(self, reason: str) -> None:
        """An exchange failed."""
        self.failures[reason] += 1

"""A token bucket for each caller: generous, but it ends a loop that went wild."""

from dmi.clock import Clock
from dmi.errors import OverloadedError

__all__ = ["Limiter"]

_MOST_CALLERS = 256


class Limiter:
    """Admits `rate` calls a second for each name, and `burst` at once."""

    def __init__(self, rate: float, burst: float, clock: Clock) -> None:
        """Start with full buckets.

        Args:
            rate: Calls a second.
            burst: Calls at once.
            clock: Says how much has run in since.
        """
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def admit(self, caller: str) -> None:
        """Count one call.

        Raises:
            OverloadedError: It is one too many now.
        """
        now = self._clock.monotonic()
        level, since = self._buckets.get(caller, (self._burst, now))
        level = min(self._burst, level + (now - since) * self._rate)
        if level < 1:
            raise OverloadedError(
                f"too many calls of {caller}: more than {self._rate:g} a second; report less"
                " often, or several twins in one call"
            )
        if caller not in self._buckets and len(self._buckets) >= _MOST_CALLERS:
            self._buckets.clear()
        self._buckets[caller] = (level - 1, now)

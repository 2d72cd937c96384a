"""Our share of the calls that EdgeCore admits."""

from typing import Final

from dmi.clock import Clock
from dmi.edgecore import CALLS_BURST, CALLS_PER_SECOND

__all__ = ["ROUNDING", "Budget"]

ROUNDING: Final = 1e-6
"""Less than this is an error of rounding; waiting for it could go on for ever."""

_RATE: Final = 0.98 * CALLS_PER_SECOND
_SLOWEST: Final = 0.05 * CALLS_PER_SECOND
# A tenth of the bucket is never ours: other mappers of the node register, too.
_CAPACITY: Final = 0.9 * CALLS_BURST
# A mapper that ran before us kept this much for its states; so much is there at least.
_START: Final = 0.5 * CALLS_BURST
# Part of the capacity that only states may use, at most: many devices may change together.
_STATES_SHARE: Final = 0.55


class Budget:
    """Our idea of the bucket that EdgeCore keeps for all mappers of the node.

    It is a little smaller and fills a little slower than the real one. A refused call
    means that others draw on it: from then on we take half, and grow back call by call.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.rate = _RATE
        self.capacity = _CAPACITY
        self._tokens = _START
        self._last = clock.monotonic()

    @property
    def tokens(self) -> float:
        """Calls that may be made now."""
        passed = self._clock.monotonic() - self._last
        return min(self.capacity, self._tokens + passed * self.rate)

    def reserve(self, devices: int) -> float:
        """Calls that only states may use: one for each device, while there is room."""
        return min(float(devices), self.capacity * _STATES_SHARE)

    def wait(self, tokens: float) -> float:
        """Seconds until so many are there."""
        missing = tokens - self.tokens
        return missing / self.rate if missing > ROUNDING else 0.0

    def spend(self) -> None:
        """Count a call."""
        self._set(self.tokens - 1)

    def accepted(self) -> None:
        """A call was admitted: grow back towards the full share."""
        self._set(self.tokens)
        self.rate = min(_RATE, self.rate + 0.01)
        self.capacity = min(_CAPACITY, self.capacity + 1)

    def refused(self) -> None:
        """A call was refused: the bucket is empty, and others are at it."""
        self._set(0.0)
        self.rate = max(_SLOWEST, self.rate / 2)
        self.capacity = max(1.0, self.capacity / 2)

    def restarted(self) -> None:
        """EdgeCore is a new process: its bucket is full."""
        self.rate, self.capacity = _RATE, _CAPACITY
        self._set(_CAPACITY)

    def _set(self, tokens: float) -> None:
        self._tokens = tokens
        self._last = self._clock.monotonic()

"""How long to wait before trying again."""

from random import Random

__all__ = ["Backoff"]

_FIRST = 1.0
_LONGEST = 60.0


class Backoff:
    """Waits that double, by default from 1 s to 60 s, each shortened by up to half at random.

    The randomness keeps devices that were lost together from coming back together.
    """

    def __init__(self, rng: Random, *, first: float = _FIRST, longest: float = _LONGEST) -> None:
        self._rng = rng
        self._first = first
        self._longest = longest
        self._wait = first

    def next(self) -> float:
        """Seconds to wait now; the next wait is twice as long."""
        wait, self._wait = self._wait, min(self._wait * 2, self._longest)
        return self._spread(wait)

    def longest(self) -> float:
        """Seconds to wait when it is known that hurry does not help."""
        return self._spread(self._longest)

    def reset(self) -> None:
        """It worked: begin with short waits again."""
        self._wait = self._first

    def _spread(self, wait: float) -> float:
        return wait * (0.5 + self._rng.random() / 2)

"""How long to wait before trying again."""

from random import Random

__all__ = ["Backoff"]


class Backoff:
    """Waits that double, each shortened by up to half at random.

    The randomness keeps those that were lost together from coming back together.
    """

    def __init__(self, rng: Random, *, first: float = 1.0, longest: float = 60.0) -> None:
        """Begin with the shortest wait.

        Args:
            rng: Where the randomness comes from.
            first: The shortest wait, in seconds.
            longest: The longest one, in seconds.
        """
        self._rng = rng
        self._first = self._wait = first
        self._longest = longest

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

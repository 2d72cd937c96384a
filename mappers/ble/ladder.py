"""What to do when a radio does not work: the rungs, and which one is next.

Only the books are kept here; `shared_radio` does what they say.
"""

from enum import StrEnum

__all__ = ["Ladder", "Rung"]


class Rung(StrEnum):
    """Ways to recover, from the gentle to the rough. `/metrics` counts each."""

    CLEAN_LINKS = "links_cleaned"
    RESTART_SCAN = "scan_restarted"
    POWER_CYCLE = "adapter_power_cycled"
    REOPEN = "radio_reopened"


class Ladder:
    """Which way to recover is next: after so many failures without success, one rung up."""

    def __init__(self, rungs: tuple[Rung, ...], failures_each: int) -> None:
        self._rungs = rungs
        self._each = failures_each
        self._failures = 0

    def fail(self) -> Rung | None:
        """Count a failure; gives what to do about it, or None for nothing yet."""
        self._failures += 1
        step, rest = divmod(self._failures, self._each)
        if rest or not step:
            return None
        if step >= len(self._rungs):
            self._failures = 0
        return self._rungs[step - 1]

    def succeed(self) -> None:
        """It works: begin at the bottom again."""
        self._failures = 0

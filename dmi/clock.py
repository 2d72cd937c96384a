"""Time as an argument, so that tests can move it."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Clock", "SystemClock", "time_text"]


class Clock(Protocol):
    """Where time comes from."""

    def time(self) -> float:
        """Seconds since 1970-01-01 UTC; may jump."""

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` on the monotonic clock."""


class SystemClock:
    """The machine's own time."""

    def time(self) -> float:
        """Seconds since 1970-01-01 UTC; may jump."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` on the monotonic clock."""
        await asyncio.sleep(seconds)


def time_text(seconds: float) -> str | None:
    """Write a moment as RFC 3339 in UTC with milliseconds; None for nonsense.

    Args:
        seconds: Since 1970-01-01 UTC.
    """
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"

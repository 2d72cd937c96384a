"""A clock that a test moves by hand."""

import asyncio
import heapq
import itertools

__all__ = ["FakeClock"]

_SETTLE_TURNS = 32


class FakeClock:
    """Time that stands still until a test advances it; a `dmi.clock.Clock`.

    Args:
        start: What `time` says first, in seconds since 1970-01-01 UTC.
    """

    def __init__(self, start: float = 1_790_000_000.0) -> None:
        self._epoch = start
        self._now = 0.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def time(self) -> float:
        """Seconds since 1970-01-01 UTC; jumps with `set_time`."""
        return self._epoch + self._now

    def monotonic(self) -> float:
        """Seconds since this clock was made."""
        return self._now

    @property
    def sleepers(self) -> int:
        """How many tasks sleep on this clock."""
        return sum(not wake.done() for _, _, wake in self._sleepers)

    def set_time(self, time: float) -> None:
        """Let the wall clock jump, as an NTP correction does; sleepers sleep on."""
        self._epoch = time - self._now

    async def sleep(self, seconds: float) -> None:
        """Return once the clock was advanced by `seconds`; at once if there is nothing to wait."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), wake))
        await wake

    async def advance(self, seconds: float) -> None:
        """Move on, waking sleepers in the order of their times.

        After each one the loop runs, so that what it does next, another sleep
        included, happens at its own time and not at the end.
        """
        end = self._now + seconds
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            when, _, wake = heapq.heappop(self._sleepers)
            if wake.done():
                continue
            self._now = when
            wake.set_result(None)
            await self.settle()
        self._now = end
        await self.settle()

    async def settle(self) -> None:
        """Let the loop run without moving the time, until tasks had many turns each."""
        for _ in range(_SETTLE_TURNS):
            await asyncio.sleep(0)

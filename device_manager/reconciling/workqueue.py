"""A queue of keys: duplicates collapse, no key is worked on twice at once, failures back off."""

import asyncio
import heapq
import random
from collections.abc import Callable, Hashable
from types import TracebackType
from typing import Generic, TypeVar

from dmi.clock import Clock

__all__ = ["WorkQueue"]

K = TypeVar("K", bound=Hashable)


class WorkQueue(Generic[K]):
    """Keys to be looked at, most urgent first, then in the order they came.

    A key stands for "something about this may have changed"; what is to be done is found
    out by whoever takes it. A key that is added while it is being worked on comes again
    afterwards. Use it as an async context manager: delayed keys are tasks of the block.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        first: float = 0.2,
        longest: float = 30.0,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Start empty.

        Args:
            clock: For delays.
            first: Delay after the first failure of a key, in seconds; it doubles.
            longest: Longest delay, in seconds.
            chance: From 0 up to 1; spreads delays over half to one and a half times.
        """
        self._clock = clock
        self._first = first
        self._longest = longest
        self._chance = chance
        self._tasks = asyncio.TaskGroup()
        self._ready = asyncio.Event()
        self._heap: list[tuple[int, int, K]] = []
        self._count = 0
        self._urgency: dict[K, int] = {}
        self._delayed: dict[K, asyncio.Task[None]] = {}
        self._failures: dict[K, int] = {}
        self._working: set[K] = set()

    async def __aenter__(self) -> "WorkQueue[K]":
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._delayed.values():
            task.cancel()
        await self._tasks.__aexit__(kind, error, trace)

    def waiting(self) -> set[K]:
        """Every key that waits, is delayed or is being worked on."""
        return {*self._urgency, *self._delayed, *self._working}

    def add(self, key: K, urgency: int = 0) -> None:
        """Have a key looked at now, whatever its delay; 0 is most urgent."""
        if (task := self._delayed.pop(key, None)) is not None:
            task.cancel()
        known = self._urgency.get(key)
        if known is not None and known <= urgency:
            return
        self._urgency[key] = urgency
        if key not in self._working:
            self._push(key, urgency)

    def retry(self, key: K, urgency: int = 0) -> float:
        """Have a key looked at again after a delay that grows with its failures.

        Returns:
            The delay, in seconds.
        """
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        # The exponent is bounded because a float would overflow after a thousand failures.
        delay: float = min(self._longest, self._first * 2 ** min(failures, 30))
        delay *= 0.5 + self._chance()
        if key not in self._urgency and key not in self._delayed:
            self._delayed[key] = self._tasks.create_task(self._add_later(key, urgency, delay))
        return delay

    def forget(self, key: K) -> None:
        """A key has succeeded: its next failure counts as the first."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """Wait for the most urgent key; the caller must say `done` when it is through."""
        while True:
            while self._heap:
                urgency, _, key = heapq.heappop(self._heap)
                # An entry is stale when the key was taken or became more urgent since.
                if self._urgency.get(key) == urgency and key not in self._working:
                    del self._urgency[key]
                    self._working.add(key)
                    return key
            self._ready.clear()
            await self._ready.wait()

    def done(self, key: K) -> None:
        """A key that was taken has been looked at."""
        self._working.discard(key)
        if (urgency := self._urgency.get(key)) is not None:
            self._push(key, urgency)

    def _push(self, key: K, urgency: int) -> None:
        self._count += 1
        heapq.heappush(self._heap, (urgency, self._count, key))
        self._ready.set()

    async def _add_later(self, key: K, urgency: int, delay: float) -> None:
        await self._clock.sleep(delay)
        del self._delayed[key]
        self.add(key, urgency)

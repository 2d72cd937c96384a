"""Sharing a scarce radio: who has a link, who is next, and what to do when nothing works.

Only the books are kept here; `shared_radio` does what they say.
"""

import asyncio
from collections import deque
from enum import StrEnum
from typing import Protocol

from dmi.errors import OverloadedError

__all__ = ["Holder", "Ladder", "Rung", "Slots"]


class Holder(Protocol):
    """Something that has a link, and so a slot."""

    async def give_up(self) -> None:
        """End the link and release the slot, now or as soon as it is not in use."""


class Slots:
    """The links that a radio can hold, handed out in the order they were asked for.

    A holder is busy, or idle between two uses. Who asks when all are taken has the one give
    up that has been idle longest; one that turns idle while somebody waits should give up
    by itself (see `wanted`).
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._busy: set[Holder] = set()
        self._idle: dict[Holder, None] = {}
        self._queue: deque[asyncio.Future[None]] = deque()
        self._reserved = 0

    @property
    def taken(self) -> int:
        """How many are held."""
        return len(self._busy) + len(self._idle)

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for one."""
        return bool(self._queue)

    async def acquire(self, holder: Holder, limit: float) -> None:
        """Wait for a slot, at most `limit` seconds.

        Raises:
            OverloadedError: None became free in time.
        """
        place = asyncio.get_running_loop().create_future()
        self._queue.append(place)
        self._hand_out()
        try:
            async with asyncio.timeout(limit):
                if not place.done() and self._idle:
                    longest = next(iter(self._idle))
                    del self._idle[longest]
                    self._busy.add(longest)
                    await longest.give_up()
                await place
        except TimeoutError:
            self._forget(place)
            raise OverloadedError(
                f"none of the radio's {self.count} slots became free in {limit:g} s; raise `slots` "
                "if the adapter can hold more links, or poll some devices with `notify: off`"
            ) from None
        except asyncio.CancelledError:
            self._forget(place)
            raise
        self._busy.add(holder)
        self._reserved -= 1

    def _hand_out(self) -> None:
        while self._queue and self.taken + self._reserved < self.count:
            place = self._queue.popleft()
            if not place.done():
                self._reserved += 1
                place.set_result(None)

    def _forget(self, place: "asyncio.Future[None]") -> None:
        """Nobody waits at this place any more; a slot that it was given goes to the next."""
        if place in self._queue:
            self._queue.remove(place)
        elif place.done() and not place.cancelled():
            self._reserved -= 1
            self._hand_out()

    def use(self, holder: Holder) -> None:
        """This one is busy now; it must have a slot."""
        self._idle.pop(holder, None)
        self._busy.add(holder)

    def rest(self, holder: Holder) -> None:
        """This one is not busy any more, and may be asked to give up."""
        if holder in self._busy:
            self._busy.discard(holder)
            self._idle[holder] = None

    def release(self, holder: Holder) -> None:
        """This one has no link any more."""
        self._busy.discard(holder)
        self._idle.pop(holder, None)
        self._hand_out()


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

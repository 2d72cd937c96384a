"""Sharing the few links of a radio: who has one, who is next, and who has to give his up.

Only the books are kept here; the holders do what they say.
"""

import asyncio
from collections import deque
from typing import NamedTuple, Protocol

from dmi.errors import OverloadedError

__all__ = ["Holder", "Slots"]


class Holder(Protocol):
    """Something that has a link, and so a slot."""

    def give_up(self) -> None:
        """End the link and release the slot, as soon as it is not in use; returns at once."""

    def come_back(self) -> None:
        """A slot is free that nobody waits for (see `Slots.hope`); returns at once."""


class _Rest(NamedTuple):
    """How a link that is not in use may be taken; the least of several goes first.

    Attributes:
        kept: Something is pushed over it.
        from_: Time of the loop from which it may be taken.
    """

    kept: bool
    from_: float


class Slots:
    """The links that a radio can hold, handed out in the order they were asked for.

    A holder is busy, idle between two uses, or keeps its link for the length of a lease.
    When all slots are taken and somebody waits, the one that has been idle longest gives up;
    if none is idle, the one whose lease has ended first, as soon as one has ended.

    Attributes:
        count: How many there are.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._busy: set[Holder] = set()
        self._resting: dict[Holder, _Rest] = {}
        self._asked: set[Holder] = set()
        self._queue: deque[asyncio.Future[None]] = deque()
        self._hopeful: dict[Holder, None] = {}
        self._reserved = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def taken(self) -> int:
        """How many are held."""
        return len(self._busy) + len(self._resting) + len(self._asked)

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
                await place
        except TimeoutError:
            self._forget(place)
            raise OverloadedError(
                f"none of the radio's {self.count} slots became free in {limit:g} s; raise `slots` "
                "if the adapter can hold more links, or shorten `lease`"
            ) from None
        except asyncio.CancelledError:
            self._forget(place)
            raise
        self._hopeful.pop(holder, None)
        self._busy.add(holder)
        self._reserved -= 1
        self._hand_out()

    def _hand_out(self) -> None:
        while self._queue and self.taken + self._reserved < self.count:
            place = self._queue.popleft()
            if not place.done():
                self._reserved += 1
                place.set_result(None)
        if self._hopeful and self.taken + self._reserved < self.count:
            # One at a time: when it has its slot, the next one is looked for.
            first = next(iter(self._hopeful))
            del self._hopeful[first]
            first.come_back()
        self._press()

    def hope(self, holder: Holder) -> None:
        """Tell this one when a slot is free that nobody waits for; it has none itself."""
        self._hopeful[holder] = None
        self._hand_out()

    def despair(self, holder: Holder) -> None:
        """Do not tell it any more."""
        self._hopeful.pop(holder, None)

    def _press(self) -> None:
        """Have as many give up as there are who wait; look again when the next lease ends."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop = asyncio.get_running_loop()
        missing = len(self._queue) - len(self._asked)
        for holder in sorted(self._resting, key=self._resting.__getitem__)[: max(missing, 0)]:
            begin = self._resting[holder].from_
            if begin > loop.time():
                self._timer = loop.call_at(begin, self._press)
                return
            del self._resting[holder]
            self._asked.add(holder)
            holder.give_up()

    def _forget(self, place: "asyncio.Future[None]") -> None:
        """Nobody waits at this place any more; a slot that it was given goes to the next."""
        if place in self._queue:
            self._queue.remove(place)
        elif place.done() and not place.cancelled():
            self._reserved -= 1
            self._hand_out()

    def use(self, holder: Holder) -> None:
        """This one is busy now; it must have a slot."""
        if self._resting.pop(holder, None) is not None:
            self._busy.add(holder)

    def rest(self, holder: Holder, *, lease_end: float | None = None) -> None:
        """This one is not busy any more, and may be asked to give up.

        Args:
            holder: Who has a slot.
            lease_end: Time of the loop until which it keeps the link, because something is
                pushed over it; None for one that is only idle.
        """
        if holder not in self._busy and holder not in self._resting:
            return
        self._busy.discard(holder)
        kept = lease_end is not None
        begin = asyncio.get_running_loop().time() if lease_end is None else lease_end
        self._resting[holder] = _Rest(kept, begin)
        self._press()

    def release(self, holder: Holder) -> None:
        """This one has no link any more."""
        self._busy.discard(holder)
        self._asked.discard(holder)
        self._resting.pop(holder, None)
        self._hand_out()

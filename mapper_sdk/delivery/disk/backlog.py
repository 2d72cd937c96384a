"""What waits on disk for one target, as its worker sees it: a disk may fail, the worker may not."""

import asyncio
import logging
import shutil
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from typing import Any, Final

from pydantic import BaseModel

from dmi.clock import Clock
from dmi.errors import DmiError, UnavailableError
from mapper_sdk.delivery.disk.keeper import Keeper
from mapper_sdk.delivery.inbox import Chunk
from mapper_sdk.delivery.ledger import Loss
from mapper_sdk.delivery.sink import Item

__all__ = ["Backlog"]

log = logging.getLogger(__name__)

_SAMPLES: Final = 300
_STOW_LIMIT: Final = 10.0


class Backlog:
    """Stores, gives back and settles; says False or nothing where the disk does not let it.

    Attributes:
        spool: Its counters.
        full: Why the disk takes nothing now; None while it does.
        unreadable: Why nothing can be read from it; None while it can.
    """

    def __init__(self, keeper: Keeper, name: str, clock: Clock) -> None:
        self.spool = keeper.spool
        self.full: DmiError | None = None
        self.unreadable: DmiError | None = None
        self._keeper = keeper
        self._name = name
        self._clock = clock
        self._storing: tuple[Future[None], Sequence[Chunk]] | None = None
        self._samples: deque[tuple[float, int]] = deque(maxlen=_SAMPLES)

    @property
    def count(self) -> int:
        """Readings on disk."""
        return self.spool.readings

    @property
    def is_busy(self) -> bool:
        """Whether anything is on its way to the disk, or from there."""
        return self._storing is not None or self._keeper.calls > 0

    async def look(self) -> None:
        """Open the file, if there is one from before."""
        if self.spool.path.exists():
            try:
                await self._keeper.call(self.spool.expire, self._clock.time())
            except UnavailableError as error:
                self._note_full(error)

    async def store(self, chunks: Sequence[Chunk]) -> bool:
        """Put readings on disk; False if it does not take them."""
        future = self._keeper.submit(self.spool.put, chunks, self._clock.time())
        self._storing = (future, chunks)
        try:
            await asyncio.shield(asyncio.wrap_future(future))
        except UnavailableError as error:
            self._storing = None
            self._note_full(error)
            return False
        self._storing = None
        self._note_room()
        return True

    async def head(self, size: int, place_model: type[BaseModel]) -> tuple[int, list[Item[Any]]]:
        """Give the oldest readings, and a number to settle them by; none if it cannot."""
        try:
            batch = await self._keeper.call(self.spool.head, size, place_model)
        except UnavailableError as error:
            if self.unreadable is None:
                log.error("%s: stored readings cannot be read: %s", self._name, error)
            self.unreadable = error
            return 0, []
        self.unreadable = None
        return batch

    async def release(self) -> None:
        """The target did not take what `head` gave."""
        await self._keeper.call(self.spool.release)

    async def settle(self, upto: int, left: Sequence[Item[Any]], losses: Sequence[Loss]) -> None:
        """The target took what `head` gave, but for `left`, and refused `losses`."""
        try:
            await self._keeper.call(self.spool.settle, upto, left, losses, self._clock.time())
        except UnavailableError as error:
            self._note_full(error)
        else:
            self._note_room()

    async def look_after(self, losses: Sequence[Loss], *, needed: bool) -> None:
        """Write the ledger, and give up what is too old.

        Args:
            losses: What is to be entered.
            needed: Whether readings go to disk now; else it matters to nobody if it is full.
        """
        if not needed:
            self.full = None
        self._samples.append((self._clock.monotonic(), self.spool.taken_in))
        now = self._clock.time()
        if losses:
            self._keeper.note(losses)
        try:
            if losses or self.count or self.spool.unsaved:
                await self._keeper.call(self.spool.expire, now)
        except UnavailableError as error:
            log.debug("%s: %s", self._name, error)

    def stow(self, chunks: Iterable[Chunk]) -> bool:
        """Put readings on disk before the process ends; blocks. False if it does not take them.

        What was on its way to the disk arrives first, or is among them.
        """
        chunks = list(chunks)
        if self._storing is not None:
            future, before = self._storing
            if not _succeeds(future):
                chunks = [*before, *chunks]
        if not chunks:
            return True
        return _succeeds(self._keeper.submit(self.spool.put, chunks, self._clock.time()))

    def close(self, losses: Sequence[Loss]) -> None:
        """Write the ledger for the last time, and let go of the file; blocks."""
        if losses:
            self._keeper.note(losses)
        if losses or self.spool.unsaved:
            _succeeds(self._keeper.submit(self.spool.expire, self._clock.time()))
        self._keeper.close()

    @property
    def hours_left(self) -> float | None:
        """How long there will be room at the rate of the last minutes; None before it is known."""
        if self.full is not None:
            return 0.0
        if len(self._samples) < 2:
            return None
        (start, before), (end, after) = self._samples[0], self._samples[-1]
        age = self._clock.time() - self.spool.oldest if self.count else 0.0
        left = self.spool.limits.age - age
        if after > before:
            rate = (after - before) / (end - start)
            left = min(left, self._room / rate)
        return max(left, 0.0) / 3600

    @property
    def _room(self) -> int:
        """Bytes that the cap and the disk leave; the cap counts where the disk says nothing."""
        room = self.spool.limits.size - self.spool.size
        try:
            return min(room, shutil.disk_usage(self.spool.path.parent).free)
        except OSError:
            return room

    def _note_full(self, error: DmiError) -> None:
        if self.full is None:
            log.error("%s: readings are kept in memory only: %s", self._name, error)
        self.full = error

    def _note_room(self) -> None:
        if self.full is not None:
            log.warning("%s: the disk takes readings again", self._name)
        self.full = None


def _succeeds(future: Future[None]) -> bool:
    """Wait for work of a keeper, blocking."""
    try:
        future.result(_STOW_LIMIT)
    except (DmiError, TimeoutError) as error:
        log.error("the disk does not take the rest: %s", error)
        return False
    return True

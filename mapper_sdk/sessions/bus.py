"""What several devices share: a serial line, a TCP endpoint, a radio."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

from dmi.errors import DmiError

__all__ = ["Bus", "Buses", "Turn"]

Shared = TypeVar("Shared")


class Turn:
    """One stay on the bus: an asynchronous context manager, used once."""

    __slots__ = ("_bus", "_waiting", "_write")

    def __init__(self, bus: "Bus", write: bool) -> None:
        self._bus = bus
        self._write = write
        self._waiting: asyncio.Future[None] | None = None

    def promote(self) -> None:
        """Move a waiting poll in among the writes; no effect on a turn that has begun."""
        if self._write:
            return
        self._write = True
        if self._waiting is not None:
            self._bus._promote(self._waiting)

    async def __aenter__(self) -> None:
        if self._bus._take():
            return
        self._waiting = self._bus._queue(self._write)
        try:
            await self._waiting
        except asyncio.CancelledError:
            self._bus._forget(self._waiting)
            raise
        finally:
            self._waiting = None

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bus._pass_on()


@dataclass(slots=True)
class _Loan:
    """A shared connection and how many use it."""

    shared: object
    users: int = 0


class Bus:
    """A queue for the turns on one shared medium, and the connection that its users share.

    Turns never overlap. A write goes ahead of all waiting polls; polls are served in
    the order they came, and a session waits for at most one.

    `borrow` opens outside any turn: one caller opens while the others wait for it, so
    that an endpoint that is down costs all its devices one timeout, not one each.
    """

    def __init__(self, *, takes_turns: bool = True) -> None:
        """Start idle.

        Args:
            takes_turns: False makes it a shared connection and no queue: turns overlap.
        """
        self._takes_turns = takes_turns
        self._busy = False
        self._writes: deque[asyncio.Future[None]] = deque()
        self._polls: deque[asyncio.Future[None]] = deque()
        self._loans: dict[int, _Loan] = {}
        self._current: object = None
        self._opening: asyncio.Future[None] | None = None

    def turn(self, *, write: bool = False) -> Turn:
        """Hold the bus for the length of an `async with` block."""
        return Turn(self, write)

    @property
    def waiting(self) -> int:
        """How many turns are queued."""
        return len(self._writes) + len(self._polls)

    # -------------------------------------------------------------- queue ----

    def _take(self) -> bool:
        """Take the bus if nobody holds it; nobody waits then either."""
        if self._busy:
            return False
        self._busy = self._takes_turns
        return True

    def _queue(self, write: bool) -> "asyncio.Future[None]":
        place = asyncio.get_running_loop().create_future()
        (self._writes if write else self._polls).append(place)
        return place

    def _promote(self, place: "asyncio.Future[None]") -> None:
        if place in self._polls:
            self._polls.remove(place)
            self._writes.append(place)

    def _forget(self, place: "asyncio.Future[None]") -> None:
        """A waiter was cancelled; if the bus was its own already, the next one gets it."""
        if place.done() and not place.cancelled():
            self._pass_on()
            return
        for line in (self._writes, self._polls):
            if place in line:
                line.remove(place)

    def _pass_on(self) -> None:
        """Hand the bus to the first in line; it stays busy in between."""
        for line in (self._writes, self._polls):
            while line:
                place = line.popleft()
                if not place.done():
                    place.set_result(None)
                    return
        self._busy = False

    # -------------------------------------------------- shared connection ----

    async def borrow(self, open_shared: Callable[[], Awaitable[Shared]]) -> Shared:
        """Give the shared connection, opening it when nobody has; count one user more.

        All users of one bus must open connections of one kind.

        Raises:
            DmiError: Opening failed; everybody who waited for it gets the same error.
        """
        while self._current is None and self._opening is not None:
            # Shielded: one waiter's deadline must not cancel what the others wait for.
            await asyncio.shield(self._opening)
        if self._current is None:
            self._current = await self._open(open_shared)
            self._loans[id(self._current)] = _Loan(self._current)
        loan = self._loans[id(self._current)]
        loan.users += 1
        return loan.shared  # type: ignore[return-value]  # one kind per bus, as said above

    async def _open(self, open_shared: Callable[[], Awaitable[Shared]]) -> Shared:
        opening = self._opening = asyncio.get_running_loop().create_future()
        try:
            return await open_shared()
        except DmiError as error:
            opening.set_exception(error)
            opening.exception()  # Marks it as seen: perhaps nobody else waits.
            raise
        finally:
            self._opening = None
            if not opening.done():
                # Opened, or the opener was cancelled: then a waiter opens in its place.
                opening.set_result(None)

    async def give_back(
        self, shared: Shared, close_shared: Callable[[Shared], Awaitable[None]]
    ) -> None:
        """Count one user less; the last one closes it. Unknown ones are ignored.

        A discarded connection is closed by its last user too.
        """
        loan = self._loans.get(id(shared))
        if loan is None or loan.shared is not shared:
            return
        loan.users -= 1
        if loan.users > 0:
            return
        del self._loans[id(shared)]
        if self._current is shared:
            self._current = None
        await close_shared(shared)

    def discard(self, shared: Shared) -> None:
        """Say that this connection is broken: the next `borrow` opens a new one."""
        if self._current is shared:
            self._current = None


class Buses:
    """The buses of one mapper by name, each living as long as it has a user."""

    def __init__(self) -> None:
        self._named: dict[str, tuple[Bus, int]] = {}

    def acquire(self, key: str | None, *, takes_turns: bool = True) -> Bus:
        """Give the bus of this name, making it if needed; None gives one of its own."""
        if key is None:
            return Bus(takes_turns=takes_turns)
        bus, users = self._named.get(key) or (Bus(takes_turns=takes_turns), 0)
        self._named[key] = (bus, users + 1)
        return bus

    def release(self, key: str | None) -> None:
        """Count one user less."""
        if key is None or key not in self._named:
            return
        bus, users = self._named.pop(key)
        if users > 1:
            self._named[key] = (bus, users - 1)

    def __len__(self) -> int:
        return len(self._named)

    @property
    def waiting(self) -> int:
        """How many turns are queued on buses that devices share."""
        return sum(bus.waiting for bus, _ in self._named.values())

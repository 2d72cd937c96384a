"""What several devices share: a serial line, a TCP endpoint, a radio."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

__all__ = ["Bus"]

Shared = TypeVar("Shared")


class Bus:
    """A queue for the turns on one shared medium, and the connection that its users share.

    Turns never overlap. A write goes ahead of all waiting polls; polls are served in
    the order they came, and a session waits for at most one.
    """

    @asynccontextmanager
    async def turn(self, *, write: bool = False) -> AsyncIterator[None]:
        """Hold the bus for the length of the block."""
        yield

    async def borrow(self, open_shared: Callable[[], Awaitable[Shared]]) -> Shared:
        """Give the shared connection, opening it when nobody has; count one user more."""
        return await open_shared()

    async def give_back(
        self, shared: Shared, close_shared: Callable[[Shared], Awaitable[None]]
    ) -> None:
        """Count one user less; the last one closes it. Unknown or stale ones are ignored."""

    def discard(self, shared: Shared) -> None:
        """Say that this connection is broken: the next `borrow` opens a new one."""

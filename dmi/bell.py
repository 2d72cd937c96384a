"""Something has changed: a counter that many wait on and nobody has to empty."""

import asyncio

__all__ = ["Bell"]


class Bell:
    """Wakes everyone who waits. Rings that nobody heard in time fold into one."""

    def __init__(self) -> None:
        self.rung = 0
        self._wake: asyncio.Future[None] | None = None

    def ring(self) -> None:
        """Wake all who wait now."""
        self.rung += 1
        if self._wake is not None:
            self._wake.set_result(None)
            self._wake = None

    async def wait(self, heard: int) -> int:
        """Return when `rung` is more than `heard`, with its value then."""
        while self.rung <= heard:
            if self._wake is None:
                self._wake = asyncio.get_running_loop().create_future()
            # Shielded: the future is shared, one waiter's cancellation must not end it for all.
            await asyncio.shield(self._wake)
        return self.rung

    async def next(self) -> None:
        """Return at the next ring."""
        await self.wait(self.rung)

"""The thread of one spool: everything that touches its file happens there, one after the other."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

from dmi.clock import Clock
from mapper_sdk.delivery.disk.database import DamagedError
from mapper_sdk.delivery.disk.spool import Spool
from mapper_sdk.delivery.ledger import Loss

__all__ = ["Keeper"]

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


class Keeper:
    """Runs a spool's methods in a thread of its own, which begins with the first of them.

    Attributes:
        spool: Its counters may be read at any time; its methods are called only through this.
        calls: How many calls are under way.
    """

    def __init__(self, spool: Spool, clock: Clock) -> None:
        self.spool = spool
        self.calls = 0
        self._used = False
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"spool {spool.path.stem}")

    async def call(self, method: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
        """Run a method of the spool, with its file open.

        Raises:
            UnavailableError: The disk does not let us. A damaged file does not end here: it
                is put aside, and the method is run on a new one.
        """
        self.calls += 1
        try:
            # Shielded: what has begun is finished, whoever does not wait for it.
            return await asyncio.shield(asyncio.wrap_future(self.submit(method, *arguments)))
        finally:
            self.calls -= 1

    def note(self, losses: Sequence[Loss]) -> None:
        """Enter losses into the ledger, after everything that was submitted; no disk hinders it."""
        self._used = True
        self._thread.submit(self.spool.note, losses, self._clock.time())

    def submit(
        self, method: Callable[[*Arguments], Result], *arguments: *Arguments
    ) -> Future[Result]:
        """Like `call`, for those who cannot wait."""
        self._used = True
        return self._thread.submit(lambda: self._run(method, *arguments))

    def close(self) -> None:
        """Let go of the file, after everything that was submitted; blocks."""
        if self._used:
            self._thread.submit(self.spool.close)
        self._thread.shutdown()

    def _run(self, method: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
        now = self._clock.time()
        try:
            self.spool.open(now)
            return method(*arguments)
        except DamagedError as error:
            self.spool.start_over(error, now)
            return method(*arguments)

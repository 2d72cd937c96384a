"""Taking a backlog off the disk: fetched and settled in larger pieces than it is sent."""

from typing import Any, Final

from pydantic import BaseModel

from mapper_sdk.delivery.courier import Outcome
from mapper_sdk.delivery.disk.backlog import Backlog
from mapper_sdk.delivery.ledger import Tally
from mapper_sdk.delivery.sink import Item

__all__ = ["Draining"]

_AHEAD: Final = 5


class Draining:
    """The readings that were fetched and not settled yet.

    Live readings can be sent between any two batches, but the disk is asked only once for
    several of them.
    """

    def __init__(self, backlog: Backlog, size: int, place_model: type[BaseModel]) -> None:
        """Fetch nothing yet.

        Args:
            backlog: What is on disk.
            size: Most readings of one batch.
            place_model: Of the target's places.
        """
        self._backlog = backlog
        self._size = size
        self._place_model = place_model
        self._upto = 0
        self._waiting: list[Item[Any]] = []
        self._left: list[Item[Any]] = []
        self._lost = Tally()
        self._done = 0

    @property
    def is_open(self) -> bool:
        """Whether something was fetched that is not settled."""
        return self._upto > 0

    async def next(self, *, ahead: bool) -> list[Item[Any]]:
        """Give the next batch; empty when there is none, or the disk cannot be read.

        Args:
            ahead: Fetch several at once, as the target seems to take them.
        """
        if not self._waiting:
            limit = self._size * _AHEAD if ahead else self._size
            self._upto, self._waiting = await self._backlog.head(limit, self._place_model)
            if not self._waiting:
                self._upto = 0
        batch, self._waiting = self._waiting[: self._size], self._waiting[self._size :]
        return batch

    async def settle(self, count: int, outcome: Outcome) -> None:
        """Enter what became of a batch of so many."""
        self._done += count - len(outcome.left)
        self._left += outcome.left
        self._lost.add_tally(outcome.lost)
        if outcome.error is not None or not self._waiting:
            await self.finish()

    async def finish(self) -> None:
        """Settle what was dealt with; everything else stays on disk."""
        upto, left, done = self._upto, [*self._left, *self._waiting], self._done
        self._upto, self._left, self._waiting, self._done = 0, [], [], 0
        if done:
            await self._backlog.settle(upto, left, self._lost.take())
        elif upto:
            await self._backlog.release()

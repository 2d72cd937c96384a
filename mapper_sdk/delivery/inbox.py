"""Readings in memory on their way to one target, as they came: chunk by chunk."""

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

from dmi.readings import Reading
from mapper_sdk.delivery.sink import Item, Route

__all__ = ["Chunk", "Inbox"]


class Chunk(NamedTuple):
    """Readings that came together, and the route of each. Shared by targets: never changed."""

    routes: Sequence[Route[Any]]
    readings: Sequence[Reading]


class Inbox:
    """A queue of chunks that is counted, and taken from, by the reading.

    Attributes:
        count: Readings in it.
    """

    def __init__(self) -> None:
        self.count = 0
        self._chunks: deque[Chunk] = deque()

    def put(self, chunk: Chunk) -> None:
        """Add a chunk behind all others. This is all that a reading costs when it comes."""
        self._chunks.append(chunk)
        self.count += len(chunk.readings)

    def put_back(self, items: Sequence[Item[Any]]) -> None:
        """Put readings before all others."""
        if items:
            routes, readings = zip(*items, strict=True)
            self._chunks.appendleft(Chunk(routes, readings))
            self.count += len(items)

    def put_back_chunks(self, chunks: Sequence[Chunk]) -> None:
        """Put chunks before all others, in their order."""
        self._chunks.extendleft(reversed(chunks))
        self.count += sum(len(chunk.readings) for chunk in chunks)

    def take(self, limit: int) -> list[Item[Any]]:
        """Take the oldest readings, at most `limit`."""
        items: list[Item[Any]] = []
        chunks = self._chunks
        while chunks and len(items) < limit:
            routes, readings = chunks[0]
            room = limit - len(items)
            if len(readings) <= room:
                chunks.popleft()
                items.extend(zip(routes, readings, strict=True))
            else:
                items.extend(islice(zip(routes, readings, strict=True), room))
                chunks[0] = Chunk(routes[room:], readings[room:])
        self.count -= len(items)
        return items

    def take_chunks(self, limit: int) -> list[Chunk]:
        """Take the oldest chunks whole, until they hold `limit` readings or more."""
        taken: list[Chunk] = []
        count = 0
        while self._chunks and count < limit:
            chunk = self._chunks.popleft()
            taken.append(chunk)
            count += len(chunk.readings)
        self.count -= count
        return taken

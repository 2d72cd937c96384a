"""A bounded replay log of numbered events with many readers, and its form as server-sent events."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import orjson

from dmi.bell import Bell

__all__ = ["Encode", "Event", "Feed", "Gap", "Reader", "sse_frame", "sse_stream"]

T = TypeVar("T")

Encode = Callable[[T], tuple[str, bytes] | None]
"""Gives the event name and the JSON of an event, or None to leave it out."""

_BATCH = 256


@dataclass(frozen=True, slots=True)
class Event(Generic[T]):
    """One event; resuming after `id` gives what followed it."""

    id: str
    data: T


@dataclass(frozen=True, slots=True)
class Gap:
    """Events are missing here.

    Attributes:
        id: Resuming after it gives what followed the gap.
        missed: How many; None when nobody can know (they were another process's).
    """

    id: str
    missed: int | None


class Feed(Generic[T]):
    """The last `size` events. A reader can neither slow the publisher nor make it grow.

    Not thread-safe: one event loop publishes and reads.
    """

    def __init__(self, size: int = 4096, epoch: str | None = None) -> None:
        """Start empty.

        Args:
            size: How many events are kept for those who resume or are slow.
            epoch: Tells this log's numbers from those of any other; must differ in
                each life of the process, since the log dies with it. None makes one.
        """
        if size < 1:
            raise ValueError("a feed keeps at least one event")
        self.epoch = epoch or secrets.token_hex(6)
        self._size = size
        self._ring: list[T | Callable[[], T] | None] = [None] * size
        self._count = 0
        self._readers = 0
        self._closed = False
        self._bell = Bell()

    @property
    def has_readers(self) -> bool:
        """Whether anybody reads now."""
        return self._readers > 0

    @property
    def last_id(self) -> str:
        """Id of the newest event; reading after it gives only what is to come."""
        return self._id(self._count)

    def publish(self, event: T | Callable[[], T]) -> None:
        """Add an event, or a function that makes it when the first reader gets there.

        Costs the same however many events, readers or laggards there are. A function
        must give what was true when it was published: it may be called much later.
        """
        self._ring[self._count % self._size] = event
        self._count += 1
        self._bell.ring()

    def close(self) -> None:
        """End every reader, now and later: whoever serves the streams is about to stop."""
        self._closed = True
        self._bell.ring()

    @contextmanager
    def reader(self, after_id: str | None = None) -> Iterator["Reader[T]"]:
        """Read what came after `after_id`; None means from now on."""
        self._readers += 1
        try:
            yield Reader(self, self._place(after_id))
        finally:
            self._readers -= 1

    async def read(
        self, after_id: str | None = None, *, limit: int | None = None
    ) -> AsyncIterator[Event[T] | Gap]:
        """Give what came after `after_id` and what comes, in order, until the feed is closed.

        Args:
            after_id: An `Event.id` or `Gap.id`; None means from now on. When it is too
                old, or of another epoch, a `Gap` comes first.
            limit: End after this many.
        """
        given = 0
        with self.reader(after_id) as reader:
            while given != limit and await reader.wait():
                for item in reader.take():
                    yield item
                    given += 1
                    if given == limit:
                        return
                await asyncio.sleep(0)

    def _id(self, number: int) -> str:
        return f"{self.epoch}-{number}"

    def _place(self, after_id: str | None) -> int | None:
        """How many events precede the reader; None when the id is not one of ours."""
        if after_id is None:
            return self._count
        epoch, _, number = after_id.rpartition("-")
        if epoch != self.epoch or not (number.isascii() and number.isdigit()):
            return None
        if len(number) > 19 or int(number) > self._count:
            return None
        return int(number)

    def _event(self, number: int) -> Event[T]:
        slot = number % self._size
        held = self._ring[slot]
        data: T = held() if callable(held) else held  # type: ignore[assignment]  # None only beyond _count
        self._ring[slot] = data
        return Event(self._id(number + 1), data)


class Reader(Generic[T]):
    """One place in a feed; made by `Feed.reader`."""

    def __init__(self, feed: Feed[T], place: int | None) -> None:
        self._feed = feed
        self._place = place

    @property
    def id(self) -> str:
        """Resuming after it gives what this reader has not taken yet."""
        return self._feed._id(self._place or 0)

    @property
    def place(self) -> int | None:
        """How many events precede it; None while it is to be told first of a gap."""
        return self._place

    def move(self, place: int) -> None:
        """Go on from another reader's `place`."""
        self._place = place

    async def wait(self) -> bool:
        """Return when there is something to take: True, or False when the feed is closed."""
        while self._place == self._feed._count and not self._feed._closed:
            await self._feed._bell.next()
        return not self._feed._closed

    def skip(self) -> None:
        """Pass over all that is there, without making lazy events."""
        self._place = self._feed._count

    def take(self, limit: int = _BATCH) -> list[Event[T] | Gap]:
        """Take up to `limit` events that are there, and a gap before them if there is one."""
        feed = self._feed
        oldest = max(0, feed._count - feed._size)
        items: list[Event[T] | Gap] = []
        if self._place is None:
            # Nothing of another epoch can be told apart from what is here: all is replayed.
            self._place = oldest
            items.append(Gap(feed._id(oldest), None))
        elif self._place < oldest:
            items.append(Gap(feed._id(oldest), oldest - self._place))
            self._place = oldest
        end = min(self._place + limit, feed._count)
        items.extend(feed._event(number) for number in range(self._place, end))
        self._place = end
        return items


def sse_frame(event: str, data: bytes, event_id: str) -> bytes:
    """Write one event as `text/event-stream`; `data` is JSON on one line.

    Source:
        WHATWG HTML Living Standard, section 9.2.
    """
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (event_id.encode(), event.encode(), data)


async def sse_stream(
    feed: Feed[T], after_id: str | None, encode: Encode[T], *, keep_alive: float = 15.0
) -> AsyncIterator[bytes]:
    """Write a feed as `text/event-stream`, in chunks, until the feed is closed.

    A gap becomes an event named `gap` with `{"missed": number or null}`. Events that
    `encode` leaves out still move the client's resume point, by an id without data.

    Args:
        feed: What is read.
        after_id: The client's `Last-Event-ID`; None or empty means from now on.
        encode: Gives the name and JSON of an event.
        keep_alive: Longest silence, in seconds; a comment ends it, so that proxies do
            not cut the line and a client that went away is noticed.
    """
    with feed.reader(after_id or None) as reader:
        # Without an id of its own, a client cut off before the first event could not resume.
        yield b"retry: 1000\n\n" if after_id else b"retry: 1000\nid: %b\n\n" % reader.id.encode()
        while True:
            try:
                async with asyncio.timeout(keep_alive):
                    if not await reader.wait():
                        return
            except TimeoutError:
                yield b": keep-alive\n\n"
                continue
            yield _chunk(reader.take(), encode)
            await asyncio.sleep(0)


def _chunk(items: list[Event[T] | Gap], encode: Encode[T]) -> bytes:
    frames: list[bytes] = []
    sent = ""
    for item in items:
        if isinstance(item, Gap):
            frames.append(sse_frame("gap", orjson.dumps({"missed": item.missed}), item.id))
        elif (coded := encode(item.data)) is not None:
            frames.append(sse_frame(coded[0], coded[1], item.id))
        else:
            continue
        sent = item.id
    if items and items[-1].id != sent:
        frames.append(b"id: %b\n\n" % items[-1].id.encode())
    return b"".join(frames)

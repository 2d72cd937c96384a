"""Channels: what readers with the same wishes share, so that each change is written once.

A reader takes what has come since its last look, at most every 50 ms. All readers look at
the same moments; those that keep up find the same place, and are given the same bytes.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import orjson

from dmi.feed import Encode, Event, Feed, Gap, Reader
from mapper_sdk.rest.streams.filters import Change, Filter, Labels, encoder

__all__ = ["Channel", "Channels", "Form"]

INTERVAL: Final = 0.05
"""Seconds between two looks of a reader; changes in between go out together."""

KEEP_ALIVE: Final = 15.0
"""Longest silence in seconds: proxies cut silent lines, and who went away is noticed."""

_PIECE: Final = 32
_LARGEST_CHUNK: Final = 256 * 1024
_MOST_FRAMES: Final = 4096
_MOST_BYTES: Final = 4 * 1024 * 1024
_MOST_CHUNKS: Final = 4

Form = Callable[[list[tuple[str, str, bytes]], str], bytes]
"""Writes events (id, kind, JSON) as one message; the second is the id to resume after."""


class Channel:
    """The changes that one filter lets pass, in one form."""

    def __init__(self, feed: Feed[Change], encode: Encode[Change], form: Form) -> None:
        self.readers = 0
        self._feed = feed
        self._encode = encode
        self._form = form
        self._frames: OrderedDict[str, tuple[str, bytes] | None] = OrderedDict()
        self._size = 0
        self._chunks: OrderedDict[tuple[int, str], tuple[bytes, int]] = OrderedDict()

    async def follow(self, after_id: str | None) -> AsyncIterator[bytes]:
        """Give message after message, until the feed is closed.

        An empty one says that nothing was to be said for a while.

        Args:
            after_id: The last event that the reader knows; None or empty for from now on.
        """
        loop = asyncio.get_running_loop()
        with self._feed.reader(after_id or None) as reader:
            while True:
                try:
                    async with asyncio.timeout(KEEP_ALIVE):
                        if not await reader.wait():
                            return
                except TimeoutError:
                    yield b""
                    continue
                if chunk := self._chunk(reader):
                    yield chunk
                if reader.id == self._feed.last_id:
                    await asyncio.sleep(INTERVAL - loop.time() % INTERVAL)
                else:
                    await asyncio.sleep(0)

    def _chunk(self, reader: Reader[Change]) -> bytes:
        """What a reader has not had yet, up to a size; the same bytes for all at its place."""
        place = reader.place
        key = (place, self._feed.last_id) if place is not None else None
        if key is not None and (known := self._chunks.get(key)) is not None:
            reader.move(known[1])
            return known[0]
        chunk = self._form(*self._take(reader))
        if key is not None and reader.place is not None:
            self._chunks[key] = chunk, reader.place
            while len(self._chunks) > _MOST_CHUNKS:
                self._chunks.popitem(last=False)
        return chunk

    def _take(self, reader: Reader[Change]) -> tuple[list[tuple[str, str, bytes]], str]:
        events: list[tuple[str, str, bytes]] = []
        size, last = 0, ""
        while size < _LARGEST_CHUNK and (items := reader.take(_PIECE)):
            last = items[-1].id
            for item in items:
                if isinstance(item, Gap):
                    events.append((item.id, "gap", orjson.dumps({"missed": item.missed})))
                elif (coded := self._coded(item)) is not None:
                    events.append((item.id, *coded))
                    size += len(coded[1])
        return events, last

    def _coded(self, event: Event[Change]) -> tuple[str, bytes] | None:
        """An event as JSON; the newest are kept for readers that come to them later."""
        if event.id in self._frames:
            return self._frames[event.id]
        coded = self._frames[event.id] = self._encode(event.data)
        self._size += len(coded[1]) if coded else 0
        while self._size > _MOST_BYTES or len(self._frames) > _MOST_FRAMES:
            _, old = self._frames.popitem(last=False)
            self._size -= len(old[1]) if old else 0
        return coded


class Channels:
    """The channels in use: one for each filter and form that somebody reads."""

    def __init__(self, feed: Feed[Change], labels_of: Labels) -> None:
        self._feed = feed
        self._labels_of = labels_of
        self._channels: dict[tuple[Filter, Form], Channel] = {}

    @property
    def last_id(self) -> str:
        """Id of the newest change."""
        return self._feed.last_id

    @property
    def readers(self) -> int:
        """How many read now."""
        return sum(channel.readers for channel in self._channels.values())

    @contextmanager
    def joined(self, wanted: Filter, form: Form) -> Iterator[Channel]:
        """Share a channel for as long as the block lasts."""
        key = (wanted, form)
        channel = self._channels.get(key)
        if channel is None:
            encode = encoder(wanted, self._labels_of)
            channel = self._channels[key] = Channel(self._feed, encode, form)
        channel.readers += 1
        try:
            yield channel
        finally:
            channel.readers -= 1
            if not channel.readers:
                del self._channels[key]

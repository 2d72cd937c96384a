"""The stream of changes as server-sent events."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dmi.feed import sse_frame
from mapper_sdk.rest.streams.channels import Channels
from mapper_sdk.rest.streams.filters import Filter

__all__ = ["EventStream"]

log = logging.getLogger(__name__)

PATIENCE: Final = 30.0
"""Seconds that a reader may take nothing; then it is cut off."""

_HEADERS: Final = {"cache-control": "no-store", "x-accel-buffering": "no"}


class EventStream(Response):
    """An answer without end.

    A reader that is slow misses what the feed no longer holds, and is told by a `gap`
    event; one that takes nothing for a while is cut off. Neither holds anybody up.

    Source:
        WHATWG HTML Living Standard, section 9.2.
    """

    media_type = "text/event-stream"

    def __init__(self, channels: Channels, wanted: Filter, after_id: str) -> None:
        """Answer with the changes after `after_id`; with those from now on if it is empty."""
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._channels = channels
        self._wanted = wanted
        self._after_id = after_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the reader or the server goes."""
        async with asyncio.TaskGroup() as group:
            tasks = (
                group.create_task(self._write(send), name="event stream"),
                group.create_task(_until_gone(receive), name="event stream's end"),
            )
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()

    async def _write(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            async for chunk in self._chunks():
                async with asyncio.timeout(PATIENCE):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except TimeoutError:
            log.warning("a reader of changes has taken nothing for %g s: it is cut off", PATIENCE)
            return
        await send({"type": "http.response.body", "body": b""})

    async def _chunks(self) -> AsyncIterator[bytes]:
        with self._channels.joined(self._wanted, sse_message) as channel:
            after = self._after_id or self._channels.last_id
            # With an id of its own, a client cut off before the first event can resume.
            yield (
                b"retry: 1000\n\n"
                if self._after_id
                else b"retry: 1000\nid: %b\n\n" % after.encode()
            )
            async for chunk in channel.follow(after):
                yield chunk or b": keep-alive\n\n"


def sse_message(events: list[tuple[str, str, bytes]], last: str) -> bytes:
    """Write events; an id without data moves the reader past those that it does not want."""
    frames = [sse_frame(kind, data, event_id) for event_id, kind, data in events]
    if last and (not events or events[-1][0] != last):
        frames.append(b"id: %b\n\n" % last.encode())
    return b"".join(frames)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

"""The stream of changes over a WebSocket: each message is a JSON array of events."""

import asyncio
import logging
from typing import Final

import orjson
from starlette.websockets import WebSocket, WebSocketDisconnect

from mapper_sdk.rest.streams.channels import Channels
from mapper_sdk.rest.streams.filters import Filter
from mapper_sdk.rest.streams.sse import PATIENCE

__all__ = ["serve_socket"]

log = logging.getLogger(__name__)

TRY_AGAIN_LATER: Final = 1013
GOING_AWAY: Final = 1001

_FAREWELL: Final = 1.0


async def serve_socket(
    socket: WebSocket, channels: Channels, wanted: Filter, after_id: str
) -> None:
    """Send changes until the reader or the server goes; what the reader sends is ignored.

    An event is `{"id": …, "event": …, "data": …}`; an empty array says that nothing has
    happened for a while.

    Args:
        socket: Not accepted yet.
        channels: Where they come from.
        wanted: Which of them.
        after_id: The last one that the reader knows; empty for from now on.
    """
    await socket.accept()
    async with asyncio.TaskGroup() as group:
        tasks = (
            group.create_task(_write(socket, channels, wanted, after_id), name="socket of changes"),
            group.create_task(_until_gone(socket), name="socket of changes' end"),
        )
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()


async def _write(socket: WebSocket, channels: Channels, wanted: Filter, after_id: str) -> None:
    code, reason = GOING_AWAY, "the server stops"
    with channels.joined(wanted, socket_message) as channel:
        try:
            async for message in channel.follow(after_id or channels.last_id):
                async with asyncio.timeout(PATIENCE):
                    await socket.send({"type": "websocket.send", "text": message.decode() or "[]"})
        except TimeoutError:
            code, reason = TRY_AGAIN_LATER, "too slow: nothing was taken for a while"
            log.warning("a reader of changes has taken nothing for %g s: it is cut off", PATIENCE)
        except WebSocketDisconnect:
            return
    try:
        # Who takes nothing may not even take this.
        async with asyncio.timeout(_FAREWELL):
            await socket.close(code, reason)
    except (TimeoutError, WebSocketDisconnect):
        log.debug("the reader does not hear that it is cut off")


def socket_message(events: list[tuple[str, str, bytes]], _last: str) -> bytes:
    """Write events; nothing where there are none."""
    if not events:
        return b""
    items = (
        b'{"id":%b,"event":%b,"data":%b}' % (orjson.dumps(event_id), orjson.dumps(kind), data)
        for event_id, kind, data in events
    )
    return b"[%b]" % b",".join(items)


async def _until_gone(socket: WebSocket) -> None:
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass

"""The least that a server can do for readers of events: the same bytes to each, ready-made."""

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

__all__ = ["main"]

_INTERVAL = 0.05
_EVENT = (
    b"id: 0123456789ab-1000\nevent: readings\n"
    b'data: {"namespace":"default","device":"virtual-0","readings":[{"property":"value-1",'
    b'"value":1000.25,"time":"2026-11-21T09:30:00.000Z","quality":"good","reason":""}]}\n\n'
)


def main() -> None:
    """Serve so many events a second on a free port until SIGTERM."""
    chunk = b"\n" + _EVENT * round(float(sys.argv[1]) * _INTERVAL)

    async def events(_request: Request) -> Response:
        async def stream() -> AsyncIterator[bytes]:
            while True:
                yield chunk
                await asyncio.sleep(_INTERVAL)

        return StreamingResponse(stream(), media_type="text/event-stream")

    listener = socket.create_server(("127.0.0.1", 0))
    app = Starlette(routes=[Route("/events", events)])
    config = uvicorn.Config(
        app,
        http="httptools",
        loop="asyncio",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=1,
    )
    print(json.dumps({"rest": f"http://127.0.0.1:{listener.getsockname()[1]}"}), flush=True)
    asyncio.run(uvicorn.Server(config).serve([listener]))


if __name__ == "__main__":
    main()

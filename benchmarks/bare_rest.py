"""The bare FastAPI route that latest values are measured against: one dictionary, one lookup."""

import asyncio
import json
import socket
import sys
from pathlib import Path

import orjson
import uvicorn
from fastapi import FastAPI
from starlette.responses import Response

__all__ = ["make_app"]


def make_app(answer: dict[str, object]) -> FastAPI:
    """An application with the one route."""
    app = FastAPI()
    values = {("default", "virtual-0", "setpoint"): answer}

    @app.get("/api/v1/devices/{namespace}/{name}/twins/{prop}")
    async def latest(namespace: str, name: str, prop: str) -> Response:
        content = orjson.dumps(values[namespace, name, prop])
        return Response(content, media_type="application/json")

    return app


def main() -> None:
    """Serve the JSON of a file on a free port until SIGTERM."""
    answer = orjson.loads(Path(sys.argv[1]).read_bytes())
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = uvicorn.Config(
        make_app(answer), http="httptools", loop="asyncio", access_log=False, log_level="warning"
    )
    print(json.dumps({"rest": address}), flush=True)
    asyncio.run(uvicorn.Server(config).serve([listener]))


if __name__ == "__main__":
    main()

"""The HTTP server of the REST API, inside this process and its event loop."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from dmi.errors import ConfigError
from dmi.unix_socket import prepare

__all__ = ["listen", "serve_http"]

log = logging.getLogger(__name__)

_UNIX: Final = "unix:"
_BACKLOG: Final = 512
_LAST_PORT: Final = 65535
_SOCKET_MODE: Final = 0o660


class _Server(uvicorn.Server):
    """Uvicorn that leaves signals to the process that embeds it, and says when it serves."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serving = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to serve."""
        await super().startup(sockets)
        self.serving.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install nothing."""
        yield


def listen(address: str) -> tuple[socket.socket, str]:
    """Open the listening socket.

    Args:
        address: `host:port`, `[v6]:port` or `unix:/path`; port 0 takes a free one.

    Returns:
        The socket, and the address that clients use: `http://host:port` or `unix:/path`.

    Raises:
        ConfigError: The address makes no sense, or cannot be listened on.
        ConflictError: Another process serves on the Unix socket.
    """
    if address.startswith(_UNIX):
        path = Path(address.removeprefix(_UNIX)).absolute()
        prepare(path)
        return _listen_unix(path), f"{_UNIX}{path}"
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit() and int(port[:6]) <= _LAST_PORT):
        raise ConfigError(f"{address!r} is not an address: write host:port or unix:/path")
    try:
        family, *_, where = socket.getaddrinfo(
            host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.create_server(where[:2], family=family, backlog=_BACKLOG)
        # asyncio does it only where the protocol number is not 0. Connections inherit it;
        # without it the kernel holds half of each answer back for 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except (OSError, OverflowError, UnicodeError) as error:
        raise ConfigError(f"cannot listen on {address}: {error}") from error
    shown = f"[{host}]" if ":" in host else host
    return listener, f"http://{shown}:{listener.getsockname()[1]}"


def _listen_unix(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(~_SOCKET_MODE & 0o777)
    try:
        listener.bind(str(path))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigError(f"cannot listen on {path}: {error.strerror}") from error
    finally:
        os.umask(before)
    return listener


@asynccontextmanager
async def serve_http(app: ASGIApp, address: str, *, grace: float = 2.0) -> AsyncIterator[str]:
    """Serve an application for the length of the block; gives the address for clients.

    Streams must be ended by their owner before the block ends (`Feed.close`); whatever
    still runs `grace` seconds later is cut off.

    Raises:
        ConfigError: The address cannot be listened on.
        ConflictError: Another process serves there.
    """
    listener, shown = listen(address)
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=max(1, round(grace)),
    )
    server = _Server(config)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(server.serve(sockets=[listener]))
            try:
                await server.serving.wait()
                log.info("serving REST on %s", shown)
                yield shown
            finally:
                server.should_exit = True
    finally:
        listener.close()
        _remove(shown)


def _remove(address: str) -> None:
    if address.startswith(_UNIX):
        Path(address.removeprefix(_UNIX)).unlink(missing_ok=True)

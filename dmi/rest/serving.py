"""The HTTP server of a REST API, inside its process and its event loop."""

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
from starlette.types import ASGIApp, Receive, Scope, Send

from dmi.errors import ConfigError, UnavailableError
from dmi.rest.connection import Connection
from dmi.rest.guard import OPEN
from dmi.rest.refusal import refuse
from dmi.rest.tls import ServerTls
from dmi.unix_socket import prepare

__all__ = ["HttpServer", "listen", "serve_http"]

log = logging.getLogger(__name__)

_UNIX: Final = "unix:"
_BACKLOG: Final = 512
_LAST_PORT: Final = 65535
_SOCKET_MODE: Final = 0o660
_CONNECTIONS: Final = 256
_ROOM: Final = 64
"""Connections beyond those, so that probes are answered and others refused with an answer."""
_LOOK_AGAIN: Final = 30.0
_WS_MESSAGE: Final = 64 * 1024


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


class HttpServer:
    """Listens from the moment it is made; answers while `run` runs.

    Attributes:
        url: Where clients find it: `http://host:port`, `https://…` or `unix:/path`.
        serving: Set when it answers.
    """

    def __init__(
        self,
        app: ASGIApp,
        address: str,
        *,
        tls: ServerTls | None = None,
        connections: int = _CONNECTIONS,
        websockets: bool = False,
        grace: float = 1.0,
    ) -> None:
        """Bind the address.

        Args:
            app: What answers.
            address: `host:port`, `[v6]:port` or `unix:/path`; port 0 takes a free one.
            tls: Serve HTTPS; a certificate that is renewed on disk is taken up by itself.
            connections: Most at a time; those beyond are answered by 503, but not probes.
            websockets: Whether there are any.
            grace: Seconds that answers under way get at the end.

        Raises:
            ConfigError: The address cannot be listened on, or a file of TLS is wrong.
            ConflictError: Another process serves on the Unix socket.
        """
        self._tls = tls
        self._context = tls.context() if tls is not None else None
        self._socket, self.url = listen(address)
        if self._context is not None:
            self.url = self.url.replace("http://", "https://", 1)
        self._grace = grace
        context = self._context
        self._app = app
        self._most = connections
        self._server = _Server(
            uvicorn.Config(
                self._answer,
                interface="asgi3",
                http=Connection,
                ws="websockets-sansio" if websockets else "none",
                ws_max_size=_WS_MESSAGE,
                lifespan="off",
                log_config=None,
                # What strangers do wrong is not ours to write down, as often as they like.
                log_level="error",
                access_log=False,
                server_header=False,
                # Whoever stands in front of us may not say who asks: anybody could.
                proxy_headers=False,
                limit_concurrency=connections + _ROOM,
                timeout_graceful_shutdown=max(1, round(grace)),
                ssl_context_factory=None if context is None else lambda *_: context,
            )
        )
        self.serving = self._server.serving

    async def run(self) -> None:
        """Answer until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                serving = group.create_task(self._server.serve([self._socket]), name="http")
                renewing = group.create_task(self._renew(), name="certificate")
                try:
                    await asyncio.wait([serving])
                finally:
                    self._server.should_exit = True
                    renewing.cancel()
                    # Cancelled in the middle, uvicorn would leave its connections open.
                    await asyncio.wait([serving], timeout=2 * self._grace)
        finally:
            self.close()

    def close(self) -> None:
        """Listen no more; for servers that never ran."""
        self._socket.close()
        if self.url.startswith(_UNIX):
            Path(self.url.removeprefix(_UNIX)).unlink(missing_ok=True)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, unless there are too many connections."""
        full = len(self._server.server_state.connections) > self._most
        if full and scope["path"] not in OPEN:
            error = UnavailableError("too many connections")
            await refuse(scope, send, error, close=True)
            return
        await self._app(scope, receive, send)

    async def _renew(self) -> None:
        """Take up a certificate that was renewed: those of a cluster live for days."""
        if self._tls is None or self._context is None:
            return
        known = self._tls.stamp()
        while True:
            await asyncio.sleep(_LOOK_AGAIN)
            stamp = self._tls.stamp()
            if stamp == known:
                continue
            try:
                self._tls.load(self._context)
            except ConfigError as error:
                log.error("the certificate in use stays: %s", error)
            else:
                log.info("took up the renewed certificate %s", self._tls.certificate)
            known = stamp


@asynccontextmanager
async def serve_http(
    app: ASGIApp, address: str, *, tls: ServerTls | None = None, grace: float = 2.0
) -> AsyncIterator[str]:
    """Serve an application for the length of the block; gives the address for clients.

    Streams must be ended by their owner before the block ends (`Feed.close`); whatever
    still runs `grace` seconds later is cut off.

    Raises:
        ConfigError: The address cannot be listened on.
        ConflictError: Another process serves there.
    """
    server = HttpServer(app, address, tls=tls, grace=grace)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(server.run())
        try:
            await server.serving.wait()
            log.info("serving REST on %s", server.url)
            yield server.url
        finally:
            running.cancel()


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

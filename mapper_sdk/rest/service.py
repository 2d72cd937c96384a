"""The HTTP server around the REST API, in the mapper's own event loop."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator

import uvicorn

from dmi.errors import ConfigError
from dmi.feed import Feed
from dmi.rest_access import Access, read_token
from mapper_sdk.config import MapperConfig, split_address
from mapper_sdk.mapper import Mapper
from mapper_sdk.rest.app import Change, make_app

__all__ = ["RestService"]

log = logging.getLogger(__name__)

_FEED_SIZE = 1024
_CONNECTIONS = 256
_GOODBYE = 1.0


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling: signals belong to the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the handlers alone."""
        yield


class RestService:
    """Listens from the moment it is made; answers while `run` runs.

    Attributes:
        url: Where it can be reached.
    """

    def __init__(self, mapper: Mapper, config: MapperConfig) -> None:
        """Bind the address.

        Raises:
            ConfigError: The address cannot be had, or the token is missing or unusable.
        """
        host, port = split_address(config.rest)
        token = read_token(config.rest_token_file, "restTokenFile", config.rest)
        self._socket = _listen(host, port)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._socket.getsockname()[1]}"
        feed: Feed[Change] = Feed(_FEED_SIZE)
        mapper.add_listener(feed.publish)
        self._server = _Server(
            uvicorn.Config(
                Access(make_app(mapper, feed), token),
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                limit_concurrency=_CONNECTIONS,
                timeout_graceful_shutdown=1,
            )
        )

    async def run(self) -> None:
        """Answer until cancelled."""
        log.info("serving REST on %s", self.url)
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(self._server.serve([self._socket]), name="http")
            try:
                await asyncio.wait([serving])
            finally:
                self._server.should_exit = True
                # Cancelled in the middle, uvicorn would leave its connections open.
                await asyncio.wait([serving], timeout=2 * _GOODBYE)
                self._socket.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"rest: {host}: {error}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise ConfigError(f"rest: cannot listen on {host}:{port}: {error}") from error
    return listener

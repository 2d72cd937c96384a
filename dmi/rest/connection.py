"""One connection to a REST server: how long and how large its requests may be, and whose it is."""

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from dmi.rest.guard import PEER
from dmi.rest.tls import common_name

__all__ = ["Connection"]

_HEAD_SECONDS: Final = 10.0
_BODY_SECONDS: Final = 10.0
"""More than for the head, for a body that the application does not read."""
_HEAD_BYTES: Final = 64 * 1024
_CHUNK_HEAD: Final = 8
"""Most bytes around each byte of a body that comes in chunks."""
_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\r\n"


class Connection(HttpToolsProtocol):
    """Uvicorn's, with an end to the patience for a request, and the client's name."""

    _timer: asyncio.TimerHandle | None = None
    _in_head = True
    _bytes = 0
    _body_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Note who it is, when TLS knows."""
        super().connection_made(transport)
        if self.limit_concurrency is not None and len(self.connections) > self.limit_concurrency:
            # What is open here is missing where devices are talked to.
            transport.abort()
            return
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and (name := common_name(tls.getpeercert())):
            self.app_state = {**self.app_state, PEER: name}
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._forget()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take a piece of a request."""
        super().data_received(data)
        if self._timer is None:
            return
        self._bytes += len(data)
        if self._bytes > _HEAD_BYTES + (1 + _CHUNK_HEAD) * self._body_bytes:
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._expect()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; nobody wants those behind a body."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is here."""
        self._in_head = False
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is here."""
        self._forget()
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """Hand over to the protocol of WebSockets, which has no end to its patience either."""
        super().handle_websocket_upgrade()
        self.loop.call_later(_HEAD_SECONDS, _close_unless_open, self.transport)

    def _expect(self) -> None:
        self._forget()
        self._in_head = True
        self._timer = self.loop.call_later(_HEAD_SECONDS, self._lose_patience)

    def _lose_patience(self) -> None:
        if self._in_head:
            self.transport.close()
        else:
            self._timer = self.loop.call_later(_BODY_SECONDS, self.transport.close)

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._bytes = self._body_bytes = 0


def _close_unless_open(transport: asyncio.Transport) -> None:
    """End a WebSocket whose handshake came to nothing; a request with a body is not answered."""
    if not getattr(transport.get_protocol(), "handshake_complete", True):
        transport.abort()

"""Requests by route and status, and what they took."""

import time
from collections import Counter, defaultdict
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mapper_sdk.sessions.exchanges import Histogram

__all__ = ["Counted", "Requests"]

_NO_ROUTE: Final = "none"


class Requests:
    """What has been asked so far.

    Attributes:
        answers: By method, route and status.
        durations: Until the first byte of the answer, by method and route.
    """

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, str, int]] = Counter()
        self.durations: defaultdict[tuple[str, str], Histogram] = defaultdict(Histogram)


class Counted:
    """Counts the requests of an application."""

    def __init__(self, app: ASGIApp, requests: Requests) -> None:
        """Wrap an application."""
        self._app = app
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin = time.monotonic()

        async def note(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", _NO_ROUTE)
                # Whatever a client calls its method: it must not make the metrics grow.
                method = scope["method"] if route != _NO_ROUTE else _NO_ROUTE
                self._requests.answers[method, route, message["status"]] += 1
                self._requests.durations[method, route].took(time.monotonic() - begin)
            await send(message)

        await self._app(scope, receive, note)

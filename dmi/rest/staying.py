"""Ends answers that go on when their client is not let in any more: a stream lives for days."""

import asyncio
from collections.abc import Callable
from typing import Final

from starlette.types import Message, Receive, Scope, Send

from dmi.clock import Clock

__all__ = ["Stay"]

_LOOK_AGAIN: Final = 1.0
_POLICY_VIOLATION: Final = 1008


class Stay:
    """One client's stay; it is looked at again each second for as long as an answer takes.

    Whoever listens for the client's departure, as every stream does, hears of it when the
    client has to go.
    """

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        may_stay: Callable[[], bool],
        clock: Clock,
    ) -> None:
        """Begin.

        Args:
            scope: Of the request.
            receive: As the server gave it.
            send: As the server gave it.
            may_stay: Whether the client would be let in now.
            clock: Says when to look again.
        """
        self._kind: str = scope["type"]
        self._receive = receive
        self._send = send
        self._may_stay = may_stay
        self._clock = clock
        self._look_at = clock.monotonic() + _LOOK_AGAIN
        self._begun = False
        self._over = False
        self._ended = False

    async def receive(self) -> Message:
        """Give what comes from the client, or that it has gone."""
        while True:
            left = self._look_at - self._clock.monotonic()
            if left <= 0:
                if not self._may_stay():
                    self._ended = True
                    return {"type": f"{self._kind}.disconnect", "code": _POLICY_VIOLATION}
                self._look_at = self._clock.monotonic() + _LOOK_AGAIN
                continue
            try:
                async with asyncio.timeout(left):
                    return await self._receive()
            except TimeoutError:
                continue

    async def send(self, message: Message) -> None:
        """Pass on what goes to the client."""
        kind = message["type"]
        self._begun = True
        self._over = kind == "websocket.close" or (
            kind == "http.response.body" and not message.get("more_body", False)
        )
        await self._send(message)

    async def finish(self) -> None:
        """End what the application has left unfinished because the client had to go."""
        if not self._ended or self._over or not self._begun:
            return
        if self._kind == "websocket":
            reason = "not let in any more"
            message = {"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": reason}
        else:
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

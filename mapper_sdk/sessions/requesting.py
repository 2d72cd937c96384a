"""What is asked of a device beside its polls: each in a turn of its own on the bus."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from dmi.errors import DmiError, UnavailableError
from mapper_sdk.sessions.exchanges import Exchanges
from mapper_sdk.sessions.intake import is_fatal

__all__ = ["Requests", "disconnected", "release"]


@dataclass(slots=True)
class _Request:
    """Something to be done in a turn of its own, and who waits for its result."""

    run: Callable[[], Awaitable[Any]]
    answer: "asyncio.Future[Any]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Requests:
    """Waiting for their turns, first come, first served.

    As many as there are requesters, who each wait for one and give up after a while.
    """

    def __init__(self, exchanges: Exchanges) -> None:
        """Start with none.

        Args:
            exchanges: Counts those that fail.
        """
        self._exchanges = exchanges
        self._waiting: deque[_Request] = deque()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def add(self, run: Callable[[], Awaitable[Any]]) -> "asyncio.Future[Any]":
        """Have something done, and give its result; whoever gives up cancels it."""
        request = _Request(run)
        self._waiting.append(request)
        return request.answer

    async def serve_next(self) -> None:
        """Do what has waited longest, inside a turn.

        Raises:
            DmiError: It has failed, and cost the connection.
        """
        request = self._waiting.popleft()
        if request.answer.done():
            return
        try:
            result = await request.run()
        except DmiError as error:
            self._exchanges.failed(error.reason)
            release(request.answer, error)
            if is_fatal(error):
                raise
        else:
            release(request.answer, None, result)
        finally:
            # Broken off: who waits is told so, and is not taken for cancelled itself.
            release(request.answer, disconnected())

    def dismiss(self, error: DmiError) -> None:
        """Nobody will serve these any more."""
        for request in self._waiting:
            release(request.answer, error)
        self._waiting.clear()


def disconnected() -> UnavailableError:
    """What those are told whom nobody will serve any more."""
    return UnavailableError("the device is being disconnected")


def release(
    waiting: "asyncio.Future[Any] | None", error: DmiError | None, result: object = None
) -> None:
    """Let those go on who wait for an answer, unless that has happened already."""
    if waiting is None or waiting.done():
        return
    if error is None:
        waiting.set_result(result)
    else:
        waiting.set_exception(error)
        waiting.exception()  # Marks it as seen: perhaps nobody waits any more.

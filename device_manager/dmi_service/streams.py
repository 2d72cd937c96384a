"""What streams need beyond the gRPC stubs: reading and writing that may fail, turns, their end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

import grpc
from google.protobuf.message import Message

from dmi.errors import ConflictError, DmiError, UnavailableError

__all__ = ["EOF", "Context", "Turns", "expected", "receive", "send"]

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

EOF: Final = grpc.aio.EOF  # type: ignore[attr-defined]  # missing in grpc-stubs
"""What `Context.read` gives when the peer has no more to say."""


NOTICED_S: Final = 1.0
"""How long the library takes at most to end a call that it cannot go on with."""


async def send(context: Context, message: Message) -> None:
    """Write one message to the peer.

    Raises:
        UnavailableError: It cannot be written, and nobody has ended the call.
    """
    try:
        await context.write(message)
    except grpc.aio.BaseError as error:
        raise await _over(error) from error


async def receive(context: Context) -> Any:  # noqa: ANN401 - as the library gives it
    """Wait for the next message of the peer, or `EOF`.

    Raises:
        UnavailableError: Nothing can be read any more, and nobody has ended the call.
    """
    try:
        return await context.read()
    except grpc.aio.BaseError as error:
        raise await _over(error) from error


async def _over(error: grpc.aio.BaseError) -> Exception:
    """What to raise when the library cannot go on with a call.

    The peer is gone, or our server has stopped. The library ends the call as soon as it
    notices; an error that is quicker than that would be logged as if it were a bug of ours.
    """
    if isinstance(error, grpc.aio.UsageError):
        return error
    await asyncio.sleep(NOTICED_S)
    return UnavailableError("the call is over")


def expected(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error of ours in a task group's failure; the group itself when there is none: a bug."""
    found: BaseException | None = group.subgroup(DmiError)
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found or group


class Turns:
    """One stream at a time under each name: a newer one ends the older one first.

    A mapper that lost its connection comes back before the manager has noticed; what
    is still under way on the old stream must come to its end before the new one begins.
    """

    def __init__(self) -> None:
        self._running: dict[str, _Turn] = {}

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """Be the one stream of this name.

        Raises:
            ConflictError: A newer one has taken over.
        """
        turn, older = _Turn(), self._running.get(name)
        self._running[name] = turn
        try:
            if older is not None:
                await older.stop()
            async with turn.cut:
                turn.started = True
                if not turn.stopped:
                    yield
        except TimeoutError:
            if not turn.stopped:
                raise
        finally:
            turn.ended.set()
            if self._running.get(name) is turn:
                if older is not None and not older.ended.is_set():
                    # Given up while waiting: who comes next waits for the older one too.
                    self._running[name] = older
                else:
                    del self._running[name]
        if turn.stopped:
            raise ConflictError("the same stream was opened again")


class _Turn:
    def __init__(self) -> None:
        self.cut = asyncio.timeout(None)
        self.ended = asyncio.Event()
        self.started = self.stopped = False

    async def stop(self) -> None:
        before, self.stopped = self.stopped, True
        if self.started and not before and not self.ended.is_set():
            self.cut.reschedule(asyncio.get_running_loop().time())
        await self.ended.wait()

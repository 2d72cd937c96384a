"""One bidirectional call, with its errors as `DmiError`."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Generic, TypeVar, cast

import grpc
from google.protobuf.message import Message

from dmi.errors import DmiError, UnavailableError
from dmi.status import from_grpc

__all__ = ["Stream", "one_error", "open_stream"]

Up = TypeVar("Up", bound=Message)
Down = TypeVar("Down", bound=Message)


class Stream(Generic[Up, Down]):
    """Sends and receives; made by `open_stream`."""

    def __init__(self, call: "grpc.aio.StreamStreamCall[Up, Down]", what: str) -> None:
        self._call = call
        self._what = what

    async def send(self, message: Up) -> None:
        """Hand a message to the library; it may wait while the other side is slow.

        Raises:
            DmiError: The call is over; the class says why.
        """
        try:
            await self._call.write(message)
        except grpc.aio.AioRpcError as error:
            raise from_grpc(error, self._what) from error
        except asyncio.InvalidStateError as error:
            raise await self._why() from error

    async def receive(self) -> Down:
        """Wait for the next message.

        Raises:
            DmiError: The call is over; the class says why.
        """
        try:
            message = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise from_grpc(error, self._what) from error
        if not isinstance(message, Message):
            raise UnavailableError(f"{self._what}: the manager ended the call")
        return cast("Down", message)

    async def _why(self) -> DmiError:
        """What ended a call that a write found ended."""
        error = grpc.aio.AioRpcError(
            await self._call.code(),
            await self._call.initial_metadata(),
            await self._call.trailing_metadata(),
            await self._call.details(),
            "",
        )
        return from_grpc(error, self._what)


@asynccontextmanager
async def open_stream(
    method: "Callable[..., grpc.aio.StreamStreamCall[Up, Down]]", what: str
) -> AsyncIterator[Stream[Up, Down]]:
    """Open a call for the length of the block; it is cancelled at the end.

    Args:
        method: Of a stub.
        what: What it does, for people: "report".
    """
    call = method(wait_for_ready=True)
    try:
        yield Stream(call, what)
    finally:
        call.cancel()


@contextmanager
def one_error() -> Iterator[None]:
    """Let a group of `DmiError` leave the block as the first of them; a bug stays a group.

    A task that is being cancelled leaves it cancelled: where a child fails at that moment,
    the TaskGroup of Python before 3.13 raises the group and forgets the cancellation. Its
    body must not end by itself: from then on such a TaskGroup leaves a mark of its own.
    """
    try:
        yield
    except ExceptionGroup as group:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError from group
        error = _first_error(group)
        if error is None:
            raise
        raise error from group


def _first_error(group: ExceptionGroup[Exception]) -> DmiError | None:
    """The first error, or None if not all are `DmiError`."""
    first: DmiError | None = None
    for error in group.exceptions:
        found = _first_error(error) if isinstance(error, ExceptionGroup) else error
        if not isinstance(found, DmiError):
            return None
        first = first or found
    return first

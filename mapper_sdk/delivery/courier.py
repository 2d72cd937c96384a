"""The border to a sink: sending one batch safely, and finding out what of it was refused."""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, TypeVarTuple

from dmi.errors import (
    AccessDeniedError,
    ConfigError,
    DeadlineError,
    DmiError,
    DriverBugError,
    UnavailableError,
)
from mapper_sdk.delivery.ledger import Tally
from mapper_sdk.delivery.sink import Item, Sink

__all__ = ["Courier", "Outcome"]

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")

_OF_THE_TARGET: Final = (ConfigError, AccessDeniedError)
_CLOSE_LIMIT: Final = 5.0
_BUG_TRIES: Final = 5
_GROWTH: Final = 16


@dataclass(slots=True)
class Outcome:
    """What became of one batch.

    Attributes:
        delivered: How many readings the target has taken.
        left: What is to be sent again, in order.
        lost: What the target refuses for good.
        error: Why something is left; None when nothing is.
    """

    delivered: int = 0
    left: list[Item[Any]] = field(default_factory=list)
    lost: Tally = field(default_factory=Tally)
    error: DmiError | None = None


class Courier:
    """Calls one sink; nothing that it does wrong gets past this.

    Attributes:
        errors: What went wrong so far, by reason.
    """

    def __init__(self, sink: Sink[Any, Any], size: int, timeout: float) -> None:
        """Touch nothing yet.

        Args:
            sink: Who speaks to the target.
            size: Most readings of one call.
            timeout: How long one call may take, in seconds.
        """
        self.errors: Counter[str] = Counter()
        self._sink = sink
        self._size = self._fitting = size
        self._timeout = timeout
        self._is_open = False
        self._bugs = 0

    async def deliver(self, items: Sequence[Item[Any]]) -> Outcome:
        """Send all of these, in parts; what is refused is looked for by halving a part.

        Parts are smaller after one has taken too long, and grow again while they do not: so
        there is progress on a slow line too.
        """
        outcome = Outcome()
        parts = deque([items] if items else [])
        while parts:
            part = parts.popleft()
            if len(part) > self._fitting:
                parts.appendleft(part[self._fitting :])
                part = part[: self._fitting]
            try:
                failed = await self._send(part)
            except DmiError as error:
                self.errors[error.reason] += 1
                opened = self._is_open
                await self.close()
                # No reading is to blame for a target that could not even be opened.
                if not opened or error.retryable or isinstance(error, _OF_THE_TARGET):
                    outcome.left += part
                    outcome.left += (item for rest in parts for item in rest)
                    outcome.error = error
                    return outcome
                if len(part) == 1:
                    log.debug("%s refuses a reading: %s", self._sink.kind, error)
                    outcome.lost.add_items(part, error.reason)
                else:
                    middle = len(part) // 2
                    parts.extendleft((part[middle:], part[:middle]))
                continue
            outcome.delivered += len(part) - len(failed)
            self._sort(part, failed, outcome)
        if outcome.error is None:
            self._bugs = 0
        return outcome

    async def close(self) -> None:
        """Let go of the target; `deliver` comes back to it."""
        self._is_open = False
        try:
            await self._limited(_CLOSE_LIMIT, self._sink.close)
        except DmiError as error:
            log.debug("closing %s: %s", self._sink.kind, error)

    async def _send(self, part: Sequence[Item[Any]]) -> Mapping[int, DmiError]:
        if not self._is_open:
            await self._limited(self._timeout, self._sink.open)
            self._is_open = True
        try:
            failed = await self._limited(self._timeout, self._sink.send, part)
        except DeadlineError:
            self._fitting = max(1, len(part) // 2)
            raise
        self._fitting = min(self._size, self._fitting + self._size // _GROWTH + 1)
        return failed

    def _sort(
        self, part: Sequence[Item[Any]], failed: Mapping[int, DmiError], outcome: Outcome
    ) -> None:
        for index, error in sorted(failed.items()):
            self.errors[error.reason] += 1
            if error.retryable:
                outcome.left.append(part[index])
                outcome.error = outcome.error or error
            else:
                outcome.lost.add_items([part[index]], error.reason)

    async def _limited(
        self, limit: float, call: Callable[[*Arguments], Awaitable[Result]], *arguments: *Arguments
    ) -> Result:
        try:
            async with asyncio.timeout(limit):
                return await call(*arguments)
        except DmiError:
            raise
        except TimeoutError as error:
            raise DeadlineError(str(error) or f"no answer within {limit:g} s") from error
        except OSError as error:
            raise UnavailableError(str(error) or type(error).__name__) from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Not ours: that of a task of the library, which it has let slip.
            raise UnavailableError("the sink's library has ended the call") from error
        # Clients of databases and brokers have errors that nobody has met yet. Most of them say
        # that the server is away, so it is tried again; but one reading that a sink stumbles
        # over must not hold up all others for ever.
        except Exception as error:
            log.exception("the sink %s has a bug", self._sink.kind)
            self._bugs += 1
            kind = UnavailableError if self._bugs < _BUG_TRIES else DriverBugError
            raise kind(f"{type(error).__name__}: {error}") from error

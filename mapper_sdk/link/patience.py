"""Trying again: how long to wait, when to stop waiting, and what to say meanwhile."""

import logging
from pathlib import Path
from typing import Final

from dmi.clock import Clock, SystemClock
from dmi.errors import DmiError
from dmi.unix_socket import identity
from mapper_sdk.sessions.backoff import Backoff

__all__ = ["Patience"]

_LOOK_EVERY: Final = 0.1
_LASTING: Final = 2.0


class Patience:
    """The waits between the attempts of one link.

    A wait ends early when another socket appears, so that a peer that comes back is found
    at once. The first failure in a row is a warning, the others are for debugging.
    """

    def __init__(
        self, socket: Path, backoff: Backoff, log: logging.Logger, clock: Clock | None = None
    ) -> None:
        self._clock = clock or SystemClock()
        self._socket = socket
        self._backoff = backoff
        self._log = log
        self._failures = 0
        self._worked_at: float | None = None
        self._seen = identity(socket)

    def begin(self) -> None:
        """An attempt begins."""
        self._seen = identity(self._socket)
        self._worked_at = None

    def worked(self, message: str, *args: object) -> None:
        """It succeeded so far; says so in the log after failures and the first time."""
        self._log.info(message, *args)
        self._worked_at = self._clock.monotonic()

    def complain(self, error: DmiError) -> None:
        """It failed, now or after having worked for some time."""
        # A peer that breaks off each time at once is not to be hurried, nor complained of anew.
        since = self._worked_at
        if since is not None and self._clock.monotonic() - since >= _LASTING:
            self._failures = 0
            self._backoff.reset()
        level = logging.DEBUG if self._failures else logging.WARNING
        self._log.log(level, "%s; trying again", error)
        self._failures += 1

    async def wait(self) -> None:
        """Return when it is time for the next attempt."""
        deadline = self._clock.monotonic() + self._backoff.next()
        while (left := deadline - self._clock.monotonic()) > 0:
            await self._clock.sleep(min(left, _LOOK_EVERY))
            if identity(self._socket) not in (None, self._seen):
                return

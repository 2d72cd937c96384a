"""The numbered log of changes to what is wanted, so that watchers can resume."""

from bisect import bisect_right
from collections import deque
from itertools import islice
from operator import attrgetter
from typing import Final

from device_manager.records import Change
from dmi.bell import Bell

__all__ = ["ChangeLog"]

_REMEMBERED: Final = 10_000
_VERSION: Final = attrgetter("version")


class ChangeLog:
    """The last changes. Versions grow and are never used twice, not even after a restart."""

    def __init__(self, version: int, remembered: int = _REMEMBERED) -> None:
        """Start after `version`; what came before is forgotten."""
        self.version = version
        self._reserved = version
        self._forgotten = version
        self._log: deque[Change] = deque(maxlen=remembered)
        self._bell = Bell()

    def reserve(self) -> int:
        """Take the next version; numbers may be left out, but are recorded in order."""
        self._reserved += 1
        return self._reserved

    def record(self, change: Change) -> None:
        """Add a change whose version was reserved, and wake those who wait."""
        if len(self._log) == self._log.maxlen:
            self._forgotten = self._log[0].version
        self._log.append(change)
        self.version = change.version
        self._bell.ring()

    def since(self, version: int) -> list[Change] | None:
        """Changes after `version`; None when they are forgotten, or it never was."""
        if version < self._forgotten or version > self.version:
            return None
        if version == self.version:
            return []
        # Watchers are mostly close behind, so the end is searched, not the whole.
        tail = list(islice(reversed(self._log), self.version - version))
        tail.reverse()
        return tail[bisect_right(tail, version, key=_VERSION) :]

    async def wait(self, after: int) -> None:
        """Return when `version` is more than `after`."""
        while self.version <= after:
            await self._bell.next()

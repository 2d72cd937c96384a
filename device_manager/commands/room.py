"""How many ended commands are kept: limits by number, age and size."""

from collections.abc import Iterable
from typing import Final

from device_manager.commands.records import CommandRecord
from device_manager.storage.command_rows import packed

__all__ = ["LONGEST_KEPT", "MOST_BYTES", "MOST_KEPT", "Room"]

MOST_KEPT: Final = 2000
"""Commands, the open ones included."""
LONGEST_KEPT: Final = 7 * 24 * 3600.0
"""Seconds after their end."""
MOST_BYTES: Final = 32 * 1024 * 1024
"""Of all arguments and results together."""


class Room:
    """Says which commands must go; those that have not ended stay."""

    def __init__(self) -> None:
        self._sizes: dict[str, int] = {}
        self._total = 0

    def note(self, record: CommandRecord) -> None:
        """A command is new, or has changed."""
        size = len(packed(record.arguments)) + len(packed(record.results))
        self._total += size - self._sizes.get(record.id, 0)
        self._sizes[record.id] = size

    def size(self, command_id: str) -> int:
        """Bytes of a command's arguments and results."""
        return self._sizes.get(command_id, 0)

    def forget(self, command_id: str) -> None:
        """A command is gone."""
        self._total -= self._sizes.pop(command_id, 0)

    def too_much(self, records: Iterable[CommandRecord], now: float) -> list[str]:
        """Ids of the ended commands that must go, oldest first.

        Args:
            records: All that there are, oldest first.
            now: In seconds since 1970-01-01 UTC.
        """
        number, size = len(self._sizes), self._total
        gone: list[str] = []
        for record in records:
            old = record.updated + LONGEST_KEPT < now
            if not old and number <= MOST_KEPT and size <= MOST_BYTES:
                break
            if record.phase.is_final:
                gone.append(record.id)
                number -= 1
                size -= self._sizes[record.id]
        return gone

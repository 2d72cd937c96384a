"""The mappers that have ever registered, as far back as they are remembered."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Final

from device_manager import events
from device_manager.records import MapperRecord
from device_manager.storage import rows
from device_manager.storage.store import Store, Write
from dmi.clock import Clock
from dmi.feed import Feed

__all__ = ["LONGEST_KEPT", "MOST_KEPT", "Roster", "mapper_id"]

MOST_KEPT: Final = 256
"""Mappers that are remembered; those that live always are."""
LONGEST_KEPT: Final = 30 * 24 * 3600.0
"""Seconds after which one that is gone is forgotten."""


def mapper_id(record: MapperRecord) -> str:
    """Name and instance, which together stand for one mapper."""
    return f"{record.name}/{record.instance}"


class Roster:
    """Mappers by `mapper_id`. Those that are gone are forgotten when another one registers.

    Attributes:
        mappers: Living and gone.
    """

    def __init__(
        self,
        store: Store,
        feed: Feed[events.Json],
        clock: Clock,
        kept: Iterable[MapperRecord],
    ) -> None:
        self._store = store
        self._feed = feed
        self._clock = clock
        # Whether one lives shows when it calls, or answers.
        self._mappers = {mapper_id(record): replace(record, alive=False) for record in kept}
        self.mappers: Mapping[str, MapperRecord] = MappingProxyType(self._mappers)

    async def put(self, record: MapperRecord) -> None:
        """Remember a mapper, or what is different about it.

        Raises:
            UnavailableError: It is not on disk yet; it will be.
        """
        name = mapper_id(record)
        gone = [] if name in self._mappers else self._too_much()
        for each in gone:
            del self._mappers[each]
        self._mappers[name] = record
        self._feed.publish(partial(events.mapper, replace(record)))
        statements = [rows.mapper_put(name, record), *map(rows.mapper_remove, gone)]
        await self._store.submit(Write(statements, keep=True))

    def _too_much(self) -> list[str]:
        """Those to be forgotten so that there is room for one more, the longest gone first."""
        oldest = self._clock.time() - LONGEST_KEPT
        absent = [(one.last_seen, name) for name, one in self._mappers.items() if not one.alive]
        extra = len(self._mappers) + 1 - MOST_KEPT
        return [
            name
            for number, (seen, name) in enumerate(sorted(absent))
            if number < extra or seen < oldest
        ]

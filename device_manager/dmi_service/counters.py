"""What the DMI services count, for /metrics."""

from dataclasses import dataclass, field

__all__ = ["Counters", "count"]

_MOST_KEYS = 64


@dataclass(slots=True)
class Counters:
    """Totals since the process began.

    Attributes:
        batches: Committed, by API version ("v1", "v1beta1").
        readings: Committed, by API version.
        refused: Readings, states and outcomes that were not taken, by reason.
        dropped: Readings that mappers say they had to drop, by mapper and reason.
        registered: Registrations, by API version.
        calls: Calls to v1beta1 mappers, by method and outcome.
    """

    batches: dict[str, int] = field(default_factory=dict)
    readings: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    dropped: dict[tuple[str, str], int] = field(default_factory=dict)
    registered: dict[str, int] = field(default_factory=dict)
    calls: dict[tuple[str, str], int] = field(default_factory=dict)

    def drop(self, mapper: str, reason: str, number: int) -> None:
        """Add what a mapper says it had to drop."""
        key = (mapper, reason)
        if key not in self.dropped and len(self.dropped) >= _MOST_KEYS:
            key = ("other", "other")
        self.dropped[key] = self.dropped.get(key, 0) + number

    def call(self, method: str, outcome: str) -> None:
        """Add one call to a v1beta1 mapper."""
        self.calls[method, outcome] = self.calls.get((method, outcome), 0) + 1


def count(totals: dict[str, int], key: str, more: int = 1) -> None:
    """Add to one total. Keys that peers make up cannot grow the table for ever."""
    if key not in totals and len(totals) >= _MOST_KEYS:
        key = "other"
    totals[key] = totals.get(key, 0) + more

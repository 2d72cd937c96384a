"""What the SQL sinks share: a narrow table of samples, one of their sources, and their rows.

Each database gets the same shape. `sources` has one line for each namespace, device, property,
type and unit: a property that changes its type or unit becomes a further source, so that old
samples keep their meaning. `samples` has one line for each source and time; a later sample of
the same time replaces the earlier one, so that a batch sent twice changes nothing. `readings`
is a view of both, for people.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from dmi.errors import ConversionError, DmiError
from dmi.readings import Reading, Value
from dmi.values import INT_MAX, INT_MIN
from mapper_sdk.delivery.sink import Item, Route, Settings, Source

__all__ = [
    "MICROSECONDS",
    "SCHEMA_VERSION",
    "Identity",
    "Pace",
    "Row",
    "Sources",
    "SqlPlace",
    "WideRow",
    "identity",
    "infinity",
    "make_rows",
    "portions",
    "widen",
]

SCHEMA_VERSION: Final = 1
"""Version of the tables that this program makes and understands."""

MICROSECONDS: Final = 1_000_000

_END: Final = 253_402_300_800.0  # the year 10000: some databases end before it


class SqlPlace(Settings):
    """Where readings go in a database: its tables are the target's, so nothing is to choose."""


class Identity(NamedTuple):
    """What tells one source from another: a line of the table of sources."""

    namespace: str
    device: str
    property: str
    type: str
    unit: str


class Row(NamedTuple):
    """One sample; `time` in microseconds since 1970, UTC. `value` is None when BAD."""

    source: int
    time: int
    value: Value | None
    quality: int
    reason: str


WideRow = tuple[int, int, int | None, float | None, bool | None, str | None, bytes | None, int, str]
"""A `Row` with a column for each type of value: source, time, whole number, number, truth,
text, bytes, quality, reason."""


def identity(source: Source) -> Identity:
    """Give what the table of sources says of this one."""
    namespace, device = source.device
    return Identity(namespace, device, source.property, source.type.value, source.unit)


@dataclass(frozen=True, slots=True)
class _Known:
    """What a route keeps: the number of its source, and who gave it."""

    owner: "Sources"
    number: int


class Sources:
    """The numbers that sources have in one database, as long as it stays open."""

    def unknown(self, items: Iterable[Item[SqlPlace]]) -> dict[Identity, list[Route[SqlPlace]]]:
        """Give the routes whose sources have no number yet, by source."""
        found: dict[Identity, list[Route[SqlPlace]]] = {}
        for route in {route for route, _ in items}:
            if self._known(route) is None:
                found.setdefault(identity(route.source), []).append(route)
        return found

    def learn(self, routes: Iterable[Route[SqlPlace]], number: int) -> None:
        """Keep the number of a source with its routes."""
        known = _Known(self, number)
        for route in routes:
            route.cache = known

    def number(self, route: Route[SqlPlace]) -> int:
        """Give the number of a source that was learnt."""
        known = self._known(route)
        if known is None:
            raise LookupError(f"{identity(route.source)} has no number")
        return known.number

    def _known(self, route: Route[SqlPlace]) -> _Known | None:
        known = route.cache
        return known if isinstance(known, _Known) and known.owner is self else None


def make_rows(
    items: Sequence[Item[SqlPlace]], sources: Sources, problem: Callable[[Value], str]
) -> tuple[list[Row], dict[int, DmiError]]:
    """Give one row for each source and time, and by index what cannot be one.

    Args:
        items: Readings; of two of one source with one time, the later one counts.
        sources: Knows the sources of all.
        problem: Says why the database cannot hold a float, text or bytes; empty when it can.
    """
    rows: dict[tuple[int, int], Row] = {}
    refused: dict[int, DmiError] = {}
    for index, (route, reading) in enumerate(items):
        if words := _refusal(reading, problem):
            source = route.source
            refused[index] = ConversionError(
                f"property {source.property}: {words}", device=str(source.device)
            )
            continue
        number, moment = sources.number(route), round(reading.time * MICROSECONDS)
        rows[number, moment] = Row(
            number, moment, reading.value, int(reading.quality), reading.reason
        )
    return list(rows.values()), refused


def _refusal(reading: Reading, problem: Callable[[Value], str]) -> str:
    if not 0 <= reading.time < _END:
        return f"its time {reading.time} lies outside the years 1970 to 9999"
    value = reading.value
    if type(value) is int:
        return "" if INT_MIN <= value <= INT_MAX else f"{value} has more than 64 bits"
    return problem(value) if isinstance(value, (str, float, bytes)) else ""


def infinity(value: Value) -> str:
    """Refuse NaN and the infinities, for databases that have no such numbers."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"the database has no number {value}"
    return ""


def portions(rows: Sequence[Row], largest: int) -> Iterator[Sequence[Row]]:
    """Divide rows, so that no portion has more text and bytes than a server can take at once.

    Args:
        rows: To be divided; without any, there is no portion.
        largest: Characters and bytes of the values of one portion, unless one row has more.
    """
    start = size = 0
    for end, row in enumerate(rows):
        value = row.value
        weight = len(value) if isinstance(value, (str, bytes)) else 0
        size += weight
        if size > largest and end > start:
            yield rows[start:end]
            start, size = end, weight
    if rows:
        yield rows[start:]


def widen(row: Row) -> WideRow:
    """Put the value into the column of its type; the others stay empty."""
    source, moment, value, quality, reason = row
    return (
        source,
        moment,
        value if type(value) is int else None,
        value if isinstance(value, float) else None,
        value if isinstance(value, bool) else None,
        value if isinstance(value, str) else None,
        value if isinstance(value, bytes) else None,
        quality,
        reason,
    )


class Pace:
    """When old samples are to be deleted again: after a pause, or at once while many are left.

    Args:
        pause: Seconds between looks that found little.
        clock: Gives seconds that never go back.
    """

    def __init__(self, pause: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._pause = pause
        self._clock = clock
        self._due = clock()

    def due(self) -> bool:
        """Whether it is time."""
        return self._clock() >= self._due

    def done(self, *, more: bool) -> None:
        """Note that a slice was deleted, and whether there is more."""
        self._due = self._clock() + (0.0 if more else self._pause)

"""The past that an SQLite sink's file holds, read in threads while the sink writes on."""

import asyncio
import math
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote

from dmi.errors import ConversionError, DeadlineError, UnavailableError
from dmi.readings import Quality, Reading, Value
from dmi.resources import DataType, Key
from mapper_sdk.delivery.history import Function, Span
from mapper_sdk.sinks.tables import MICROSECONDS

__all__ = ["SqliteHistory"]

_AT_ONCE: Final = 2
_CHECKED: Final = 20_000  # steps of SQLite's machine: some milliseconds
_NUMBERS: Final = frozenset({DataType.INT, DataType.FLOAT, DataType.DOUBLE})
_T = TypeVar("_T")

_AGGREGATES: Final = {
    Function.MIN: "min(CASE WHEN quality = 0 THEN value END), NULL, NULL",
    Function.MAX: "max(CASE WHEN quality = 0 THEN value END), NULL, NULL",
    Function.MEAN: "avg(CASE WHEN quality = 0 THEN value END), NULL, NULL",
    # With one max(), SQLite takes the other columns from the row that has it.
    Function.LAST: "value, source, max(CASE WHEN quality = 0 THEN time END)",
}


class SqliteHistory:
    """Reads a file that an `SqliteSink` writes, in this process or another.

    Queries run on connections of their own that cannot write, two at once; further ones wait
    their turn. The event loop never waits for one.

    Args:
        path: The sink's file.
        timeout: Seconds that one query may take.
    """

    def __init__(self, path: Path, *, timeout: float = 10.0) -> None:
        self._path = path
        self._timeout = timeout
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def readings(
        self, device: Key, property_: str, start: float, end: float, limit: int
    ) -> Sequence[Reading]:
        """Give what was read at `start` <= time < `end`, oldest first, at most `limit`.

        Raises:
            UnavailableError: There is no file yet, or it cannot be read now.
            DeadlineError: It takes too long: ask for less.
        """

        def query(connection: sqlite3.Connection) -> list[Reading]:
            past = _Past(connection, device, property_)
            return past.readings(_micro(start), _micro(end), limit)

        return await self._ask(query)

    async def spans(
        self,
        device: Key,
        property_: str,
        start: float,
        end: float,
        step: float,
        function: Function,
        limit: int,
    ) -> Sequence[Span]:
        """Give the same downsampled to intervals of `step` seconds, at most `limit`.

        The first and the last interval may begin before `start` and end after `end`; only
        what lies between the two counts.

        Raises:
            ConversionError: `function` needs numbers and these are none.
            UnavailableError: There is no file yet, or it cannot be read now.
            DeadlineError: It takes too long: ask for less.
        """

        def query(connection: sqlite3.Connection) -> list[Span]:
            past = _Past(connection, device, property_)
            if function is not Function.LAST:
                past.keep_numbers()
            width = max(1, _micro(step))
            return past.spans(_micro(start), _micro(end), width, function, limit)

        return await self._ask(query)

    async def _ask(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        unwanted = threading.Event()
        async with self._turns:
            try:
                return await asyncio.to_thread(self._run, query, unwanted)
            finally:
                unwanted.set()  # whoever asked may be gone: then the thread need not go on

    def _run(self, query: Callable[[sqlite3.Connection], _T], unwanted: threading.Event) -> _T:
        deadline = time.monotonic() + self._timeout
        try:
            with self._connected() as connection:
                connection.set_progress_handler(
                    lambda: unwanted.is_set() or time.monotonic() > deadline, _CHECKED
                )
                connection.execute("BEGIN")  # one state of the file for all queries
                return query(connection)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
                raise DeadlineError(
                    f"reading {self._path} took longer than {self._timeout:g} s: ask for less"
                ) from error
            raise UnavailableError(f"the past in {self._path} cannot be read: {error}") from error

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(
            f"file:{quote(str(self._path))}?mode=ro",
            uri=True,
            timeout=self._timeout,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            yield connection
        finally:
            connection.close()


class _Past:
    """One property's past in an open file; a property has a source for each type it had."""

    def __init__(self, connection: sqlite3.Connection, device: Key, property_: str) -> None:
        self._connection = connection
        self._types = {
            number: DataType(word)
            for number, word in connection.execute(
                "SELECT id, type FROM sources WHERE namespace = ? AND device = ? AND property = ?",
                (*device, property_),
            )
        }

    def keep_numbers(self) -> None:
        """Leave out the sources that have no numbers; when no other is there, refuse."""
        numbers = {source: word for source, word in self._types.items() if word in _NUMBERS}
        if self._types and not numbers:
            words = ", ".join(sorted(set(self._types.values())))
            raise ConversionError(f"the values are {words}: only `last` can be had of them")
        self._types = numbers

    def readings(self, start: int, end: int, limit: int) -> list[Reading]:
        """Times in microseconds. All of `samples` is older than all of `recent`."""
        found: list[Reading] = []
        for table in ("samples", "recent"):
            rows = self._connection.execute(
                f"SELECT source, time, value, quality, reason FROM {table}"  # noqa: S608 - constants
                f" WHERE source IN ({self._marks}) AND time >= ? AND time < ?"
                " ORDER BY time LIMIT ?",
                (*self._types, start, end, limit - len(found)),
            )
            for source, moment, value, quality, reason in rows:
                known = self._value(source, value)
                found.append(Reading(known, moment / MICROSECONDS, Quality(quality), reason))
        return found

    def spans(self, start: int, end: int, width: int, function: Function, limit: int) -> list[Span]:
        """Go from one interval that has readings to the next one, each by its own query."""
        found: list[Span] = []
        moment = self._next(start)
        while moment is not None and moment < end and len(found) < limit:
            begin = moment - moment % width
            after = min(begin + width, end)
            found.append(self._span(begin, max(start, begin), after, function))
            moment = self._next(after)
        return found

    def _span(self, begin: int, first: int, after: int, function: Function) -> Span:
        one = f"WHERE source IN ({self._marks}) AND time >= ? AND time < ?"
        columns = "SELECT source, time, value, quality FROM"
        good, uncertain, bad, value, source, _ = self._connection.execute(
            "SELECT sum(quality = 0), sum(quality = 1), sum(quality = 2),"  # noqa: S608 - constants
            f" {_AGGREGATES[function]}"
            f" FROM ({columns} samples {one} UNION ALL {columns} recent {one})",
            (*self._types, first, after) * 2,
        ).fetchone()
        quality = Quality.BAD if bad else Quality.UNCERTAIN if uncertain else Quality.GOOD
        known = value if source is None else self._value(source, value)
        return Span(begin / MICROSECONDS, known if good else None, good, quality)

    def _next(self, moment: int) -> int | None:
        """The first time from `moment` on at which something was read."""
        (found,) = self._connection.execute(
            "SELECT min(time) FROM (SELECT (SELECT min(time) FROM samples"  # noqa: S608 - constants
            " WHERE source = s.id AND time >= ?) AS time"
            f" FROM sources s WHERE s.id IN ({self._marks}))",
            (moment, *self._types),
        ).fetchone()
        if found is None:
            (found,) = self._connection.execute(
                f"SELECT min(time) FROM recent WHERE time >= ? AND source IN ({self._marks})",  # noqa: S608 - constants
                (moment, *self._types),
            ).fetchone()
        return None if found is None else int(found)

    @property
    def _marks(self) -> str:
        return ", ".join("?" * len(self._types))

    def _value(self, source: int, value: Value | None) -> Value | None:
        return (
            bool(value) if self._types[source] is DataType.BOOLEAN and value is not None else value
        )


def _micro(seconds: float) -> int:
    """Microseconds; a time beyond what the file can hold becomes its end."""
    return round(min(max(seconds, -1e12), 1e12) * MICROSECONDS) if math.isfinite(seconds) else 0

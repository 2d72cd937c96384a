"""What one thread does with the open SQLite file: add readings, sort them in, delete old ones.

Readings come in the order of time, all sources together, and are asked for source by source.
Keeping them by source at once would rewrite one page of the file for each reading (measured
with 1,000 sources: 4.7 kB to disk for 30 B of reading), which no flash card lasts. So they are
first kept by time, in `recent`, and moved into `samples`, which is by source, a few hundred
thousand at once: 0.3 kB. The table `boundary` says which times `samples` has: all before it.
So the two never hold the same source and time.
"""

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from dmi.errors import DmiError
from mapper_sdk.delivery.sink import Item
from mapper_sdk.sinks.tables import (
    MICROSECONDS,
    Identity,
    Pace,
    Row,
    Sources,
    SqlPlace,
    infinity,
    make_rows,
)

__all__ = ["Archive"]

log = logging.getLogger(__name__)

_SORTED_AT: Final = 200_000
_CHUNKS: Final = (512, 64, 8, 1)
"""Rows of one statement: each one gives up the interpreter's lock and may wait to get it back."""
_SLICE: Final = 20_000
_PAUSE: Final = 600.0
_SHARE: Final = 50
"""Of the kept time, this part goes at once when the file is too large."""


def _upsert(table: str, rows: int) -> str:
    values = ", ".join(["(?, ?, ?, ?, ?)"] * rows)
    return (
        f"INSERT INTO {table} VALUES {values} ON CONFLICT DO UPDATE SET"  # noqa: S608 - constants
        " value = excluded.value, quality = excluded.quality, reason = excluded.reason"
    )


_UPSERTS: Final = {
    table: {rows: _upsert(table, rows) for rows in _CHUNKS} for table in ("recent", "samples")
}


class Archive:
    """An open file, used by one thread.

    Args:
        connection: Made by `connect`; belongs to the archive now.
        path: For messages.
        keep: Seconds that readings are kept; None: for ever.
        largest: Bytes that the file may have before the oldest go.
        sorted_at: Readings that are kept by time before they are sorted in.
        clock: Gives seconds since 1970.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        keep: float | None,
        largest: int,
        *,
        sorted_at: int = _SORTED_AT,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._connection = connection
        self._path = path
        self._keep = keep
        self._largest = largest
        self._sorted_at = sorted_at
        self._clock = clock
        self._sources = Sources()
        self._pace = Pace(_PAUSE)
        (self._unsorted,) = connection.execute("SELECT count(*) FROM recent").fetchone()

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def add(self, items: Sequence[Item[SqlPlace]]) -> Mapping[int, DmiError]:
        """Keep readings; returns after the commit, with what was refused.

        Raises:
            sqlite3.Error: None of them was kept.
        """
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for source, routes in self._sources.unknown(items).items():
                self._sources.learn(routes, self._number(source))
            rows, refused = make_rows(items, self._sources, infinity)
            self._insert(rows)
            self._connection.execute("COMMIT")
        except sqlite3.Error:
            self._sources = Sources()  # what was learnt is not committed
            self._undo()
            raise
        self._tidy(len(rows))
        return refused

    def sort_in(self) -> None:
        """Move what came so far from `recent` into `samples`.

        Readings with times to come stay where they are: a device whose clock is years ahead
        must not make all others late.

        Raises:
            sqlite3.Error: Nothing was moved.
        """
        with self._transaction():
            newest = self._one("SELECT max(time) FROM recent")
            if newest is None:
                return
            boundary = min(newest, round(self._clock() * MICROSECONDS)) + 1
            self._connection.execute(
                "INSERT OR REPLACE INTO samples SELECT source, time, value, quality, reason"
                " FROM recent WHERE time < ? ORDER BY source, time",
                (boundary,),
            )
            self._connection.execute("DELETE FROM recent WHERE time < ?", (boundary,))
            self._connection.execute("UPDATE boundary SET time = max(time, ?)", (boundary,))

    def expire(self) -> bool:
        """Delete a slice of what is too old or too much; say whether there is more.

        Raises:
            sqlite3.Error: Nothing was deleted.
        """
        with self._transaction():
            cutoff = self._cutoff()
            if cutoff is None:
                return False
            deleted = self._connection.execute(
                "DELETE FROM recent WHERE time < ?", (cutoff,)
            ).rowcount
            for (source,) in self._connection.execute("SELECT id FROM sources").fetchall():
                deleted += self._connection.execute(
                    "DELETE FROM samples WHERE source = ?1 AND time < coalesce("
                    "(SELECT min(time, ?2) FROM samples WHERE source = ?1"
                    " ORDER BY time LIMIT 1 OFFSET ?3), ?2)",
                    (source, cutoff, _SLICE),
                ).rowcount
                if deleted >= _SLICE:
                    return True
        return deleted > 0 and self.used() > self._largest

    def used(self) -> int:
        """Bytes of the file that hold something."""
        pages = self._one("PRAGMA page_count") - self._one("PRAGMA freelist_count")
        return int(pages * self._one("PRAGMA page_size"))

    # ------------------------------------------------------------- details ----

    def _number(self, source: Identity) -> int:
        self._connection.execute(
            "INSERT OR IGNORE INTO sources (namespace, device, property, type, unit)"
            " VALUES (?, ?, ?, ?, ?)",
            source,
        )
        (number,) = self._connection.execute(
            "SELECT id FROM sources WHERE namespace = ? AND device = ? AND property = ?"
            " AND type = ? AND unit = ?",
            source,
        ).fetchone()
        return int(number)

    def _insert(self, rows: Sequence[Row]) -> None:
        # Looked up each time: another process may have moved it.
        boundary = self._one("SELECT coalesce(max(time), 0) FROM boundary")
        by_table: dict[str, list[Row]] = {"recent": [], "samples": []}
        for row in rows:
            by_table["recent" if row.time >= boundary else "samples"].append(row)
        for table, chosen in by_table.items():
            start = 0
            for size in _CHUNKS:
                statement = _UPSERTS[table][size]
                while len(chosen) - start >= size:
                    chunk = chosen[start : start + size]
                    self._connection.execute(statement, [cell for row in chunk for cell in row])
                    start += size

    def _tidy(self, added: int) -> None:
        self._unsorted += added
        try:
            if self._unsorted >= self._sorted_at:
                self._unsorted = 0  # also when it fails: then after as many again
                self.sort_in()
                if self.used() > self._largest:
                    self._pace.done(more=True)
            if self._pace.due():
                self._pace.done(more=False)
                self._pace.done(more=self.expire())
        except sqlite3.Error as error:
            log.warning("sink sqlite: %s is not tidied now: %s", self._path, error)

    def _cutoff(self) -> int | None:
        """The time before which readings are to go; None when none are."""
        cutoffs = []
        if self._keep is not None:
            cutoffs.append(round((self._clock() - self._keep) * MICROSECONDS))
        if self.used() > self._largest:
            oldest = self._one(
                "SELECT min(time) FROM (SELECT (SELECT min(time) FROM samples"
                " WHERE source = s.id) AS time FROM sources s"
                " UNION ALL SELECT min(time) FROM recent)"
            )
            newest = self._one(
                "SELECT coalesce(max(time), (SELECT max(time) FROM boundary)) FROM recent"
            )
            if oldest is not None:
                # A clock that is ahead must not make what was kept look like a moment.
                now = round(self._clock() * MICROSECONDS)
                span = (newest if oldest > now else min(newest, now)) - oldest
                cutoffs.append(oldest + span // _SHARE + 1)
        return max(cutoffs, default=None)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except sqlite3.Error:
            self._undo()
            raise

    def _undo(self) -> None:
        # A full disk ends the transaction by itself.
        if self._connection.in_transaction:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    def _one(self, query: str) -> Any:  # noqa: ANN401 - whatever the column holds
        return self._connection.execute(query).fetchone()[0]

"""A target's backlog and ledger on disk. Everything here blocks: it belongs to one thread."""

import logging
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from dmi.errors import UnavailableError
from dmi.readings import Reading
from dmi.resources import Key
from mapper_sdk.delivery.disk.database import DamagedError, connect, inode, move_aside, translated
from mapper_sdk.delivery.disk.gap_rows import read_gaps, write_gaps
from mapper_sdk.delivery.disk.packing import PackedError, pack, packed, unpack, unpack_times, weight
from mapper_sdk.delivery.disk.routes import RouteTable
from mapper_sdk.delivery.inbox import Chunk
from mapper_sdk.delivery.ledger import Ledger, Loss, Tally
from mapper_sdk.delivery.sink import Item, Route
from mapper_sdk.delivery.status import Gap

__all__ = ["Limits", "Spool"]

log = logging.getLogger(__name__)

_HEAVIEST: Final = 16 * 2**20
_TIDY_PAGES: Final = 256
_NOBODY: Final = Key("", "")
_CLOCK_SET: Final = 1_577_836_800.0
"""The beginning of 2020: what is stored before it was stored before the node knew the time."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a spool may hold.

    Attributes:
        size: Bytes of readings; the file is a little larger.
        age: Seconds since a reading was stored.
    """

    size: int
    age: float


class Spool:
    """One SQLite file: rows of up to a thousand readings, their routes, and the gaps.

    What is given up and its entry in the ledger are one transaction, and so are what a target
    has taken and its removal. Rows that are being sent are not given up meanwhile.

    Attributes:
        path: The file; made by the first thing that is put.
        meta: Words about the target, kept in the file for when it is configured no longer; then
            given empty, and read from there: `name`, `kind`, `address`, `size` and `age`.
        limits: How much it may hold.
        readings: How many it holds.
        size: Their bytes.
        oldest: When the oldest of them was stored, in seconds since 1970; 0 when empty.
        taken_in: Bytes that were ever put since the process began.
        unsaved: Gaps that are in the ledger and not on disk yet, by number.
    """

    def __init__(self, path: Path, ledger: Ledger, limits: Limits, meta: Mapping[str, str]) -> None:
        self.path = path
        self.meta = meta
        self.limits = limits
        self.ledger = ledger
        self.readings = self.size = self.taken_in = 0
        self.oldest = 0.0
        self._db: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        self._routes = RouteTable()
        self._in_flight = 0
        self._settled = 0
        self.unsaved: dict[int, Gap] = {}

    # ---------------------------------------------------------- its life ----

    def open(self, now: float) -> None:
        """Open the file, or make it. Nothing happens when it is open.

        Raises:
            DamagedError: It is no sound database.
            UnavailableError: The disk does not let us.
        """
        if self._db is not None:
            return
        self._db, self._inode = connect(self.path), inode(self.path)
        try:
            with self._transaction() as db:
                for word in self.meta.items():
                    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", word)
                self._read_meta(dict(db.execute("SELECT name, value FROM meta")))
                gaps = read_gaps(db, self.ledger.target, now)
                sums = "SELECT count(*), sum(readings), sum(size), min(stored) FROM batches"
                count, readings, size, oldest = db.execute(sums).fetchone()
        except BaseException:
            self.close()
            raise
        self.readings, self.size, self.oldest = readings or 0, size or 0, oldest or 0.0
        self._settled = self._in_flight = 0
        self.unsaved = self.ledger.load(gaps)
        if count:
            log.info("%s holds %d readings", self.path, self.readings)

    def _read_meta(self, kept: Mapping[str, str]) -> None:
        """Take name and limits from the file, where nobody else says them."""
        if self.meta:
            return
        self.meta = kept
        self.ledger.target = kept.get("name", self.ledger.target)
        if "size" in kept and "age" in kept:
            self.limits = Limits(int(kept["size"]), float(kept["age"]))

    def close(self) -> None:
        """Let go of the file."""
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def start_over(self, found: DamagedError, now: float) -> None:
        """Put a damaged file aside if there is one, note that, and begin with a new one.

        Raises:
            UnavailableError: The disk does not let us.
        """
        self.close()
        try:
            aside = move_aside(self.path)
        except OSError as error:
            raise UnavailableError(f"{self.path}: {error.strerror}") from error
        kept = f"; it is kept as {aside}" if aside.exists() else ""
        log.error("%s; its readings are lost%s", found.message, kept)
        lost = Loss(_NOBODY, "", self.oldest or now, now, self.readings, "spool_damaged")
        self.readings = self.size = 0
        self.oldest = 0.0
        self._routes.forget()
        self.open(now)
        self.note([lost], now)
        self.expire(now)

    # ------------------------------------------------------------ readings ----

    def put(self, chunks: Iterable[Chunk], now: float) -> None:
        """Keep readings; give up the oldest ones where there are too many.

        Raises:
            UnavailableError: The disk takes nothing; nothing has changed.
        """
        routes: list[Route[Any]] = []
        readings: list[Reading] = []
        for chunk in chunks:
            routes.extend(chunk.routes)
            readings.extend(chunk.readings)
        size, insert = 0, "INSERT INTO batches VALUES (NULL, ?, ?, ?, ?)"
        with self._transaction() as db:
            numbers = self._routes.numbered(db, routes)
            for count, data in packed([numbers[route] for route in routes], readings):
                size += len(data)
                db.execute(insert, (now, count, len(data), data))
            kept, losses, changed = self._cut(db, now, len(readings), size)
        self._routes.learn(numbers)
        self.taken_in += size
        self._committed(kept, losses, changed)

    def head(self, limit: int, place_model: type[BaseModel]) -> tuple[int, list[Item[Any]]]:
        """Give the oldest readings, about `limit`, or fewer where their values are large.

        They are in flight until settled or released.

        Returns:
            A number for `settle`, and the readings; none when there are none.

        Raises:
            UnavailableError: The disk cannot be read.
        """
        items: list[Item[Any]] = []
        damaged: list[tuple[int, float, int, int]] = []
        upto, heavy = self._settled, 0
        query = "SELECT id, stored, readings, size, data FROM batches WHERE id > ? ORDER BY id"
        with self._reading() as db:
            rows = db.execute(query, (upto,))
            for *row, data in rows:
                if items and (len(items) + row[2] > max(limit, 1) or heavy > _HEAVIEST):
                    break
                upto = row[0]
                try:
                    items += (found := self._items(db, data, place_model))
                    heavy += weight(reading for _, reading in found)
                except PackedError as error:
                    log.error("%s: %d readings are lost: %s", self.path, row[2], error)
                    damaged.append((row[0], row[1], row[2], row[3]))
            rows.close()
        if damaged:
            self._give_up(damaged)
        self._in_flight = upto
        return upto, items

    def release(self) -> None:
        """What was in flight was not taken."""
        self._in_flight = 0

    def settle(
        self, upto: int, left: Sequence[Item[Any]], losses: Sequence[Loss], now: float
    ) -> None:
        """What was in flight is dealt with; `left` of it stays, `losses` were refused.

        Raises:
            UnavailableError: The disk takes nothing. Where nothing is left, what was dealt with
                is still not given again, unless the process ends meanwhile; else all of it is.
        """
        if upto != self._in_flight:  # of a file that was put aside meanwhile
            self.note(losses, now)
            return
        self._in_flight = 0
        with self._reading() as db:
            sums = "SELECT total(readings), total(size) FROM batches WHERE id > ? AND id <= ?"
            gone, gone_size = map(int, db.execute(sums, (self._settled, upto)).fetchone())
        if not left:
            # Whatever the disk says to it: this is not given again.
            self._settled = max(self._settled, upto)
            self.readings, self.size = self.readings - gone, self.size - gone_size
            gone = gone_size = 0
        try:
            with self._transaction() as db:
                db.execute("DELETE FROM batches WHERE id <= ?", (upto,))
                left_size = self._put_back(db, upto, left)
                changed = self._write_gaps(db, losses, now)
                oldest = self._oldest(db)
        except UnavailableError:
            if not left:  # else it comes again, and is refused again
                self.unsaved.update(self.ledger.note(losses, now))
            raise
        kept = (self.readings + len(left) - gone, self.size + left_size - gone_size, oldest)
        self._committed(kept, losses, changed)
        if not self.readings:
            self._tidy()

    def _put_back(self, db: sqlite3.Connection, upto: int, left: Sequence[Item[Any]]) -> int:
        """Keep what is left of a batch in its place; give its size."""
        if not left:
            return 0
        numbers = self._routes.numbered(db, [route for route, _ in left])
        data = pack([numbers[route] for route, _ in left], [reading for _, reading in left])
        row = (upto, self.oldest, len(left), len(data), data)
        db.execute("INSERT INTO batches VALUES (?, ?, ?, ?, ?)", row)
        return len(data)

    def expire(self, now: float) -> None:
        """Give up what is too old, and write what is in the ledger only.

        Raises:
            UnavailableError: The disk takes nothing.
        """
        if self.unsaved or (self.readings and self._is_too_old(self.oldest, now)):
            with self._transaction() as db:
                kept, losses, changed = self._cut(db, now, 0, 0)
            self._committed(kept, losses, changed)

    def note(self, losses: Sequence[Loss], now: float) -> None:
        """Enter losses that happened elsewhere into the ledger; needs no disk, nor an open file.

        They are written by whatever is written next.
        """
        self.unsaved.update(self.ledger.note(losses, now))

    # ------------------------------------------------------------- details ----

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        if self._db is None:
            raise UnavailableError(f"{self.path} is not open")
        try:
            yield self._db
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._reading() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            finally:
                # A full disk may have ended the transaction already.
                if db.in_transaction:
                    db.execute("ROLLBACK")
        # SQLite does not notice, and what has no name any more is gone when it is closed.
        if inode(self.path) != self._inode:
            raise DamagedError(f"{self.path}: was taken away or replaced")

    def _committed(
        self, kept: tuple[int, int, float], losses: Sequence[Loss], changed: Mapping[int, Gap]
    ) -> None:
        self.readings, self.size, self.oldest = kept
        self.unsaved.clear()
        self.ledger.accept(changed, losses)

    def _cut(
        self, db: sqlite3.Connection, now: float, added: int, added_size: int
    ) -> tuple[tuple[int, int, float], list[Loss], dict[int, Gap]]:
        """Give up the oldest rows that are too old or too many, but none in flight.

        Returns:
            What is kept, for `_committed`, and what was lost.
        """
        readings, size = self.readings + added, self.size + added_size
        lost = Tally()
        upto = first = max(self._settled, self._in_flight)
        rows = db.execute(
            "SELECT id, stored, readings, size, data FROM batches WHERE id > ? ORDER BY id",
            (first,),
        )
        for number, stored, count, row_size, data in rows:
            if self._is_too_old(stored, now):
                reason = "too_old"
            elif size > self.limits.size:
                reason = "spool_full"
            else:
                break
            self._count(db, data, (stored, count, reason), lost)
            upto, readings, size = number, readings - count, size - row_size
        rows.close()
        delete = "DELETE FROM batches WHERE id <= ? OR (id > ? AND id <= ?)"
        db.execute(delete, (self._settled, first, upto))
        found = lost.take()
        changed = self._write_gaps(db, found, now)
        return (readings, size, self._oldest(db)), found, changed

    def _is_too_old(self, stored: float, now: float) -> bool:
        return _CLOCK_SET <= stored < now - self.limits.age

    def _count(
        self, db: sqlite3.Connection, data: bytes, row: tuple[float, int, str], lost: Tally
    ) -> None:
        """Add the readings of one row to the losses, to the reading."""
        stored, count, reason = row
        try:
            counted = [
                (*self._routes.origin(db, number), time)
                for number, time in zip(*unpack_times(data), strict=True)
            ]
        except (PackedError, ValueError):
            counted, reason = [(_NOBODY, "", stored)] * count, "spool_damaged"
        for device, property_, time in counted:
            lost.add(device, property_, time, reason)

    def _items(
        self, db: sqlite3.Connection, data: bytes, place_model: type[BaseModel]
    ) -> list[Item[Any]]:
        numbers, readings = unpack(data)
        routes = {n: self._routes.route(db, n, place_model) for n in set(numbers)}
        return [(routes[n], reading) for n, reading in zip(numbers, readings, strict=True)]

    def _give_up(self, damaged: Sequence[tuple[int, float, int, int]]) -> None:
        """Note the readings of rows that cannot be read, and take the rows out."""
        losses = [
            Loss(_NOBODY, "", stored, stored, count, "spool_damaged")
            for _, stored, count, _ in damaged
        ]
        with self._transaction() as db:
            db.executemany("DELETE FROM batches WHERE id = ?", [row[:1] for row in damaged])
            changed = self._write_gaps(db, losses, damaged[-1][1])
            oldest = self._oldest(db)
        readings = self.readings - sum(row[2] for row in damaged)
        size = self.size - sum(row[3] for row in damaged)
        self._committed((readings, size, oldest), losses, changed)

    # --------------------------------------------------------- other rows ----

    def _oldest(self, db: sqlite3.Connection) -> float:
        row = db.execute(
            "SELECT stored FROM batches WHERE id > ? ORDER BY id LIMIT 1", (self._settled,)
        ).fetchone()
        return float(row[0]) if row else 0.0

    def _write_gaps(
        self, db: sqlite3.Connection, losses: Sequence[Loss], now: float
    ) -> dict[int, Gap]:
        """Write what these losses change, and what could not be written before."""
        changed = self.ledger.staged(losses, now)
        write_gaps(db, self.unsaved | changed)
        return changed

    def _tidy(self) -> None:
        """Give the disk back what an empty spool does not need."""
        with self._reading() as db:
            db.execute("DELETE FROM routes")
            self._routes.forget()
            (pages,) = db.execute("PRAGMA page_count").fetchone()
            if pages > _TIDY_PAGES:
                db.execute("VACUUM")
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

"""How many readings a second the SQL sinks commit, in batches, beside their bare libraries."""

import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import asyncmy
import asyncpg  # type: ignore[import-untyped]

from benchmarks.measured import Measured, progress
from benchmarks.processes import scratch_folder
from dmi.readings import Reading
from dmi.resources import DataType, Key
from mapper_sdk.delivery.sink import Item, Route, Sink, Source
from mapper_sdk.sinks.mysql import MysqlSink, MysqlTarget
from mapper_sdk.sinks.postgresql import PostgresqlSink, PostgresqlTarget
from mapper_sdk.sinks.sqlite import SqliteSink, SqliteTarget
from mapper_sdk.sinks.tables import SqlPlace

__all__ = ["TARGET", "measure"]

TARGET: Final = "at least 40,000 readings a second in SQLite, 10,000 in PostgreSQL and in MariaDB"

_LEAST: Final = {"sqlite": 40_000, "postgresql": 10_000, "mariadb": 10_000}
_BATCH: Final = 1000
_START: Final = 1_790_000_000
_TABLE: Final = "(source int, time bigint, value double precision, quality int, reason text)"
_Row = tuple[int, int, float, int, str]


async def measure(*, quick: bool) -> Measured:
    """Send 1,000 properties again and again to each, then the same rows by the bare library."""
    # The servers are those of the tests; they are nothing that the benchmarks own.
    from tests.servers.mariadb import MariaDB
    from tests.servers.postgresql import PostgreSQL

    rounds = {"sqlite": 5, "postgresql": 2, "mariadb": 2} if quick else dict.fromkeys(_LEAST, 200)
    figures: dict[str, float] = {}
    bare: dict[str, float] = {}
    async with scratch_folder() as folder:
        progress("sql_sinks: SQLite")
        sqlite = SqliteSink(SqliteTarget(path=folder / "sink.db", keep_days=None))
        figures |= await _sink("sqlite", sqlite, rounds["sqlite"])
        bare |= await _bare("sqlite", _sqlite(folder / "bare.db"), rounds["sqlite"])
    with PostgreSQL() as server:
        progress("sql_sinks: PostgreSQL")
        address = f"127.0.0.1:{server.port}"
        figures |= await _sink(
            "postgresql",
            PostgresqlSink(
                PostgresqlTarget(address=address, database="postgres", username="postgres")
            ),
            rounds["postgresql"],
        )
        connection = await asyncpg.connect(f"postgresql://postgres@{address}/postgres", ssl=False)
        bare |= await _bare("postgresql", await _postgresql(connection), rounds["postgresql"])
        await connection.close()
    with MariaDB() as maria:
        progress("sql_sinks: MariaDB")
        maria.sql("CREATE DATABASE bench")
        target = MysqlTarget(address=maria.socket, database="bench", username="root")
        figures |= await _sink("mariadb", MysqlSink(target), rounds["mariadb"])
        link = await asyncmy.connect(
            unix_socket=maria.socket, user="root", database="bench", stmt_cache_size=4
        )
        bare |= await _bare("mariadb", await _mariadb(link), rounds["mariadb"])
        await link.ensure_closed()
    for name in _LEAST:
        rate = f"{name}_readings_per_s"
        figures[f"{name}_share_of_bare"] = round(figures[rate] / bare[rate], 2)
    met = all(figures[f"{name}_readings_per_s"] >= least for name, least in _LEAST.items())
    return Measured(figures, met, bare)


async def _sink(name: str, sink: Sink[Any, SqlPlace], rounds: int) -> dict[str, float]:
    routes = [
        Route(Source(Key("default", f"dev-{n // 10}"), f"p{n % 10}", DataType.DOUBLE), SqlPlace())
        for n in range(_BATCH)
    ]

    async def send(batch: Sequence[_Row]) -> None:
        items: list[Item[SqlPlace]] = [
            (routes[source], Reading(value, moment / 1e6)) for source, moment, value, _, _ in batch
        ]
        assert not await sink.send(items)

    await sink.open()
    found = await _bare(name, send, rounds)
    await sink.close()
    return found


async def _bare(
    name: str, send: Callable[[Sequence[_Row]], Awaitable[None]], rounds: int
) -> dict[str, float]:
    await send(next(_batches(0, 1)))
    begin, cpu = time.monotonic(), time.process_time()
    for batch in _batches(1, rounds):
        await send(batch)
    taken, cpu = time.monotonic() - begin, time.process_time() - cpu
    made = rounds * _BATCH
    return {
        f"{name}_readings_per_s": round(made / taken),
        f"{name}_cpu_us_per_reading": round(cpu / made * 1e6, 2),
    }


def _batches(first: int, rounds: int) -> Iterator[Sequence[_Row]]:
    """One reading a second of each source."""
    for turn in range(first, first + rounds):
        moment = (_START + turn) * 1_000_000
        yield [(source, moment + source, turn + 0.5, 0, "") for source in range(_BATCH)]


def _sqlite(path: Path) -> Callable[[Sequence[_Row]], Awaitable[None]]:
    """The same rows, by source and time, in transactions of the same size."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"CREATE TABLE rows {_TABLE}")
    connection.execute("CREATE UNIQUE INDEX by_source ON rows (source, time)")

    async def send(batch: Sequence[_Row]) -> None:
        connection.execute("BEGIN")
        connection.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?)", batch)
        connection.execute("COMMIT")

    return send


async def _postgresql(connection: Any) -> Callable[[Sequence[_Row]], Awaitable[None]]:  # noqa: ANN401 - asyncpg has no annotations
    """The same rows by COPY, the fastest way there is, which knows no repetition."""
    await connection.execute(f"CREATE TABLE rows {_TABLE}")
    await connection.execute("CREATE UNIQUE INDEX by_source ON rows (source, time)")

    async def send(batch: Sequence[_Row]) -> None:
        await connection.copy_records_to_table("rows", records=batch)

    return send


async def _mariadb(
    connection: asyncmy.Connection,
) -> Callable[[Sequence[_Row]], Awaitable[None]]:
    """The same rows in one prepared statement."""
    marks = ", ".join(["(%s, %s, %s, %s, %s)"] * _BATCH)
    async with connection.cursor() as cursor:
        await cursor.execute(f"CREATE TABLE rows_ {_TABLE}")
        await cursor.execute("CREATE UNIQUE INDEX by_source ON rows_ (source, time)")

    async def send(batch: Sequence[_Row]) -> None:
        async with connection.cursor() as cursor:
            values = [cell for row in batch for cell in row]
            await cursor.execute(f"INSERT INTO rows_ VALUES {marks}", values)  # noqa: S608 - marks
        await connection.commit()

    return send

"""Readings to disk while a target is away, and from there when it is back, beside new ones."""

import asyncio
import json
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.delivering import Delivering, Watch, run_delivering, sink
from benchmarks.measured import Measured, percentiles, progress
from benchmarks.nodes import PROPERTIES
from benchmarks.null_sink import KIND, NullPlace
from benchmarks.processes import scratch_folder, until
from dmi.readings import Reading
from dmi.resources import DataType, Key
from mapper_sdk.delivery.disk.spool import Limits, Spool
from mapper_sdk.delivery.inbox import Chunk
from mapper_sdk.delivery.ledger import Ledger
from mapper_sdk.delivery.sink import Route, Source

__all__ = ["TARGET", "measure"]

TARGET: Final = (
    "at least 20,000 readings a second to disk; drained at 5 x the live rate without a late tick"
)

_LEAST_STORED: Final = 20_000
_LEAST_DRAINED: Final = 5.0
_MOST_DELAY_MS: Final = 50.0
_SPREAD: Final = 0.95
"""A rate is the wanted one from here on: it is read while it goes on."""
_STORED_AT_ONCE: Final = 5_000
_START: Final = 1_790_000_000.0
_PATIENCE: Final = 120.0


async def measure(*, quick: bool) -> Measured:
    """First as many readings as must go to disk; then fewer, and back again; then disk alone."""
    fast, live, seconds, count = (20, 10, 0.5, 10_000) if quick else (1000, 400, 15.0, 1_000_000)
    async with scratch_folder() as folder:
        stored = await _store(folder / "fast", fast, seconds)
        drained = await _drain(folder / "live", live, seconds)
        progress("delivery_spool: the disk alone")
        alone, bare = _alone(folder, count)
    figures = {
        **{f"storing_{name}": figure for name, figure in stored.items()},
        **drained,
        "spool_alone_readings_per_s": alone,
    }
    wanted = fast * PROPERTIES * 2
    met = (
        wanted >= _LEAST_STORED
        and stored["readings_per_s"] >= _SPREAD * wanted
        and drained["drained_to_live"] >= _SPREAD * _LEAST_DRAINED
        and drained["drain_ticks_late"] <= drained["calm_ticks_late"]
        and drained["live_later_while_draining_ms"] <= _MOST_DELAY_MS
    )
    return Measured(figures, met, {"sqlite3_readings_per_s": bare})


async def _store(folder: Path, devices: int, seconds: float) -> dict[str, float]:
    """Let a mapper's only target be away, at twenty readings a second of each device."""
    progress("delivery_spool: the target is away")
    away = sink("away", KIND, {"switch": str(folder / "never")})
    async with run_delivering(folder, devices, 500, [away]) as delivering:
        await until(lambda: _spooled(delivering) > 0, _PATIENCE, "readings on disk")
        before, begin = delivering.targets()["away"], time.monotonic()
        watch = Watch(delivering)
        await asyncio.sleep(seconds)
        found, taken = watch.end(), time.monotonic() - begin
        after = delivering.targets()["away"]
        readings = after["spooled"] - before["spooled"]
        grown = after["spooledBytes"] - before["spooledBytes"]
        return {
            "readings_per_s": round(readings / taken),
            "bytes_per_reading": round(grown / max(1, readings), 1),
            "cpu_us_per_reading": found["cpu_us_per_reading"],
            "cpu_percent": found["cpu_percent"],
            "ticks_late": found["ticks_late"],
            "rss_mib": round(delivering.mapper.rss_mib(), 1),
            "peak_mib": round(delivering.mapper.peak_mib(), 1),
            "lost": sum(after["lost"].values()),
        }


async def _drain(folder: Path, devices: int, seconds: float) -> dict[str, float]:
    """Let a target be away, come back, and be drained at five times the live rate."""
    switch, notes = folder / "switch", folder / "notes.json"
    rate = devices * PROPERTIES
    target = {"switch": str(switch), "notes": str(notes)}
    spool = {"drain": rate * _LEAST_DRAINED}
    async with run_delivering(
        folder, devices, 1000, [sink("back", KIND, target, spool=spool)]
    ) as delivering:
        progress("delivery_spool: the target is away again")
        await asyncio.sleep(seconds)
        switch.touch()
        stored = await _wait_for_drain(delivering)
        progress(f"delivery_spool: draining some {stored} readings")
        watch, begin, came_back = Watch(delivering), time.monotonic(), time.time()
        left = _spooled(delivering)
        await until(lambda: not _spooled(delivering), _PATIENCE, "the spool drained")
        taken, drained = time.monotonic() - begin, time.time()
        busy = watch.end()
        watch = Watch(delivering)
        await asyncio.sleep(taken)
        calm = watch.end()
        lost = sum(delivering.targets()["back"]["lost"].values())
        await delivering.stop()
    ages = json.loads(notes.read_text())
    while_draining = [age for moment, age in ages if came_back <= moment < drained - 0.5]
    afterwards = [age for moment, age in ages if moment > drained]
    beside, alone = percentiles(while_draining or [0.0]), percentiles(afterwards or [0.0])
    return {
        "live_readings_per_s": busy["readings_per_s"],
        "stored_readings": stored,
        "drained_readings_per_s": round(left / taken),
        "drained_to_live": round(left / taken / rate, 2),
        "drain_cpu_percent": busy["cpu_percent"],
        "calm_cpu_percent": calm["cpu_percent"],
        "drain_ticks_late": busy["ticks_late"] + busy["ticks_skipped"],
        "calm_ticks_late": calm["ticks_late"] + calm["ticks_skipped"],
        "live_p50_ms_while_draining": beside["p50_ms"],
        "live_p99_ms_while_draining": beside["p99_ms"],
        "live_p50_ms": alone["p50_ms"],
        "live_p99_ms": alone["p99_ms"],
        "live_later_while_draining_ms": round(beside["p50_ms"] - alone["p50_ms"], 2),
        "lost": lost,
    }


def _spooled(delivering: Delivering) -> int:
    return sum(target["spooled"] for target in delivering.targets().values())


async def _wait_for_drain(delivering: Delivering) -> int:
    """Return when what is on disk gets less; give how much there was."""
    most = 0

    def shrinks() -> bool:
        nonlocal most
        now = _spooled(delivering)
        most = max(most, now)
        return now < most

    await until(shrinks, _PATIENCE, "the spool getting smaller")
    return most


def _alone(folder: Path, count: int) -> tuple[int, int]:
    """Readings a second into a spool, and as rows into a plain database."""
    spool = Spool(folder / "alone", Ledger("alone"), Limits(2**40, 1e9), {})
    spool.open(_START)
    chunks = _chunks()
    rounds = max(1, count // _STORED_AT_ONCE)
    begin = time.monotonic()
    for _ in range(rounds):
        spool.put(chunks, _START)
    ours = rounds * _STORED_AT_ONCE / (time.monotonic() - begin)
    spool.close()
    return round(ours), round(_bare(folder, chunks, rounds))


def _chunks() -> Sequence[Chunk]:
    """What devices with ten properties have read within a second."""
    found = []
    for number in range(_STORED_AT_ONCE // PROPERTIES):
        device = Key("default", f"virtual-{number}")
        routes = [
            Route(Source(device, f"value-{n}", DataType.DOUBLE), NullPlace())
            for n in range(PROPERTIES)
        ]
        moment = _START + number / 1009
        readings = [Reading(number * 0.25 + n, moment) for n in range(PROPERTIES)]
        found.append(Chunk(routes, readings))
    return found


def _bare(folder: Path, chunks: Sequence[Chunk], rounds: int) -> float:
    """The same as rows of numbers, in transactions of the same size."""
    rows = [
        (number * PROPERTIES + n, reading.time, reading.value, 0)
        for number, chunk in enumerate(chunks)
        for n, reading in enumerate(chunk.readings)
    ]
    connection = sqlite3.connect(folder / "bare", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("CREATE TABLE rows (source int, time real, value real, quality int)")
    begin = time.monotonic()
    for _ in range(rounds):
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO rows VALUES (?, ?, ?, ?)", rows)
        connection.execute("COMMIT")
    rate = rounds * len(rows) / (time.monotonic() - begin)
    connection.close()
    return rate

"""How many twin changes a second the manager's store commits, beside bare sqlite3."""

import asyncio
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.measured import Measured, progress
from benchmarks.processes import scratch_folder
from benchmarks.virtual import devices, model
from device_manager.node import Node
from device_manager.records import TwinReading
from dmi.readings import Reading
from dmi.resources import Device, DeviceModel

__all__ = ["TARGET", "measure"]

TARGET: Final = "at least 40,000 twin changes a second, committed"

_LEAST: Final = 40_000
_BATCH: Final = 1000
_STREAMS: Final = 4
_PROPERTIES: Final = 10
_SCHEMA: Final = """
CREATE TABLE reading (
  twin INTEGER PRIMARY KEY, value ANY, kind INTEGER NOT NULL, time REAL NOT NULL,
  quality INTEGER NOT NULL, reason TEXT NOT NULL
) STRICT
"""
_UPSERT: Final = """
INSERT INTO reading VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (twin) DO UPDATE SET
  value = excluded.value, kind = excluded.kind, time = excluded.time,
  quality = excluded.quality, reason = excluded.reason
"""


async def measure(*, quick: bool) -> Measured:
    """Change every twin of a node again and again, in batches as a mapper sends them."""
    number, rounds = (20, 2) if quick else (1000, 40)
    async with scratch_folder() as folder:
        progress(f"store: {number} devices, {rounds} rounds")
        ours = await _ours(folder / "node.db", number, rounds)
        bare = _bare(folder / "bare.db", number * _PROPERTIES, rounds)
    figures = {**ours, "share_of_bare": round(ours["changes_per_s"] / bare["changes_per_s"], 2)}
    return Measured(figures, figures["changes_per_s"] >= _LEAST, bare)


async def _ours(path: Path, number: int, rounds: int) -> dict[str, float]:
    node = await Node.open(path)
    fleet = [Device.model_validate(item) for item in devices(number, _PROPERTIES, 1000)]
    await node.apply(DeviceModel.model_validate(model(_PROPERTIES)), *fleet, origin="benchmark")
    begin, cpu = time.monotonic(), time.process_time()
    async with asyncio.TaskGroup() as group:
        for part in range(_STREAMS):
            group.create_task(_report(node, f"mapper-{part}", fleet[part::_STREAMS], rounds))
    taken, cpu = time.monotonic() - begin, time.process_time() - cpu
    await node.close()
    made = number * _PROPERTIES * rounds
    return {"changes_per_s": round(made / taken), "cpu_us_per_change": round(cpu / made * 1e6, 2)}


async def _report(node: Node, stream_id: str, fleet: Sequence[Device], rounds: int) -> None:
    """Report as one mapper does: the next batch when the one before is committed."""
    names = [(device.key, prop.name) for device in fleet for prop in device.spec.properties]
    sequence = 0
    for turn in range(rounds):
        now = time.time()
        for start in range(0, len(names), _BATCH):
            batch = [
                TwinReading(key, name, Reading(turn + 0.5, now))
                for key, name in names[start : start + _BATCH]
            ]
            sequence += 1
            await node.apply_report(stream_id, sequence, batch, [], [])
            assert node.committed_sequence(stream_id) == sequence


def _bare(path: Path, number: int, rounds: int) -> dict[str, float]:
    """The same rows in the same journal mode and in transactions of the same size."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(_SCHEMA)
    begin, cpu = time.monotonic(), time.process_time()
    for turn in range(rounds):
        now = time.time()
        for start in range(0, number, _BATCH):
            rows = range(start, min(start + _BATCH, number))
            connection.execute("BEGIN")
            connection.executemany(_UPSERT, [(row, turn + 0.5, 2, now, 0, "") for row in rows])
            connection.execute("COMMIT")
    taken, cpu = time.monotonic() - begin, time.process_time() - cpu
    connection.close()
    made = number * rounds
    return {"changes_per_s": round(made / taken), "cpu_us_per_change": round(cpu / made * 1e6, 2)}

"""An hour without the only target, at 1,000 readings a second, time compressed: what is missing."""

import asyncio
import json
import logging
import os
import sqlite3
import time
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

from benchmarks.delivering import sink
from benchmarks.measured import Measured, progress
from benchmarks.null_sink import NullPlace, NullSink
from benchmarks.processes import Usage, scratch_folder
from benchmarks.virtual import devices, model
from dmi.errors import DmiError, UnavailableError
from dmi.resources import Key
from mapper_sdk.config import MapperConfig
from mapper_sdk.delivery.service import Delivery
from mapper_sdk.delivery.sink import Item
from mapper_sdk.delivery.status import Gap
from mapper_sdk.fakes.clock import FakeClock
from mapper_sdk.hub import Batch
from mapper_sdk.link.connect import make_link
from mapper_sdk.mapper import Mapper
from mapper_sdk.program import make_delivery
from mapper_sdk.virtual import VirtualDriver

__all__ = ["TARGET", "MemorySink", "measure"]

TARGET: Final = (
    "nothing lost below the cap; above it the ledger equals what is missing, to the reading"
)

_DEVICES: Final = 100
_PROPERTIES: Final = 10
_STEP: Final = 1.0
_MOST_WAITING: Final = 5_000
_MEBIBYTE: Final = 2**20
_BREATH: Final = 0.001

_Times = Mapping[tuple[Key, str], "array[float]"]


class MemorySink(NullSink):
    """Remembers what it has taken; away until told otherwise."""

    kind = "memory"
    away: ClassVar[bool] = True
    taken: ClassVar[dict[tuple[Key, str], "array[float]"]] = defaultdict(lambda: array("d"))

    async def send(self, items: Sequence[Item[NullPlace]]) -> Mapping[int, DmiError]:
        """Note the time of each reading."""
        if self.away:
            raise UnavailableError("switched off")
        for route, reading in items:
            self.taken[route.source.device, route.source.property].append(reading.time)
        return {}


@dataclass(slots=True)
class _Outage:
    """How one outage went."""

    seconds: float
    cpu: float
    rss_mib: float
    spooled: int
    spooled_bytes: int
    file_bytes: int
    read: _Times
    taken: _Times
    gaps: list[Gap] = field(default_factory=list)


async def measure(*, quick: bool) -> Measured:
    """The same outage twice: with room for all of it on disk, and for about half."""
    length, cap = (20.0, 32 * 1024) if quick else (3600.0, 8 * _MEBIBYTE)
    # That the target is away is the point here.
    logging.getLogger("mapper_sdk.delivery").setLevel(logging.ERROR)
    async with scratch_folder() as folder:
        progress(f"delivery_outage: {length:.0f} s with room for all")
        roomy = await _outage(folder / "roomy", length, 1024 * _MEBIBYTE)
        progress(f"delivery_outage: the same with {cap // 1024} KiB")
        tight = await _outage(folder / "tight", length, cap)
        bare = _bare(folder, roomy.read)
    below, above = _Account(roomy), _Account(tight)
    figures = {
        "readings": below.read,
        "lost": below.missing,
        "doubled": below.doubled + above.doubled,
        "ledger_below_cap": below.entered,
        "cap_bytes": cap,
        "missing_above_cap": above.missing,
        "ledger_above_cap": above.entered,
        "gaps_above_cap": len(tight.gaps),
        "gaps_that_differ": above.wrong + below.wrong,
        "spooled_readings": roomy.spooled,
        "spooled_bytes": roomy.spooled_bytes,
        "file_bytes": roomy.file_bytes,
        "capped_spooled_bytes": tight.spooled_bytes,
        "capped_file_bytes": tight.file_bytes,
        "bytes_per_reading": round(roomy.spooled_bytes / roomy.spooled, 2),
        "compressed_by": round(length / roomy.seconds, 1),
        "cpu_us_per_reading": round(roomy.cpu / below.read * 1e6, 2),
        "rss_mib": roomy.rss_mib,
    }
    met = (
        below.missing == below.entered == 0
        and above.missing == above.entered > 0
        and not (below.wrong or above.wrong)
    )
    return Measured(figures, met, {"sqlite3_bytes_per_reading": bare})


class _Account:
    """What was read, what arrived, and what the ledger says of the rest.

    Attributes:
        read: Readings that the mapper handed out.
        missing: Those that the target never got.
        doubled: Those that it got more than once.
        entered: Those that the ledger has as lost.
        wrong: Gaps in which not exactly as many are missing as they say, and properties of
            which more is missing than gaps say.
    """

    def __init__(self, outage: _Outage) -> None:
        gaps: defaultdict[tuple[Key, str], list[Gap]] = defaultdict(list)
        for gap in outage.gaps:
            gaps[gap.device, gap.property].append(gap)
        self.read = self.missing = self.doubled = self.wrong = 0
        self.entered = sum(gap.count for gap in outage.gaps)
        for point, times in outage.read.items():
            taken = outage.taken.get(point, array("d"))
            missing = set(times) - set(taken)
            self.read += len(times)
            self.missing += len(missing)
            self.doubled += len(taken) - len(set(taken))
            self.wrong += _wrong(missing, gaps[point])


def _wrong(missing: set[float], gaps: Iterable[Gap]) -> int:
    wrong = explained = 0
    for gap in gaps:
        inside = sum(gap.first <= moment <= gap.last for moment in missing)
        explained += inside
        wrong += inside != gap.count
    return wrong + (explained != len(missing))


async def _outage(folder: Path, length: float, cap: int) -> _Outage:
    """Run a mapper whose target is away for so long; let it drain, and stop it."""
    clock = FakeClock()
    MemorySink.away, MemorySink.taken = True, defaultdict(lambda: array("d"))
    config = _config(folder, cap)
    mapper = Mapper(VirtualDriver, make_link(config, VirtualDriver, clock), clock=clock)
    delivery = make_delivery(config, mapper)
    mapper.deliver_by(delivery)
    read: defaultdict[tuple[Key, str], array[float]] = defaultdict(lambda: array("d"))

    def note(batch: Batch) -> None:
        for point, reading in batch:
            read[point.device, point.name].append(reading.time)

    mapper.hub.add("account", note)
    begin, cpu = time.monotonic(), time.process_time()
    async with asyncio.TaskGroup() as group:
        jobs = [group.create_task(mapper.run()), group.create_task(delivery.run())]
        await _advance(clock, delivery, lambda: clock.monotonic() >= length)
        (status,) = delivery.targets()
        found = _Outage(
            time.monotonic() - begin,
            time.process_time() - cpu,
            round(Usage(os.getpid()).rss_mib(), 1),
            status.spooled,
            status.spooled_bytes,
            sum(file.stat().st_size for file in (folder / "spool").iterdir()),
            read,
            MemorySink.taken,
        )
        MemorySink.away = False
        await _advance(clock, delivery, lambda: not delivery.targets()[0].spooled)
        await mapper.drain()
        found.gaps = delivery.gaps(limit=1_000_000)
        for job in jobs:
            job.cancel()
    return found


def _config(folder: Path, cap: int) -> MapperConfig:
    folder.mkdir()
    file = folder / "devices.json"
    items = [model(_PROPERTIES), *devices(_DEVICES, _PROPERTIES, 1000)]
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    only = sink("memory", f"{__name__}:MemorySink", {}, spool={"bytes": cap})
    delivery = {"folder": str(folder / "spool"), "sinks": [only]}
    return MapperConfig.model_validate({"devices": str(file), "delivery": delivery})


async def _advance(clock: FakeClock, delivery: Delivery, is_over: Callable[[], bool]) -> None:
    """Let the time pass, but no quicker than the disk can follow, which takes real time."""
    while not is_over():
        await clock.advance(_STEP)
        while delivery.targets()[0].queued > _MOST_WAITING:  # noqa: ASYNC110 - of a thread
            await asyncio.sleep(_BREATH)


def _bare(folder: Path, read: _Times) -> float:
    """Bytes of each reading in a plain table of the same file format."""
    connection = sqlite3.connect(folder / "bare")
    connection.execute("CREATE TABLE rows (source int, time real, value real, quality int)")
    rows = [
        (number, moment, moment / 7, 0)
        for number, times in enumerate(read.values())
        for moment in times[:100]
    ]
    connection.executemany("INSERT INTO rows VALUES (?, ?, ?, ?)", rows)
    connection.commit()
    connection.close()
    return round((folder / "bare").stat().st_size / len(rows), 2)

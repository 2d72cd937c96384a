"""A fleet of virtual devices watched for a while: what arrives, when, and what it costs."""

import asyncio
import time
from pathlib import Path
from typing import Final

from benchmarks.measured import progress
from benchmarks.nodes import PROPERTIES, Fleet, metrics, run_fleet

__all__ = ["watch_fleet"]

_SETTLE_SECONDS: Final = 5.0
_TICKS: Final = "dmi_mapper_ticks_total"


async def watch_fleet(
    folder: Path, *, number: int, collect_ms: int, seconds: float
) -> dict[str, float]:
    """Run a fleet, watch it, stop the mapper as an operator does, and account for everything.

    Args:
        folder: For all files of the run.
        number: How many devices of ten properties.
        collect_ms: How often each is read.
        seconds: How long it is watched, after it has settled.

    Returns:
        Rates and costs while it was watched; `given` by the drivers, `committed` by the
        manager and `dropped` over the whole life of the mapper.
    """
    settle = min(_SETTLE_SECONDS, seconds)
    async with run_fleet(folder, number, collect_ms, settle=settle) as fleet:
        progress(f"watching it for {seconds:.0f} s")
        found = await _watch(fleet, seconds)
        found["readings_wanted_per_s"] = number * PROPERTIES * 1000 / collect_ms
        await fleet.mapper.stop()
        account = metrics(fleet.api)
    given = int((folder / "given").read_text())
    committed = account["dmi_readings_total"]
    return {
        **found,
        "given": given,
        "committed": round(committed),
        "dropped": round(account["dmi_mapper_dropped_total"]),
        "lost": round(given - committed),
    }


async def _watch(fleet: Fleet, seconds: float) -> dict[str, float]:
    before, begin = _sample(fleet), time.monotonic()
    await asyncio.sleep(seconds)
    after, taken = _sample(fleet), time.monotonic() - begin
    passed = {name: after[name] - before[name] for name in before}
    ticks = passed["on_time"] + passed["late"] + passed["skipped"]
    readings = passed["readings"]
    return {
        "readings_per_s": round(readings / taken),
        "ticks_on_time_percent": round(100 * passed["on_time"] / max(1, ticks), 3),
        "ticks_late": round(passed["late"]),
        "ticks_skipped": round(passed["skipped"]),
        "mapper_cpu_percent": round(100 * passed["mapper_cpu"] / taken, 1),
        "mapper_cpu_us_per_reading": round(passed["mapper_cpu"] / readings * 1e6, 2),
        "mapper_rss_mib": round(fleet.mapper.rss_mib(), 1),
        "mapper_peak_mib": round(fleet.mapper.peak_mib(), 1),
        "manager_cpu_percent": round(100 * passed["manager_cpu"] / taken, 1),
        "manager_cpu_us_per_reading": round(passed["manager_cpu"] / readings * 1e6, 2),
        "manager_rss_mib": round(fleet.manager.rss_mib(), 1),
        "manager_peak_mib": round(fleet.manager.peak_mib(), 1),
    }


def _sample(fleet: Fleet) -> dict[str, float]:
    mapper = metrics(fleet.rest)
    return {
        "on_time": mapper[f"{_TICKS}{{on_time}}"],
        "late": mapper[f"{_TICKS}{{late}}"],
        "skipped": mapper[f"{_TICKS}{{skipped}}"],
        "readings": metrics(fleet.api)["dmi_readings_total"],
        "mapper_cpu": fleet.mapper.cpu_seconds(),
        "manager_cpu": fleet.manager.cpu_seconds(),
    }

"""Changes as server-sent events to a hundred readers, beside a server that only sends bytes."""

import asyncio
import json
import sys
import time
from contextlib import AsyncExitStack
from typing import Final

from benchmarks.measured import Measured, progress
from benchmarks.nodes import metrics, run_fleet
from benchmarks.processes import Program, program, scratch_folder

__all__ = ["TARGET", "measure"]

TARGET: Final = "100 readers of 1,000 changes a second miss none, for under half a core more"

_CHANGES: Final = "/api/v1/changes?kinds=readings&properties=value-1"
_MOST_CORES: Final = 0.5
_COMPLETE: Final = 0.97
"""Of what is changed in the time: readers begin and end in the middle of a second."""


async def measure(*, quick: bool) -> Measured:
    """Let readers follow one property of each device, while all ten of it are collected."""
    devices, readers, seconds = (20, 5, 1.0) if quick else (1000, 100, 15.0)
    async with AsyncExitStack() as stack:
        folder = await stack.enter_async_context(scratch_folder())
        command = ["-m", "benchmarks.bare_sse", str(devices)]
        bare = await stack.enter_async_context(program(command, folder / "bare.log"))
        bare_found, bare_cores = await _follow(
            bare, f"{bare.ready['rest']}/events", readers, seconds
        )
        fleet = await stack.enter_async_context(run_fleet(folder, devices, 1000, settle=1.0))
        alone = await _cores(fleet.mapper, seconds)
        before = metrics(fleet.rest)
        found, cores = await _follow(fleet.mapper, fleet.rest + _CHANGES, readers, seconds)
        after = metrics(fleet.rest)
    late = sum(
        after[f"dmi_mapper_ticks_total{{{outcome}}}"]
        - before[f"dmi_mapper_ticks_total{{{outcome}}}"]
        for outcome in ("late", "skipped")
    )
    figures = {
        "least_changes_per_s_of_a_reader": found["least_events_per_s"],
        "gaps": found["gaps"],
        "mapper_cores_without_readers": round(alone, 3),
        "mapper_cores_with_readers": round(cores, 3),
        "late_or_skipped_ticks": late,
    }
    bare_figures = {
        "least_events_per_s_of_a_reader": bare_found["least_events_per_s"],
        "server_cores": round(bare_cores, 3),
    }
    whole = found["least_events_per_s"] >= devices * _COMPLETE and not found["gaps"]
    return Measured(figures, whole and cores - alone < _MOST_CORES, bare_figures)


async def _follow(
    server: Program, url: str, readers: int, seconds: float
) -> tuple[dict[str, float], float]:
    """What the readers got, and how many cores the server took for it."""
    progress(f"sse: {readers} readers of {url}")
    arguments = ["--count", str(readers), "--seconds", str(seconds)]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.subscribers", url, *arguments),
        stdout=asyncio.subprocess.PIPE,
    )
    await asyncio.sleep(1.0)
    cores = await _cores(server, seconds)
    output, _ = await process.communicate()
    found: dict[str, float] = json.loads(output)
    return found, cores


async def _cores(server: Program, seconds: float) -> float:
    used, begin = server.cpu_seconds(), time.monotonic()
    await asyncio.sleep(seconds)
    return (server.cpu_seconds() - used) / (time.monotonic() - begin)

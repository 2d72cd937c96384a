"""What the toolkit costs when it has nothing to do: time to help, memory of idle processes."""

import asyncio
import statistics
import sys
import time
from pathlib import Path
from typing import Final

from benchmarks.measured import Measured, progress
from benchmarks.nodes import run_manager, run_mapper
from benchmarks.processes import Usage, program, scratch_folder

__all__ = ["TARGET", "measure"]

TARGET: Final = "`dmi --help` under 200 ms, idle mapper under 70 MiB, idle manager under 80 MiB"

_MOST_HELP_MS: Final = 200
_MOST_MAPPER_MIB: Final = 70
_MOST_MANAGER_MIB: Final = 80
_BARE: Final = """
import grpc.aio, pydantic, fastapi, uvicorn, time
print("{}", flush=True)
time.sleep(60)
"""


async def measure(*, quick: bool) -> Measured:
    """Start everything as a user does, with nothing to serve."""
    times = 3 if quick else 15
    progress(f"footprint: dmi --help, {times} times")
    help_ms = await _median_ms(["-m", "dmi_cli", "--help"], times)
    python_ms = await _median_ms(["-c", "pass"], times)
    async with scratch_folder() as folder:
        manager_mib, mapper_mib = await _idle(folder, seconds=0.5 if quick else 10.0)
        bare_mib = await _bare_mib(folder)
    figures = {
        "help_ms": help_ms,
        "idle_mapper_mib": mapper_mib,
        "idle_manager_mib": manager_mib,
    }
    met = (
        help_ms < _MOST_HELP_MS
        and mapper_mib < _MOST_MAPPER_MIB
        and manager_mib < _MOST_MANAGER_MIB
    )
    bare = {"python_ms": python_ms, "grpc_pydantic_fastapi_uvicorn_mib": bare_mib}
    return Measured(figures, met, bare)


async def _idle(folder: Path, seconds: float) -> tuple[float, float]:
    """Resident memory of a manager and of a mapper that is linked to it, without devices."""
    progress("footprint: idle manager and mapper")
    async with run_manager(folder) as manager, run_mapper(folder) as mapper:
        await asyncio.sleep(seconds)
        return round(manager.rss_mib(), 1), round(mapper.rss_mib(), 1)


async def _bare_mib(folder: Path) -> float:
    """The same of the libraries alone, imported and not used."""
    async with program(["-c", _BARE], folder / "bare.log") as bare:
        return round(Usage(bare.pid).rss_mib(), 1)


async def _median_ms(arguments: list[str], times: int) -> float:
    taken = []
    for _ in range(times):
        begin = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, stdout=asyncio.subprocess.DEVNULL
        )
        await process.wait()
        taken.append(time.monotonic() - begin)
    return round(statistics.median(taken) * 1e3, 1)

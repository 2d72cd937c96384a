"""The latest value over REST, of manager and mapper, beside a bare FastAPI route."""

import asyncio
import json
import statistics
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import httpx

from benchmarks.measured import Measured, progress
from benchmarks.nodes import Fleet, run_fleet
from benchmarks.processes import program, scratch_folder
from benchmarks.virtual import SETPOINT

__all__ = ["TARGET", "measure"]

TARGET: Final = "at least 0.8 x a bare FastAPI route in the same run"

_LEAST_RATIO: Final = 0.8
_DEVICE: Final = "/api/v1/devices/default/virtual-0"
_TWIN: Final = f"{_DEVICE}/twins/{SETPOINT}"
_PROPERTY: Final = f"{_DEVICE}/properties/{SETPOINT}"


async def measure(*, quick: bool) -> Measured:
    """Load the three servers in turns, so that whatever disturbs the machine disturbs all."""
    rounds, seconds = (1, 0.5) if quick else (5, 4.0)
    async with AsyncExitStack() as stack:
        folder = await stack.enter_async_context(scratch_folder())
        fleet = await stack.enter_async_context(run_fleet(folder, 1, 1000, settle=0.0))
        answers = await _answers(fleet, folder)
        bare = ["-m", "benchmarks.bare_rest"]
        bare_twin, bare_property = [
            (await stack.enter_async_context(program([*bare, file], folder / "bare.log"))).ready
            for file in answers
        ]
        targets = {
            "manager": fleet.api + _TWIN,
            "bare_manager": bare_twin["rest"] + _TWIN,
            "mapper": fleet.rest + _PROPERTY,
            "bare_mapper": bare_property["rest"] + _TWIN,
        }
        found = await _load_in_turns(targets, rounds, seconds)
    manager = found["manager"] / found["bare_manager"]
    mapper = found["mapper"] / found["bare_mapper"]
    figures = {
        "manager_requests_per_s": found["manager"],
        "manager_ratio": round(manager, 2),
        "mapper_requests_per_s": found["mapper"],
        "mapper_ratio": round(mapper, 2),
    }
    bare_figures = {
        "requests_per_s_of_the_managers_json": found["bare_manager"],
        "requests_per_s_of_the_mappers_json": found["bare_mapper"],
    }
    return Measured(figures, min(manager, mapper) >= _LEAST_RATIO, bare_figures)


async def _answers(fleet: Fleet, folder: Path) -> list[str]:
    """Files with what the two servers answer, for the bare route to answer the same."""
    files = []
    async with httpx.AsyncClient(trust_env=False) as client:
        for name, url in (("twin", fleet.api + _TWIN), ("property", fleet.rest + _PROPERTY)):
            file = folder / f"{name}.json"
            file.write_bytes((await client.get(url)).raise_for_status().content)
            files.append(str(file))
    return files


async def _load_in_turns(targets: dict[str, str], rounds: int, seconds: float) -> dict[str, float]:
    """Requests per second of each, the median of all rounds."""
    found: dict[str, list[float]] = {name: [] for name in targets}
    for turn in range(rounds):
        progress(f"rest_latest: round {turn + 1} of {rounds}")
        for name, url in targets.items():
            found[name].append(await _load(url, seconds))
    return {name: statistics.median(rates) for name, rates in found.items()}


async def _load(url: str, seconds: float) -> float:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.load", url, "--seconds", str(seconds)),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    rate: float = json.loads(output)["requests_per_s"]
    return rate

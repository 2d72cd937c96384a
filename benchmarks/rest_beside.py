"""REST at a steady pace while many readings flow: how long an answer takes then."""

import asyncio
import json
import sys
from typing import Final

from benchmarks.measured import Measured, progress
from benchmarks.nodes import metrics, run_fleet
from benchmarks.processes import program, scratch_folder
from benchmarks.virtual import SETPOINT

__all__ = ["TARGET", "measure"]

TARGET: Final = "p99 under 10 ms at 1,000 requests a second, beside 10,000 readings a second"

_MOST_MS: Final = 10.0
_PROPERTY: Final = f"/api/v1/devices/default/virtual-0/properties/{SETPOINT}"
_DEVICE: Final = "/api/v1/devices/default/virtual-1"


async def measure(*, quick: bool) -> Measured:
    """Ask for one property and for a whole device, each as often as the other."""
    devices, rate, seconds = (20, 100, 1.0) if quick else (1000, 1000, 20.0)
    async with scratch_folder() as folder:
        async with run_fleet(folder, devices, 1000, settle=1.0) as fleet:
            before = metrics(fleet.rest)
            one, whole = await asyncio.gather(
                *(_load(fleet.rest + path, rate / 2, seconds) for path in (_PROPERTY, _DEVICE))
            )
            after = metrics(fleet.rest)
            answer = folder / "answer.json"
            answer.write_text('{"value": 0}')
        async with program(
            ["-m", "benchmarks.bare_rest", str(answer)], folder / "bare.log"
        ) as bare:
            path = f"/api/v1/devices/default/virtual-0/twins/{SETPOINT}"
            idle = await _load(bare.ready["rest"] + path, rate, seconds)
    name = "dmi_mapper_reported_readings_total"
    figures = {
        "requests_per_s": one["requests_per_s"] + whole["requests_per_s"],
        "property_p50_ms": one["p50_ms"],
        "property_p99_ms": one["p99_ms"],
        "device_p50_ms": whole["p50_ms"],
        "device_p99_ms": whole["p99_ms"],
        "readings_per_s": round((after[name] - before[name]) / seconds),
    }
    bare_figures = {"p50_ms": idle["p50_ms"], "p99_ms": idle["p99_ms"]}
    met = max(one["p99_ms"], whole["p99_ms"]) < _MOST_MS
    return Measured(figures, met, bare_figures)


async def _load(url: str, rate: float, seconds: float) -> dict[str, float]:
    progress(f"rest_beside: {rate:g} requests a second to {url}")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.load", url),
        *("--seconds", str(seconds), "--rate", str(rate)),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    found: dict[str, float] = json.loads(output)
    return found

"""Modbus TCP: requests sent beside the fewest possible, and CPU beside a by-hand pymodbus loop."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.measured import Measured, progress
from benchmarks.modbus_units import BLOCKS, Counts, devices, model
from benchmarks.processes import Program, program, scratch_folder, until

__all__ = ["TARGET", "measure"]

TARGET: Final = (
    "requests sent = the fewest that the limits allow; CPU at most 1.5 x a by-hand pymodbus loop"
)

_MOST_RATIO: Final = 1.5
_CYCLE_MS: Final = 500
_SETTLE_SECONDS: Final = 60.0


async def measure(*, quick: bool) -> Measured:
    """Read the same units with a mapper process and with a by-hand loop, one after the other."""
    units, seconds = (20, 2.0) if quick else (100, 20.0)
    async with scratch_folder() as folder:
        counts = Counts(folder / "counts")
        serve = ["-m", "benchmarks.modbus_units", "serve", "--units", str(units)]
        serve += ["--counts", str(folder / "counts")]
        async with program(serve, folder / "server.log") as server:
            port = int(server.ready["port"])
            ours = await _run(_mapper(folder, port, units), folder, counts, units, seconds)
            bare = await _run(_by_hand(port, units), folder, counts, units, seconds)
    ratio = ours["cpu_us_per_request"] / bare["cpu_us_per_request"]
    figures = {**ours, "fewest_requests_per_unit": BLOCKS, "cpu_ratio": round(ratio, 2)}
    met = figures["requests_per_unit"] == BLOCKS and ratio <= _MOST_RATIO
    return Measured(figures, met, bare)


def _mapper(folder: Path, port: int, units: int) -> list[str]:
    items = [model(), *devices(port, units, _CYCLE_MS)]
    # JSON is YAML too, and several documents make one file.
    (folder / "devices.yaml").write_text("\n---\n".join(map(json.dumps, items)))
    command = ["-m", "dmi_cli", "mapper", "modbus", "--ready-json"]
    return [*command, "--devices", str(folder / "devices.yaml"), "--rest", "127.0.0.1:0"]


def _by_hand(port: int, units: int) -> list[str]:
    command = ["-m", "benchmarks.modbus_units", "read", "--units", str(units)]
    return [*command, "--port", str(port), "--cycle", str(_CYCLE_MS / 1000)]


async def _run(
    arguments: Sequence[str], folder: Path, counts: Counts, units: int, seconds: float
) -> dict[str, float]:
    progress(f"modbus_read: {' '.join(arguments[1:4])}, {units} units, {seconds:.0f} s")
    async with program(arguments, folder / "reader.log") as reader:
        await _until_all_are_read(counts, units)
        return await _watch(reader, counts, seconds)


async def _until_all_are_read(counts: Counts, units: int) -> None:
    """Return when every unit has been read several times, so that nothing begins any more."""
    _, first = counts.read()
    await until(lambda: counts.read()[1] - first >= 4 * units, _SETTLE_SECONDS, "all units read")


async def _watch(reader: Program, counts: Counts, seconds: float) -> dict[str, float]:
    cpu, (requests, looks) = reader.cpu_seconds(), counts.read()
    await asyncio.sleep(seconds)
    cpu = reader.cpu_seconds() - cpu
    requests, looks = counts.read()[0] - requests, counts.read()[1] - looks
    return {
        "requests_per_s": round(requests / seconds, 1),
        # At both ends of the time a look may be cut in two.
        "requests_per_unit": round(requests / looks, 1),
        "cpu_percent": round(100 * cpu / seconds, 1),
        "cpu_us_per_request": round(cpu / requests * 1e6, 1),
        "rss_mib": round(reader.rss_mib(), 1),
    }

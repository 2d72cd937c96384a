"""OPC UA: items that change each second, in a mapper beside a bare asyncua subscription."""

import asyncio
import json
import sys
from typing import Any, Final

from benchmarks.measured import Measured, progress
from benchmarks.processes import program, scratch_folder

__all__ = ["TARGET", "measure"]

TARGET: Final = (
    "10,000 items changing each second on one server: all come, none lost; CPU at most 1.6 x a "
    "bare asyncua subscription; under 250 MiB"
)

_MOST_RATIO: Final = 1.6
_MOST_MIB: Final = 250
_LEAST_SHARE: Final = 0.93
"""They change all at once: the time that is measured may hold one turn less than seconds."""


async def measure(*, quick: bool) -> Measured:
    """Hear the same server with one and the other, one after the other."""
    items, seconds = (100, 2.0) if quick else (10_000, 15.0)
    async with scratch_folder() as folder:
        serve = ["-m", "benchmarks.opcua_server", "--port", "0", "--ready-json"]
        serve += ["--items", str(items)]
        async with program(serve, folder / "server.log") as server:
            url = server.ready["url"]
            ours = await _hear("ours", url, items, seconds)
            bare = await _hear("bare", url, items, seconds)
    ratio = round(ours["cpu_us_per_change"] / bare["cpu_us_per_change"], 2)
    all_came = ours["lost"] == 0 and ours["changes_per_s"] > _LEAST_SHARE * items
    met = all_came and ratio <= _MOST_RATIO and ours["peak_mib"] < _MOST_MIB
    return Measured({**ours, "cpu_ratio": ratio}, met, bare)


async def _hear(who: str, url: str, items: int, seconds: float) -> dict[str, Any]:
    progress(f"opcua_push: {who}, {items} items, {seconds:.0f} s")
    command = ["-m", "benchmarks.opcua_items", who, "--url", url]
    command += ["--items", str(items), "--seconds", str(seconds)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    found: dict[str, Any] = json.loads(out)
    return found

"""A desired value, from the REST request until the device has confirmed it, in a busy node."""

import random
import time
from typing import Final

import orjson

from benchmarks.load import HttpConnection
from benchmarks.measured import Measured, percentiles, progress
from benchmarks.nodes import Fleet, run_fleet
from benchmarks.processes import scratch_folder
from benchmarks.virtual import SETPOINT

__all__ = ["TARGET", "measure"]

TARGET: Final = "p99 under 50 ms, with the 1,000-device fleet running"

_MOST_P99_MS: Final = 50.0
_WAIT: Final = 10


async def measure(*, quick: bool) -> Measured:
    """Set setpoints of devices picked at random, one after the other."""
    number, times, settle = (20, 20, 0.5) if quick else (1000, 1000, 5.0)
    async with (
        scratch_folder() as folder,
        run_fleet(folder, number, 1000, settle=settle) as fleet,
    ):
        progress(f"desired: {times} values")
        waits = await _set_values(fleet, number, times)
        bare = await _bare(fleet, times)
    figures = {"set": times, **percentiles(waits)}
    return Measured(figures, figures["p99_ms"] < _MOST_P99_MS, percentiles(bare))


async def _set_values(fleet: Fleet, number: int, times: int) -> list[float]:
    order = random.Random(1)  # noqa: S311 - picks devices, the same ones in each run
    connection = HttpConnection(fleet.api)
    await connection.open()
    waits = []
    for value in range(1, times + 1):
        device = f"/api/v1/devices/default/virtual-{order.randrange(number)}"
        path = f"{device}/twins/{SETPOINT}/desired?wait={_WAIT}"
        begin = time.monotonic()
        twin = orjson.loads(await connection.request("PUT", path, {"value": value}))
        waits.append(time.monotonic() - begin)
        assert twin["desired"]["status"] == "confirmed", twin
        assert twin["reported"]["value"] == value, twin
    connection.close()
    return waits


async def _bare(fleet: Fleet, times: int) -> list[float]:
    """How long the same HTTP server takes for an answer that needs nothing of the node."""
    connection = HttpConnection(fleet.api)
    await connection.open()
    waits = []
    for _ in range(times):
        begin = time.monotonic()
        await connection.request("GET", "/healthz")
        waits.append(time.monotonic() - begin)
    connection.close()
    return waits

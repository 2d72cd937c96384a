"""BLE: reads of a characteristic through the driver, beside bare bleak on the same radio."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Final

from bleak import BleakClient

from benchmarks.ble_devices import SETPOINT
from benchmarks.measured import Measured, progress
from mapper_sdk.bus import Bus
from mappers.ble.config import BleLink
from mappers.ble.driver import BleDriver
from mappers.ble.radio import open_radio
from mappers.ble.simulator import BleSimulator
from mappers.ble.visit import BleVisit

__all__ = ["TARGET", "measure"]

TARGET: Final = "GATT reads over the in-process radio: at least 0.6 x bare bleak"

_LEAST_RATIO: Final = 0.6
_ADDRESS: Final = "F0:00:00:00:00:02"


async def measure(*, quick: bool) -> Measured:
    """Read one value again and again, by turns with and without the driver."""
    rounds, reads = (1, 50) if quick else (5, 1000)
    ours: list[float] = []
    bare: list[float] = []
    async with BleSimulator() as simulator:
        for number in range(rounds):
            progress(f"ble_read: round {number + 1} of {rounds}, {reads} reads each way")
            ours.append(await _through_driver(simulator.radio, reads))
            bare.append(await _bare(simulator.radio, reads))
    ratio = statistics.median(ours) / statistics.median(bare)
    figures = {"reads_per_s": round(statistics.median(ours)), "ratio": round(ratio, 2)}
    return Measured(figures, ratio >= _LEAST_RATIO, {"reads_per_s": round(statistics.median(bare))})


async def _through_driver(radio: str, reads: int) -> float:
    driver = BleDriver(BleLink.model_validate({"radio": radio, "address": _ADDRESS}))
    driver.bus = Bus(takes_turns=False)
    visits = [BleVisit.model_validate({"characteristic": SETPOINT, "type": "float32"})]
    await driver.connect()
    try:
        assert await driver.read(visits) == [20.0]
        return await _rate(lambda: driver.read(visits), reads)
    finally:
        await driver.close()


async def _bare(name: str, reads: int) -> float:
    async with (
        open_radio(name) as radio,
        BleakClient(_ADDRESS, backend=radio.client, **radio.kwargs) as client,
    ):
        return await _rate(lambda: client.read_gatt_char(SETPOINT), reads)


async def _rate(read: Callable[[], Awaitable[object]], reads: int) -> float:
    began = time.perf_counter()
    for _ in range(reads):
        await read()
    # A turn of the loop without work, so that nothing of the last read is left over.
    await asyncio.sleep(0)
    return reads / (time.perf_counter() - began)

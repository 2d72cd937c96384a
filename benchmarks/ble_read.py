"""BLE: reads of characteristics through the driver, beside bare bleak on the same radio.

Radio, devices and both readers are in one process, so that its CPU time is the cost of the reads,
whatever else the machine does meanwhile.
"""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Final

from bleak import BleakClient

from benchmarks.ble_devices import SETPOINT
from benchmarks.measured import Figures, Measured, progress
from mapper_sdk.sessions.bus import Bus
from mappers.ble.config import BleLink
from mappers.ble.driver import BleDriver
from mappers.ble.radio import open_radio
from mappers.ble.simulation.peripherals import HEATER
from mappers.ble.simulator import BleSimulator
from mappers.ble.visit import BleVisit

__all__ = ["TARGET", "measure"]

TARGET: Final = "GATT reads over the in-process radio: at least 0.6 x bare bleak, in each shape"

_LEAST_RATIO: Final = 0.6
_LOG: Final = HEATER["log"]
_SHAPES: Final = {
    "one_value": (1, [SETPOINT]),
    "long_value": (1, [_LOG]),
    "four_values": (1, [SETPOINT, HEATER["temperature"], HEATER["name"], _LOG]),
    "ten_links": (10, [SETPOINT]),
}
"""By name: how many devices at once, and what is read of each."""

Read = Callable[[], Awaitable[object]]


async def measure(*, quick: bool) -> Measured:
    """Read the same in short turns with and without the driver, in several shapes."""
    rounds, reads = (2, 20) if quick else (11, 200)
    ours: dict[str, float] = {}
    bare: dict[str, float] = {}
    ratios: dict[str, float] = {}
    for name, (devices, characteristics) in _SHAPES.items():
        progress(f"ble_read: {name}, {rounds} turns of {reads} reads each way")
        pairs = await _turns(devices, characteristics, rounds, reads)
        ours[f"{name}_reads_per_cpu_s"] = round(statistics.median(one for one, _ in pairs))
        bare[f"{name}_reads_per_cpu_s"] = round(statistics.median(other for _, other in pairs))
        ratios[f"{name}_ratio"] = round(statistics.median(one / other for one, other in pairs), 2)
    figures: Figures = {**ours, **ratios}
    return Measured(figures, min(ratios.values()) >= _LEAST_RATIO, bare)


async def _turns(
    devices: int, characteristics: Sequence[str], rounds: int, reads: int
) -> list[tuple[float, float]]:
    """Reads of all devices per second of CPU, through drivers and bare, turn by turn."""
    # The first peripheral is the thermometer, which has other characteristics.
    async with (
        BleSimulator(peripherals=devices + 1) as simulator,
        open_radio(simulator.radio) as radio,
        AsyncExitStack() as stack,
    ):
        addresses = [one.address for one in simulator.peripherals[1:]]
        bus = Bus(takes_turns=False)
        pairs = []
        for _ in range(rounds):
            # One after the other: a device takes one link.
            by_driver = [
                await _driver(stack, bus, simulator, a, characteristics) for a in addresses
            ]
            ours = await _rate(by_driver, reads)
            await stack.aclose()
            clients = [
                await stack.enter_async_context(
                    BleakClient(address, backend=radio.client, **radio.kwargs)
                )
                for address in addresses
            ]
            bare = await _rate([_bare(client, characteristics) for client in clients], reads)
            await stack.aclose()
            pairs.append((ours, bare))
        return pairs


async def _driver(
    stack: AsyncExitStack,
    bus: Bus,
    simulator: BleSimulator,
    address: str,
    characteristics: Sequence[str],
) -> Read:
    settings = {"radio": simulator.radio, "address": address, "slots": 16, "keepLink": True}
    driver = BleDriver(BleLink.model_validate(settings))
    driver.bus = bus
    visits = [
        BleVisit.model_validate({"characteristic": uuid, "type": "bytes"})
        for uuid in characteristics
    ]
    await driver.connect()
    stack.push_async_callback(driver.close)
    answers = await driver.read(visits)
    assert all(isinstance(answer, bytes) for answer in answers), answers
    return lambda: driver.read(visits)


def _bare(client: BleakClient, characteristics: Sequence[str]) -> Read:
    async def read() -> object:
        return [await client.read_gatt_char(uuid) for uuid in characteristics]

    return read


async def _rate(readers: Sequence[Read], reads: int) -> float:
    """Have them read side by side, about `reads` times in all; gives times per second of CPU."""
    each = max(reads // len(readers), 1)

    async def again(read: Read) -> None:
        for _ in range(each):
            await read()

    began = time.process_time()
    await asyncio.gather(*map(again, readers))
    return each * len(readers) / (time.process_time() - began)

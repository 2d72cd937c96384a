"""BLE: more devices to connect than the radio has slots; each is served in every cycle."""

import asyncio
import json
from typing import Final

from benchmarks.ble_devices import polled
from benchmarks.measured import Measured, progress
from benchmarks.processes import program, scratch_folder, until
from mappers.ble.simulation.peripherals import Peripheral
from mappers.ble.simulator import BleSimulator

__all__ = ["TARGET", "measure"]

TARGET: Final = (
    "10 connectable devices, 3 slots, 10 s cycle: every device served each cycle, fairly"
)

_SETTLE_SECONDS: Final = 60.0


async def measure(*, quick: bool) -> Measured:
    """Count, cycle by cycle, what each device was asked, and how many links there were."""
    count, slots, cycle, cycles = (4, 2, 2.0, 1) if quick else (10, 3, 10.0, 4)
    # The first peripheral is the thermometer, which has no set-point.
    async with BleSimulator(port=0, peripherals=count + 1) as air, scratch_folder() as folder:
        devices = air.peripherals[1:]
        addresses = [one.address for one in devices]
        serve = ["-m", "benchmarks.ble_devices", "serve", "--radio", air.tcp_radio]
        progress(f"ble_slots: {count} devices by hand, one after the other")
        async with program([*serve, "--count", str(count)], folder / "serve.log") as by_hand:
            bare = {"seconds_for_all": round(float(by_hand.ready["seconds"]), 2)}
        items = polled(air.tcp_radio, addresses, round(cycle * 1000), slots)
        file = folder / "devices.yaml"
        file.write_text("\n---\n".join(map(json.dumps, items)))
        words = ["-m", "dmi_cli", "mapper", "ble", "--ready-json", "--rest", "127.0.0.1:0"]
        async with program([*words, "--devices", str(file)], folder / "mapper.log") as mapper:
            progress(f"ble_slots: {count} devices, {slots} slots, {cycles} cycles of {cycle:g} s")
            before = {one.name: one.reads for one in devices}
            await until(
                lambda: all(one.reads > before[one.name] for one in devices),
                _SETTLE_SECONDS,
                "every device has been read",
            )
            cpu = mapper.cpu_seconds()
            least, most, links = await _watch(devices, cycle, cycles)
            cpu = mapper.cpu_seconds() - cpu
    figures = {
        "devices": count,
        "slots": slots,
        "fewest_reads_in_a_cycle": least,
        "most_reads_in_a_cycle": most,
        "most_links_at_once": links,
        "cpu_percent": round(100 * cpu / (cycle * cycles), 1),
    }
    # A cycle may begin just before a read and end just after one.
    return Measured(figures, least >= 1 and most <= 2 and links <= slots, bare)


async def _watch(devices: list[Peripheral], cycle: float, cycles: int) -> tuple[int, int, int]:
    """Fewest and most reads of one device in one cycle, and most links at once."""
    loop = asyncio.get_running_loop()
    reads, links = [], 0
    for _ in range(cycles):
        before, end = [one.reads for one in devices], loop.time() + cycle
        while loop.time() < end:
            links = max(links, sum(one.links for one in devices))
            await asyncio.sleep(0.02)
        reads += [one.reads - was for one, was in zip(devices, before, strict=True)]
    return min(reads), max(reads), links

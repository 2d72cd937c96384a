"""BLE: many sensors that only advertise. Every packet counts once; the CPU beside a bare scan."""

import asyncio
import json
import re
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from benchmarks.ble_devices import heard
from benchmarks.measured import Measured, progress
from benchmarks.processes import Program, program, scratch_folder
from mappers.ble.simulation.faults import FaultKind
from mappers.ble.simulator import BleSimulator

__all__ = ["TARGET", "measure"]

TARGET: Final = "200 advertisers at 1/s: every packet seen once; under 15 % of a core"

_MOST_PERCENT: Final = 15.0
_SETTLE_SECONDS: Final = 60.0
_DRAIN_SECONDS: Final = 1.0


async def measure(*, quick: bool) -> Measured:
    """Serve them by a mapper process, then listen by a bare scanner for as long."""
    count, seconds = (20, 2.0) if quick else (200, 20.0)
    interval = 0.5 if quick else 1.0
    async with (
        BleSimulator(port=0, peripherals=0, advertisers_count=count, interval=interval) as air,
        scratch_folder() as folder,
    ):
        addresses = [one.address for one in air.broadcasters if one.name.startswith("advertiser")]
        items = heard(air.tcp_radio, addresses)
        file = folder / "devices.yaml"
        file.write_text("\n---\n".join(map(json.dumps, items)))
        words = ["-m", "dmi_cli", "mapper", "ble", "--ready-json", "--rest", "127.0.0.1:0"]
        async with program([*words, "--devices", str(file)], folder / "mapper.log") as mapper:
            progress(f"ble_adverts: a mapper with {count} devices, {seconds:.0f} s")
            ours = await _watch(air, mapper, count, seconds)
        scan = ["-m", "benchmarks.ble_devices", "scan", "--radio", air.tcp_radio]
        async with program(scan, folder / "scan.log") as scanner:
            progress(f"ble_adverts: a bare scanner, {seconds:.0f} s")
            bare = await _cpu_percent(scanner, seconds)
    met = ours["lost"] == 0 and ours["twice"] == 0 and ours["cpu_percent"] < _MOST_PERCENT
    return Measured(ours, met, {"cpu_percent": bare})


async def _watch(
    air: BleSimulator, mapper: Program, count: int, seconds: float
) -> dict[str, float]:
    rest = mapper.ready["rest"]
    await _until_counted(rest, 3 * count)
    with _silence(air):
        await asyncio.sleep(_DRAIN_SECONDS)
        counted, sent = await _counted(rest), _sent(air)
    cpu = await _cpu_percent(mapper, seconds)
    with _silence(air):
        sent = _sent(air) - sent
        await asyncio.sleep(_DRAIN_SECONDS)
        counted = await _counted(rest) - counted
    return {
        "packets": sent,
        "lost": max(sent - counted, 0),
        "twice": max(counted - sent, 0),
        "cpu_percent": cpu,
        "rss_mib": round(mapper.rss_mib(), 1),
    }


@contextmanager
def _silence(air: BleSimulator) -> Iterator[None]:
    """Nobody is heard, and no packet is counted as sent."""
    with air.faults.on(FaultKind.OUT_OF_RANGE, "", 0):
        yield


def _sent(air: BleSimulator) -> int:
    return sum(one.heard for one in air.broadcasters if one.name.startswith("advertiser"))


async def _cpu_percent(process: Program, seconds: float) -> float:
    before = process.cpu_seconds()
    await asyncio.sleep(seconds)
    return round(100 * (process.cpu_seconds() - before) / seconds, 1)


async def _until_counted(rest: str, packets: int) -> None:
    async with asyncio.timeout(_SETTLE_SECONDS):
        while await _counted(rest) < packets:  # noqa: ASYNC110 - another process sets no event here
            await asyncio.sleep(0.2)


async def _counted(rest: str) -> int:
    """Readings that the mapper has made."""
    text = await asyncio.to_thread(_get, f"{rest}/metrics")
    found = re.findall(
        r"^dmi_mapper_reported_readings_total(?:\{[^}]*\})? (\S+)$", text, re.MULTILINE
    )
    return round(sum(map(float, found)))


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own loopback URL
        text: str = answer.read().decode()
        return text

"""A simulated plant, and drivers connected to it."""

import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from mapper_sdk.sessions.bus import Buses
from mappers.modbus.config import ModbusLink
from mappers.modbus.driver import ModbusDriver
from mappers.modbus.simulator import ModbusSimulator

# A busy machine is no reason to fail.
hypothesis.settings.register_profile("modbus", deadline=None)
hypothesis.settings.load_profile("modbus")

Connect = Callable[..., Awaitable[ModbusDriver]]


@pytest.fixture
async def simulator() -> AsyncIterator[ModbusSimulator]:
    async with ModbusSimulator(units=5) as running:
        yield running


@pytest.fixture
async def connect(simulator: ModbusSimulator) -> AsyncIterator[Connect]:
    """Connects a driver to a unit of the simulator; drivers of one endpoint share a bus."""
    buses = Buses()
    drivers: list[ModbusDriver] = []

    async def make(unit: int = 4, **settings: object) -> ModbusDriver:
        data = {"host": "127.0.0.1", "port": simulator.port, "timeout": 0.3} | settings
        driver = ModbusDriver(ModbusLink.model_validate({"unit": unit, **data}))
        driver.bus = buses.acquire(driver.bus_key(driver.link))
        drivers.append(driver)
        await driver.connect()
        return driver

    yield make
    for driver in drivers:
        await driver.close()


@pytest.fixture
def serial_processes() -> list[subprocess.Popen[bytes]]:
    """What holds the serial line of the test, to be ended like a pulled plug."""
    return []


@pytest.fixture
def serial_line(
    tmp_path: Path, serial_processes: list[subprocess.Popen[bytes]]
) -> Iterator[tuple[str, str]]:
    """Two ends of a serial line: pseudo terminals, joined by socat."""
    if shutil.which("socat") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("socat is missing: serial lines cannot be tested")
        pytest.skip("socat is not installed: serial lines are not tested")
    ends = tmp_path / "a", tmp_path / "b"
    command = ["socat", *(f"pty,raw,echo=0,link={end}" for end in ends)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        serial_processes.append(process)
        try:
            deadline = time.monotonic() + 10
            while not all(end.exists() for end in ends):
                assert time.monotonic() < deadline, "socat did not make its terminals"
                time.sleep(0.005)  # another process makes a file: nothing to await
            yield str(ends[0]), str(ends[1])
        finally:
            process.terminate()

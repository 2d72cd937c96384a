"""A simulated plant, and drivers connected to it."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from mapper_sdk.bus import Buses
from mappers.opcua.config import OpcuaLink
from mappers.opcua.driver import OpcuaDriver
from mappers.opcua.simulator import OpcuaSimulator

Connect = Callable[..., Awaitable[OpcuaDriver]]


@pytest.fixture
async def simulator() -> AsyncIterator[OpcuaSimulator]:
    async with OpcuaSimulator() as running:
        yield running


@pytest.fixture
async def connect(simulator: OpcuaSimulator, tmp_path) -> AsyncIterator[Connect]:
    """Connects a driver to the simulator; drivers with equal settings share a session."""
    buses = Buses()
    drivers: list[OpcuaDriver] = []

    async def make(**settings: object) -> OpcuaDriver:
        data = {"url": simulator.url, "pkiDir": str(tmp_path), "publishingInterval": 50} | settings
        driver = OpcuaDriver(OpcuaLink.model_validate(data))
        driver.bus = buses.acquire(driver.bus_key(driver.link))
        drivers.append(driver)
        await driver.connect()
        return driver

    yield make
    for driver in drivers:
        await driver.close()

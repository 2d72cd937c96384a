"""A simulator in this process, and its radio: once at hand, once by TCP."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from bleak import BleakClient, BleakScanner

from mappers.ble.radio import open_radio
from mappers.ble.simulator import BleSimulator

THERMOMETER = "F0:00:00:00:00:01"
HEATER = "F0:00:00:00:00:02"


@pytest.fixture
async def simulator():
    async with BleSimulator(port=0, interval=0.05) as running:
        yield running


@pytest.fixture(params=["virtual", "tcp"])
async def radio(request, simulator):
    name = simulator.radio if request.param == "virtual" else simulator.tcp_radio
    async with open_radio(name) as opened:
        yield opened


@pytest.fixture
async def client(radio):
    """Makes clients; what they told when they were disconnected is their `gone`."""
    async with AsyncExitStack() as stack:

        def make(address=HEATER, **options):
            gone = asyncio.Queue()
            made = BleakClient(
                address, gone.put_nowait, backend=radio.client, **radio.kwargs, **options
            )
            made.gone = gone
            stack.push_async_callback(made.disconnect)
            return made

        yield make


@pytest.fixture
async def heater(client):
    """A client that is connected to the heater."""
    made = client(HEATER)
    await made.connect()
    return made


async def heard(radio, wanted, *, mode="active", **options):
    """Scan until `wanted(device, data)` gives something true, and give that."""
    found = asyncio.get_running_loop().create_future()

    def look(device, data):
        answer = wanted(device, data)
        if answer and not found.done():
            found.set_result(answer)

    scanner = BleakScanner(
        look, scanning_mode=mode, backend=radio.scanner, **radio.kwargs, **options
    )
    async with scanner, asyncio.timeout(5):
        return await found

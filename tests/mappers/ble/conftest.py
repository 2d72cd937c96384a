"""A simulator in this process, and what is needed to serve its devices."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from mapper_sdk.sessions.bus import Bus
from mappers.ble.config import BleLink
from mappers.ble.driver import BleDriver
from mappers.ble.simulator import BleSimulator
from mappers.ble.visit import BleVisit

THERMOMETER, HEATER = "F0:00:00:00:00:01", "F0:00:00:00:00:02"


@pytest.fixture(autouse=True)
def _own_state(tmp_path, monkeypatch):
    """Bonds are kept in the test's own folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
async def simulator():
    async with BleSimulator(interval=0.05) as running:
        yield running


@pytest.fixture
def bus():
    return Bus(takes_turns=False)


def link_to(simulator, **settings):
    """A link whose waits are short enough for tests."""
    quick = {"findTimeout": 1.0, "connectTimeout": 2.0, "slotTimeout": 2.0, "timeout": 1.0}
    return BleLink.model_validate({"radio": simulator.radio, "attempts": 1, **quick, **settings})


def visit_of(declared="double", **settings):
    return BleVisit.model_validate(settings, context={"type": declared})


@pytest.fixture
def make(simulator, bus):
    """Makes drivers on one radio, and closes them."""

    @asynccontextmanager
    async def connected(**settings):
        driver = BleDriver(link_to(simulator, **settings))
        driver.bus = bus
        await driver.connect()
        try:
            yield driver
        finally:
            await driver.close()

    return connected


class Pushed:
    """What was published, by index, and a way to wait for it."""

    def __init__(self):
        self.answers = []
        self._bell = asyncio.Event()

    def __call__(self, index, answer):
        self.answers.append((index, answer))
        self._bell.set()

    async def wait_for(self, wanted, seconds=5.0):
        """Wait until `wanted(answers)` is true, and give that."""
        async with asyncio.timeout(seconds):
            while not (found := wanted(self.answers)):
                self._bell.clear()
                await self._bell.wait()
        return found


@pytest.fixture
def pushed():
    return Pushed()

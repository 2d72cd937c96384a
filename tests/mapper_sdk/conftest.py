"""A mapper around scripted devices, on a clock that the test moves."""

import asyncio
from contextlib import asynccontextmanager
from random import Random

import pytest
from pydantic import BaseModel, ConfigDict

from dmi.errors import UnavailableError
from dmi.reports import Desired
from dmi.resources import Device, DeviceModel, Key
from mapper_sdk.driver import Driver, Subscribing
from mapper_sdk.fakes.clock import FakeClock
from mapper_sdk.link.base import Link
from mapper_sdk.mapper import Mapper


class ScriptedLink(BaseModel):
    model_config = ConfigDict(extra="forbid")
    address: str = "a"
    bus: str | None = None


class ScriptedVisit(BaseModel):
    model_config = ConfigDict(extra="forbid")
    cell: int


class Station:
    """One device, as the test wants it to behave."""

    def __init__(self):
        self.memory = {}
        self.reachable = True
        self.error = None  # raised by every exchange
        self.answers = None  # given by `read` instead of the memory
        self.on_write = None  # called with (cell, value) instead of storing
        self.hold = None  # an event that exchanges wait for
        self.drivers = []
        self.reads = []
        self.writes = []
        self.connects = 0
        self.closes = 0
        self.pushes = False
        self.publish = None
        self.subscriptions = []


def make_driver(stations):
    """A driver class of its own for each test, so that nothing is shared."""

    class ScriptedDriver(Driver):
        protocol_name = "scripted"
        link_model = ScriptedLink
        visit_model = ScriptedVisit

        def __init__(self, link):
            super().__init__(link)
            self.station = stations[link.address]
            self.station.drivers.append(self)

        @classmethod
        def bus_key(cls, link):
            return link.bus

        async def connect(self):
            self.station.connects += 1
            if not self.station.reachable:
                raise UnavailableError("nobody there")

        async def _exchange(self):
            if self.station.hold is not None:
                await self.station.hold.wait()
            if self.station.error is not None:
                raise self.station.error
            if not self.station.reachable:
                raise UnavailableError("gone")

        async def read(self, visits):
            self.station.reads.append([visit.cell for visit in visits])
            await self._exchange()
            if self.station.answers is not None:
                return self.station.answers(visits)
            return [self.station.memory.get(visit.cell, 0) for visit in visits]

        async def write(self, visit, value):
            await self._exchange()
            self.station.writes.append((visit.cell, value))
            if self.station.on_write is not None:
                self.station.on_write(visit.cell, value)
            else:
                self.station.memory[visit.cell] = value

        async def close(self):
            self.station.closes += 1

    return ScriptedDriver


def make_pushing_driver(stations):
    class PushingDriver(make_driver(stations), Subscribing):
        async def subscribe(self, visits, publish):
            self.station.subscriptions.append([visit.cell for visit in visits])
            self.station.publish = publish
            refuse = UnavailableError("polled")
            return [None if self.station.pushes else refuse for _ in visits]

    return PushingDriver


class RecordingLink(Link):
    """Keeps what the mapper reports; tells it what the test says, through `served`."""

    def __init__(self):
        super().__init__()
        self.readings = []
        self.states = []
        self.state_came = asyncio.Event()
        self.outcomes = []
        self.served = None
        self.drained = 0

    async def run(self, served):
        self.served = served
        await asyncio.Event().wait()

    def report(self, batch):
        self.readings.extend((point.name, reading) for point, reading in batch)

    def report_state(self, state):
        self.states.append(state)
        self.state_came.set()

    def report_outcome(self, outcome):
        self.outcomes.append(outcome)

    async def drain(self):
        self.drained += 1


class Plant:
    """A running mapper, its link, its devices and its clock."""

    def __init__(self, driver_of=make_driver):
        self.clock = FakeClock()
        self.link = RecordingLink()
        self.stations = {}
        self.mapper = Mapper(driver_of(self.stations), self.link, clock=self.clock, rng=Random(7))  # noqa: S311 - a test

    def station(self, address="a"):
        return self.stations.setdefault(address, Station())

    @asynccontextmanager
    async def running(self):
        task = asyncio.create_task(self.mapper.run())
        await self.clock.settle()
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def put(self, *objects):
        for item in objects:
            if isinstance(item, DeviceModel):
                self.link.served.put_model(item)
            elif isinstance(item, Desired):
                self.link.served.put_desired(item)
            else:
                self.link.served.put_device(item)
        await self.clock.settle()

    def session(self, name="dev"):
        return self.mapper.session(Key("default", name))

    def values(self, name):
        return [reading.value for point, reading in self.link.readings if point == name]

    def reasons(self, name):
        return [reading.reason for point, reading in self.link.readings if point == name]

    def state(self, name="dev"):
        return self.mapper.states[Key("default", name)]

    def outcomes(self):
        return [(o.property, o.version, o.status.name) for o in self.link.outcomes]


def make_model(name="model", **properties):
    """Each property as `name={type: ..., ...}`; FLOAT and ReadWrite by default."""
    return DeviceModel.model_validate(
        {
            "metadata": {"name": name},
            "spec": {
                "protocol": "scripted",
                "properties": [
                    {"name": prop, "type": "FLOAT", "accessMode": "ReadWrite", **body}
                    for prop, body in properties.items()
                ],
            },
        }
    )


def make_device(name="dev", model="model", address="a", bus=None, protocol="scripted", **props):
    """Each property as `name={cell: ..., ...}`, with `cycle` beside the configData."""
    config = {"address": address} | ({"bus": bus} if bus else {})
    return Device.model_validate(
        {
            "metadata": {"name": name},
            "spec": {
                "deviceModelRef": {"name": model},
                "protocol": {"protocolName": protocol, "configData": config},
                "properties": [
                    {
                        "name": prop,
                        "collectCycle": body.get("cycle", 1000),
                        "visitors": {
                            "protocolName": protocol,
                            "configData": {k: v for k, v in body.items() if k != "cycle"},
                        },
                    }
                    for prop, body in props.items()
                ],
            },
        }
    )


def make_wish(prop, value, version=1, device="dev", settled=False):
    return Desired(Key("default", device), prop, value, version, settled)


@pytest.fixture
def plant():
    return Plant()


@pytest.fixture
def pushing_plant():
    return Plant(make_pushing_driver)


@pytest.fixture
def make():
    """Makers of resources: `make.model(...)`, `make.device(...)`, `make.wish(...)`."""

    class Make:
        model = staticmethod(make_model)
        device = staticmethod(make_device)
        wish = staticmethod(make_wish)
        driver = staticmethod(make_driver)

    return Make

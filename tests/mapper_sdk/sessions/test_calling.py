"""Calls of methods through a whole mapper with scripted devices."""

import asyncio

import pytest

from dmi.errors import (
    ConflictError,
    ConversionError,
    DeadlineError,
    DriverBugError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from dmi.methods import Method
from dmi.resources import Device, Key
from mapper_sdk.driver import Calling
from tests.mapper_sdk.conftest import Plant, make_device, make_driver, make_model

DEV = Key("default", "dev")


def make_calling_driver(stations):
    class CallingDriver(make_driver(stations), Calling):
        async def methods(self):
            return [
                Method("add", "Adds.", {"a": {"type": "integer"}}, {"sum": {}}),
                Method("set", "Hidden by the declared one."),
            ]

        async def call(self, name, arguments):
            await self._exchange()
            if arguments["a"] < 0:
                raise RefusedError("no negatives")
            return {"sum": arguments["a"] + 1} if arguments["a"] else {"sum": [1]}

    return CallingDriver


@pytest.fixture
async def plant():
    plant = Plant(make_calling_driver)
    plant.station().memory = {1: 5, 2: 6}
    data = make_device(t={"cell": 1}, u={"cell": 2}).to_json()
    data["spec"]["methods"] = [{"name": "set", "propertyNames": ["t", "u"]}]
    async with plant.running():
        await plant.put(
            make_model(t={"type": "INT", "maximum": "9"}, u={"type": "INT"}),
            Device.model_validate(data),
        )
        yield plant


class Begin:
    """Counts how often it is told that something begins."""

    def __init__(self, error=None):
        self.times = 0
        self.error = error

    def __call__(self):
        self.times += 1
        if self.error:
            raise self.error


async def test_a_declared_method_writes_properties_and_begins_once(plant):
    begin = Begin()
    results = await plant.mapper.call(DEV, "set", {"u": 8.0, "t": 7}, begin)
    assert results == {"t": 7, "u": 8}
    assert plant.station().writes == [(1, 7), (2, 8)]
    assert begin.times == 1


async def test_a_method_of_the_device_is_called_with_its_types(plant):
    begin = Begin()
    assert await plant.mapper.call(DEV, "add", {"a": 2.0}, begin) == {"sum": 3}
    assert begin.times == 1
    (own,) = plant.mapper.methods()[DEV]
    assert own.name == "add"


@pytest.mark.parametrize(
    ("method", "arguments", "error"),
    [
        ("set", {}, ConversionError),
        ("set", {"t": 10}, ConversionError),
        ("set", {"v": 1}, ConversionError),
        ("add", {"a": "x"}, ConversionError),
        ("add", {}, ConversionError),
        ("walk", {}, NotFoundError),
    ],
)
async def test_a_wrong_call_does_not_begin(plant, method, arguments, error):
    begin = Begin()
    with pytest.raises(error):
        await plant.mapper.call(DEV, method, arguments, begin)
    assert begin.times == 0
    assert plant.station().writes == []


async def test_who_is_told_may_keep_it_from_beginning(plant):
    for method, arguments in (("set", {"t": 7}), ("add", {"a": 1})):
        with pytest.raises(ConflictError, match="late"):
            await plant.mapper.call(DEV, method, arguments, Begin(ConflictError("late")))
    assert plant.station().writes == []
    # The connection has not suffered.
    assert await plant.mapper.call(DEV, "add", {"a": 1}, Begin()) == {"sum": 2}


async def test_what_the_device_refuses_and_what_a_driver_must_not_give(plant):
    with pytest.raises(RefusedError, match="no negatives"):
        await plant.mapper.call(DEV, "add", {"a": -1}, Begin())
    with pytest.raises(DriverBugError, match="result 'sum' of method 'add' is no value"):
        await plant.mapper.call(DEV, "add", {"a": 0}, Begin())


async def test_a_device_that_is_away_says_so(plant):
    plant.station().reachable = False
    await plant.clock.advance(5)
    assert not plant.mapper.is_undecided(DEV)
    assert DEV not in plant.mapper.methods()
    for method, arguments in (("set", {"t": 7}), ("add", {"a": 1})):
        with pytest.raises(UnavailableError):
            await plant.mapper.call(DEV, method, arguments, Begin())


async def test_devices_that_are_unknown_or_being_connected_are_undecided(plant):
    assert plant.mapper.is_undecided(Key("default", "nothing"))
    assert not plant.mapper.is_undecided(DEV)
    plant.station("b").hold = asyncio.Event()
    await plant.put(make_device("slow", address="b", t={"cell": 1}))
    assert plant.mapper.is_undecided(Key("default", "slow"))
    plant.station("b").hold.set()
    await plant.clock.settle()
    assert not plant.mapper.is_undecided(Key("default", "slow"))


async def test_a_driver_that_cannot_call_offers_nothing(make):
    plant = Plant()
    plant.station()
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        assert plant.mapper.methods() == {}
        with pytest.raises(NotFoundError):
            await plant.mapper.call(DEV, "add", {"a": 1}, Begin())


async def test_who_is_told_when_it_begins_waits_for_its_turn_as_long_as_it_likes(plant):
    session = plant.session()
    plant.station().hold = asyncio.Event()
    first = asyncio.create_task(plant.mapper.call(DEV, "add", {"a": 1}, Begin()))
    await plant.clock.settle()
    begin = Begin()
    second = asyncio.create_task(plant.mapper.call(DEV, "add", {"a": 2}, begin))
    with pytest.raises(DeadlineError, match="the bus is busy"):
        await session.call("add", {"a": 3}, limit=0.01)
    assert begin.times == 0
    plant.station().hold.set()
    assert [await first, await second] == [{"sum": 2}, {"sum": 3}]


async def test_a_failure_in_the_middle_says_what_is_written(plant):
    def refuse_the_second(cell, _value):
        if cell == 2:
            raise RefusedError("stuck")

    plant.station().on_write = refuse_the_second
    with pytest.raises(RefusedError, match="stuck; written before: t"):
        await plant.mapper.call(DEV, "set", {"t": 7, "u": 8}, Begin())
    with pytest.raises(RefusedError, match=r"stuck$"):
        await plant.mapper.call(DEV, "set", {"u": 8}, Begin())

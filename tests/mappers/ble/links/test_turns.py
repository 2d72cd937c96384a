"""More devices that push than slots: they take turns, over the radio in this process."""

import asyncio
import logging

import pytest

from dmi.errors import DmiError, OverloadedError
from mapper_sdk.sessions.bus import Bus
from mappers.ble.driver import BleDriver
from mappers.ble.simulation.faults import parse_fault
from mappers.ble.simulation.peripherals import HEATER as UUIDS
from mappers.ble.simulator import BleSimulator
from tests.mappers.ble.conftest import HEATER, THERMOMETER, link_to, visit_of

WARMTH = visit_of(characteristic=UUIDS["temperature"], type="float32")
SETPOINT = visit_of(characteristic=UUIDS["setpoint"], type="float32")
FEVER = visit_of(characteristic="temperature_measurement")


class Watched:
    """A driver that is served as a session does it, and the values that it published."""

    def __init__(self, driver):
        self.driver = driver
        self.values = []
        self.errors = []
        self.bell = asyncio.Event()

    def publish(self, _index, answer):
        (self.errors if isinstance(answer, DmiError) else self.values).append(answer)
        self.bell.set()

    async def begin(self, *visits):
        await self.driver.connect()
        refusals = await self.driver.subscribe(visits, self.publish)
        await self.driver.read(visits)
        return refusals

    async def more(self, count, seconds=8):
        """Wait for so many further values."""
        wanted = len(self.values) + count
        async with asyncio.timeout(seconds):
            while len(self.values) < wanted:
                self.bell.clear()
                await self.bell.wait()


@pytest.fixture
async def crowd():
    """Makes devices on one radio with a given number of slots, and closes them."""
    bus, all_of_them = Bus(takes_turns=False), []
    async with BleSimulator(peripherals=6, interval=0.05) as simulator:

        def make(address, **settings):
            driver = BleDriver(
                link_to(simulator, address=address, **{"lease": 0.3, "slotTimeout": 4} | settings)
            )
            driver.bus = bus
            all_of_them.append(driver)
            return Watched(driver)

        make.simulator = simulator
        yield make
        for driver in all_of_them:
            await driver.close()


async def test_more_devices_that_push_than_slots_are_served_in_turns(crowd, monkeypatch, caplog):
    monkeypatch.setattr(BleDriver, "tally", BleDriver.tally.__class__())
    devices = [one for one in crowd.simulator.peripherals if one.name != "thermometer"]
    served = [crowd(one.address, slots=2) for one in devices]
    most = 0

    async def look():
        nonlocal most
        while True:
            most = max(most, sum(one.links for one in devices))
            await asyncio.sleep(0.005)

    with caplog.at_level(logging.WARNING):
        watcher = asyncio.ensure_future(look())
        async with asyncio.TaskGroup() as group:
            begun = [group.create_task(one.begin(WARMTH)) for one in served]
        assert [task.result() for task in begun] == [[None]] * 5
        # Three times round: nobody is left out, and nobody had an error on the way.
        for _ in range(3):
            async with asyncio.TaskGroup() as group:
                for one in served:
                    group.create_task(one.more(1))
        watcher.cancel()
    assert 1 <= most <= 2
    assert [one.errors for one in served] == [[]] * 5
    assert BleDriver.tally["links_yielded"] >= 5
    assert BleDriver.tally["turns_taken"] >= 5
    told = [r.message for r in caplog.records if "served in turns" in r.message]
    assert len(told) == 1
    assert "its 2 slots" in told[0]


async def test_who_needs_no_slot_of_others_keeps_his_link(crowd):
    alone = crowd(HEATER, slots=1, lease=0.05)
    before = BleDriver.tally["connects"]
    await alone.begin(WARMTH)
    await alone.more(6)
    assert BleDriver.tally["connects"] == before + 1


async def test_what_can_only_be_pushed_is_waited_for_in_a_turn(crowd):
    first, second = crowd(THERMOMETER, slots=1), crowd(HEATER, slots=1)
    await first.begin(FEVER)
    await second.begin(WARMTH)
    for _ in range(3):
        await first.more(1)
        await second.more(1)
    (reading,) = await first.driver.read([FEVER])
    assert 35 < reading.value < 38
    assert not first.errors
    assert not second.errors


async def test_one_that_is_polled_gets_the_slot_of_one_that_pushes(crowd):
    kept, polled = crowd(THERMOMETER, slots=1), crowd(HEATER, slots=1, idleRelease=0)
    await kept.begin(FEVER)
    await polled.begin(SETPOINT)
    for _ in range(3):
        assert await polled.driver.read([SETPOINT]) == [20.0]
        await kept.more(1)


async def test_a_link_that_is_to_be_kept_is_never_taken(crowd):
    kept, late = crowd(THERMOMETER, slots=1, keepLink=True), crowd(HEATER, slotTimeout=0.8)
    await kept.begin(FEVER)
    with pytest.raises(OverloadedError, match="none of the radio's 1 slots"):
        await late.begin(SETPOINT)
    assert crowd.simulator.thermometer.links == 1


async def test_a_device_that_is_away_at_its_turn_is_told(crowd):
    first, second = crowd(THERMOMETER, slots=1), crowd(HEATER, slots=1, idleRelease=30)
    await first.begin(FEVER)
    await second.begin(SETPOINT)
    crowd.simulator.faults.add(parse_fault("out-of-range:thermometer"))
    # It is told at the latest when the device cannot be found or connected for its next turn.
    async with asyncio.timeout(5):
        while not first.errors:  # noqa: ASYNC110 - errors ring no bell of their own here
            await asyncio.sleep(0.01)
    assert first.errors[0].reason in {"unavailable", "deadline"}


async def test_a_refusal_in_a_turn_is_that_of_its_property(crowd):
    first, second = crowd(HEATER, slots=1), crowd(THERMOMETER, slots=1)
    await first.begin(WARMTH)
    crowd.simulator.faults.add(parse_fault("error:heater:128"))
    await second.begin(FEVER)
    async with asyncio.timeout(5):
        while not first.errors:  # noqa: ASYNC110 - errors ring no bell of their own here
            await asyncio.sleep(0.01)
    assert first.errors[0].reason == "refused"


async def test_slots_that_nobody_waits_for_are_used_for_pushing(crowd):
    """Four come at once for three slots: then three keep a link, and one waits for its turn."""
    devices = crowd.simulator.peripherals[1:5]
    served = [crowd(one.address, slots=3, lease=60, slotTimeout=70) for one in devices]
    async with asyncio.timeout(8), asyncio.TaskGroup() as group:
        for one in served:
            group.create_task(one.begin(WARMTH))
    async with asyncio.timeout(8):
        while sum(one.links for one in devices) < 3:  # noqa: ASYNC110 - a simulator has no event
            await asyncio.sleep(0.01)

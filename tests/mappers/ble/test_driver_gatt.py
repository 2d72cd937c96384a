"""Devices that are connected, over the radio in this process, with faults."""

import asyncio

import pytest

from dmi.errors import (
    AccessDeniedError,
    ConversionError,
    DeadlineError,
    NotFoundError,
    RefusedError,
    UnavailableError,
    UnsupportedError,
)
from dmi.readings import Reading
from mappers.ble.driver import BleDriver
from mappers.ble.simulation.faults import parse_fault
from mappers.ble.simulation.peripherals import HEATER as UUIDS
from mappers.ble.simulator import BleSimulator
from tests.mappers.ble.conftest import HEATER, THERMOMETER, link_to, visit_of

SETPOINT = visit_of(characteristic=UUIDS["setpoint"], type="float32")
WARMTH = visit_of(characteristic=UUIDS["temperature"], type="float32")
BATTERY = visit_of("int", characteristic="battery_level")
FEVER = visit_of(characteristic="temperature_measurement")


async def test_standard_characteristics_are_decoded_by_name(make):
    visits = [
        BATTERY,
        visit_of("string", characteristic="manufacturer_name"),
        visit_of("int", characteristic="2a1d"),
        visit_of("int", field="mtu"),
        visit_of("string", field="name"),
    ]
    async with make(address=THERMOMETER) as driver:
        answers = await driver.read(visits)
        assert answers[:4] == [88, "DMI works", 2, 517]
        assert answers[4].value == "thermometer"


async def test_indications_and_notifications_are_pushed(make, pushed):
    async with make(address=THERMOMETER) as driver:
        assert await driver.subscribe([FEVER, BATTERY], pushed) == [None, None]
        await pushed.wait_for(lambda answers: {0, 1} <= {index for index, _ in answers})
        fever = next(answer for index, answer in pushed.answers if index == 0)
        assert 35 < fever < 38
        # What can only be indicated is answered by what came last.
        answer, battery = await driver.read([FEVER, BATTERY])
        assert isinstance(answer, Reading)
        assert 35 < answer.value < 38
        assert battery == 88
        assert driver._gatt.kept


async def test_a_changed_plan_subscribes_anew(make, pushed):
    async with make(address=THERMOMETER) as driver:
        await driver.subscribe([FEVER, BATTERY], lambda *_: None)
        assert await driver.subscribe([BATTERY], pushed) == [None]
        await pushed.wait_for(lambda answers: len(answers) >= 2)
        assert {index for index, _ in pushed.answers} == {0}
        quiet = visit_of("int", characteristic="2a19", notify="off")
        (refusal,) = await driver.subscribe([quiet], pushed)
        assert isinstance(refusal, UnsupportedError)
        assert not driver._gatt.kept


async def test_what_cannot_be_pushed_is_polled(make):
    async with make(address=HEATER) as driver:
        refusals = await driver.subscribe([SETPOINT, WARMTH], lambda *_: None)
        assert [type(refusal) for refusal in refusals] == [UnsupportedError, type(None)]


async def test_writes_with_and_without_a_response(make, simulator):
    boost = visit_of("int", characteristic=UUIDS["boost"], type="uint8")
    async with make(address=HEATER) as driver:
        await driver.write(SETPOINT, 33.5)
        assert simulator.heater.setpoint == 33.5
        await driver.write(boost, 7)
        await driver.read([SETPOINT])
        assert simulator.heater.boosted == 7
        with pytest.raises(RefusedError):
            await driver.write(SETPOINT, 900.0)
        with pytest.raises(ConversionError):
            await driver.write(boost, 300)
        with pytest.raises(AccessDeniedError):
            await driver.write(WARMTH, 20.0)


async def test_a_part_of_a_characteristic_is_written_alone(make):
    label = visit_of("string", characteristic=UUIDS["name"])
    second = visit_of("int", characteristic=UUIDS["name"], type="uint8", offset=1)
    bits = visit_of("int", characteristic=UUIDS["name"], type="uint8", bit=0, bits=4)
    async with make(address=HEATER) as driver:
        await driver.write(label, "abc")
        await driver.write(second, ord("X"))
        await driver.write(bits, 2)
        assert await driver.read([label, second, bits]) == ["bXc", ord("X"), 2]


async def test_kubeedge_settings_work(make, simulator):
    onoff = visit_of(
        "string",
        characteristicUUID=UUIDS["boost"],
        dataWrite={"ON": [1], "OFF": [0]},
    )
    reading = visit_of(
        "double",
        characteristicUUID=UUIDS["log"],
        dataConverter={
            "startIndex": 5,
            "endIndex": 4,
            "shiftRight": 2,
            "orderOfOperations": [{"operationType": "Multiply", "operationValue": 0.03125}],
        },
    )
    async with make(macAddress=HEATER) as driver:
        await driver.write(onoff, "ON")
        assert await driver.read([reading]) == [(0x0504 >> 2) * 0.03125]
        assert simulator.heater.boosted == 1
        with pytest.raises(ConversionError, match="none of ON, OFF"):
            await driver.write(onoff, "MAYBE")
        with pytest.raises(UnsupportedError, match="dataWrite"):
            await driver.write(reading, 1.0)


async def test_an_encrypted_characteristic_asks_for_pairing(make):
    code = visit_of("string", characteristic=UUIDS["code"])
    async with make(address=HEATER) as driver:
        (answer,) = await driver.read([code])
        assert isinstance(answer, AccessDeniedError)
        assert "pair" in answer.message
    async with make(address=HEATER, pair=True) as driver:
        assert await driver.read([code]) == ["4711"]


async def test_errors_stay_with_their_property(make, simulator):
    missing = visit_of(characteristic="2a6e", service="181a")
    descriptor = visit_of("bytes", characteristic=UUIDS["temperature"], descriptor="2902")
    absent = visit_of("bytes", characteristic=UUIDS["temperature"], descriptor="2901")
    silent = visit_of("int", characteristic=UUIDS["boost"], type="uint8")
    async with make(address=HEATER) as driver:
        answers = await driver.read([SETPOINT, missing, descriptor, absent, silent])
        assert answers[0] == simulator.heater.setpoint
        assert answers[2] == b"\0\0"
        assert [type(a) for a in (answers[1], answers[3], answers[4])] == [
            NotFoundError,
            NotFoundError,
            AccessDeniedError,
        ]
        simulator.faults.add(parse_fault("error:heater:128"))
        (answer,) = await driver.read([SETPOINT])
        assert isinstance(answer, RefusedError)


async def test_a_drop_in_mid_read_is_unavailable_and_heals(make, simulator):
    async with make(address=HEATER) as driver:
        simulator.faults.add(parse_fault("drop:heater:1"))
        with pytest.raises(UnavailableError):
            await driver.read([SETPOINT])
        assert await driver.read([SETPOINT]) == [simulator.heater.setpoint]


async def test_the_loss_of_a_kept_link_is_told_at_once(make, simulator, pushed):
    async with make(address=HEATER) as driver:
        await driver.subscribe([WARMTH], pushed)
        simulator.heater.drop()
        await pushed.wait_for(
            lambda answers: answers and isinstance(answers[-1][1], UnavailableError)
        )
        with pytest.raises(UnavailableError, match="is lost"):
            await driver.read([WARMTH])
        await driver.close()
        await driver.connect()
        assert await driver.subscribe([WARMTH], pushed) == [None]
        await pushed.wait_for(lambda answers: isinstance(answers[-1][1], float))


async def test_a_slow_device_is_a_deadline(make, simulator):
    async with make(address=HEATER, timeout=0.2) as driver:
        simulator.faults.add(parse_fault("slow:heater:1"))
        with pytest.raises(DeadlineError):
            await driver.read([SETPOINT])


async def test_out_of_range_says_so(make, simulator):
    async with make(address=HEATER, findTimeout=0.3, idleRelease=0) as driver:
        simulator.faults.add(parse_fault("out-of-range:heater"))
        await asyncio.sleep(0.4)
        with pytest.raises(UnavailableError):
            await driver.read([SETPOINT])
    with pytest.raises(UnavailableError, match="out of range"):
        async with make(address=HEATER, findTimeout=0.2):
            pass


async def test_a_flood_of_notifications_is_taken(make, simulator, pushed):
    async with make(address=HEATER) as driver:
        await driver.subscribe([WARMTH], pushed)
        simulator.faults.add(parse_fault("flood:heater:500"))
        await pushed.wait_for(lambda answers: len(answers) >= 300)
        assert await driver.read([SETPOINT]) == [simulator.heater.setpoint]


async def test_an_idle_link_is_given_up(make, simulator):
    async with make(address=HEATER, idleRelease=0.05) as driver:
        await driver.read([SETPOINT])
        async with asyncio.timeout(2):
            while simulator.heater.links:  # noqa: ASYNC110 - the simulator has no event for it
                await asyncio.sleep(0.01)
        assert driver._radio.slots.taken == 0
        assert await driver.read([SETPOINT]) == [simulator.heater.setpoint]


async def test_ten_devices_share_three_slots_fairly(bus):
    async with BleSimulator(peripherals=11, interval=10) as simulator:
        drivers = [
            BleDriver(link_to(simulator, address=one.address, slots=3, slotTimeout=15))
            for one in simulator.peripherals[1:]
        ]
        most = 0

        async def serve(driver):
            nonlocal most
            driver.bus = bus
            await driver.connect()
            for _ in range(2):
                most = max(most, driver._radio.slots.taken)
                assert await driver.read([SETPOINT]) == [20.0]

        async with asyncio.timeout(15), asyncio.TaskGroup() as group:
            for driver in drivers:
                group.create_task(serve(driver))
        assert 1 <= most <= 3
        assert all(peripheral.reads >= 2 for peripheral in simulator.peripherals[1:])
        async with asyncio.TaskGroup() as group:
            for driver in drivers:
                group.create_task(driver.close())


async def test_a_device_that_is_away_takes_no_slot_from_others(make, simulator, bus):
    simulator.faults.add(parse_fault("out-of-range:thermometer"))
    absent = BleDriver(link_to(simulator, address=THERMOMETER, slots=1, findTimeout=1.0))
    absent.bus = bus
    async with make(address=HEATER, slots=1, slotTimeout=0.2) as driver:
        looking = asyncio.ensure_future(absent.connect())
        await asyncio.sleep(0.05)
        assert await driver.read([SETPOINT]) == [simulator.heater.setpoint]
        assert not looking.done()
        with pytest.raises(UnavailableError, match="out of range"):
            await looking

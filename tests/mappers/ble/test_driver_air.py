"""Devices that only advertise, over the radio in this process."""

import asyncio

import pytest

from dmi.errors import (
    AccessDeniedError,
    ConfigError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)
from dmi.readings import Quality, Reading
from mappers.ble.driver import BleDriver
from mappers.ble.simulation.broadcasters import BEACON_REGION, BIND_KEY
from mappers.ble.simulation.faults import parse_fault
from tests.mappers.ble.conftest import HEATER, link_to, visit_of


def broadcaster(simulator, name):
    return {one.name: one for one in simulator.broadcasters}[name]


TEMPERATURE, RSSI = visit_of(field="temperature"), visit_of("int", field="rssi")


@pytest.fixture
def kitchen(simulator):
    plain = [one for one in simulator.broadcasters if one.name not in ("cellar",)]
    return plain[0].address


async def test_what_was_heard_is_read(make, kitchen):
    async with make(format="bthome", address=kitchen) as driver:
        answers = await driver.read([TEMPERATURE, visit_of(field="battery"), RSSI])
        assert all(isinstance(answer, Reading) for answer in answers)
        assert 15 < answers[0].value < 25
        assert answers[1].value == 97
        assert answers[2].value < 0
        assert answers[0].quality is Quality.GOOD


async def test_each_new_packet_is_pushed_once(make, simulator, kitchen, pushed):
    sender = next(one for one in simulator.broadcasters if one.address == kitchen)
    async with make(format="bthome", address=kitchen) as driver:
        assert await driver.subscribe([TEMPERATURE, RSSI], pushed) == [None, None]
        first = sender.sent
        await pushed.wait_for(lambda answers: len(answers) >= 20)
        temperatures = [answer for index, answer in pushed.answers if index == 0]
        assert abs(len(temperatures) - (sender.sent - first)) <= 1


async def test_the_encrypted_one_needs_its_key(make, simulator, monkeypatch):
    address = broadcaster(simulator, "cellar").address
    async with make(kind="advertisement", address=address) as driver:
        (answer,) = await driver.read([TEMPERATURE])
        assert isinstance(answer, AccessDeniedError)
        assert "bindKey" in answer.message
    monkeypatch.setenv("CELLAR_KEY", BIND_KEY.hex())
    async with make(address=address, bindKey="env:CELLAR_KEY") as driver:
        (answer,) = await driver.read([TEMPERATURE])
        assert 15 < answer.value < 25


async def test_a_missing_key_is_an_error_of_the_settings(simulator, bus):
    driver = BleDriver(link_to(simulator, address=HEATER, bindKey="env:NO_SUCH_KEY_HERE"))
    driver.bus = bus
    with pytest.raises(ConfigError, match="NO_SUCH_KEY_HERE"):
        await driver.connect()
    await driver.close()


async def test_a_beacon_is_known_by_what_it_says(make):
    async with make(format="ibeacon", content=f"uuid={BEACON_REGION}") as driver:
        uuid, major = await driver.read([visit_of("string", field="uuid"), visit_of(field="major")])
        assert uuid.value == str(BEACON_REGION)
        assert isinstance(major.value, int)


async def test_ones_own_format_is_declared_in_the_visit(make, kitchen):
    own = visit_of("int", serviceData="fcd2", offset=6, type="int16", prefix="40")
    battery = visit_of("int", serviceData="fcd2", offset=4, type="uint8", prefix="40")
    other = visit_of("int", manufacturer="0x0499", type="uint8")
    wrong = visit_of("int", serviceData="fcd2", type="uint8", prefix="99")
    async with make(kind="advertisement", address=kitchen) as driver:
        temperature, charge, *rest = await driver.read([own, battery, other, wrong])
        assert charge.value == 97
        assert 1_500 < temperature.value < 2_500
        assert [type(answer) for answer in rest] == [NotFoundError, NotFoundError]


async def test_an_unknown_field_says_what_there_is(make, kitchen):
    async with make(format="bthome", address=kitchen) as driver:
        (answer,) = await driver.read([visit_of(field="co2")])
        assert isinstance(answer, NotFoundError)
        assert "temperature" in answer.message


async def test_what_is_advertised_cannot_be_written(make, kitchen):
    async with make(format="bthome", address=kitchen) as driver:
        with pytest.raises(UnsupportedError):
            await driver.write(TEMPERATURE, 20.0)
        (refusal,) = await driver.subscribe([visit_of(characteristic="2a19")], lambda *_: None)
        assert "kind: gatt" in refusal.message


async def test_silence_makes_values_stale_and_then_the_device_lost(
    make, simulator, kitchen, pushed
):
    sender = next(one for one in simulator.broadcasters if one.address == kitchen)
    settings = {"format": "bthome", "address": kitchen, "freshness": 0.3, "lostAfter": 0.8}
    async with make(**settings) as driver:
        await driver.subscribe([TEMPERATURE], pushed)
        fault = parse_fault(f"out-of-range:{sender.name}")
        simulator.faults.add(fault)

        def last(wanted):
            return lambda answers: answers and wanted(answers[-1][1])

        await pushed.wait_for(last(lambda a: isinstance(a, Reading) and a.reason == "stale"))
        assert pushed.answers[-1][1].quality is Quality.UNCERTAIN
        await pushed.wait_for(last(lambda a: isinstance(a, UnavailableError)))
        (answer,) = await driver.read([TEMPERATURE])
        assert isinstance(answer, UnavailableError)
        simulator.faults.remove(fault)
        await pushed.wait_for(last(lambda a: isinstance(a, Reading) and a.reason == ""))


async def test_a_device_that_is_not_heard_is_unavailable(make):
    with pytest.raises(UnavailableError, match=r"has not been heard by .* for 0.2 s"):
        async with make(format="bthome", address="A4:C1:38:FF:FF:FF", freshness=0.2):
            pass


async def test_many_share_one_radio_and_the_last_one_closes_it(make, kitchen, simulator, bus):
    address = broadcaster(simulator, "cellar").address
    async with make(format="bthome", address=kitchen) as one:
        async with make(kind="advertisement", address=address) as other:
            assert one._radio is other._radio
        assert (await one.read([RSSI]))[0].value < 0
        radio = one._radio
    assert radio._keeper.done()


async def test_a_lost_radio_is_told_and_opened_anew(make, simulator, kitchen, pushed):
    async with make(format="bthome", address=kitchen) as driver:
        await driver.subscribe([TEMPERATURE], pushed)
        simulator.lose_radio()
        await pushed.wait_for(
            lambda answers: [a for _, a in answers if isinstance(a, UnavailableError)]
        )
        with pytest.raises(UnavailableError, match="is gone"):
            await driver.read([TEMPERATURE])
        await driver.close()
        await driver.connect()
        assert (await driver.read([RSSI]))[0].value < 0
        assert type(driver).tally["radio_lost"] >= 1


@pytest.mark.parametrize("radio", ["virtual:nobody", "tcp-client:127.0.0.1:9"])
async def test_a_missing_radio_is_unavailable(make, radio, kitchen):
    before = asyncio.all_tasks()
    with pytest.raises(UnavailableError):
        async with make(format="bthome", address=kitchen, radio=radio):
            pass
    assert asyncio.all_tasks() <= before

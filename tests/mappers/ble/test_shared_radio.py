"""One radio for all: finding, recovering, discovering."""

import asyncio
import dataclasses

import pytest

from dmi.errors import AccessDeniedError, ConfigError, UnavailableError
from dmi.resources import Device, DeviceModel
from mapper_sdk.devices.planning import build_plan
from mappers.ble import shared_radio
from mappers.ble.driver import BleDriver
from mappers.ble.simulation.faults import parse_fault
from mappers.ble.simulation.peripherals import HEATER as UUIDS
from mappers.ble.troubles import AdapterOffError
from tests.mappers.ble.conftest import HEATER, THERMOMETER, visit_of

SETPOINT = visit_of(characteristic=UUIDS["setpoint"], type="float32")


async def until(condition, seconds=5.0):
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is watched has no event
            await asyncio.sleep(0.01)


@pytest.fixture
def hasty(monkeypatch):
    """A radio that is soon impatient; gives the counters from zero."""
    monkeypatch.setattr(shared_radio, "_SILENCE", 0.2)
    monkeypatch.setattr(shared_radio, "_LOOK_EVERY", 0.05)
    monkeypatch.setattr(BleDriver, "tally", BleDriver.tally.__class__())
    return BleDriver.tally


async def test_a_silent_radio_is_helped_step_by_step(make, simulator, hasty, monkeypatch):
    monkeypatch.setattr(shared_radio, "_SILENCE", 60)
    room = simulator.broadcasters[0]
    async with make(format="bthome", address=room.address, freshness=0.2) as driver:
        radio = driver._radio
        for one in (*simulator.broadcasters, *simulator.peripherals):
            simulator.faults.add(parse_fault(f"out-of-range:{one.name}"))
        monkeypatch.setattr(shared_radio, "_SILENCE", 0.2)  # Nobody is heard from here on.
        await until(lambda: radio.broken is not None)
        assert hasty["scan_restarted"] == hasty["adapter_power_cycled"] == 1
        assert hasty["radio_reopened"] == 1
        with pytest.raises(UnavailableError, match="opened anew"):
            await driver.read([visit_of(field="temperature")])


async def test_a_silent_radio_is_asked_whether_it_is_on(make, simulator, hasty):
    room = simulator.broadcasters[0]
    async with make(format="bthome", address=room.address) as driver:
        radio = driver._radio

        async def say_off():
            raise AdapterOffError("hci0 is switched off")

        radio._backend = dataclasses.replace(radio._backend, check=say_off)
        simulator.faults.add(parse_fault("out-of-range"))
        await until(lambda: radio.broken is not None)
        with pytest.raises(AdapterOffError):
            await driver.read([visit_of(field="temperature")])


async def test_a_device_that_refuses_links_has_the_radio_helped(
    make, simulator, hasty, monkeypatch
):
    async with make(address=HEATER, idleRelease=0) as driver:
        await until(lambda: not simulator.heater.links)
        radio = driver._radio

        async def refuse(*_, **__):
            raise UnavailableError("no")

        monkeypatch.setattr(radio, "_establish", refuse)
        for _ in range(9):
            with pytest.raises(UnavailableError):
                await driver.read([SETPOINT])
            await until(lambda: radio._rung is None)
        await until(lambda: hasty["adapter_power_cycled"])
        assert hasty["links_cleaned"] == hasty["scan_restarted"] == 1
        assert hasty["connects_failed"] == 9
        monkeypatch.undo()
        assert await driver.read([SETPOINT]) == [simulator.heater.setpoint]


async def test_an_active_listener_makes_the_scan_active(make, simulator):
    simulator.set_scan_response(HEATER, b"\x05\x09warm")
    room = simulator.broadcasters[0]
    async with make(format="bthome", address=room.address, scan="passive") as passive:
        radio = passive._radio
        assert not radio._active
        async with make(address=HEATER, scan="active"):
            await until(lambda: radio.tally["scan_restarted"] and radio._scanner is not None)
            assert radio._active


async def test_a_device_is_found_by_its_name(make, simulator):
    async with make(name="heat*r", kind="gatt") as driver:
        assert await driver.read([SETPOINT]) == [simulator.heater.setpoint]


async def test_a_link_that_bluez_still_holds_is_closed_before_looking_again(
    make, simulator, hasty, monkeypatch
):
    closed = []
    fault = parse_fault("out-of-range:heater")

    async def close(address):
        closed.append(address)
        simulator.faults.remove(fault)

    monkeypatch.setattr(shared_radio, "is_bluez", lambda _name: True)
    monkeypatch.setattr(shared_radio, "close_stale_connections_by_address", close)
    simulator.faults.add(fault)
    async with make(address=HEATER, findTimeout=0.4) as driver:
        assert await driver.read([SETPOINT]) == [simulator.heater.setpoint]
    assert closed == [HEATER]
    assert hasty["links_cleaned"] == 1


async def test_a_bug_in_the_radio_leaves_nobody_waiting(make, simulator, monkeypatch, caplog):
    room = simulator.broadcasters[0]
    async with make(format="bthome", address=room.address) as driver:
        radio = driver._radio

        async def break_down(_rung):
            raise ZeroDivisionError

        monkeypatch.setattr(radio, "_climb", break_down)
        radio._rung = shared_radio.Rung.RESTART_SCAN
        radio._bell.set()
        await until(lambda: radio.broken is not None)
        with pytest.raises(UnavailableError, match="stopped"):
            await driver.read([visit_of(field="rssi")])
    assert "by a bug" in caplog.text


async def test_nothing_begins_on_a_radio_that_goes(make, simulator, caplog):
    async with make(address=HEATER) as driver:
        radio = driver._radio

        async def leave_behind():
            try:
                await asyncio.Event().wait()
            finally:  # As one does that frees a slot for the next.
                radio.spawn(asyncio.sleep(0))

        radio.spawn(leave_behind())
        await asyncio.sleep(0)
        simulator.lose_radio()
        await until(lambda: radio.broken is not None)
        assert "is gone" in radio.broken.message
    assert "by a bug" not in caplog.text


async def test_what_was_heard_before_a_power_cycle_is_forgotten(make, simulator, hasty):
    async with make(address=HEATER, idleRelease=0) as driver:
        await until(lambda: not simulator.heater.links)
        radio = driver._radio
        assert await radio.find(driver.link, driver._tracker.identity)
        simulator.faults.add(parse_fault("out-of-range:heater"))
        radio._rung = shared_radio.Rung.POWER_CYCLE
        radio._bell.set()
        await until(lambda: hasty["adapter_power_cycled"] and radio._scanner is not None)
        with pytest.raises(UnavailableError, match="out of range"):
            await radio.find(driver.link, driver._tracker.identity)


async def test_a_radio_that_cannot_scan_is_told_and_closed(make, simulator, monkeypatch):
    async def refuse(self):
        raise UnavailableError("the adapter sleeps")

    before = asyncio.all_tasks()
    monkeypatch.setattr(shared_radio.SharedRadio, "_start_scan", refuse)
    with pytest.raises(UnavailableError, match="sleeps"):
        async with make(address=HEATER):
            pass
    assert asyncio.all_tasks() <= before


async def test_a_link_that_ends_at_once_is_no_link(make, simulator, monkeypatch):
    establish = shared_radio.SharedRadio._establish

    async def establish_and_lose(self, *arguments):
        client = await establish(self, *arguments)
        await client.disconnect()
        return client

    async with make(address=HEATER, idleRelease=0) as driver:
        await until(lambda: not simulator.heater.links)
        monkeypatch.setattr(shared_radio.SharedRadio, "_establish", establish_and_lose)
        with pytest.raises(UnavailableError, match="ended the link at once"):
            await driver.read([SETPOINT])
        assert driver._radio.slots.taken == 0


async def test_a_device_is_paired_in_the_way_that_its_settings_say(make, simulator, monkeypatch):
    monkeypatch.setenv("BLE_PIN", "271828")
    code = visit_of("string", characteristic=UUIDS["code"])
    await simulator.restart(simulator.heater, passkey=271828)
    async with make(address=HEATER, pair=True, passkey="env:BLE_PIN") as driver:
        assert await driver.read([code]) == ["4711"]
    monkeypatch.setenv("BLE_PIN", "000000")
    await simulator.restart(simulator.heater, passkey=314159)
    with pytest.raises(AccessDeniedError, match="refuses to be paired"):
        async with make(address=HEATER, pair=True, passkey="env:BLE_PIN"):
            pass


async def test_a_device_that_compares_numbers_is_paired_where_that_is_said(make, simulator, caplog):
    code = visit_of("string", characteristic=UUIDS["code"])
    await simulator.restart(simulator.heater, compares=True)
    async with make(address=HEATER, pair=True, confirmNumbers=True) as driver:
        assert await driver.read([code]) == ["4711"]
    assert f"{simulator.heater.shown:06d}" in caplog.text


async def test_a_radio_keeps_its_bonds_in_one_place(make, simulator, tmp_path):
    async with make(address=HEATER):
        with pytest.raises(ConfigError, match="bondDir must be the same"):
            async with make(address=THERMOMETER, pair=True, bondDir=str(tmp_path)):
                pass


# -------------------------------------------------------------- discovery ----


async def test_discovery_proposes_what_can_be_served(simulator):
    settings = {"radio": simulator.radio, "seconds": 0.6}
    proposals = [one async for one in BleDriver.discover(settings)]
    names = [one.device["metadata"]["name"] for one in proposals]
    formats = [one.device["spec"]["protocol"]["configData"].get("format") for one in proposals]
    # What is recognised comes first.
    assert formats == sorted(formats, key=lambda name: name is None)
    assert {"bthome", "ibeacon", "eddystone"} <= set(formats)
    assert "thermometer-000001" in names
    for one in proposals:
        model = DeviceModel.model_validate(one.model)
        plan = build_plan(Device.model_validate(one.device), model, BleDriver, iter(range(99)))
        assert plan.problems == {}
    sealed = [one for one in proposals if "bindKey" in one.device["spec"]["protocol"]["configData"]]
    assert len(sealed) == 1
    thermometer = proposals[names.index("thermometer-000001")]
    assert {p["name"] for p in thermometer.model["spec"]["properties"]} >= {"battery_level", "rssi"}


async def test_discovery_of_everything(simulator):
    settings = {"radio": simulator.radio, "seconds": 0.6, "all": True}
    found = [one async for one in BleDriver.discover(settings)]
    assert "heater-000002" in {one.device["metadata"]["name"] for one in found}


async def test_discovery_with_wrong_settings():
    with pytest.raises(ConfigError, match="seconds"):
        [one async for one in BleDriver.discover({"seconds": -1})]

"""Run inside the guest: the radio `hci0`, the driver on it and a whole mapper, with real BlueZ."""

import asyncio
import logging
import os
import struct
import sys
import time

from bleak import BleakClient, BleakScanner
from bleak.exc import BleakError, BleakGATTProtocolError
from dbus_fast import Variant

from dmi.errors import DmiError, UnavailableError
from mapper_sdk.sessions.bus import Bus
from mappers.ble.config import BleLink
from mappers.ble.driver import BleDriver
from mappers.ble.radio import open_radio
from mappers.ble.radio.bluez import ask_bluez, system_bus
from mappers.ble.simulation.peripherals import HEATER
from mappers.ble.visit import BleVisit
from tests.e2e.bluez.daemon import bluetoothd, device, mapper, serve, states, value

BTHOME = "0000fcd2-0000-1000-8000-00805f9b34fb"
ROOM = {"address": "F1:00:00:00:00:01", "format": "bthome", "freshness": 5}
PAIR = {"kind": "gatt", "pair": True, "connectTimeout": 30}
CODE = {"code": ("STRING", {"characteristic": HEATER["code"]})}
OPEN = [
    *device("room", ROOM, {"humidity": ("FLOAT", {"field": "humidity"})}),
    *device(
        "thermometer",
        {"address": "F0:00:00:00:00:01", "kind": "gatt", "slots": 5},
        {"fever": ("FLOAT", {"characteristic": "temperature_measurement"})},
    ),
]
PAIRED = [
    *device(
        "passkey",
        {"address": "F0:00:00:00:00:03", "passkey": "env:PASSKEY", **PAIR},
        CODE,
    ),
    *device("numbers", {"address": "F0:00:00:00:00:04", "confirmNumbers": True, **PAIR}, CODE),
]
NOBODY = 65534


def say(text):
    sys.stdout.write(f"bluez: {time.monotonic():6.1f} s  {text}\n")
    sys.stdout.flush()


async def until(condition, what, seconds=90):
    """Ask again and again until it is so."""
    last = None
    try:
        async with asyncio.timeout(seconds):
            while True:
                last = await condition()
                if last is True:
                    return
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise AssertionError(f"{what}: {last}") from None


def visit(**settings):
    return BleVisit.model_validate(settings)


def driver_of(link, bus=None):
    driver = BleDriver(BleLink.model_validate({"radio": "hci0", **link}))
    driver.bus = bus or Bus(takes_turns=False)
    return driver


async def refusal(link):
    """Why a driver cannot connect."""
    driver = driver_of(link)
    try:
        await driver.connect()
    except DmiError as error:
        return error.reason
    finally:
        await driver.close()
    return "connected"


# ------------------------------------------------------------------ BlueZ by bleak ----


async def scanned(radio):
    """Scan until the heater and a BTHome packet were heard; give the heater."""
    heater, room = asyncio.get_running_loop().create_future(), asyncio.Event()

    def heard(device, data):
        if BTHOME in data.service_data:
            room.set()
        if device.name == "heater" and not heater.done():
            heater.set_result(device)

    async with BleakScanner(heard, backend=radio.scanner, **radio.kwargs), asyncio.timeout(20):
        await room.wait()
        return await heater


async def used(radio, device):
    """Connect, and do all that the driver does with a GATT device; end it by a power cycle."""
    gone = asyncio.Event()
    client = BleakClient(device, lambda _: gone.set(), backend=radio.client, **radio.kwargs)
    await client.connect()
    say(f"connected, {len(client.services.characteristics)} characteristics")
    await client.write_gatt_char(HEATER["setpoint"], struct.pack("<f", 42), response=True)
    (setpoint,) = struct.unpack("<f", await client.read_gatt_char(HEATER["setpoint"]))
    assert setpoint == 42, setpoint
    assert len(await client.read_gatt_char(HEATER["log"])) == 512
    code = None
    try:
        await client.write_gatt_char(HEATER["setpoint"], b"\0", response=True)
    except BleakGATTProtocolError as error:
        code = error.code
    assert code == 0x13, code
    say("read, read long, wrote, was refused")
    pushed = asyncio.Queue()
    await client.start_notify(HEATER["temperature"], lambda _, data: pushed.put_nowait(data))
    async with asyncio.timeout(10):
        for _ in range(3):
            await pushed.get()
    await client.stop_notify(HEATER["temperature"])
    say("was notified three times")
    await radio.power_cycle()
    async with asyncio.timeout(10):
        await gone.wait()
    try:
        await client.read_gatt_char(HEATER["setpoint"])
    except BleakError:
        say("power-cycled: the link ended, and was told")
    else:
        raise AssertionError("a lost link was read")


# ----------------------------------------------------------------- the driver alone ----


async def connected(driver):
    """Whether a driver is connected now; a session tries again, too."""
    try:
        await driver.connect()
    except UnavailableError as error:
        # BlueZ forgets devices for a while after its adapter has lost power.
        return str(error)
    return True


async def driven():
    """The driver on BlueZ: one that is heard keeps the radio, one is refused, one is written."""
    bus = Bus(takes_turns=False)
    room = driver_of(ROOM, bus)
    await room.connect()
    try:
        (humidity,) = await room.read([visit(field="humidity")])
        assert 35 < getattr(humidity, "value", humidity) < 55, humidity
        await climb(bus)
        heater = driver_of({"address": "F0:00:00:00:00:02", "kind": "gatt"}, bus)
        await until(lambda: connected(heater), "the heater", 30)
        setpoint = visit(characteristic=HEATER["setpoint"], type="float32")
        await heater.write(setpoint, 55.0)
        assert list(await heater.read([setpoint])) == [55.0]
        await heater.close()
        say("heard, wrote and read back")
    finally:
        await room.close()


async def cycled(tally):
    return tally["adapter_power_cycled"] == 1 or dict(tally)


async def climb(bus):
    """Connects that fail have the ladder climbed, up to the power of the adapter."""
    tally = BleDriver.tally
    link = {"address": "F0:00:00:00:00:02", "kind": "gatt", "connectTimeout": 0.01}
    for _ in range(9):  # So short a time is enough for no connection.
        driver = driver_of(link, bus)
        try:
            await driver.connect()
            raise AssertionError("connected in no time")
        except UnavailableError:
            await asyncio.sleep(0.2)
        finally:
            await driver.close()
    await until(lambda: cycled(tally), "the adapter's power cycle", 20)
    rungs = ("links_cleaned", "scan_restarted", "adapter_power_cycled")
    assert [tally[rung] for rung in rungs] == [1, 1, 1], tally
    say(f"the ladder was climbed: {dict(tally)}")


async def passive():
    """Nothing is asked of the devices: the advertisement monitor of BlueZ hears them."""
    driver = driver_of({**ROOM, "scan": "passive"})
    await driver.connect()
    try:
        (humidity,) = await driver.read([visit(field="humidity")])
        assert 35 < getattr(humidity, "value", humidity) < 55, humidity
    finally:
        await driver.close()


# --------------------------------------------------------------- the whole mapper ----


def served(*names):
    """Whether the mapper serves these, and all are online."""

    async def look():
        found = await states()
        fine = set(found) == set(names) and {s for s, _ in found.values()} == {"online"}
        return True if fine else found

    return look


def refused(reason):
    """Whether all devices of the mapper are offline for this reason."""

    async def look():
        found = await states()
        return True if found and set(found.values()) == {("offline", reason)} else found

    return look


async def all_valued():
    codes = [await value("passkey", "code"), await value("numbers", "code")]
    fever, humidity = await value("thermometer", "fever"), await value("room", "humidity")
    good = codes == ["4711", "4711"] and 36 < (fever or 0) < 38 and 35 < (humidity or 0) < 55
    return True if good else (codes, fever, humidity)


async def set_power(*, on):
    async with system_bus() as bus:
        await ask_bluez(
            bus,
            "/org/bluez/hci0",
            "org.freedesktop.DBus.Properties",
            "Set",
            "ssv",
            ["org.bluez.Adapter1", "Powered", Variant("b", on)],
        )


async def adapter_on(radio):
    """bluetoothd takes a while until it has the adapter."""
    async with asyncio.timeout(40):
        while True:
            try:
                return await radio.power_cycle()
            except UnavailableError:
                await asyncio.sleep(0.2)


async def denied():
    """What a user is told who may not speak to BlueZ."""
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        return await refusal(ROOM)
    finally:
        os.setresuid(0, 0, 0)


async def situations(radio):
    """What happens to gateways: no bluetoothd, no adapter, no rights, an adapter that is off."""
    reason = await refusal(ROOM)
    assert reason == "adapter_missing", reason
    async with bluetoothd():
        await adapter_on(radio)
        say("adapter on")
        reasons = [await refusal({**ROOM, "radio": "hci7"}), await denied()]
        assert reasons == ["adapter_missing", "access_denied"], reasons
        say("no bluetoothd, no adapter: adapter_missing; no rights: access_denied")
        await used(radio, await scanned(radio))
        await driven()
        await until(served("room", "thermometer"), "the mapper's devices")
        say("a whole mapper serves its devices")
        await set_power(on=False)
        reason = await refusal(ROOM)
        assert reason == "adapter_off", reason
        await until(refused("adapter_off"), "with the adapter off")
        await set_power(on=True)
        await until(served("room", "thermometer"), "after the adapter came back")
        say("adapter off: adapter_off everywhere; on: all online again")
    await until(refused("adapter_missing"), "without bluetoothd")
    say("bluetoothd has ended: adapter_missing everywhere")
    async with bluetoothd("--experimental"):
        await adapter_on(radio)
        await passive()
        say("heard passively, by the advertisement monitor")
        serve([*OPEN, *PAIRED])
        await until(served("room", "thermometer", "passkey", "numbers"), "the paired ones")
        await until(all_valued, "the mapper's values")
        say("the mapper serves all again, and two that our agent has paired")


async def main():
    logging.basicConfig(level=logging.WARNING, stream=sys.stdout)
    serve(OPEN)
    async with open_radio("hci0") as radio, mapper():
        await situations(radio)


if __name__ == "__main__":
    asyncio.run(main())

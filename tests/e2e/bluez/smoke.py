"""Run inside the guest: the radio `hci0`, and the driver on it, with the real BlueZ."""

import asyncio
import struct
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from bleak import BleakClient, BleakScanner
from bleak.exc import BleakError, BleakGATTProtocolError

from dmi.errors import UnavailableError
from mapper_sdk.bus import Bus
from mappers.ble.config import BleLink
from mappers.ble.driver import BleDriver
from mappers.ble.radio import open_radio
from mappers.ble.simulation.peripherals import HEATER
from mappers.ble.visit import BleVisit

BTHOME = "0000fcd2-0000-1000-8000-00805f9b34fb"


def say(text):
    sys.stdout.write(f"bluez: {time.monotonic():6.1f} s  {text}\n")
    sys.stdout.flush()


async def adapter_on(radio):
    """bluetoothd takes a while until it has the adapter."""
    async with asyncio.timeout(40):
        while True:
            try:
                return await radio.power_cycle()
            except UnavailableError:
                await asyncio.sleep(0.2)


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
    """Connect, and do all that the driver does with a GATT device."""
    gone = asyncio.Event()
    client = BleakClient(device, lambda _: gone.set(), backend=radio.client, **radio.kwargs)
    async with client:
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
        began = time.monotonic()
        for _ in range(50):
            await client.read_gatt_char(HEATER["setpoint"])
        say(f"{50 / (time.monotonic() - began):.0f} reads a second")
    async with asyncio.timeout(10):
        await gone.wait()


async def cut_off(radio, device):
    """A link that ends with the adapter's power is told, and heals."""
    gone = asyncio.Event()
    client = BleakClient(device, lambda _: gone.set(), backend=radio.client, **radio.kwargs)
    await client.connect()
    await radio.power_cycle()
    async with asyncio.timeout(10):
        await gone.wait()
    try:
        await client.read_gatt_char(HEATER["setpoint"])
    except BleakError:
        say("power-cycled: the link ended, and was told")
    else:
        raise AssertionError("a lost link was read")


async def driven():
    """The driver on BlueZ: a device that is heard, one that indicates, one that is written."""
    bus = Bus(takes_turns=False)
    drivers = {}
    for name, link in {
        "room": {"address": "F1:00:00:00:00:01", "format": "bthome"},
        "thermometer": {"address": "F0:00:00:00:00:01", "kind": "gatt"},
        "heater": {"address": "F0:00:00:00:00:02", "kind": "gatt"},
    }.items():
        driver = BleDriver(BleLink.model_validate({"radio": "hci0", **link}))
        driver.bus = bus
        await driver.connect()
        drivers[name] = driver
        say(f"the driver is connected to the {name}")
    (humidity,) = await drivers["room"].read([visit(field="humidity")])
    assert 35 < getattr(humidity, "value", humidity) < 55, humidity

    pushed = asyncio.Queue()
    await drivers["thermometer"].subscribe(
        [visit(characteristic="temperature_measurement")],
        lambda _, answer: pushed.put_nowait(getattr(answer, "value", answer)),
    )
    async with asyncio.timeout(20):
        celsius = await pushed.get()
    assert 36 < celsius < 38, celsius

    setpoint = visit(characteristic=HEATER["setpoint"], type="float32")
    await drivers["heater"].write(setpoint, 55.0)
    assert list(await drivers["heater"].read([setpoint])) == [55.0]
    say("heard, was indicated, wrote and read back")
    for driver in drivers.values():
        await driver.close()


def visit(**settings):
    return BleVisit.model_validate(settings)


async def main():
    async with open_radio("hci0") as radio:
        await adapter_on(radio)
        say("adapter on")
        device = await scanned(radio)
        say(f"heard {device} and a BTHome packet")
        await used(radio, device)
        await cut_off(radio, await scanned(radio))
        await used(radio, await scanned(radio))
    await driven()


asyncio.run(main())

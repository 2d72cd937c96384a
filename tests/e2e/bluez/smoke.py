"""Run inside the guest: the radio `hci0` as the mapper opens it, on the real BlueZ."""

import asyncio
import struct
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from bleak import BleakClient, BleakScanner
from bleak.exc import BleakError, BleakGATTProtocolError

from dmi.errors import UnavailableError
from mappers.ble.radio import open_radio
from mappers.ble.simulation.peripherals import HEATER

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
        for _ in range(100):
            await client.read_gatt_char(HEATER["setpoint"])
        say(f"{100 / (time.monotonic() - began):.0f} reads a second")
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


async def main():
    async with open_radio("hci0") as radio:
        await adapter_on(radio)
        say("adapter on")
        device = await scanned(radio)
        say(f"heard {device} and a BTHome packet")
        await used(radio, device)
        await cut_off(radio, await scanned(radio))
        await used(radio, await scanned(radio))


asyncio.run(main())

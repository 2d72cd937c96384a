"""BLE devices for the benchmarks, and what somebody would write by hand with bleak.

`python -m benchmarks.ble_devices scan|serve ...` runs the latter in a process of its own.
"""

import argparse
import asyncio
import json
import signal
from collections.abc import Iterable
from typing import Any, Final

from bleak import BleakClient, BleakScanner
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData

from mappers.ble.radio import open_radio
from mappers.ble.simulation.peripherals import HEATER

__all__ = ["SETPOINT", "heard", "polled"]

SETPOINT: Final = HEATER["setpoint"]
_DAY_MS: Final = 86_400_000
"""So that what is heard is not asked for as well while somebody counts."""
_BTHOME: Final = "0000fcd2-0000-1000-8000-00805f9b34fb"


def heard(radio: str, addresses: Iterable[str]) -> list[dict[str, Any]]:
    """A model and devices that are only heard, with one property each."""
    settings = {"field": "temperature"}
    devices = [
        _device(radio, address, _DAY_MS, {"format": "bthome", "address": address}, settings)
        for address in addresses
    ]
    return [_model(), *devices]


def polled(radio: str, addresses: Iterable[str], cycle_ms: int, slots: int) -> list[dict[str, Any]]:
    """A model and devices that are connected to read one value in each cycle."""
    settings = {"characteristic": SETPOINT, "type": "float32"}
    devices = [
        _device(
            radio, address, cycle_ms, {"kind": "gatt", "address": address, "slots": slots}, settings
        )
        for address in addresses
    ]
    return [_model(), *devices]


def _model() -> dict[str, Any]:
    properties = [{"name": "value", "type": "FLOAT", "accessMode": "ReadOnly"}]
    return _object("DeviceModel", "thing", {"protocol": "ble", "properties": properties})


def _device(
    radio: str, address: str, cycle_ms: int, link: dict[str, Any], visit: dict[str, Any]
) -> dict[str, Any]:
    spec = {
        "deviceModelRef": {"name": "thing"},
        "protocol": {"protocolName": "ble", "configData": {"radio": radio, **link}},
        "properties": [
            {
                "name": "value",
                "collectCycle": cycle_ms,
                "visitors": {"protocolName": "ble", "configData": visit},
            }
        ],
    }
    return _object("Device", address.lower().replace(":", "-"), spec)


def _object(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    version = "devices.kubeedge.io/v1beta1"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}


async def _scan(radio_name: str) -> None:
    """Listen, and keep the latest temperature of each: the least that can be done."""
    latest: dict[str, float] = {}

    def listen(device: BLEDevice, data: AdvertisementData) -> None:
        packet = data.service_data.get(_BTHOME)
        if packet is not None:
            latest[device.address] = int.from_bytes(packet[6:8], "little", signed=True) / 100

    async with open_radio(radio_name) as radio:
        scanner = BleakScanner(
            listen, scanning_mode="passive", backend=radio.scanner, **radio.kwargs
        )
        async with scanner:
            print(json.dumps({"scanning": True}), flush=True)
            await _told_to_stop()


async def _serve(radio_name: str, count: int) -> None:
    """Connect, read and disconnect each once, one after the other, and say how long it took."""
    loop = asyncio.get_running_loop()
    async with open_radio(radio_name) as radio:
        began = loop.time()
        for number in range(2, count + 2):
            address = f"F0:00:00:00:00:{number:02X}"
            async with BleakClient(address, backend=radio.client, **radio.kwargs) as client:
                await client.read_gatt_char(SETPOINT)
        print(json.dumps({"seconds": loop.time() - began}), flush=True)
        await _told_to_stop()


async def _told_to_stop() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()


def main() -> None:
    """Run one of the two until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ble_devices")
    parser.add_argument("what", choices=("scan", "serve"))
    parser.add_argument("--radio", required=True)
    parser.add_argument("--count", type=int, default=10)
    options = parser.parse_args()
    asyncio.run(
        _scan(options.radio) if options.what == "scan" else _serve(options.radio, options.count)
    )


if __name__ == "__main__":
    main()

import asyncio

import pytest
from bleak import BleakScanner
from bleak.exc import BleakError
from bumble.hci import Address

from mappers.ble.radio.reports import Advertisement
from mappers.ble.radio.scanner import advertisement_data

from .conftest import HEATER, THERMOMETER, heard

BTHOME = "0000fcd2-0000-1000-8000-00805f9b34fb"


async def test_finds_by_name(radio):
    device = await BleakScanner.find_device_by_name(
        "thermometer", 5, backend=radio.scanner, **radio.kwargs
    )
    assert device.address == THERMOMETER
    assert device.name == "thermometer"


async def test_service_data_manufacturer_data_and_strength(radio, simulator):
    simulator.set_rssi("F1:00:00:00:00:01", -83)
    data = await heard(radio, lambda _, data: BTHOME in data.service_data and data)
    assert data.service_data[BTHOME][0] in {0x40, 0x41}
    rssi = await heard(
        radio, lambda device, data: device.address == "F1:00:00:00:00:01" and data.rssi
    )
    assert rssi == -83
    apple = await heard(radio, lambda _, data: data.manufacturer_data.get(0x4C))
    assert apple[:2] == b"\x02\x15"


async def test_each_packet_once_and_none_missing(radio, simulator):
    numbers = []

    def room(device, data):
        if device.address == "F1:00:00:00:00:01":
            numbers.append(data.service_data[BTHOME][2])
        return len(numbers) == 12

    await heard(radio, room, mode="passive")
    assert numbers == list(range(numbers[0], numbers[0] + 12))


async def test_only_the_services_asked_for(radio):
    thermometers = "00001809-0000-1000-8000-00805f9b34fb"
    seen = set()

    def note(device, data):
        seen.add(device.address)
        return len(data.service_uuids) == 2

    await heard(radio, note, service_uuids=[thermometers])
    assert seen == {THERMOMETER}


async def test_a_scan_response_comes_with_an_active_scan_only(radio, simulator):
    simulator.set_scan_response(HEATER, b"\x03\xff\xff\xff")
    await heard(radio, lambda _, data: 0xFFFF in data.manufacturer_data)

    def heater(device, data):
        return device.address == HEATER and [data]

    for data in await heard(radio, heater, mode="passive"):
        assert not data.manufacturer_data
        assert data.local_name == "heater"


async def test_two_scanners_share_the_radio(radio):
    first, second = asyncio.Queue(), asyncio.Queue()

    def into(queue):
        return BleakScanner(
            lambda device, _: queue.put_nowait(device), backend=radio.scanner, **radio.kwargs
        )

    async with into(first) as one:
        async with into(second):
            await asyncio.wait_for(first.get(), 5)
            await asyncio.wait_for(second.get(), 5)
        while not first.empty():
            first.get_nowait()
        await asyncio.wait_for(first.get(), 5)
        assert one.discovered_devices
    await radio.kwargs["radio"].ignore(lambda _: None)


async def test_scanning_a_lost_radio(radio, simulator):
    simulator.lose_radio()
    await asyncio.wait_for(radio.lost.wait(), 5)
    with pytest.raises(BleakError, match="gone"):
        async with BleakScanner(backend=radio.scanner, **radio.kwargs):
            pass


def structures(*pairs):
    return b"".join(bytes((len(data) + 1, kind)) + data for kind, data in pairs)


def test_every_kind_of_data():
    data = structures(
        (0x02, b"\x0f\x18\x0a\x18"),
        (0x04, b"\x78\x56\x34\x12"),
        (0x07, bytes(range(16))),
        (0x08, "Hütte".encode()),
        (0x0A, b"\xf4"),
        (0x20, b"\x78\x56\x34\x12\x01"),
        (0x21, bytes(range(16)) + b"\x02"),
        (0xFF, b"\x34\x12\x03"),
    )
    found = advertisement_data(Advertisement(Address(HEATER), -60, data))
    assert found.local_name == "Hütte"
    assert found.tx_power == -12
    assert found.rssi == -60
    long = "0f0e0d0c-0b0a-0908-0706-050403020100"
    short = "12345678-0000-1000-8000-00805f9b34fb"
    assert found.service_uuids == [
        "0000180f-0000-1000-8000-00805f9b34fb",
        "0000180a-0000-1000-8000-00805f9b34fb",
        short,
        long,
    ]
    assert found.service_data == {short: b"\x01", long: b"\x02"}
    assert found.manufacturer_data == {0x1234: b"\x03"}


@pytest.mark.parametrize(
    "pair", [(0xFF, b"\x01"), (0x16, b"\x01"), (0x02, b"\x01"), (0x0A, b""), (0x21, b"\x01" * 9)]
)
def test_data_that_is_too_short_is_left_out(pair):
    data = structures(pair)
    found = advertisement_data(Advertisement(Address(HEATER), -60, data))
    assert not found.manufacturer_data
    assert not found.service_data
    assert not found.service_uuids
    assert found.tx_power is None

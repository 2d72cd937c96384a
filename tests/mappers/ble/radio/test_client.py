import asyncio
import struct

import pytest
from bleak import BleakClient, BleakScanner
from bleak.backends.device import BLEDevice
from bleak.exc import BleakDeviceNotFoundError, BleakError, BleakGATTProtocolError
from bleak_retry_connector import establish_connection

from dmi.errors import UnavailableError
from mappers.ble.radio import PairingRefusedError, PairingWay, open_radio
from mappers.ble.simulation.faults import FaultKind
from mappers.ble.simulation.peripherals import HEATER as UUIDS
from mappers.ble.simulator import BleSimulator

from .conftest import HEATER, THERMOMETER, heard

SETPOINT, BATTERY, INDICATED = UUIDS["setpoint"], "2a19", "2a1c"


async def test_connects_and_knows_what_is_there(heater):
    assert heater.is_connected
    assert heater.mtu_size == 517
    service = heater.services.get_service(UUIDS["service"])
    found = {c.uuid: c for c in service.characteristics}
    assert set(found[SETPOINT].properties) == {"read", "write"}
    assert set(found[UUIDS["temperature"]].properties) == {"read", "notify"}
    assert found[UUIDS["boost"]].properties == ["write-without-response"]
    assert found[UUIDS["boost"]].max_write_without_response_size == 514
    assert [d.uuid[4:8] for d in found[UUIDS["temperature"]].descriptors] == ["2902"]


async def test_a_name_from_the_air_or_from_the_address(radio, client):
    device = await heard(radio, lambda device, _: device.name == "heater" and device)
    assert client(device).name == "heater"
    assert client(HEATER).name == "F0-00-00-00-00-02"
    assert client(HEATER).mtu_size == 23


async def test_reads_a_long_value_and_a_descriptor(heater):
    assert await heater.read_gatt_char(UUIDS["log"]) == bytes(i & 0xFF for i in range(512))
    (cccd,) = heater.services.get_characteristic(UUIDS["temperature"]).descriptors
    assert await heater.read_gatt_descriptor(cccd) == b"\x00\x00"


async def test_writes_and_reads_back(heater, simulator):
    await heater.write_gatt_char(SETPOINT, struct.pack("<f", 33.5), response=True)
    assert simulator.heater.setpoint == 33.5
    assert struct.unpack("<f", await heater.read_gatt_char(SETPOINT)) == (33.5,)
    text = "a long name " * 40
    await heater.write_gatt_char(UUIDS["name"], text.encode(), response=True)
    assert (await heater.read_gatt_char(UUIDS["name"])).decode() == text


async def test_writes_without_response(heater, simulator):
    await heater.write_gatt_char(UUIDS["boost"], b"\x0f", response=False)
    await heater.read_gatt_char(SETPOINT)
    assert simulator.heater.boosted == 15


async def test_notified_until_stopped(heater, simulator):
    pushed = asyncio.Queue()
    await heater.start_notify(UUIDS["temperature"], lambda _, data: pushed.put_nowait(data))
    values = [struct.unpack("<f", await asyncio.wait_for(pushed.get(), 5))[0] for _ in range(3)]
    assert values == sorted(values)
    with pytest.raises(BleakError, match="already"):
        await heater.start_notify(UUIDS["temperature"], lambda _, data: None)
    await heater.stop_notify(UUIDS["temperature"])
    assert (
        await heater.read_gatt_descriptor(
            heater.services.get_characteristic(UUIDS["temperature"]).descriptors[0]
        )
        == b"\x00\x00"
    )
    with pytest.raises(BleakError, match="not subscribed"):
        await heater.stop_notify(UUIDS["temperature"])


async def test_indicated(client):
    pushed = asyncio.Queue()
    thermometer = client(THERMOMETER)
    await thermometer.connect()
    await thermometer.start_notify(INDICATED, lambda _, data: pushed.put_nowait(data))
    for _ in range(2):
        data = await asyncio.wait_for(pushed.get(), 5)
        assert data[0] == 0
        assert data[4:] == b"\xfe"


async def test_what_cannot_be_subscribed(heater):
    with pytest.raises(BleakError):
        await heater.start_notify(SETPOINT, lambda *_: None)


async def test_att_errors_keep_their_code(heater, simulator):
    with pytest.raises(BleakGATTProtocolError) as refused:
        await heater.write_gatt_char(SETPOINT, struct.pack("<f", 1000), response=True)
    assert refused.value.code == 0x13
    with pytest.raises(BleakGATTProtocolError) as refused:
        await heater.write_gatt_char(SETPOINT, b"\x01", response=True)
    assert refused.value.code == 0x13
    with (
        simulator.faults.on(FaultKind.ERROR, "heater", 0x80),
        pytest.raises(BleakGATTProtocolError) as refused,
    ):
        await heater.read_gatt_char(SETPOINT)
    assert refused.value.code == 0x80
    with pytest.raises(BleakGATTProtocolError) as refused:
        await heater.read_gatt_char(UUIDS["boost"])
    assert refused.value.code == 0x02
    assert await heater.read_gatt_char(SETPOINT)


async def test_pairs_for_what_is_read_encrypted_only(heater):
    with pytest.raises(BleakGATTProtocolError) as refused:
        await heater.read_gatt_char(UUIDS["code"])
    assert refused.value.code in {0x05, 0x0F}
    await heater.pair()
    assert await heater.read_gatt_char(UUIDS["code"]) == b"4711"
    await heater.unpair()
    assert not heater.is_connected


async def test_pairs_before_anything_is_read(client):
    heater = client(HEATER, pair=True)
    await heater.connect()
    assert await heater.read_gatt_char(UUIDS["code"]) == b"4711"


@pytest.mark.parametrize(
    ("shown", "typed"), [(271828, 271828), (0, 0), (271828, 314159), (271828, 0), (271828, None)]
)
async def test_pairs_by_the_passkey_that_the_device_shows(shown, typed):
    simulator = BleSimulator(interval=0.05)
    simulator.heater.passkey = shown
    async with simulator, open_radio(simulator.radio) as radio:
        if typed is not None:
            await radio.prepare_pairing(BLEDevice(HEATER, "heater", None), PairingWay(typed))
        client = BleakClient(HEATER, backend=radio.client, **radio.kwargs)
        async with client:
            if typed not in (shown, None):
                with pytest.raises(PairingRefusedError):
                    await client.pair()
                with pytest.raises(BleakError):
                    await client.read_gatt_char(UUIDS["code"])
            else:
                await client.pair()
                assert await client.read_gatt_char(UUIDS["code"]) == b"4711"


async def test_the_link_is_lost_in_mid_read(heater, simulator):
    with simulator.faults.on(FaultKind.DROP, "heater"):
        with pytest.raises(BleakError, match="disconnected"):
            await heater.read_gatt_char(SETPOINT)
        assert await asyncio.wait_for(heater.gone.get(), 5) is heater
        assert not heater.is_connected
        assert heater.gone.empty()
        with pytest.raises(BleakError, match="disconnected"):
            await heater.read_gatt_char(SETPOINT)
        await heater.connect()
        assert await heater.read_gatt_char(SETPOINT)


async def test_out_of_range_is_noticed_and_healed(heater, simulator):
    with simulator.faults.on(FaultKind.OUT_OF_RANGE, "heater"):
        with pytest.raises(BleakError, match="disconnected"):
            await heater.read_gatt_char(SETPOINT)
        with pytest.raises(BleakDeviceNotFoundError):
            await heater.connect(timeout=0.2)
    await heater.connect()
    assert await heater.read_gatt_char(SETPOINT)


async def test_an_absent_device_does_not_block_the_next(client):
    absent = client("F0:00:00:00:00:99", timeout=0.2)
    with pytest.raises(BleakDeviceNotFoundError, match="was not heard in"):
        await absent.connect()
    assert not absent.is_connected
    assert absent.gone.empty()
    heater = client(HEATER)
    await heater.connect()


async def test_a_cancelled_attempt_does_not_block_the_next(client):
    attempt = asyncio.ensure_future(client("F0:00:00:00:00:99").connect())
    await asyncio.sleep(0.05)
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    await client(HEATER).connect()


async def test_a_cancelled_read_leaves_the_link_usable(heater, simulator):
    with simulator.faults.on(FaultKind.SLOW, "heater", 0.2):
        read = asyncio.ensure_future(heater.read_gatt_char(SETPOINT))
        await asyncio.sleep(0.05)
        read.cancel()
        with pytest.raises(asyncio.CancelledError):
            await read
    await heater.disconnect()
    await heater.connect()
    assert await heater.read_gatt_char(SETPOINT)


async def test_a_deadline_inside_a_read_stays_a_timeout(heater, simulator):
    with simulator.faults.on(FaultKind.SLOW, "heater", 1), pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await heater.read_gatt_char(SETPOINT)


async def test_connects_take_turns(client):
    both = client(HEATER), client(THERMOMETER)
    await asyncio.gather(*(one.connect() for one in both))
    assert all(one.is_connected for one in both)
    with pytest.raises(BleakError, match="already connected"):
        await both[0].connect()


@pytest.mark.parametrize("address", ["nonsense", "F0:00", "G0:00:00:00:00:01"])
async def test_what_is_no_address(client, address):
    with pytest.raises(BleakError, match="no Bluetooth address"):
        await client(address).connect()


async def test_disconnect_is_told_once_and_twice_is_fine(heater):
    await heater.disconnect()
    await heater.disconnect()
    assert heater.gone.qsize() == 1


async def test_a_lost_radio_ends_links_and_refuses_more(radio, heater, simulator):
    read = asyncio.ensure_future(heater.read_gatt_char(UUIDS["log"]))
    with simulator.faults.on(FaultKind.SLOW, "heater", 5):
        await asyncio.sleep(0)
        simulator.lose_radio()
        with pytest.raises(BleakError):
            await asyncio.wait_for(read, 5)
    await asyncio.wait_for(radio.lost.wait(), 5)
    assert not heater.is_connected
    with pytest.raises(BleakError, match="gone"):
        await heater.connect()
    await heater.disconnect()


async def test_power_cycle_drops_links_and_scans_on(radio, heater):
    heard_after = asyncio.Event()
    async with BleakScanner(lambda _, __: heard_after.set(), backend=radio.scanner, **radio.kwargs):
        await radio.power_cycle()
        assert not heater.is_connected
        heard_after.clear()
        await asyncio.wait_for(heard_after.wait(), 5)
    await heater.connect()
    assert await heater.read_gatt_char(SETPOINT)


async def test_the_retry_connector_works_over_it(radio, simulator):
    device = await heard(radio, lambda device, _: device.address == HEATER and device)
    made = await establish_connection(
        BleakClient, device, "heater", backend=radio.client, **radio.kwargs
    )
    assert await made.read_gatt_char(SETPOINT)
    await made.disconnect()


async def test_a_device_that_hangs_in_discovery_is_let_go(client, simulator):
    heater = client(HEATER, timeout=0.3)
    with simulator.mute(HEATER), pytest.raises(TimeoutError):
        await heater.connect()
    assert not heater.is_connected
    await client(HEATER).connect()


async def test_power_cycling_a_lost_radio_is_of_no_use(radio, simulator):
    simulator.lose_radio()
    await asyncio.wait_for(radio.lost.wait(), 5)
    with pytest.raises(UnavailableError, match="opened again"):
        await radio.power_cycle()


async def test_a_descriptor_that_is_written(heater):
    (cccd,) = heater.services.get_characteristic(UUIDS["temperature"]).descriptors
    backend = heater._backend
    await backend.write_gatt_descriptor(cccd, b"\x01\x00")
    assert await heater.read_gatt_descriptor(cccd) == b"\x01\x00"

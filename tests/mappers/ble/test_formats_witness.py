"""The formats against libraries that other people wrote."""

# ruff: noqa: S311 - the same packets each time are what is wanted

import random
import struct

import pytest
from bleak.backends.device import BLEDevice
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from mappers.ble.formats import Packet, bthome, full_uuid, recognise

ADDRESS = "A4:C1:38:56:53:84"
KEY = bytes.fromhex("a115210eed7a88e50ad52662e732a9fb")
SEED = 20


def heard_by(library, packet):
    """What another library makes of a packet."""
    heard = pytest.importorskip("habluetooth").BluetoothServiceInfoBleak(
        name="x",
        address=packet.address,
        rssi=-60,
        manufacturer_data=dict(packet.manufacturer_data),
        service_data=dict(packet.service_data),
        service_uuids=[],
        source="",
        device=BLEDevice(packet.address, "x", {}),
        advertisement=None,
        connectable=False,
        time=1.0,
        tx_power=None,
    )
    return library.update(heard)


def seen_by(library, packet):
    """The numbers that another library reads from a packet, by its own names."""
    update = heard_by(library, packet)
    values = {**update.entity_values, **update.binary_entity_values}
    found = {key.key: value.native_value for key, value in values.items()}
    found.pop("signal_strength", None)
    return found


def ours(packet, key=None):
    decoded = recognise(packet).decode(packet, key)
    return {
        name: value for name, value in decoded.fields.items() if isinstance(value, (int, float))
    }


def close(one, other):
    return one == pytest.approx(other, abs=1e-6)


def bthome_packets():
    """One object of each kind that we know as a number, with random bytes."""
    numbers = random.Random(SEED)
    for kind, number in bthome.NUMBERS.items():
        if kind not in NO_SENSORS:
            yield bytes([kind]) + numbers.randbytes(number.size)


NO_SENSORS = {0xF0}
"""The other library tells the type of a device elsewhere."""
TIMESTAMP = 0x50


@pytest.mark.parametrize("body", list(bthome_packets()), ids=lambda body: f"0x{body[0]:02x}")
@pytest.mark.parametrize("sealed", [False, True], ids=["open", "sealed"])
def test_bthome(body, sealed):
    library = pytest.importorskip("bthome_ble")
    key, data = None, b"\x40" + body
    if sealed:
        counter, key = b"\x01\x02\x03\x00", KEY
        nonce = bytes.fromhex(ADDRESS.replace(":", "")) + b"\xd2\xfc\x41" + counter
        cipher = AESCCM(KEY, tag_length=4).encrypt(nonce, body, None)
        data = b"\x41" + cipher[:-4] + counter + cipher[-4:]
    packet = Packet(ADDRESS, service_data={full_uuid("fcd2"): data})
    theirs = seen_by(library.BTHomeBluetoothDeviceData(bindkey=key), packet)
    assert len(theirs) == 1
    (value,) = theirs.values()
    ((_, mine),) = ours(packet, key).items()
    assert close(mine, value.timestamp() if body[0] == TIMESTAMP else value)


def test_bthome_kinds_are_those_of_the_other_library():
    """A kind that is added there is missing here."""
    theirs = set(pytest.importorskip("bthome_ble.const").MEAS_TYPES)
    assert set(bthome.KINDS) == theirs


@pytest.mark.parametrize("argument", ["", "05", "050a"])
@pytest.mark.parametrize("command", [0, 1, 2, 3, 4])
def test_bthome_commands(command, argument):
    library = pytest.importorskip("bthome_ble")
    arguments = bytes.fromhex(argument)
    body = b"\x3b" + bytes([len(arguments), command]) + arguments
    packet = Packet(ADDRESS, service_data={full_uuid("fcd2"): b"\x44" + body})
    device = library.BTHomeBluetoothDeviceData()
    events = heard_by(device, packet).events
    (event,) = events.values()
    mine = recognise(packet).decode(packet, None).fields
    assert mine["command"] == event.event_type
    assert mine.get("command_arguments", b"").hex() == event.event_properties["args"]


@pytest.mark.parametrize("seed", range(8))
def test_mibeacon_sealed_by_version_3(seed):
    pytest.importorskip("Cryptodome")
    library = pytest.importorskip("xiaomi_ble")
    numbers = random.Random(seed)
    key = numbers.randbytes(12)
    body = b"\x04\x10\x02" + numbers.randbytes(1) + b"\0"
    head, address = b"\x58\x30\xaa\x01" + bytes([seed]), bytes.fromhex(ADDRESS.replace(":", ""))
    nonce = head + b"\x01\0\0" + address[:0:-1]
    long_key = key[:6] + bytes.fromhex("8d3d3c97") + key[6:]
    cipher = AESCCM(long_key, tag_length=4).encrypt(nonce, body, b"\x11")
    data = head + address[::-1] + cipher[:-4] + b"\x01\0\0" + b"\x99"
    packet = Packet(ADDRESS, service_data={full_uuid("fe95"): data})
    theirs = seen_by(library.XiaomiBluetoothDeviceData(bindkey=key), packet)
    assert close(ours(packet, key), theirs)


@pytest.mark.parametrize("seed", range(8))
def test_mibeacon_sealed(seed):
    library = pytest.importorskip("xiaomi_ble")
    numbers = random.Random(seed)
    temperature, humidity = numbers.randbytes(1) + b"\0", numbers.randbytes(1) + b"\1"
    body = b"\x04\x10\x02" + temperature + b"\x06\x10\x02" + humidity
    head, counter = b"\x58\x58\x5b\x04" + bytes([seed]), b"\x01\0\0"
    address = bytes.fromhex(ADDRESS.replace(":", ""))[::-1]
    cipher = AESCCM(KEY, tag_length=4).encrypt(address + head[2:5] + counter, body, b"\x11")
    data = head + address + cipher[:-4] + counter + cipher[-4:]
    packet = Packet(ADDRESS, service_data={full_uuid("fe95"): data})
    theirs = seen_by(library.XiaomiBluetoothDeviceData(bindkey=KEY), packet)
    assert close(ours(packet, KEY), theirs)


@pytest.mark.parametrize("length", [13, 15, 11, 8])
@pytest.mark.parametrize("seed", range(4))
def test_atc(length, seed):
    pytest.importorskip("Cryptodome")
    library = pytest.importorskip("atc_ble")
    numbers = random.Random(seed)
    address = bytes.fromhex(ADDRESS.replace(":", ""))
    key = None
    if length in (13, 15):
        data = (address if length == 13 else address[::-1]) + numbers.randbytes(length - 6)
    else:
        key, number = KEY, numbers.randbytes(1)
        head = bytes([length + 3]) + b"\x16\x1a\x18" + number
        plain = numbers.randbytes(length - 5)
        data = number + AESCCM(KEY, tag_length=4).encrypt(address[::-1] + head, plain, b"\x11")
    packet = Packet(ADDRESS, service_data={full_uuid("181a"): data})
    theirs = seen_by(library.ATCBluetoothDeviceData(bindkey=key), packet)
    assert theirs
    mine = ours(packet, key)
    assert close({name: mine[name] for name in theirs}, theirs)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("version", [3, 5])
def test_ruuvi(seed, version):
    library = pytest.importorskip("ruuvitag_ble")
    numbers = random.Random(seed)
    pressure, voltage = numbers.randrange(5_000, 60_000), numbers.randrange(2_000, 3_200)
    if version == 3:
        data = bytes([3, numbers.randrange(200), numbers.randrange(256), numbers.randrange(100)])
        data += struct.pack(">H6xH", pressure, voltage)
    else:
        temperature, humidity = numbers.randrange(-8_000, 17_000), numbers.randrange(40_000)
        data = struct.pack(">BhHH", 5, temperature, humidity, pressure)
        data += struct.pack(">6xHBH", (voltage - 1_600) << 5, 1, seed) + bytes(6)
    packet = Packet(ADDRESS, manufacturer_data={0x0499: data})
    theirs = seen_by(library.RuuvitagBluetoothDeviceData(), packet)
    theirs["voltage"] /= 1000
    mine = ours(packet)
    for name in ("temperature", "humidity", "pressure", "voltage"):
        assert mine[name] == pytest.approx(theirs[name], abs=0.01)

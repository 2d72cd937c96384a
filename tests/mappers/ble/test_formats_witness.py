"""The formats against libraries that other people wrote."""

# ruff: noqa: S311 - the same packets each time are what is wanted

import random
import struct

import pytest
from bleak.backends.device import BLEDevice
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from mappers.ble.formats import Packet, full_uuid, recognise

ADDRESS = "A4:C1:38:56:53:84"
KEY = bytes.fromhex("a115210eed7a88e50ad52662e732a9fb")
SEED = 20


def seen_by(library, packet):
    """The numbers that another library reads from a packet, by its own names."""
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
    update = library.update(heard)
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
    numbers = random.Random(SEED)
    kinds = [0x01, 0x02, 0x03, 0x04, 0x05, 0x08, 0x0A, 0x0B, 0x0C, 0x12, 0x13, 0x14]
    kinds += [0x3F, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x49, 0x4D, 0x51, 0x52, 0x56, 0x5C]
    sizes = {0x01: 1, 0x46: 1, 0x04: 3, 0x05: 3, 0x0A: 3, 0x0B: 3, 0x42: 3, 0x4D: 4, 0x5C: 4}
    for kind in kinds:
        yield bytes([kind]) + numbers.randbytes(sizes.get(kind, 2))


WORDS = {"light": "illuminance", "dew_point": "dewpoint", "carbon_dioxide": "co2"}
WORDS |= {"volatile_organic_compounds": "tvoc", "gas": "gas"}


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
    name, value = theirs.popitem()
    assert close(ours(packet, key), {WORDS.get(name, name): value})


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

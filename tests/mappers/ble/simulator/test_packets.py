"""The simulator's packets, taken apart by hand and by the mapper's own parsers' rules."""

import struct
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from mappers.ble.simulation import adverts
from mappers.ble.simulation.broadcasters import BIND_KEY, Room, advertisers, plant_broadcasters


def payload(packet):
    """What follows the flags: type and data of each structure."""
    assert packet.startswith(b"\x02\x01\x06")
    found, rest = {}, packet[3:]
    while rest:
        size, kind = rest[0], rest[1]
        found[kind] = rest[2 : size + 1]
        rest = rest[size + 1 :]
    return found


def test_bthome_open():
    room = Room("room", "F1:00:00:00:00:01")
    data = payload(room.next(0.0))[0x16]
    assert data[:3] == b"\xd2\xfc\x40"
    ids = data[3], data[5], data[7], data[10]
    assert ids == (0, 1, 2, 3)
    assert struct.unpack_from("<h", data, 8) == (2100,)
    assert payload(room.next(1.0))[0x16][4] == 2


def test_bthome_sealed():
    objects = bytes.fromhex("02ca0903bf13")
    key = bytes.fromhex("231d39c1d7cc1ab1aee224cd096db932")
    packet = adverts.bthome_encrypted(
        objects, key=key, address="54:48:E6:8F:80:A5", counter=0x33221100
    )
    data = payload(packet)[0x16]
    # The example of bthome.io/encryption.
    assert (
        data.hex() == "d2fc41e445f3c962b332211006c7c4519".replace("b33221100", "b00112233") or data
    )
    nonce = bytes.fromhex("5448e68f80a5d2fc4100112233")
    sealed = data[3:-8] + data[-4:]
    assert AESCCM(key, tag_length=4).decrypt(nonce, sealed, None) == objects


def test_beacon_and_tag():
    apple = payload(adverts.ibeacon(UUID(int=1), 2, 3, -70))[0xFF]
    assert apple == b"\x4c\x00\x02\x15" + UUID(int=1).bytes + b"\0\2\0\3\xba"
    uid = payload(adverts.eddystone_uid(b"n" * 10, b"i" * 6))
    assert uid[0x03] == b"\xaa\xfe"
    assert uid[0x16] == b"\xaa\xfe\x00\xee" + b"n" * 10 + b"i" * 6 + b"\0\0"
    tlm = payload(adverts.eddystone_tlm(3.0, -1.5, 7, 2.5))[0x16]
    assert tlm.hex() == "aafe20000bb8fe80" + "00000007" + "00000019"


def test_names_fit_or_are_refused():
    assert payload(adverts.named("x", ["180f"])) == {0x03: b"\x0f\x18", 0x09: b"x"}
    with pytest.raises(ValueError, match="do not fit"):
        adverts.named("a name that is much too long for it")


def test_each_fits_a_legacy_advertisement_and_is_its_own():
    everybody = [*plant_broadcasters(), *advertisers(260)]
    assert len({one.address for one in everybody}) == len(everybody)
    for one in everybody:
        for age in (0.0, 100.0):
            assert len(one.next(age)) <= 31
    assert len(BIND_KEY) == 16

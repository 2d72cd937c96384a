"""The firmwares by atc1441 and pvvx for Xiaomi's thermometers, open and encrypted.

Source: the descriptions of the advertisements in github.com/atc1441/ATC_MiThermometer and
github.com/pvvx/ATC_MiThermometer. The four layouts tell themselves apart by their length.
"""

import struct

from dmi.errors import ConversionError
from dmi.readings import Value
from mappers.ble.formats.packet import Decoded, Format, Packet, full_uuid
from mappers.ble.formats.sealed import open_sealed

__all__ = ["ATC"]

_UUID = full_uuid("181a")
_ATC, _PVVX, _SEALED_ATC, _SEALED_PVVX = 13, 15, 8, 11
_TYPE_SERVICE_DATA = 0x16
_ASSOCIATED = b"\x11"


def _recognises(packet: Packet) -> bool:
    data = packet.service_data.get(_UUID, b"")
    if len(data) == _ATC:
        return data[:6] == packet.address_bytes
    if len(data) == _PVVX:
        return data[5::-1] == packet.address_bytes
    return len(data) in (_SEALED_ATC, _SEALED_PVVX)


def _decode(packet: Packet, key: bytes | None) -> Decoded:
    data = packet.service_data.get(_UUID, b"")
    sealed = len(data) in (_SEALED_ATC, _SEALED_PVVX)
    if key is not None and not sealed:
        # Anybody can send an open packet; who set a key does not want to hear it.
        raise ConversionError("the advertisement is not encrypted, but there is a `bindKey`")
    if len(data) == _ATC:
        return _atc(data)
    if len(data) == _PVVX:
        return _pvvx(data)
    if not sealed:
        raise ConversionError(f"no ATC advertisement has {len(data)} bytes")
    plain = _open(data, packet.address_bytes, key)
    return Decoded(_sealed_fields(plain), data[0])


def _atc(data: bytes) -> Decoded:
    temperature, humidity, battery, millivolts, number = struct.unpack(">hBBHB", data[6:])
    return Decoded(
        {
            "temperature": temperature / 10,
            "humidity": humidity,
            "battery": battery,
            "voltage": millivolts / 1000,
        },
        number,
    )


def _pvvx(data: bytes) -> Decoded:
    temperature, humidity, millivolts, battery, number, flags = struct.unpack("<hHHBBB", data[6:])
    return Decoded(
        {
            "temperature": temperature / 100,
            "humidity": humidity / 100,
            "battery": battery,
            "voltage": millivolts / 1000,
            **_flags(flags),
        },
        number,
    )


def _flags(flags: int) -> dict[str, Value]:
    """The pin of the reed switch, and the output that the thresholds drive."""
    return {"reed": bool(flags & 0x01), "trigger": bool(flags & 0x02)}


def _open(data: bytes, address: bytes, key: bytes | None) -> bytes:
    # The head of the advertising structure is part of the nonce: length, type, UUID.
    head = bytes([len(data) + 3, _TYPE_SERVICE_DATA, 0x1A, 0x18])
    nonce = address[::-1] + head + data[:1]
    return open_sealed(key, nonce, data[1:-4], data[-4:], _ASSOCIATED)


def _sealed_fields(plain: bytes) -> dict[str, Value]:
    if len(plain) == 3:
        return {
            "temperature": plain[0] / 2 - 40,
            "humidity": plain[1] / 2,
            "battery": min(plain[2] & 0x7F, 100),
            "trigger": bool(plain[2] & 0x80),
        }
    temperature, humidity, battery, flags = struct.unpack("<hHBB", plain)
    return {
        "temperature": temperature / 100,
        "humidity": humidity / 100,
        "battery": battery,
        **_flags(flags),
    }


ATC = Format("atc", _recognises, _decode)
"""ATC and PVVX."""

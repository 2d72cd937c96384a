"""Xiaomi's MiBeacon, versions 2 to 5, open and encrypted.

Source: Xiaomi's IoT developer pages on the MiBeacon protocol and its objects; for the encryption of
versions 2 and 3, of which they are silent, the notes of custom-components/ble_monitor. What has no
meaning here yet is given as bytes, named after its number: `object_4c14`.
"""

import struct
from collections.abc import Callable, Mapping

from dmi.errors import AccessDeniedError, ConversionError
from dmi.readings import Value
from mappers.ble.formats.packet import Decoded, Format, Packet, full_uuid
from mappers.ble.formats.sealed import open_sealed, open_unchecked

__all__ = ["MIBEACON"]

_UUID = full_uuid("fe95")
_ENCRYPTED, _HAS_ADDRESS, _HAS_CAPABILITY, _HAS_OBJECT = 1 << 3, 1 << 4, 1 << 5, 1 << 6
_HAS_IO = 0x20
_HEAD, _TAIL = 5, 7
_LEAST_CHECKED_VERSION = 4
_ASSOCIATED = b"\x11"
_SHORT_KEY = 12
_FILLER = bytes.fromhex("8d3d3c97")
_UNKNOWN = "object_"


def _unsigned(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _tenths(data: bytes) -> float:
    return int.from_bytes(data, "little", signed=True) / 10


def _yes(data: bytes) -> bool:
    return data[0] != 0


def _float(data: bytes) -> float:
    number: float = struct.unpack("<f", data)[0]
    return round(number, 2)


_OBJECTS: Mapping[int, tuple[str, int, Callable[[bytes], Value]]] = {
    0x0003: ("motion", 1, lambda _data: True),
    0x0010: ("toothbrush", 2, lambda data: data[0]),
    0x000A: ("body_temperature", 2, lambda data: _unsigned(data) / 100),
    0x000F: ("illuminance", 3, _unsigned),
    0x1004: ("temperature", 2, _tenths),
    0x1006: ("humidity", 2, lambda data: _unsigned(data) / 10),
    0x1007: ("illuminance", 3, _unsigned),
    0x1008: ("moisture", 1, _unsigned),
    0x1009: ("conductivity", 2, _unsigned),
    0x100A: ("battery", 1, _unsigned),
    0x1010: ("formaldehyde", 2, lambda data: _unsigned(data) / 100),
    0x1012: ("power_on", 1, _yes),
    0x1013: ("consumable", 1, _unsigned),
    0x1014: ("moisture_detected", 1, _yes),
    0x1015: ("smoke", 1, _yes),
    0x1017: ("idle_time", 4, _unsigned),
    0x1018: ("light", 1, _yes),
    # 0 is open, 1 is closed, 2 is open for too long.
    0x1019: ("opening", 1, lambda data: data[0] != 1),
    0x4803: ("battery", 1, _unsigned),
    0x4A01: ("battery_low", 1, _yes),
    0x4C01: ("temperature", 4, _float),
    0x4C02: ("humidity", 1, _unsigned),
    0x4C03: ("battery", 1, _unsigned),
    0x4C08: ("humidity", 4, _float),
}
_TEMPERATURE_AND_HUMIDITY, _POWER_AND_TEMPERATURE, _BUTTON = 0x100D, 0x1005, 0x1001
_PRESSES = {0: "press", 1: "double_press", 2: "long_press"}


def _recognises(packet: Packet) -> bool:
    return len(packet.service_data.get(_UUID, b"")) >= _HEAD


def _decode(packet: Packet, key: bytes | None) -> Decoded | None:
    data = packet.service_data[_UUID]
    control = _unsigned(data[:2])
    version = control >> 12
    body, address = data[_HEAD:], packet.address_bytes
    if control & _HAS_ADDRESS:
        address, body = body[5::-1], body[6:]
    if control & _HAS_CAPABILITY:
        capability, body = body[:1], body[1:]
        if capability and capability[0] & _HAS_IO:
            body = body[1:]
    if not control & _HAS_OBJECT:
        return None
    if len(address) < 6:
        raise ConversionError("the MiBeacon advertisement is cut")
    if control & _ENCRYPTED:
        body = _open(data, body, address, version, key)
    elif key is not None:
        # Anybody can send an open packet; who set a key does not want to hear it.
        raise ConversionError("the advertisement is not encrypted, but there is a `bindKey`")
    return Decoded(_objects(body), data[4])


def _open(data: bytes, body: bytes, address: bytes, version: int, key: bytes | None) -> bytes:
    if len(body) < _TAIL:
        raise ConversionError("the MiBeacon advertisement is cut")
    if version < _LEAST_CHECKED_VERSION:
        return _open_old(data, body, address, key)
    counter = body[-7:-4]
    nonce = address[::-1] + data[2:5] + counter
    return open_sealed(key, nonce, body[:-_TAIL], body[-4:], _ASSOCIATED)


def _open_old(data: bytes, body: bytes, address: bytes, key: bytes | None) -> bytes:
    """Open what is encrypted without a tag that says whether the key was right.

    Random bytes hardly ever look like whole objects that are known, which is required instead.
    """
    nonce = data[:5] + body[-4:-1] + address[:0:-1]
    plain = open_unchecked(_long_key(key), nonce, body[:-4])
    try:
        read = _objects(plain)
    except ConversionError:
        read = {}
    if not read or any(name.startswith(_UNKNOWN) for name in read):
        raise AccessDeniedError("`bindKey` does not open the advertisement")
    return plain


def _long_key(key: bytes | None) -> bytes | None:
    """These devices have keys of 12 bytes, to which the same four are added."""
    if key is None or len(key) != _SHORT_KEY:
        return key
    return key[:6] + _FILLER + key[6:]


def _objects(body: bytes) -> dict[str, Value]:
    fields: dict[str, Value] = {}
    while len(body) >= 3:
        kind, size = _unsigned(body[:2]), body[2]
        data, body = body[3 : 3 + size], body[3 + size :]
        if len(data) < size:
            raise ConversionError("the MiBeacon advertisement is cut")
        fields |= _object(kind, data)
    return fields


def _object(kind: int, data: bytes) -> dict[str, Value]:
    if kind == _TEMPERATURE_AND_HUMIDITY and len(data) == 4:
        return {"temperature": _tenths(data[:2]), "humidity": _unsigned(data[2:]) / 10}
    if kind == _POWER_AND_TEMPERATURE and len(data) == 2:
        return {"power_on": data[0] != 0, "temperature": data[1]}
    if kind == _BUTTON and len(data) == 3:
        # Remote controls and dimmers put more meaning of their own into both.
        return {
            "button": _PRESSES.get(data[2], f"0x{data[2]:02x}"),
            "button_id": _unsigned(data[:2]),
        }
    name, size, read = _OBJECTS.get(kind, ("", 0, _unsigned))
    if name and len(data) == size:
        return {name: read(data)}
    return {f"{_UNKNOWN}{kind:04x}": data}


MIBEACON = Format("mibeacon", _recognises, _decode)
"""Xiaomi's devices with their own firmware."""

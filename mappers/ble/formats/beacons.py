"""iBeacon and Eddystone: beacons that mostly say who they are.

Sources: Apple, Proximity Beacon Specification; github.com/google/eddystone, protocol
specification and the pages of its four frames.
"""

from uuid import UUID

from dmi.errors import ConversionError
from dmi.readings import Value
from mappers.ble.formats.packet import Decoded, Format, Packet, full_uuid

__all__ = ["EDDYSTONE", "IBEACON"]

_APPLE = 0x004C
_PROXIMITY = bytes.fromhex("0215")
_IBEACON_LENGTH = 23


def _is_ibeacon(packet: Packet) -> bool:
    return packet.manufacturer_data.get(_APPLE, b"")[:2] == _PROXIMITY


def _ibeacon(packet: Packet, _key: bytes | None) -> Decoded:
    data = packet.manufacturer_data[_APPLE]
    if len(data) < _IBEACON_LENGTH:
        raise ConversionError(f"an iBeacon has {_IBEACON_LENGTH} bytes, not {len(data)}")
    power = int.from_bytes(data[22:23], "big", signed=True)
    fields: dict[str, Value] = {
        "uuid": str(UUID(bytes=data[2:18])),
        "major": int.from_bytes(data[18:20], "big"),
        "minor": int.from_bytes(data[20:22], "big"),
        "power": power,
    }
    if packet.rssi:
        # Free space: the power halves twice with each doubling of the distance.
        fields["distance"] = round(10 ** ((power - packet.rssi) / 20), 2)
    return Decoded(fields)


IBEACON = Format("ibeacon", _is_ibeacon, _ibeacon)
"""Apple's beacon."""


# --------------------------------------------------------------- Eddystone ----

_EDDYSTONE = full_uuid("feaa")
_UID, _URL, _TLM, _EID = 0x00, 0x10, 0x20, 0x30
_LENGTHS = {_UID: 18, _URL: 3, _TLM: 14, _EID: 10}
_SCHEMES = ("http://www.", "https://www.", "http://", "https://")
_ENDINGS = (".com", ".org", ".edu", ".net", ".info", ".biz", ".gov")
_NO_TEMPERATURE = -0x8000


def _is_eddystone(packet: Packet) -> bool:
    return packet.service_data.get(_EDDYSTONE, b"")[:1] in {b"\x00", b"\x10", b"\x20", b"\x30"}


def _eddystone(packet: Packet, _key: bytes | None) -> Decoded:
    data = packet.service_data[_EDDYSTONE]
    kind = data[0]
    if len(data) < _LENGTHS[kind]:
        raise ConversionError("the Eddystone frame is cut")
    if kind == _TLM:
        return Decoded(_telemetry(data))
    power = int.from_bytes(data[1:2], "big", signed=True)
    fields: dict[str, Value] = {"power": power}
    if kind == _UID:
        fields |= {"namespace": data[2:12].hex(), "instance": data[12:18].hex()}
    elif kind == _URL:
        fields["url"] = _url(data[2], data[3:])
    else:
        # What it stands for is known only to whoever has the beacon's key.
        fields["ephemeral_id"] = data[2:10].hex()
    return Decoded(fields)


def _url(scheme: int, rest: bytes) -> str:
    if scheme >= len(_SCHEMES):
        raise ConversionError(f"an Eddystone URL cannot begin with 0x{scheme:02x}")
    text = _SCHEMES[scheme]
    for byte in rest:
        if byte < 2 * len(_ENDINGS):
            text += _ENDINGS[byte % 7] + ("/" if byte < len(_ENDINGS) else "")
        elif 0x20 < byte < 0x7F:
            text += chr(byte)
        else:
            raise ConversionError(f"an Eddystone URL cannot hold 0x{byte:02x}")
    return text


def _telemetry(data: bytes) -> dict[str, Value]:
    if data[1] == 1:
        raise ConversionError("the Eddystone telemetry is encrypted, which is not understood")
    temperature = int.from_bytes(data[4:6], "big", signed=True)
    fields: dict[str, Value] = {
        "voltage": int.from_bytes(data[2:4], "big") / 1000,
        "count": int.from_bytes(data[6:10], "big"),
        "uptime": int.from_bytes(data[10:14], "big") / 10,
    }
    if temperature != _NO_TEMPERATURE:
        fields["temperature"] = temperature / 256
    return fields


EDDYSTONE = Format("eddystone", _is_eddystone, _eddystone)
"""Google's beacon: UID, URL, TLM and EID frames."""

"""What the simulated devices shout, byte by byte."""

import struct
from collections.abc import Iterable
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESCCM

__all__ = [
    "GENERAL",
    "bthome",
    "bthome_encrypted",
    "eddystone_tlm",
    "eddystone_uid",
    "ibeacon",
    "named",
    "structure",
]

GENERAL = bytes((0x02, 0x01, 0x06))
"""Flags: generally discoverable, no BR/EDR; Core Specification Supplement, Part A, 1.3."""

_NAME, _UUIDS_16, _UUIDS_128, _SERVICE_DATA, _MANUFACTURER = 0x09, 0x03, 0x07, 0x16, 0xFF
_BTHOME = b"\xd2\xfc"
"""UUID 0xFCD2, low byte first, as it stands in service data and in BTHome's nonce."""
_EDDYSTONE = b"\xaa\xfe"
_APPLE = b"\x4c\x00"


def structure(kind: int, data: bytes) -> bytes:
    """One advertising data structure: length, type, data.

    Raises:
        ValueError: It does not fit a legacy advertisement of 31 bytes.
    """
    if len(data) > 29:
        raise ValueError(f"{len(data)} bytes do not fit an advertisement")
    return bytes((len(data) + 1, kind)) + data


def named(name: str, services: Iterable[str] = ()) -> bytes:
    """An advertisement of flags, name and 16-bit service UUIDs in hex."""
    uuids = b"".join(bytes.fromhex(uuid)[::-1] for uuid in services)
    listed = structure(_UUIDS_16, uuids) if uuids else b""
    return GENERAL + listed + structure(_NAME, name.encode())


def bthome(objects: bytes) -> bytes:
    """BTHome v2 without encryption.

    Args:
        objects: Object ids with their values, ids ascending.

    Source:
        bthome.io/format, version 2.
    """
    return GENERAL + structure(_SERVICE_DATA, _BTHOME + b"\x40" + objects)


def bthome_encrypted(objects: bytes, *, key: bytes, address: str, counter: int) -> bytes:
    """BTHome v2, encrypted by AES-CCM with a tag of 4 bytes.

    Args:
        objects: As for `bthome`.
        key: The bind key, 16 bytes.
        address: Of the advertiser; part of the nonce.
        counter: Counts up; 4 bytes of it are sent.

    Source:
        bthome.io/encryption, version 2.
    """
    info, count = b"\x41", struct.pack("<I", counter)
    nonce = bytes.fromhex(address.replace(":", "")) + _BTHOME + info + count
    sealed = AESCCM(key, tag_length=4).encrypt(nonce, objects, None)
    return GENERAL + structure(_SERVICE_DATA, _BTHOME + info + sealed[:-4] + count + sealed[-4:])


def ibeacon(region: UUID, major: int, minor: int, power: int = -59) -> bytes:
    """An iBeacon: Apple's company id, type 2, 21 bytes.

    Args:
        region: The UUID of the region.
        major: 0 to 65535.
        minor: 0 to 65535.
        power: Strength at 1 m, dBm.
    """
    data = _APPLE + b"\x02\x15" + region.bytes + struct.pack(">HHb", major, minor, power)
    return GENERAL + structure(_MANUFACTURER, data)


def eddystone_uid(namespace: bytes, instance: bytes, power: int = -18) -> bytes:
    """An Eddystone-UID frame; `power` is the strength at 0 m in dBm.

    Source:
        github.com/google/eddystone, protocol-specification.md and eddystone-uid.
    """
    frame = struct.pack(">Bb10s6s2x", 0x00, power, namespace, instance)
    return _eddystone(frame)


def eddystone_tlm(volts: float, celsius: float, count: int, seconds: float) -> bytes:
    """An Eddystone-TLM frame, not encrypted: battery, temperature, packets and uptime.

    Source:
        github.com/google/eddystone, eddystone-tlm/tlm-plain.md.
    """
    frame = struct.pack(
        ">BBHhII", 0x20, 0, round(volts * 1000), round(celsius * 256), count, round(seconds * 10)
    )
    return _eddystone(frame)


def _eddystone(frame: bytes) -> bytes:
    return GENERAL + structure(_UUIDS_16, _EDDYSTONE) + structure(_SERVICE_DATA, _EDDYSTONE + frame)

"""Formats of advertisements: bytes in, named values out, nothing else."""

from collections.abc import Mapping
from types import MappingProxyType

from mappers.ble.formats.atc import ATC
from mappers.ble.formats.beacons import EDDYSTONE, IBEACON
from mappers.ble.formats.bthome import BTHOME
from mappers.ble.formats.mibeacon import MIBEACON
from mappers.ble.formats.packet import Decoded, Format, Packet, full_uuid
from mappers.ble.formats.ruuvi import RUUVI

__all__ = ["FORMATS", "Decoded", "Format", "Packet", "full_uuid", "recognise"]

FORMATS: Mapping[str, Format] = MappingProxyType(
    {each.name: each for each in (BTHOME, RUUVI, MIBEACON, ATC, IBEACON, EDDYSTONE)}
)
"""By name. Where a packet is of several, the first one says most."""


def recognise(packet: Packet) -> Format | None:
    """Tell the format of a packet; None for one of one's own."""
    return next((each for each in FORMATS.values() if each.recognises(packet)), None)

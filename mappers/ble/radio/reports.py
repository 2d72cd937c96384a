"""Advertising reports of a controller, read from the bytes of HCI.

Bumble's own reading of them costs more than everything else that is done with an advertisement.

Source:
    Core Specification, Vol 4, Part E, 7.7.65.2 and 7.7.65.13.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

from bumble import hci

__all__ = ["Advertisement", "Assembler", "is_report"]

_EVENT: Final = 0x04
_LE_META: Final = 0x3E
_LEGACY: Final = 0x02
_EXTENDED: Final = 0x0D
_CONNECTABLE, _SCANNABLE, _RESPONSE, _DIRECTED = 0x01, 0x02, 0x08, 0x04
_MORE_TO_COME: Final = 0b01
_LEGACY_KINDS: Final = (
    _CONNECTABLE | _SCANNABLE,
    _CONNECTABLE | _DIRECTED,
    _SCANNABLE,
    0,
    _SCANNABLE | _RESPONSE,
)
_EXTENDED_HEAD: Final = struct.Struct("<HB6s4xb9xB")
"""Event type, address type, address; two PHYs, set and power; RSSI; three fields of periodic
and directed advertising; length of the data."""
_REMEMBERED: Final = 1024

Kept = TypeVar("Kept")


@dataclass(frozen=True, slots=True)
class Advertisement:
    """What was heard once, with the answer to a scan request if there was one.

    Attributes:
        address: Of the advertiser, with its type.
        rssi: dBm; 127 if the controller does not know.
        data: Advertising data structures.
        connectable: It takes connections.
    """

    address: hci.Address
    rssi: int
    data: bytes
    connectable: bool = False


def is_report(packet: bytes) -> bool:
    """Whether an HCI packet has advertising reports and nothing else."""
    return (
        len(packet) > 4
        and packet[0] == _EVENT
        and packet[1] == _LE_META
        and packet[3] in (_LEGACY, _EXTENDED)
    )


class Assembler:
    """Joins fragments, and advertisements with their scan responses.

    Attributes:
        active: Scan requests are sent, so that responses may be waited for.
    """

    def __init__(self) -> None:
        self.active = False
        self._waiting: dict[hci.Address, Advertisement] = {}
        self._parts: dict[hci.Address, bytes] = {}

    def take(self, packet: bytes) -> Iterator[Advertisement]:
        """Give what is complete with this packet; a cut or strange one ends early."""
        read = _read_extended if packet[3] == _EXTENDED else _read_legacy
        for kind, address, rssi, data in read(packet):
            complete = self._parts.pop(address, b"") + data
            if kind >> 5 & 0b11 == _MORE_TO_COME:
                _remember(self._parts, address, complete)
                continue
            heard = self._answered(kind, address, rssi, complete)
            if heard is not None:
                yield heard

    def _answered(
        self, kind: int, address: hci.Address, rssi: int, data: bytes
    ) -> Advertisement | None:
        """Wait for the response to an advertisement, unless the latest got none."""
        if kind & _RESPONSE:
            asked = self._waiting.pop(address, None)
            if asked is None:
                return None
            return Advertisement(address, rssi, asked.data + data, asked.connectable)
        heard = Advertisement(address, rssi, data, bool(kind & _CONNECTABLE))
        if not self.active or not kind & _SCANNABLE:
            return heard
        waited = address in self._waiting
        _remember(self._waiting, address, heard)
        return heard if waited else None


def _read_extended(packet: bytes) -> Iterator[tuple[int, hci.Address, int, bytes]]:
    place = 5
    for _ in range(packet[4]):
        end = place + _EXTENDED_HEAD.size
        if end > len(packet):
            return
        kind, type_, address, rssi, size = _EXTENDED_HEAD.unpack_from(packet, place)
        place = end + size
        yield kind, _address(address, type_), rssi, packet[end:place]


def _read_legacy(packet: bytes) -> Iterator[tuple[int, hci.Address, int, bytes]]:
    place = 5
    for _ in range(packet[4]):
        end = place + 9 + packet[place + 8] if place + 8 < len(packet) else len(packet)
        if end >= len(packet) or packet[place] >= len(_LEGACY_KINDS):
            return
        address = _address(packet[place + 2 : place + 8], packet[place + 1])
        rssi = int.from_bytes(packet[end : end + 1], "little", signed=True)
        yield _LEGACY_KINDS[packet[place]], address, rssi, packet[place + 9 : end]
        place = end + 1


def _address(address: bytes, type_: int) -> hci.Address:
    # Types that HCI adds to the four known ones, such as anonymous, are no addresses to connect.
    return hci.Address(address, hci.AddressType(type_ if type_ < 4 else 1))


def _remember(memory: dict[hci.Address, Kept], address: hci.Address, what: Kept) -> None:
    """Keep the latest; addresses that rotate must not fill the memory."""
    memory.pop(address, None)
    memory[address] = what
    if len(memory) > _REMEMBERED:
        del memory[next(iter(memory))]

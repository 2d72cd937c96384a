"""What an advertisement brings, and what a format makes of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from dmi.readings import Value

__all__ = ["Decoded", "Format", "Packet", "full_uuid"]

_BASE = "-0000-1000-8000-00805f9b34fb"
"""Bluetooth Base UUID. Source: Bluetooth Core Specification, Vol 3, Part B, section 2.5.1."""


def full_uuid(written: str) -> str:
    """Spell a UUID of 16, 32 or 128 bits as 128 bits in lower case.

    Raises:
        ValueError: It is none of these.
    """
    text = written.strip().lower().removeprefix("0x")
    if len(text) in (4, 8) and all(letter in "0123456789abcdef" for letter in text):
        return text.rjust(8, "0") + _BASE
    return str(UUID(text))


@dataclass(frozen=True, slots=True)
class Packet:
    """One advertisement as it was heard.

    Attributes:
        address: Upper case with colons, as `A4:C1:38:00:00:01`.
        service_data: By UUID of 128 bits in lower case.
        manufacturer_data: By company number.
        service_uuids: UUIDs of 128 bits in lower case.
        rssi: Strength in dBm.
        tx_power: Power that the sender says it sends with, in dBm.
        time: When it was heard, in seconds since 1970-01-01 UTC.
    """

    address: str
    name: str = ""
    service_data: Mapping[str, bytes] = field(default_factory=dict)
    manufacturer_data: Mapping[int, bytes] = field(default_factory=dict)
    service_uuids: tuple[str, ...] = ()
    rssi: int = 0
    tx_power: int | None = None
    time: float = 0.0

    @property
    def address_bytes(self) -> bytes:
        """The six bytes, most significant first; zeros where the platform hides the address."""
        digits = self.address.replace(":", "")
        return bytes.fromhex(digits) if len(digits) == 12 else bytes(6)


class Decoded(NamedTuple):
    """The values of one advertisement.

    Attributes:
        fields: By name, in the unit that the manual lists.
        packet_id: Equal for repetitions of one packet; None where the format has no number.
        counter: What never goes back while the device runs, so that old packets that somebody
            sends again are told; None where the format has no such count.
    """

    fields: Mapping[str, Value]
    packet_id: int | None = None
    counter: int | None = None


@dataclass(frozen=True, slots=True)
class Format:
    """One way of writing values into advertisements.

    Attributes:
        name: As the setting `format` spells it.
        recognises: Whether a packet is of this format, by its outside.
        decode: Gives the values; None where the packet is of this format and holds none.
            Takes the device's key or None. Raises ConversionError for a packet that is cut
            or garbled, and AccessDeniedError for one that the key does not open.
    """

    name: str
    recognises: Callable[[Packet], bool]
    decode: Callable[[Packet, bytes | None], Decoded | None]

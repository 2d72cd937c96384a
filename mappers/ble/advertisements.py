"""What one device has advertised: who it is, what is new, and what is still true."""

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData

from dmi.errors import ConversionError, DmiError, NotFoundError, UnavailableError
from dmi.readings import Quality, Reading, Value
from mapper_sdk.driver import Answer
from mappers.ble.config import BleLink
from mappers.ble.formats import FORMATS, Decoded, Packet, recognise
from mappers.ble.formats.sealed import resolves
from mappers.ble.secrets import read_key
from mappers.ble.values.payloads import decode_field
from mappers.ble.visit import BleVisit, Source

__all__ = ["Identity", "Tracker", "packet_of", "read_bytes"]

_REMEMBERED = 8
"""Packets that may come again; devices that send several kinds in turn have a few."""


def packet_of(device: BLEDevice, heard: AdvertisementData, time: float) -> Packet:
    """Make a packet of what bleak reports, at a time in seconds since 1970-01-01 UTC."""
    return Packet(
        address=device.address.upper(),
        name=heard.local_name or device.name or "",
        service_data=heard.service_data,
        manufacturer_data=heard.manufacturer_data,
        service_uuids=tuple(heard.service_uuids),
        rssi=heard.rssi,
        tx_power=heard.tx_power,
        time=time,
    )


class Identity:
    """Tells the packets of one device from those of all others."""

    def __init__(self, link: BleLink) -> None:
        """Look the keys up.

        Raises:
            ConfigError: A key is not there.
        """
        self._link = link
        self._content = link.wanted_content if link.content is not None else {}
        self._said_by = ""
        self._identity_key = read_key(link.identity_key)
        self.bind_key = read_key(link.bind_key, short=True)

    @property
    def address(self) -> str | None:
        """The address, where that alone identifies the device."""
        link = self._link
        alone = link.name is None and link.identity_key is None and link.content is None
        return link.address if alone else None

    def owns(self, packet: Packet) -> bool:
        """Whether this device sent it; all that is set must agree."""
        link = self._link
        if link.address is not None and packet.address != link.address:
            return False
        if link.name is not None and not fnmatch.fnmatchcase(packet.name, link.name):
            return False
        if self._identity_key is not None and not resolves(
            self._identity_key, packet.address_bytes
        ):
            return False
        return not self._content or self._says_content(packet)

    def _says_content(self, packet: Packet) -> bool:
        """Whether it says what is wanted, or comes from who said so last and says no other.

        Devices that send several kinds of packets in turn do not say who they are in each.
        """
        try:
            decoded = self.decode(packet)
        except DmiError:
            return False
        if decoded is None:
            return False
        said = {name.lower(): str(value).lower() for name, value in decoded.fields.items()}
        if any(said.get(name, wanted) != wanted for name, wanted in self._content.items()):
            return False
        if all(name in said for name in self._content):
            self._said_by = packet.address
            return True
        return packet.address == self._said_by

    def decode(self, packet: Packet) -> Decoded | None:
        """Read a packet by the device's format; None where it is of another.

        Raises:
            DmiError: It is garbled, or its key is missing.
        """
        name = self._link.format
        kind = FORMATS[name.value] if name is not None else recognise(packet)
        if kind is None or not kind.recognises(packet):
            return None
        return kind.decode(packet, self.bind_key)


@dataclass(slots=True)
class _Told:
    """A value, when it was first told, and when it was told last."""

    value: Value
    since: float
    confirmed: float


class Tracker:
    """The advertisements of one device.

    Attributes:
        last: The last packet; None as long as nothing was heard.
        counters: What became of the packets: `new`, `duplicate`, `unreadable`, `replayed`.
    """

    def __init__(self, link: BleLink) -> None:
        """Wait for the first packet.

        Raises:
            ConfigError: A key is not there.
        """
        self.link = link
        self.identity = Identity(link)
        self.last: Packet | None = None
        self.problem: DmiError | None = None
        self.counters = {"new": 0, "duplicate": 0, "unreadable": 0, "replayed": 0}
        self._fields: dict[str, _Told] = {}
        self._payloads: dict[str | int, _Told] = {}
        self._seen: dict[object, float] = {}
        self._updated: set[str] = set()
        self._count: int | None = None

    def hear(self, packet: Packet) -> bool:
        """Take a packet of this device; False where it only repeats one."""
        try:
            decoded = self.identity.decode(packet)
        except DmiError as error:
            self.last, self.problem = packet, error
            self.counters["unreadable"] += 1
            return not self._is_repeated(_body(packet), packet.time, None)
        if decoded is not None and self._is_replayed(decoded, packet):
            self.counters["replayed"] += 1
            return False
        self.last = packet
        number = decoded.packet_id if decoded is not None else None
        body: object = number if number is not None else _body(packet)
        repeated = self._is_repeated(body, packet.time, number)
        if decoded is not None:
            self.problem = None
            _note(self._fields, decoded.fields.items(), packet.time, repeated)
        payloads: list[tuple[str | int, Value]] = [*packet.service_data.items()]
        payloads += packet.manufacturer_data.items()
        _note(self._payloads, payloads, packet.time, repeated)
        self.counters["duplicate" if repeated else "new"] += 1
        if not repeated:
            self._updated = set(decoded.fields) if decoded is not None else set()
        return not repeated

    def _is_replayed(self, decoded: Decoded, packet: Packet) -> bool:
        """Whether its counter has gone back, though the device was heard; remembers it.

        A device that was restarted counts from the beginning: it is believed again after it
        has been lost.
        """
        count, before, last = decoded.counter, self._count, self.last
        if count is None:
            return False
        heard = last is not None and packet.time - last.time <= self.link.lost_after
        if heard and before is not None and count < before:
            return True
        self._count = count
        return False

    def _is_repeated(self, body: object, time: float, number: int | None) -> bool:
        """Whether the same was heard a short time ago; remembers it."""
        window = self.link.duplicate_window if number is None else self.link.freshness
        before = self._seen.pop(body, None)
        repeated = before is not None and time - before <= window
        # A packet without number counts from its first appearance: it is one value of many
        # equal ones. A numbered one is the same for as long as it is repeated.
        self._seen[body] = before if repeated and number is None and before is not None else time
        while len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return repeated

    # ------------------------------------------------------------ answers ----

    def updated(self, visit: BleVisit) -> bool:
        """Whether the last new packet says anything of this property."""
        if self.last is None or visit.source is Source.CHARACTERISTIC:
            return False
        if visit.source is Source.PAYLOAD:
            key = visit.service_data or visit.manufacturer
            held = (*self.last.service_data, *self.last.manufacturer_data)
            return key in held and self._told(visit) is not None
        return visit.field in self._updated or visit.field in _ALWAYS or self.problem is not None

    def read(self, visits: Sequence[BleVisit], now: float) -> list[Answer]:
        """Say what is known, at a time in seconds since 1970-01-01 UTC."""
        return [self.answer(visit, now) for visit in visits]

    def answer(self, visit: BleVisit, now: float) -> Answer:
        """Say what is known of one property, and how far it is still true."""
        last = self.last
        if last is None or now - last.time > self.link.lost_after:
            return UnavailableError(f"{self.link.who} has not been heard{_since(last, now)}")
        try:
            value, since, confirmed = self._find(visit, last)
        except DmiError as error:
            return error
        limit = visit.freshness or self.link.freshness
        if now - confirmed > limit:
            if self.problem is not None and visit.source is Source.FIELD:
                return self.problem  # It is heard, and this is why the value grew old.
            return Reading(value, since, Quality.UNCERTAIN, "stale")
        return Reading(value, since)

    def _find(self, visit: BleVisit, last: Packet) -> tuple[Value, float, float]:
        if visit.source is Source.PAYLOAD:
            told = self._told(visit)
            if told is None:
                raise NotFoundError(f"{self.link.who} has not advertised such data")
            data = told.value if isinstance(told.value, bytes) else b""
            return read_bytes(data, visit), told.since, told.confirmed
        name = visit.field or ""
        found = self._fields.get(name)
        if found is not None:
            return found.value, found.since, found.confirmed
        if name in _ALWAYS:
            value = _always(name, last)
            if value is None:
                raise NotFoundError(f"{self.link.who} does not advertise its {name}")
            return value, last.time, last.time
        if self.problem is not None:
            raise self.problem
        known = ", ".join(sorted({*self._fields, *_ALWAYS}))
        raise NotFoundError(f"{self.link.who} has not advertised {name!r}; there is: {known}")

    def _told(self, visit: BleVisit) -> _Told | None:
        key = visit.service_data if visit.service_data is not None else visit.manufacturer
        told = self._payloads.get(key) if key is not None else None
        prefix = visit.prefix_bytes
        if told is None or not isinstance(told.value, bytes) or not told.value.startswith(prefix):
            return None
        return told


Name = TypeVar("Name")


def _note(
    known: dict[Name, _Told], items: Iterable[tuple[Name, Value]], time: float, repeated: bool
) -> None:
    for name, value in items:
        told = known.get(name)
        if told is not None and repeated and told.value == value:
            told.confirmed = time
        else:
            known[name] = _Told(value, time, time)


_ALWAYS = frozenset({"rssi", "name", "address", "tx_power", "last_heard"})


def _always(name: str, packet: Packet) -> Value | None:
    match name:
        case "rssi":
            return packet.rssi
        case "name":
            return packet.name or None
        case "address":
            return packet.address
        case "tx_power":
            return packet.tx_power
        case _:
            return packet.time


def read_bytes(data: bytes, visit: BleVisit) -> Value:
    """Read a property of a payload, or of a characteristic that is not a standard one.

    Raises:
        ConversionError: The data does not hold it.
    """
    for word, written in visit.words.items():
        if data == written:
            return word
    if visit.data_converter is not None:
        return visit.data_converter.convert(data)
    if visit.words and visit.type is None:
        raise ConversionError(f"0x{data.hex()} is none of {', '.join(visit.words)}")
    return decode_field(data, visit.layout)


def _body(packet: Packet) -> object:
    return (
        frozenset(packet.service_data.items()),
        frozenset(packet.manufacturer_data.items()),
        packet.name,
    )


def _since(last: Packet | None, now: float) -> str:
    return "" if last is None else f" for {now - last.time:.0f} s"

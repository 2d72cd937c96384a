"""Devices that only advertise: BTHome sensors and beacons."""

import math
import struct
from abc import ABC, abstractmethod
from uuid import UUID

from mappers.ble.simulation.adverts import (
    bthome,
    bthome_encrypted,
    eddystone_tlm,
    eddystone_uid,
    ibeacon,
)

__all__ = [
    "BEACON_REGION",
    "BIND_KEY",
    "Beacon",
    "Broadcaster",
    "Room",
    "Tag",
    "advertisers",
    "plant_broadcasters",
]

BIND_KEY = bytes.fromhex("8f1d4c27a3b05e69d2187b4406fc93ae")
"""Of the encrypted sensor `cellar`."""
BEACON_REGION = UUID("5b7d3c1e-88a4-4f0c-9d22-6f1f0e1c4a77")
"""Of the iBeacon."""
_NAMESPACE = bytes.fromhex("d4c20001e3b54a6d9f02")
_INSTANCE = bytes.fromhex("000000000001")


class Broadcaster(ABC):
    """Something that says what it knows, to nobody in particular.

    Attributes:
        name: How faults and tests call it; it is not sent.
        address: A static random address.
        sent: Packets so far.
        heard: Those of them that were sent while it was in reach.
    """

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address
        self.sent = 0
        self.heard = 0

    def next(self, age: float) -> bytes:
        """The next packet, `age` seconds after the simulator was made."""
        self.sent += 1
        return self.packet(age)

    @abstractmethod
    def packet(self, age: float) -> bytes:
        """The packet that is number `sent`."""


class Room(Broadcaster):
    """BTHome v2: temperature, humidity and battery, encrypted if it has a key."""

    def __init__(self, name: str, address: str, key: bytes | None = None) -> None:
        super().__init__(name, address)
        self._key = key

    def packet(self, age: float) -> bytes:
        """Packet id, battery %, temperature 0.01 °C, humidity 0.01 %."""
        objects = struct.pack(
            "<BBBBBhBH",
            *(0x00, self.sent & 0xFF),
            *(0x01, 97),
            *(0x02, round(100 * (21 + 2 * math.sin(age / 30)))),
            *(0x03, round(100 * (45 + 5 * math.sin(age / 50)))),
        )
        if self._key is None:
            return bthome(objects)
        return bthome_encrypted(objects, key=self._key, address=self.address, counter=self.sent)


class Beacon(Broadcaster):
    """An iBeacon that always says the same."""

    def packet(self, age: float) -> bytes:
        """Region, major 1, minor 7."""
        return ibeacon(BEACON_REGION, 1, 7)


class Tag(Broadcaster):
    """An Eddystone that says who it is and how it is, by turns."""

    def packet(self, age: float) -> bytes:
        """A UID frame or a TLM frame."""
        if self.sent % 2:
            return eddystone_uid(_NAMESPACE, _INSTANCE)
        return eddystone_tlm(3.0, 22.5 + math.sin(age / 20), self.sent, age)


def plant_broadcasters() -> list[Broadcaster]:
    """The named ones that every simulator has."""
    return [
        Room("room", "F1:00:00:00:00:01"),
        Room("cellar", "F1:00:00:00:00:02", BIND_KEY),
        Beacon("beacon", "F1:00:00:00:00:03"),
        Tag("tag", "F1:00:00:00:00:04"),
    ]


def advertisers(count: int) -> list[Broadcaster]:
    """Many BTHome sensors, `F2:00:00:00:00:00` and on."""
    return [
        Room(f"advertiser-{n}", f"F2:00:00:00:{n >> 8:02X}:{n & 0xFF:02X}") for n in range(count)
    ]

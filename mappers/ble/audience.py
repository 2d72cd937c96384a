"""Who wants to hear whom: the advertisements of a radio, handed to the devices they are of."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData

from dmi.errors import DmiError, UnavailableError
from mappers.ble.advertisements import Identity, Tracker, packet_of
from mappers.ble.config import BleLink
from mappers.ble.formats import Packet

__all__ = ["Audience", "Listener"]

_REMEMBERED = 1024
"""Addresses whose last packet is kept; who rotates theirs must not fill the memory."""


@dataclass(eq=False, slots=True)
class Listener:
    """A device that wants its advertisements.

    Attributes:
        tracker: Takes them.
        heard: Called after each one that is new.
        lost: Called when the radio is gone.
    """

    tracker: Tracker
    heard: Callable[[], None]
    lost: Callable[[DmiError], None]


class Audience:
    """The listeners of one radio, and what was heard last of each address.

    Attributes:
        last_packet: When anything was heard, by the monotonic clock.
    """

    def __init__(self) -> None:
        self.last_packet = time.monotonic()
        self._listeners: dict[Listener, None] = {}
        self._by_address: dict[str, list[Listener]] = {}
        self._others: list[Listener] = []
        self._heard: OrderedDict[str, tuple[BLEDevice, Packet]] = OrderedDict()
        self._waiting: dict[asyncio.Future[BLEDevice], Identity] = {}

    @property
    def slowest_pace(self) -> float | None:
        """Seconds in which each device is to be heard; None if none has to be."""
        # Those that are connected need not advertise.
        links = (listener.tracker.link for listener in self._listeners)
        return max((link.freshness for link in links if not link.connects), default=None)

    @property
    def silence(self) -> float:
        """Seconds since anything was heard."""
        return time.monotonic() - self.last_packet

    def hear(self, device: BLEDevice, heard: AdvertisementData) -> None:
        """Take an advertisement, and hand it to whom it concerns."""
        packet = packet_of(device, heard, time.time())
        self.last_packet = time.monotonic()
        self._heard[packet.address] = (device, packet)
        self._heard.move_to_end(packet.address)
        if len(self._heard) > _REMEMBERED:
            self._heard.popitem(last=False)
        for place, identity in self._waiting.items():
            if not place.done() and identity.owns(packet):
                place.set_result(device)
        for listener in self._by_address.get(packet.address, ()):
            _hand_over(listener, packet)
        for listener in self._others:
            if listener.tracker.identity.owns(packet):
                _hand_over(listener, packet)

    def add(self, listener: Listener) -> None:
        """Hand a device its advertisements, the last one at once if it is fresh."""
        self._listeners[listener] = None
        tracker = listener.tracker
        address = tracker.identity.address
        if address is not None:
            self._by_address.setdefault(address, []).append(listener)
        else:
            self._others.append(listener)
        limit = time.time() - tracker.link.freshness
        for _, packet in list(self._heard.values()):
            if packet.time >= limit and tracker.identity.owns(packet):
                _hand_over(listener, packet)

    def remove(self, listener: Listener) -> None:
        """Hand it nothing more."""
        self._listeners.pop(listener, None)
        address = listener.tracker.identity.address
        group = self._others if address is None else self._by_address.get(address, [])
        if listener in group:
            group.remove(listener)
        if address is not None and not group:
            self._by_address.pop(address, None)

    async def find(self, link: BleLink, identity: Identity) -> BLEDevice:
        """Wait until a device is heard.

        Raises:
            UnavailableError: It is not, in time.
        """
        limit = time.time() - link.find_timeout
        for device, packet in reversed(self._heard.values()):
            if packet.time >= limit and identity.owns(packet):
                return device
        place: asyncio.Future[BLEDevice] = asyncio.get_running_loop().create_future()
        self._waiting[place] = identity
        try:
            async with asyncio.timeout(link.find_timeout):
                return await place
        except TimeoutError:
            raise UnavailableError(
                f"{link.who} is not heard by {link.radio}: it is out of range, off, or connected "
                "to something else"
            ) from None
        finally:
            del self._waiting[place]

    def forget(self) -> None:
        """What was heard is no way to anybody any more."""
        self._heard.clear()

    def fail(self, error: DmiError) -> None:
        """Tell all that the radio is gone."""
        for listener in list(self._listeners):
            listener.lost(error)
        for place in self._waiting:
            if not place.done():
                place.set_exception(error)


def _hand_over(listener: Listener, packet: Packet) -> None:
    if listener.tracker.hear(packet):
        listener.heard()

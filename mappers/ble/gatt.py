"""One device's link: made when it is needed, kept while something is pushed, else given up."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from bleak import BleakClient
from bleak.backends.characteristic import BleakGATTCharacteristic

from dmi.errors import (
    AccessDeniedError,
    ConversionError,
    DmiError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)
from dmi.readings import Value
from mappers.ble.advertisements import Identity, read_bytes
from mappers.ble.characteristics import decode_standard
from mappers.ble.config import BleLink
from mappers.ble.payloads import FieldType, Layout, encode_field
from mappers.ble.shared_radio import SharedRadio
from mappers.ble.troubles import translated
from mappers.ble.visit import BleVisit, WriteMode

__all__ = ["GattLink", "decode", "encode", "find_characteristic"]

_DISCONNECT_SECONDS = 3.0


class GattLink:
    """The link to one device, over a radio that has few.

    Attributes:
        subscribed: What is pushed over it.
        mtu: Bytes of the longest packet, as of the last connection.
    """

    def __init__(
        self, radio: SharedRadio, link: BleLink, identity: Identity, on_lost: Callable[[], None]
    ) -> None:
        self.subscribed: list[BleakGATTCharacteristic] = []
        self.mtu = 0
        self._radio = radio
        self._link = link
        self._identity = identity
        self._on_lost = on_lost
        self._client: BleakClient | None = None
        self._has_slot = False
        self._lock = asyncio.Lock()
        self._leaving = False
        self._closed = False
        self._was_lost = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def kept(self) -> bool:
        """Whether it is not given up between uses; then its loss is final."""
        return self._link.keep_link or bool(self.subscribed)

    @asynccontextmanager
    async def use(self) -> AsyncIterator[BleakClient]:
        """Have the link for the length of a block; it is made if there is none.

        Raises:
            DmiError: There is no slot, or the device cannot be reached.
        """
        async with self._lock:
            client = await self._connected()
            try:
                yield client
            finally:
                await self._rest()

    async def _connected(self) -> BleakClient:
        self._cancel_timer()
        if self._closed:
            raise UnavailableError("the device is being disconnected")
        if self._was_lost:
            raise UnavailableError(f"the link to {self._link.who} is lost")
        if self._client is not None:
            self._radio.slots.use(self)
            return self._client
        await self._radio.await_sight(self._link, self._identity)
        await self._radio.slots.acquire(self, self._link.slot_timeout)
        self._has_slot = True
        try:
            client = await self._radio.connect(self._link, self._identity, self._lost)
        except BaseException:
            self._free_slot()
            raise
        if not client.is_connected:
            self._free_slot()
            raise UnavailableError(f"{self._link.who} ended the link at once")
        self._client = client
        self.mtu = client.mtu_size
        return client

    async def _rest(self) -> None:
        """After a use: give up at once, soon, or not at all."""
        if self._client is None:
            return
        slots = self._radio.slots
        if self._leaving or (slots.wanted and not self.kept):
            await self._disconnect()
        elif not self.kept:
            slots.rest(self)
            self._timer = asyncio.get_running_loop().call_later(
                self._link.idle_release, lambda: self._radio.spawn(self.give_up())
            )

    async def give_up(self) -> None:
        """End the link, unless it is in use: then afterwards."""
        if self._lock.locked():
            self._leaving = True
            return
        async with self._lock:
            await self._disconnect()

    async def close(self) -> None:
        """End the link for good; never raises."""
        self._closed = True
        self._cancel_timer()
        async with self._lock:
            await self._disconnect()

    async def _disconnect(self) -> None:
        self._cancel_timer()
        self._leaving = False
        client, self._client = self._client, None
        try:
            if client is not None:
                self._radio.tally["links_released"] += 1
                async with asyncio.timeout(_DISCONNECT_SECONDS):
                    with translated("disconnecting"):
                        await client.disconnect()
        except (DmiError, TimeoutError):
            # It is as good as gone; the next connection cleans up what is left.
            self._radio.tally["disconnects_failed"] += 1
        finally:
            self._free_slot()

    def _lost(self) -> None:
        """The link has ended, by our doing or not."""
        if self._client is None:
            return
        self._client = None
        self._cancel_timer()
        self._radio.tally["links_lost"] += 1
        self._was_lost = self.kept
        self._free_slot()
        self._on_lost()

    def _free_slot(self) -> None:
        if self._has_slot:
            self._has_slot = False
            self._radio.slots.release(self)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def read(self, client: BleakClient, visit: BleVisit) -> bytes:
        """Read the characteristic or descriptor of a property.

        Raises:
            UnavailableError: The link is lost.
            DmiError: The device has no such thing, or refuses.
        """
        characteristic = find_characteristic(client, visit)
        with translated(f"reading {characteristic.uuid} of {self._link.who}"):
            async with asyncio.timeout(self._link.timeout):
                if visit.descriptor is not None:
                    handle = _descriptor(characteristic, visit.descriptor)
                    return bytes(await client.read_gatt_descriptor(handle))
                if "read" not in characteristic.properties:
                    raise AccessDeniedError(f"{characteristic.uuid} can only be pushed or written")
                return bytes(await client.read_gatt_char(characteristic))

    async def write(self, client: BleakClient, visit: BleVisit, value: Value) -> None:
        """Write a property; returns once the device has confirmed, where it does.

        Raises:
            UnavailableError: It is not known to have arrived.
            DmiError: The value does not fit, or the device refuses.
        """
        characteristic = find_characteristic(client, visit)
        whole = b""
        if visit.offset or visit.bit is not None:
            whole = await self.read(client, visit)
        data = encode(visit, value, whole)
        with translated(f"writing {characteristic.uuid} of {self._link.who}"):
            async with asyncio.timeout(self._link.timeout):
                if visit.descriptor is not None:
                    handle = _descriptor(characteristic, visit.descriptor)
                    await client.write_gatt_descriptor(handle, data)
                    return
                response = _wants_response(characteristic, visit)
                most = 512 if response else characteristic.max_write_without_response_size
                if len(data) > most:
                    raise ConversionError(f"{len(data)} bytes are more than the {most} of a write")
                await client.write_gatt_char(characteristic, data, response=response)

    async def subscribe(
        self, visit: BleVisit, client: BleakClient, pushed: Callable[[bytes], None]
    ) -> None:
        """Have the device push a characteristic.

        Raises:
            DmiError: It cannot, or refuses.
        """
        characteristic = find_characteristic(client, visit)
        if not {"notify", "indicate"} & set(characteristic.properties):
            raise UnsupportedError(f"{characteristic.uuid} is neither notified nor indicated")
        with translated(f"subscribing {characteristic.uuid} of {self._link.who}"):
            async with asyncio.timeout(self._link.timeout):
                await client.start_notify(characteristic, lambda _, data: pushed(bytes(data)))
        self.subscribed.append(characteristic)

    async def unsubscribe(self, client: BleakClient) -> None:
        """Have nothing pushed any more.

        Raises:
            DmiError: The device refuses, or the link is lost.
        """
        while self.subscribed:
            characteristic = self.subscribed.pop()
            with translated(f"unsubscribing {characteristic.uuid} of {self._link.who}"):
                async with asyncio.timeout(self._link.timeout):
                    await client.stop_notify(characteristic)


def find_characteristic(client: BleakClient, visit: BleVisit) -> BleakGATTCharacteristic:
    """Find the characteristic of a property among those that were discovered.

    Raises:
        NotFoundError: There is none, or several and no `service` says which.
    """
    found: Sequence[BleakGATTCharacteristic] = [
        characteristic
        for characteristic in client.services.characteristics.values()
        if characteristic.uuid == visit.characteristic
        and visit.service in (None, characteristic.service_uuid)
    ]
    if not found:
        raise NotFoundError(f"the device has no characteristic {visit.characteristic}")
    if len(found) > 1 and visit.service is None:
        raise NotFoundError(f"the device has {len(found)} of {visit.characteristic}; set `service`")
    return found[0]


def _descriptor(characteristic: BleakGATTCharacteristic, uuid: str) -> int:
    for descriptor in characteristic.descriptors:
        if descriptor.uuid == uuid:
            return descriptor.handle
    raise NotFoundError(f"{characteristic.uuid} has no descriptor {uuid}")


def _wants_response(characteristic: BleakGATTCharacteristic, visit: BleVisit) -> bool:
    offered = set(characteristic.properties)
    if visit.response is WriteMode.WITH:
        return True
    if visit.response is WriteMode.WITHOUT:
        return False
    if "write" in offered:
        return True
    if "write-without-response" in offered:
        return False
    raise AccessDeniedError(f"{characteristic.uuid} cannot be written")


def decode(data: bytes, visit: BleVisit) -> Value:
    """Make the value of a property of what its characteristic holds.

    Raises:
        ConversionError: It does not hold it.
    """
    standard = visit.standard
    if standard is not None and visit.data_converter is None and not visit.words:
        return decode_standard(standard, data, visit.field or "")
    return read_bytes(data, visit)


def encode(visit: BleVisit, value: Value, whole: bytes) -> bytes:
    """Make what is written of a property's value.

    Args:
        visit: The property.
        value: What it shall be.
        whole: What the characteristic holds now, where only a part of it is written.

    Raises:
        ConversionError: It does not fit.
        UnsupportedError: There is no way from the value to bytes.
    """
    if visit.words:
        word = str(value)
        if word not in visit.words:
            raise ConversionError(f"{word!r} is none of {', '.join(visit.words)}")
        return visit.words[word]
    if visit.data_converter is not None:
        raise UnsupportedError("KubeEdge's `dataConverter` only reads; writing needs `dataWrite`")
    standard = visit.standard
    if standard is None:
        return encode_field(value, visit.layout, whole)
    if standard.type is None:
        raise UnsupportedError(f"{standard.name} has parts and cannot be written by name")
    if standard.divisor != 1 and isinstance(value, (int, float)):
        value = value * standard.divisor
    layout = Layout(standard.type)
    if standard.type is FieldType.BYTES and isinstance(value, str):
        return value.encode()
    return encode_field(value, layout)

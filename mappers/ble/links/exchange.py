"""What goes over a link: reads, writes and subscriptions of the characteristics of properties."""

import asyncio
from collections.abc import Callable, Sequence

from bleak import BleakClient
from bleak.backends.characteristic import BleakGATTCharacteristic

from dmi.errors import (
    AccessDeniedError,
    ConversionError,
    NotFoundError,
    UnsupportedError,
)
from dmi.readings import Value
from mappers.ble.advertisements import read_bytes
from mappers.ble.config import BleLink
from mappers.ble.troubles import translated
from mappers.ble.values.characteristics import decode_standard
from mappers.ble.values.payloads import FieldType, Layout, encode_field
from mappers.ble.visit import BleVisit, WriteMode

__all__ = ["Exchange", "decode", "encode", "find_characteristic"]


class Exchange:
    """One connection to a device, used by the settings of its properties.

    Attributes:
        client: The connection.
    """

    def __init__(self, client: BleakClient, link: BleLink) -> None:
        self.client = client
        self._link = link

    async def read(self, visit: BleVisit) -> bytes:
        """Read the characteristic or descriptor of a property.

        Raises:
            UnavailableError: The link is lost.
            DmiError: The device has no such thing, or refuses.
        """
        client = self.client
        characteristic = find_characteristic(client, visit)
        with translated(f"reading {characteristic.uuid} of {self._link.who}"):
            async with asyncio.timeout(self._link.timeout):
                if visit.descriptor is not None:
                    handle = _descriptor(characteristic, visit.descriptor)
                    return bytes(await client.read_gatt_descriptor(handle))
                if "read" not in characteristic.properties:
                    raise AccessDeniedError(f"{characteristic.uuid} can only be pushed or written")
                return bytes(await client.read_gatt_char(characteristic))

    async def write(self, visit: BleVisit, value: Value) -> None:
        """Write a property; returns once the device has confirmed, where it does.

        Raises:
            UnavailableError: It is not known to have arrived.
            DmiError: The value does not fit, or the device refuses.
        """
        client = self.client
        characteristic = find_characteristic(client, visit)
        whole = b""
        if visit.offset or visit.bit is not None:
            whole = await self.read(visit)
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
        self, visit: BleVisit, pushed: Callable[[bytes], None]
    ) -> BleakGATTCharacteristic:
        """Have the device push a characteristic, and give that.

        Raises:
            DmiError: It cannot, or refuses.
        """
        client = self.client
        characteristic = find_characteristic(client, visit)
        if not {"notify", "indicate"} & set(characteristic.properties):
            raise UnsupportedError(f"{characteristic.uuid} is neither notified nor indicated")
        with translated(f"subscribing {characteristic.uuid} of {self._link.who}"):
            async with asyncio.timeout(self._link.timeout):
                await client.start_notify(characteristic, lambda _, data: pushed(bytes(data)))
        return characteristic

    async def unsubscribe(self, characteristic: BleakGATTCharacteristic) -> None:
        """Have it pushed no more.

        Raises:
            DmiError: The device refuses, or the link is lost.
        """
        with translated(f"unsubscribing {characteristic.uuid} of {self._link.who}"):
            async with asyncio.timeout(self._link.timeout):
                await self.client.stop_notify(characteristic)


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

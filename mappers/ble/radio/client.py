"""bleak's client on a radio that bumble drives."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from bleak.args import SizedBuffer
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient, NotifyCallback
from bleak.backends.descriptor import BleakGATTDescriptor
from bleak.backends.device import BLEDevice
from bleak.exc import BleakError, BleakGATTProtocolError
from bumble import att, core, hci
from bumble.device import Connection, Peer
from bumble.gatt_client import CharacteristicProxy

from mappers.ble.radio import PairingRefusedError
from mappers.ble.radio.host import RadioHost, translated
from mappers.ble.radio.services import discovered

__all__ = ["BumbleClient"]

_log = logging.getLogger(__name__)

_MTU = 517
"""What is asked for: a value of 512 bytes, the longest there is, in one PDU."""
_DISCONNECT_SECONDS = 5.0

Result = TypeVar("Result")


class BumbleClient(BaseBleakClient):
    """One link to a GATT server."""

    def __init__(
        self,
        address_or_ble_device: BLEDevice | str,
        *,
        disconnected_callback: Callable[[], None] | None,
        timeout: float,
        radio: RadioHost,
        **_: Any,  # noqa: ANN401 - the arguments for other platforms, which bleak always passes
    ) -> None:
        """As bleak makes it; `radio` comes from `RadioBackend.kwargs`."""
        super().__init__(
            address_or_ble_device, disconnected_callback=disconnected_callback, timeout=timeout
        )
        self._radio = radio
        self._name = getattr(address_or_ble_device, "name", None)
        self._connection: Connection | None = None
        self._notified: dict[int, Callable[[bytes], None]] = {}

    @property
    def name(self) -> str:
        """Name that it was heard by, or its address with dashes."""
        return self._name or self.address.replace(":", "-")

    @property
    def mtu_size(self) -> int:
        """Bytes of the longest ATT PDU of this link."""
        return 23 if self._connection is None else int(self._connection.att_mtu)

    @property
    def is_connected(self) -> bool:
        """Whether the link is there, as far as this side knows."""
        return self._connection is not None

    async def connect(self, pair: bool, **kwargs: Any) -> None:  # noqa: ANN401 - as in the base class
        """Connect, agree on an MTU, pair if wanted, and discover everything.

        Raises:
            BleakDeviceNotFoundError: It is not heard.
            BleakError: It is already connected, or the link failed.
        """
        if self._connection is not None:
            raise BleakError("already connected")
        seconds = float(kwargs.get("timeout", self._timeout))
        connection = await self._radio.connect(self.address, seconds)
        self._connection = connection
        self._notified = {}
        connection.once(Connection.EVENT_DISCONNECTION, self._on_disconnection)
        try:
            async with asyncio.timeout(seconds):
                await self._exchange_mtu(connection)
                if pair:
                    await self.pair()
                self.services = await self._ask(discovered(Peer(connection), connection))
        except BaseException:
            await self._leave(connection)
            raise

    async def _exchange_mtu(self, connection: Connection) -> None:
        try:
            await self._ask(connection.gatt_client.request_mtu(_MTU))
        except BleakGATTProtocolError as error:
            _log.debug("%s keeps the smallest MTU: %s", self.address, error)

    async def disconnect(self) -> None:
        """Close the link; nothing to do if there is none."""
        if self._connection is not None:
            await self._leave(self._connection)

    async def _leave(self, connection: Connection) -> None:
        """End the link, or forget it where the radio does not answer."""
        try:
            async with asyncio.timeout(_DISCONNECT_SECONDS):
                if self._connection is connection and not self._radio.lost.is_set():
                    with translated("disconnect"):
                        await connection.disconnect()
        except (TimeoutError, BleakError) as error:
            _log.debug("%s: %s", self.address, error)
        except asyncio.CancelledError:
            if _is_cancelled():
                raise
        finally:
            self._on_disconnection(0)

    async def pair(self, *_args: Any, **_kwargs: Any) -> None:  # noqa: ANN401 - as in the base class
        """Encrypt the link by the keys of the bond; pair and bond where there is none.

        A device that has lost its keys is paired again, which asks no less of it than the first
        time.

        Raises:
            PairingRefusedError: The device refuses.
            BleakError: The link is lost.
        """
        connection = self._require()
        if connection.is_encrypted:
            return
        if await self._radio.bonds.get(str(connection.peer_address)) is not None:
            try:
                await self._ask(connection.encrypt())
            except BleakError as error:
                if not isinstance(error.__cause__, hci.HCI_Error) or not self.is_connected:
                    raise
                _log.warning("%s does not know its bond any more (%s)", self.address, error)
            else:
                return
        try:
            await self._ask(connection.pair())
        except BleakError as error:
            cause = error.__cause__
            if isinstance(cause, core.ProtocolError) and cause.error_namespace == "smp":
                raise PairingRefusedError(str(error)) from cause
            raise

    async def unpair(self) -> None:
        """Forget the keys of this device, and close the link."""
        await self._radio.bonds.delete(str(self._require().peer_address))
        await self.disconnect()

    async def read_gatt_char(
        self,
        characteristic: BleakGATTCharacteristic,
        *,
        use_cached: bool = False,
        **_: Any,  # noqa: ANN401 - as in the base class
    ) -> bytearray:
        """Read a value, of any length.

        Raises:
            BleakGATTProtocolError: The device answered with an ATT error.
            BleakError: The link is lost.
        """
        client = self._require().gatt_client
        return bytearray(await self._ask(client.read_value(characteristic.obj)))

    async def read_gatt_descriptor(
        self,
        descriptor: BleakGATTDescriptor,
        *,
        use_cached: bool = False,
        **_: Any,  # noqa: ANN401 - as in the base class
    ) -> bytearray:
        """Read a descriptor; raises as `read_gatt_char` does."""
        client = self._require().gatt_client
        return bytearray(await self._ask(client.read_value(descriptor.handle)))

    async def write_gatt_char(
        self, characteristic: BleakGATTCharacteristic, data: SizedBuffer, response: bool
    ) -> None:
        """Write a value; raises as `read_gatt_char` does."""
        client = self._require().gatt_client
        await self._ask(client.write_value(characteristic.obj, bytes(data), response))

    async def write_gatt_descriptor(
        self, descriptor: BleakGATTDescriptor, data: SizedBuffer
    ) -> None:
        """Write a descriptor; raises as `read_gatt_char` does."""
        client = self._require().gatt_client
        await self._ask(client.write_value(descriptor.handle, bytes(data), with_response=True))

    async def start_notify(
        self,
        characteristic: BleakGATTCharacteristic,
        callback: NotifyCallback,
        **_: Any,  # noqa: ANN401 - as in the base class
    ) -> None:
        """Have the device push a value: notified if it can, else indicated.

        Raises:
            BleakError: It has neither, or the descriptor to switch it on is missing.
        """
        client = self._require().gatt_client
        proxy: CharacteristicProxy[bytes] = characteristic.obj
        if proxy.get_descriptor(core.UUID.from_16_bits(0x2902)) is None:
            raise BleakError(f"{characteristic.uuid} cannot be subscribed: it has no CCCD")
        if characteristic.handle in self._notified:
            raise BleakError(f"{characteristic.uuid} is subscribed already")

        def pushed(value: bytes) -> None:
            callback(bytearray(value))

        self._notified[characteristic.handle] = pushed
        try:
            await self._ask(client.subscribe(proxy, pushed))
        except BaseException:
            self._notified.pop(characteristic.handle, None)
            raise

    async def stop_notify(self, characteristic: BleakGATTCharacteristic) -> None:
        """Have the device push that value no more."""
        client = self._require().gatt_client
        pushed = self._notified.pop(characteristic.handle, None)
        if pushed is None:
            raise BleakError(f"{characteristic.uuid} is not subscribed")
        await self._ask(client.unsubscribe(characteristic.obj, pushed))

    def _require(self) -> Connection:
        if self._connection is None:
            raise BleakError("disconnected")
        return self._connection

    async def _ask(self, answer: Awaitable[Result]) -> Result:
        """Wait for the device; its errors and a lost link leave as bleak's."""
        try:
            with translated(self.address):
                try:
                    return await answer
                except att.ATT_Error as error:
                    raise BleakGATTProtocolError(int(error.error_code)) from error
        except asyncio.CancelledError:
            # Bumble cancels what waits for a device that is gone. That is no wish to end
            # this task, and so must not look like one.
            if _is_cancelled():
                raise
            raise BleakError("disconnected") from None

    def _on_disconnection(self, _reason: int) -> None:
        """The link is gone, by whosoever's doing; tell it once."""
        if self._connection is None:
            return
        self._connection = None
        if self._disconnected_callback is not None:
            self._disconnected_callback()


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0

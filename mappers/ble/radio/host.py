"""A bumble host: the Bluetooth stack in this process, above a controller that it drives by HCI."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bleak.backends.device import BLEDevice
from bleak.exc import BleakDeviceNotFoundError, BleakError
from bumble import core, hci
from bumble.device import Connection, Device, DeviceConfiguration
from bumble.host import Host
from bumble.smp import AddressResolver
from bumble.transport.common import TransportSink, TransportSource

from dmi.errors import UnavailableError
from mappers.ble.radio import PairingWay
from mappers.ble.radio.bonds import Bonds
from mappers.ble.radio.pairing import answer_pairing
from mappers.ble.radio.reports import Advertisement, Assembler, is_report

__all__ = ["Heard", "RadioHost", "translated"]

_log = logging.getLogger(__name__)

Heard = Callable[[Advertisement], None]
"""Takes one advertisement at once."""

_START_SECONDS = 10.0
_CANCEL_SECONDS = 2.0
_ADDRESSES = 4096
"""How many addresses are remembered with their type; many devices change theirs all the time."""


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Let what bumble raises outside of ATT leave as bleak's own errors."""
    try:
        yield
    except (core.BaseBumbleError, OSError) as error:
        raise BleakError(f"{what}: {error}") from error


class RadioHost:
    """One controller and who uses it: scanners share its scan, connects take turns.

    Attributes:
        device: Bumble's device; clients talk through its connections.
        bonds: Keys of the devices that are paired.
        lost: Set once the controller is gone for good.
    """

    def __init__(self, source: TransportSource, sink: TransportSink, bonds: Bonds) -> None:
        """Above a controller that was not used before; `start` comes next."""
        config = DeviceConfiguration(name="dmi", gap_service_enabled=True)
        self.device = _Device(
            address=bonds.address,
            config=config,
            host=_Host(source, sink, self._take),
        )
        self.device.keystore = self.bonds = bonds
        self._assembler = Assembler()
        self._ways: dict[str, PairingWay] = {}
        answer_pairing(self.device, self._ways)
        self.lost = asyncio.Event()
        self._listeners: dict[Heard, bool] = {}
        self._scanning: bool | None = None
        self._scan_turn = asyncio.Lock()
        self._connect_turn = asyncio.Lock()
        self._types: dict[str, hci.Address] = {}
        source.terminated.add_done_callback(self._on_terminated)

    async def start(self) -> None:
        """Reset the controller and set it up.

        Raises:
            UnavailableError: It does not answer as a controller does.
        """
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self.device.power_on()
        except TimeoutError:
            raise UnavailableError(
                f"the radio does not answer HCI in {_START_SECONDS:.0f} s"
            ) from None
        except (core.BaseBumbleError, OSError) as error:
            raise UnavailableError(f"the radio does not start: {error}") from error

    async def check(self) -> None:
        """Nothing to ask: what is wrong with the controller is told by `lost`."""

    async def prepare_pairing(self, device: BLEDevice, way: PairingWay) -> bool:
        """Note how a device is paired; True: its client does it.

        Raises:
            ConfigError: The bonds that there are cannot be read.
        """
        if self.bonds.problem is not None:
            raise self.bonds.problem
        self._ways[device.address.upper()] = way
        return True

    async def power_cycle(self) -> None:
        """Drop all links, reset the controller, and scan again if that was on.

        Raises:
            UnavailableError: It does not come back.
        """
        if self.lost.is_set():
            raise UnavailableError("the radio is gone; it must be opened again")
        async with self._scan_turn, self._connect_turn:
            self._scanning = None
            await self.device.power_off()
            await self.start()
            try:
                await self._fit_scan()
            except BleakError as error:
                raise UnavailableError(str(error)) from error

    async def stop(self) -> None:
        """End scan and links; never raises for a controller that is gone."""
        if self.lost.is_set():
            return
        self._listeners.clear()
        try:
            async with asyncio.timeout(_CANCEL_SECONDS):
                async with self._scan_turn:
                    await self._fit_scan()
                for connection in list(self.device.connections.values()):
                    await connection.disconnect()
        except (TimeoutError, BleakError, core.BaseBumbleError, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                raise
            _log.debug("the radio went away while it was closed: %r", error)

    async def listen(self, heard: Heard, *, active: bool) -> None:
        """Give a listener every advertisement from now on.

        Raises:
            BleakError: The controller does not scan.
        """
        async with self._scan_turn:
            self._listeners[heard] = active
            try:
                await self._fit_scan()
            except BaseException:
                self._listeners.pop(heard, None)
                raise

    async def ignore(self, heard: Heard) -> None:
        """Take a listener off; the scan ends with the last."""
        async with self._scan_turn:
            if self._listeners.pop(heard, None) is not None and not self.lost.is_set():
                await self._fit_scan()

    async def _fit_scan(self) -> None:
        """Scan if somebody listens, actively if one of them wants that."""
        self._require()
        wanted = any(self._listeners.values()) if self._listeners else None
        if wanted == self._scanning:
            return
        with translated("scan"):
            if self._scanning is not None:
                await self.device.stop_scanning()
                self._scanning = None
            if wanted is not None:
                self._assembler.active = wanted
                await self.device.start_scanning(active=wanted, scanning_phys=(hci.HCI_LE_1M_PHY,))
        self._scanning = wanted

    async def connect(self, address: str, timeout: float) -> Connection:  # noqa: ASYNC109 - bleak's own argument, for the controller
        """Connect to an advertiser when it is next heard; one attempt at a time.

        Args:
            address: As it was heard, such as `F0:00:00:00:00:01`.
            timeout: Seconds for the attempt, without the wait for others' attempts.

        Raises:
            BleakDeviceNotFoundError: It was not heard in that time.
            BleakError: The controller refuses.
        """
        peer = self._types.get(address.upper()) or _guessed(address)
        async with self._connect_turn:
            self._require()
            try:
                with translated(f"connect to {address}"):
                    return await self.device.connect_le(peer, timeout=timeout)
            except asyncio.CancelledError:
                if not _is_cancelled():
                    raise BleakError("the radio is gone") from None
                await self._abandon(peer)
                raise
            except BleakError as error:
                if isinstance(error.__cause__, core.TimeoutError):
                    raise BleakDeviceNotFoundError(
                        address, f"{address} was not heard in {timeout:g} s"
                    ) from None
                raise

    async def _abandon(self, peer: hci.Address) -> None:
        """End an attempt that nobody waits for, so that the next one can begin."""
        try:
            async with asyncio.timeout(_CANCEL_SECONDS):
                await self.device.send_sync_command(hci.HCI_LE_Create_Connection_Cancel_Command())
        except (core.BaseBumbleError, TimeoutError) as error:
            _log.debug("connect to %s was not cancelled: %s", peer, error)
        connection = self.device.find_connection_by_bd_addr(peer, core.PhysicalTransport.LE)
        if connection is not None:
            await connection.disconnect()

    def _require(self) -> None:
        if self.lost.is_set():
            raise BleakError("the radio is gone; it must be opened again")

    def _take(self, packet: bytes) -> None:
        for advertisement in self._assembler.take(packet):
            address = advertisement.address
            self._types[address.to_string(with_type_qualifier=False)] = address
            if len(self._types) > _ADDRESSES:
                del self._types[next(iter(self._types))]
            for heard in tuple(self._listeners):
                heard(advertisement)

    def _on_terminated(self, _: "asyncio.Future[None]") -> None:
        self.lost.set()


class _Device(Device):
    """Bumble's device, which connects addresses as they were heard.

    Bumble itself would look for a bonded device by a scan of its own, of which we hear nothing.
    """

    async def refresh_resolving_list(self) -> None:
        """Know bonded devices by the private addresses that they are connected by."""
        keys = await self.keystore.get_resolving_keys() if self.keystore is not None else []
        # All zeros is the key of one that has no private addresses.
        self.address_resolver = _Resolver([(key, address) for key, address in keys if any(key)])


class _Resolver(AddressResolver):
    def can_resolve_to(self, address: hci.Address) -> bool:
        """Whether to look for other addresses of a device before it is connected: never."""
        return False


class _Host(Host):
    """Bumble's host, which leaves advertising reports to us."""

    def __init__(
        self, source: TransportSource, sink: TransportSink, take: Callable[[bytes], None]
    ) -> None:
        self._take = take
        super().__init__(source, sink)

    def on_packet(self, packet: bytes) -> None:
        """Take a packet from the controller."""
        if self.ready and is_report(packet):
            self._take(packet)
        else:
            super().on_packet(packet)


def _guessed(address: str) -> hci.Address:
    """An address that was not heard yet: static random by its two top bits, else public.

    Core Specification, Vol 6, Part B, 1.3.2.
    """
    try:
        random = int(address[:2], 16) >> 6 in {0b11, 0b01}
        kind = hci.Address.RANDOM_DEVICE_ADDRESS if random else hci.Address.PUBLIC_DEVICE_ADDRESS
        return hci.Address(address, kind)
    except (ValueError, core.InvalidArgumentError):
        raise BleakError(f"{address!r} is no Bluetooth address") from None


def _is_cancelled() -> bool:
    """Whether somebody wants the running task to end, which no bumble error means."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0

"""The simulated devices on one air, which tests can start, stop and trouble."""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from types import TracebackType
from typing import Self

from bumble import hci
from bumble.transport import open_transport
from bumble.transport.common import StreamPacketSink, StreamPacketSource

from dmi.errors import UnavailableError
from mappers.ble.radio.air import Air, AirController
from mappers.ble.simulation.broadcasters import Broadcaster, advertisers, plant_broadcasters
from mappers.ble.simulation.faults import Fault, FaultKind, Faults
from mappers.ble.simulation.peripherals import Heater, Peripheral, Thermometer

__all__ = ["BleSimulator"]

_log = logging.getLogger(__name__)


class BleSimulator:
    """A thermometer, a heater and some that only advertise, around a radio for whoever asks.

    Attributes:
        radio: For `open_radio` in this process.
        port: Where HCI is served over TCP while it runs; None if it is not.
        faults: What goes wrong now.
        thermometer: `F0:00:00:00:00:01`.
        heater: `F0:00:00:00:00:02`; further ones, if asked for, count on from there.
        broadcasters: Those that take no connections.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int | None = None,
        controller: str = "",
        peripherals: int = 2,
        advertisers_count: int = 0,
        interval: float = 1.0,
    ) -> None:
        """Not running yet.

        Args:
            host: Address to serve HCI on.
            port: TCP port for HCI, 0 for a free one; None for this process only.
            controller: A bumble transport whose host gets a controller on this air too, such
                as `vhci`, which makes an adapter of this machine.
            peripherals: How many take connections; the first is the thermometer.
            advertisers_count: How many plain BTHome sensors there are beside the named ones.
            interval: Seconds between two packets of one that advertises, and two pushes of
                one that is connected.
        """
        self.faults = Faults(self._faults_changed)
        self.thermometer = Thermometer("thermometer", "F0:00:00:00:00:01", self.faults)
        self.heater = Heater("heater", "F0:00:00:00:00:02", self.faults)
        more = [
            Heater(f"heater-{n}", f"F0:00:00:00:{n >> 8:02X}:{n & 0xFF:02X}", self.faults)
            for n in range(3, peripherals + 1)
        ]
        self.peripherals: list[Peripheral] = [self.thermometer, self.heater, *more][:peripherals]
        self.broadcasters: list[Broadcaster] = [
            *plant_broadcasters(),
            *advertisers(advertisers_count),
        ]
        self.port = port
        self._host = host
        self._controller = controller
        self._interval = interval
        self._air = Air(f"simulator-{secrets.token_hex(4)}")
        self._began = time.monotonic()
        self._sources: set[_TcpSource] = set()
        self._timers: list[asyncio.TimerHandle] = []
        self._stack: AsyncExitStack | None = None

    @property
    def radio(self) -> str:
        """The radio setting that reaches these devices from this process."""
        return f"virtual:{self._air.name}"

    @property
    def tcp_radio(self) -> str:
        """The radio setting that reaches these devices from another process."""
        return f"tcp-client:{self._host}:{self.port}"

    @property
    def writes(self) -> int:
        """Values written to any device so far."""
        return sum(peripheral.writes for peripheral in self.peripherals)

    def peripheral(self, name: str) -> Peripheral:
        """The one of that name; KeyError if there is none."""
        return {p.name: p for p in self.peripherals}[name]

    async def restart(
        self, peripheral: Peripheral, *, passkey: int | None = None, compares: bool = False
    ) -> None:
        """Take a device's power for a moment: it forgets its bonds, and pairs like this then."""
        peripheral.vanish()
        peripheral.passkey, peripheral.compares = passkey, compares
        await peripheral.appear(self._air)

    def set_rssi(self, address: str, rssi: int) -> None:
        """Let a device be heard at another strength, in dBm."""
        self._air.voice(hci.Address(address)).rssi = rssi

    def set_scan_response(self, address: str, data: bytes) -> None:
        """Let a device that takes connections answer an active scan."""
        self._air.voice(hci.Address(address)).scan_response = data

    @contextmanager
    def mute(self, address: str) -> Iterator[None]:
        """Let a device take links for the length of a block, and answer nothing over them."""
        voice = self._air.voice(hci.Address(address))
        voice.mute = True
        try:
            yield
        finally:
            voice.mute = False

    def lose_radio(self) -> None:
        """Take the controllers of all centrals away, as if a dongle were pulled out."""
        for source in list(self._sources):
            source.hang_up()
        own = {peripheral.controller for peripheral in self.peripherals}
        for controller in list(self._air.controllers):
            if isinstance(controller, AirController) and controller not in own:
                controller.leave()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Let all devices appear; the same ones with the same values after `stop`.

        Raises:
            UnavailableError: The port or the transport cannot be used.
        """
        if self._stack is not None:
            return
        async with AsyncExitStack() as stack:
            stack.callback(self._vanish)
            for peripheral in self.peripherals:
                await peripheral.appear(self._air)
            if self.port is not None:
                await stack.enter_async_context(self._serving())
            if self._controller:
                await self._attach(stack)
            await stack.enter_async_context(self._living())
            self._faults_changed()
            self._stack = stack.pop_all()

    async def stop(self) -> None:
        """Let all devices vanish; those who listen on `radio` hear nothing any more."""
        stack, self._stack = self._stack, None
        if stack is not None:
            await stack.aclose()

    def _vanish(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        for peripheral in self.peripherals:
            peripheral.vanish()

    @asynccontextmanager
    async def _serving(self) -> AsyncIterator[None]:
        """Give everybody who connects by TCP a controller of their own."""
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(
                lambda: _TcpSource(self._air, self._sources), self._host, self.port
            )
        except OSError as error:
            raise UnavailableError(f"cannot listen on {self._host}:{self.port}: {error}") from error
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            for source in list(self._sources):
                source.hang_up()
            await server.wait_closed()

    async def _attach(self, stack: AsyncExitStack) -> None:
        try:
            transport = await open_transport(self._controller)
        except (OSError, ValueError, RuntimeError) as error:
            raise UnavailableError(f"{self._controller}: {error}") from error
        stack.push_async_callback(transport.close)
        attached = AirController(
            self._controller, self._air, source=transport.source, sink=transport.sink
        )
        stack.callback(attached.leave)

    @asynccontextmanager
    async def _living(self) -> AsyncIterator[None]:
        """Let everybody speak at their pace, spread over the interval."""
        async with asyncio.TaskGroup() as group:
            count = max(len(self.broadcasters), 1)
            tasks = [
                group.create_task(self._shout(one, number * self._interval / count))
                for number, one in enumerate(self.broadcasters)
            ]
            tasks += [group.create_task(self._push(one)) for one in self.peripherals]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()

    async def _shout(self, broadcaster: Broadcaster, delay: float) -> None:
        address = hci.Address(broadcaster.address)
        await asyncio.sleep(delay)
        async for _ in self._ticks(broadcaster.name):
            packet = broadcaster.next(time.monotonic() - self._began)
            broadcaster.heard += self._air.broadcast(address, packet)

    async def _push(self, peripheral: Peripheral) -> None:
        async for _ in self._ticks(peripheral.name):
            try:
                async with asyncio.timeout(max(self._interval, 1.0)):
                    await peripheral.push_all()
            except TimeoutError:
                _log.debug("%s: nobody confirms its indication", peripheral.name)

    async def _ticks(self, name: str) -> AsyncIterator[None]:
        """The times at which a device speaks; a flood makes them many."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            yield
            flood = self.faults.met_by(FaultKind.FLOOD, name)
            due = max(due + (1 / flood.parameter if flood else self._interval), loop.time())
            await asyncio.sleep(due - loop.time())

    def _faults_changed(self) -> None:
        """Take out of reach who is to be, and set a time for their return."""
        devices: Sequence[Peripheral | Broadcaster] = [*self.peripherals, *self.broadcasters]
        for device in devices:
            address = hci.Address(device.address)
            away = self.faults.met_by(FaultKind.OUT_OF_RANGE, device.name) is not None
            if self._air.voice(address).in_reach == away:
                self._air.move(address, in_reach=not away)
        for fault in self.faults.of(FaultKind.OUT_OF_RANGE):
            if fault.parameter:
                self._return_later(fault)

    def _return_later(self, fault: Fault) -> None:
        seconds, fault.parameter = fault.parameter, 0.0
        loop = asyncio.get_running_loop()
        self._timers.append(loop.call_later(seconds, self.faults.remove, fault))


class _TcpSource(StreamPacketSource):
    """One central that came by TCP, and the controller it was given."""

    def __init__(self, air: Air, all_sources: "set[_TcpSource]") -> None:
        super().__init__()
        self._air = air
        self._all = all_sources
        self._transport: asyncio.Transport | None = None
        self._controller: AirController | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A central is there."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type only
        self._transport = transport
        self._controller = AirController(
            "tcp", self._air, source=self, sink=StreamPacketSink(transport)
        )
        self._all.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone; its links end."""
        self._all.discard(self)
        if self._controller is not None:
            self._controller.hci_sink = None
            self._controller.leave()

    def hang_up(self) -> None:
        """Close the connection."""
        if self._controller is not None:
            self._controller.hci_sink = None
        if self._transport is not None:
            self._transport.abort()

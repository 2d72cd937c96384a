"""A real Modbus server with the plant behind it, which tests can start, stop and trouble."""

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from pymodbus.constants import ExcCodes
from pymodbus.exceptions import ModbusException, ModbusIOException
from pymodbus.framer import FramerAscii, FramerRTU, FramerSocket, FramerType
from pymodbus.pdu import ExceptionResponse, ModbusPDU
from pymodbus.server import ModbusSerialServer, ModbusTcpServer, ModbusTlsServer, ModbusUdpServer
from pymodbus.server.base import ModbusBaseServer
from pymodbus.server.requesthandler import ServerRequestHandler
from pymodbus.simulator import DataType, SimData, SimDevice

from dmi.errors import UnavailableError
from mappers.modbus.config import Parity, Transport
from mappers.modbus.simulation.faults import CONTROL_UNIT, ControlPanel, FaultKind, Faults
from mappers.modbus.simulation.plant import Plant, Tables, UnknownUnitError
from mappers.modbus.visit import Register

__all__ = ["ModbusSimulator"]

_TABLES = {
    1: Register.COIL,
    2: Register.DISCRETE_INPUT,
    3: Register.HOLDING,
    4: Register.INPUT,
    5: Register.COIL,
    6: Register.HOLDING,
    15: Register.COIL,
    16: Register.HOLDING,
    22: Register.HOLDING,
    23: Register.HOLDING,
}
_WRITING = frozenset({5, 6, 15, 16, 22, 23})


class _Memory:
    """What pymodbus asks for values: the plant, and the panel that switches faults on."""

    def __init__(self, plant: Plant, faults: Faults) -> None:
        self._plant = plant
        self._panel = ControlPanel(faults)
        self._controls: Tables = {
            kind: dict.fromkeys(range(ControlPanel.SIZE * (kind is Register.HOLDING)), 0)
            for kind in Register
        }

    def tables(self, unit: int) -> Tables:
        """The tables of one unit."""
        return self._controls if unit == CONTROL_UNIT else self._plant.tables(unit)

    def device_ids(self) -> list[int]:
        """Whom a broadcast reaches: nobody."""
        return []

    async def async_getValues(
        self, device_id: int, func_code: int, address: int, count: int = 1
    ) -> list[int] | list[bool] | ExcCodes:
        """Values from `address` on, if all of them exist."""
        register = _TABLES[func_code]
        table = self.tables(device_id)[register]
        try:
            values = [table[a] for a in range(address, address + count)]
        except KeyError:
            return ExcCodes.ILLEGAL_ADDRESS
        return [value == 1 for value in values] if register.is_bit else values

    async def async_setValues(
        self, device_id: int, func_code: int, address: int, values: Sequence[int]
    ) -> ExcCodes | None:
        """Change values, if all addresses exist."""
        table = self.tables(device_id)[_TABLES[func_code]]
        changed = {a: int(value) for a, value in enumerate(values, address)}
        if not changed.keys() <= table.keys():
            return ExcCodes.ILLEGAL_ADDRESS
        if device_id == CONTROL_UNIT:
            wanted = {**table, **changed}
            if 0 in changed and not self._panel.apply(wanted):
                return ExcCodes.ILLEGAL_VALUE
        table.update(changed)
        return None


class _Handler(ServerRequestHandler):
    """One connection. Unlike pymodbus's own it answers each of several requests on the way."""

    def __init__(self, server: ModbusBaseServer, simulator: "ModbusSimulator") -> None:
        super().__init__(server, None, None, None)  # type: ignore[no-untyped-call]  # theirs
        self._simulator = simulator

    def callback_connected(self) -> None:
        """Count it."""
        super().callback_connected()
        self._simulator.accepted += 1

    def callback_disconnected(self, exc: Exception | None) -> None:
        """Tell it."""
        super().callback_disconnected(exc)
        self._simulator.note_disconnected()

    def callback_data(self, data: bytes, addr: tuple[Any, ...] | None = None) -> int:
        """Take the requests that have arrived."""
        used = 0
        while used < len(data):
            try:
                step, request = self.framer.handleFrame(data[used:], 0, 0)
            except ModbusIOException as error:
                self._say_illegal(data[used:], error, addr)
                return len(data)
            except (ModbusException, ValueError, IndexError):
                return len(data)
            used += step
            if request is not None:
                # As pymodbus does: its answer to one request is a task of its own.
                asyncio.run_coroutine_threadsafe(self._answer(request, addr), self.loop)
            if not step:
                break
        return used

    def _say_illegal(
        self, frame: bytes, error: ModbusIOException, addr: tuple[Any, ...] | None
    ) -> None:
        """Answer a request that pymodbus cannot read, where it is known whose it is."""
        if isinstance(self.framer, FramerSocket):
            response = ExceptionResponse(frame[7] & 0x7F, ExcCodes.ILLEGAL_FUNCTION)
            response.transaction_id, response.dev_id = error.transaction_id, error.dev_id
            self.send(self.framer.buildFrame(response), addr)

    async def _answer(self, request: ModbusPDU, addr: tuple[Any, ...] | None) -> None:
        unit, function = request.dev_id, request.function_code
        span = range(request.address, request.address + max(request.count, 1))
        self._simulator.note(unit, function, span)
        fault = None
        if unit != CONTROL_UNIT:
            faults = self._simulator.faults
            fault = faults.met_by(unit, function, _TABLES.get(function), span)
        if fault is not None and fault.kind is FaultKind.SILENT:
            return
        if fault is not None and fault.kind is FaultKind.DROP:
            self._drop()
            return
        if fault is not None and fault.kind is FaultKind.REFUSE:
            response: ModbusPDU | None = ExceptionResponse(function, int(fault.parameter))
        else:
            response = await self._respond(request)
        if response is None:
            return
        response.transaction_id, response.dev_id = request.transaction_id, unit
        frame = self.framer.buildFrame(response)
        if fault is not None and fault.kind is FaultKind.GARBLE:
            frame = self._garble(frame)
        delay = fault.parameter if fault and fault.kind is FaultKind.DELAY else 0.0
        self.loop.call_later(delay, self._send_late, frame, addr)

    async def _respond(self, request: ModbusPDU) -> ModbusPDU | None:
        try:
            return await request.datastore_update(self.server.context, request.dev_id)
        except UnknownUnitError:
            if self._simulator.transport.numbers_requests:
                return ExceptionResponse(request.function_code, ExcCodes.GATEWAY_NO_RESPONSE)
            return None  # on a serial line nobody speaks for the unit that is not there
        except (ModbusException, KeyError):
            return ExceptionResponse(request.function_code, ExcCodes.ILLEGAL_FUNCTION)

    def _garble(self, frame: bytes) -> bytes:
        """Spoil the checksum, or on TCP the byte count; a spoilt value would go unnoticed."""
        at = len(frame) - 3 if isinstance(self.framer, FramerRTU | FramerAscii) else 8
        return frame[:at] + bytes([frame[at] ^ 0x15]) + frame[at + 1 :]

    def _drop(self) -> None:
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()

    def _send_late(self, frame: bytes, addr: tuple[Any, ...] | None) -> None:
        if self.is_active():
            self.send(frame, addr)


class ModbusSimulator:
    """A Modbus server that tests can start, stop and trouble.

    Args:
        transport: How it is reached; RTU and ASCII need `serial_port`.
        host: Address to listen on.
        port: Port to listen on; 0 finds a free one, and keeps it for the next `start`.
        units: How many units there are; see `Plant`.
        serial_port: Device file of the serial line.
        baud_rate: Its speed.
        parity: Its parity bit.
        context: Certificate and key, for TLS.
        now: Seconds since some moment; the plant moves by it.

    Attributes:
        faults: What goes wrong.
        requests: Every request so far, but those to the control unit: unit, function, addresses.
        keeps_requests: Whether they are kept, or only counted in `counted` and `writes`.
        accepted: How many connections were made.
    """

    def __init__(
        self,
        *,
        transport: Transport = Transport.TCP,
        host: str = "127.0.0.1",
        port: int = 0,
        units: int = 3,
        serial_port: str = "",
        baud_rate: int = 19200,
        parity: Parity = Parity.NONE,
        context: ssl.SSLContext | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.transport = transport
        self.host = host
        self.port = port
        self.serial_port = serial_port
        self.faults = Faults()
        self.plant = Plant(units, now)
        self.requests: list[tuple[int, int, range]] = []
        self._baud_rate = baud_rate
        self._parity = parity
        self._context = context
        self._memory = _Memory(self.plant, self.faults)
        self._server: ModbusBaseServer | None = None
        self.keeps_requests = True
        self.counted = 0
        self.writes = 0
        self.accepted = 0
        self._disconnected = asyncio.Event()

    async def start(self) -> None:
        """Listen.

        Raises:
            UnavailableError: The address or the serial line is not to be had.
        """
        logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)
        server = self._make_server()
        server.context = self._memory  # type: ignore[assignment]  # it has the three methods used
        make: Callable[[], _Handler] = lambda: _Handler(server, self)  # noqa: E731 - typed
        server.callback_new_connection = make  # type: ignore[method-assign]  # the hook for it
        try:
            await server.serve_forever(background=True)
        except (RuntimeError, OSError) as error:
            where = self.serial_port or f"{self.host}:{self.port}"
            raise UnavailableError(f"cannot serve at {where}: {error}") from error
        self._server = server
        if self.transport.is_serial:
            await asyncio.sleep(0)  # pymodbus makes a serial line ready in the loop's next round
        else:
            self.port = _port_of(server)

    async def stop(self) -> None:
        """Drop all connections and refuse further ones."""
        server, self._server = self._server, None
        if server is None:
            return
        listening = server.transport
        await server.shutdown()  # type: ignore[no-untyped-call]  # theirs
        await asyncio.sleep(0)  # the transports close in the loop's next round
        if isinstance(listening, asyncio.Server):
            await listening.wait_closed()

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

    async def wait_disconnected(self) -> None:
        """Return when no connection is open."""
        while self.connections:
            self._disconnected.clear()
            await self._disconnected.wait()

    def note_disconnected(self) -> None:
        """A connection was closed."""
        self._disconnected.set()

    @property
    def connections(self) -> list[str]:
        """Names of the connections that are open."""
        return list(self._server.active_connections) if self._server else []

    def tables(self, unit: int) -> Tables:
        """What is in a unit, to look at and to change."""
        return self._memory.tables(unit)

    def note(self, unit: int, function: int, span: range) -> None:
        """Count a request."""
        if unit == CONTROL_UNIT:
            return
        self.counted += 1
        self.writes += function in _WRITING
        if self.keeps_requests:
            self.requests.append((unit, function, span))

    def _make_server(self) -> ModbusBaseServer:
        # The constructor insists on a device; the plant takes its place.
        device = SimDevice(id=1, simdata=SimData(0, datatype=DataType.REGISTERS))
        address = (self.host, self.port)
        match self.transport:
            case Transport.TLS:
                framer = FramerType.SOCKET
                return ModbusTlsServer(device, framer=framer, address=address, sslctx=self._context)
            case Transport.UDP:
                return ModbusUdpServer(device, address=address)
            case Transport.RTU | Transport.ASCII:
                framer = FramerType.RTU if self.transport is Transport.RTU else FramerType.ASCII
                return ModbusSerialServer(
                    device,
                    framer=framer,
                    port=self.serial_port,
                    baudrate=self._baud_rate,
                    parity=self._parity[0].upper(),
                )
            case Transport.RTU_OVER_TCP:
                return ModbusTcpServer(device, framer=FramerType.RTU, address=address)
        return ModbusTcpServer(device, address=address)


def _port_of(server: ModbusBaseServer) -> int:
    listening: Any = server.transport
    if isinstance(listening, asyncio.Server):
        return int(listening.sockets[0].getsockname()[1])
    return int(listening.get_extra_info("sockname")[1])

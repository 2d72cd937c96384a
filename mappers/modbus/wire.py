"""One open Modbus connection: what is sent, and which answer belongs to it.

pymodbus supplies frames and transports. When to ask, how long to wait, and which answer
belongs to which request is decided here: its own client retries, reconnects and closes
connections by rules that do not fit a line shared by many units.
"""

import asyncio
import logging
import ssl
import struct
import termios
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerAscii, FramerBase, FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU, ModbusPDU
from pymodbus.pdu.bit_message import WriteMultipleCoilsRequest
from pymodbus.pdu.register_message import MaskWriteRegisterRequest, WriteMultipleRegistersRequest
from pymodbus.transaction import TransactionManager
from pymodbus.transport import CommParams, CommType

from dmi.errors import DeadlineError, DmiError, UnavailableError
from mappers.modbus.config import ModbusLink, Transport
from mappers.modbus.line import Pacing, seconds_on_line, tls_context

__all__ = ["Wire", "open_wire"]


# ------------------------------------------------------------------ answers ----


class _RawAnswer(ModbusPDU):
    """The answer to a read, its bytes left alone: they are decoded once, by property."""

    rtu_byte_count_pos = 2
    payload = b""

    def decode(self, data: bytes) -> None:
        """Take the bytes behind the byte count."""
        self.payload = data[1:]
        if len(self.payload) != data[0]:
            raise ValueError(f"{len(self.payload)} bytes came, {data[0]} were announced")

    def __str__(self) -> str:
        """Short: pymodbus formats each answer, to log it or not."""
        return type(self).__name__


_ANSWERS = [type(f"_RawAnswer{n}", (_RawAnswer,), {"function_code": n}) for n in (1, 2, 3, 4)]


def _payload_size(request: ModbusPDU) -> int:
    """Bytes of data that a request takes there or brings back."""
    is_bits = request.function_code in {1, 2, 5, 15}
    return (request.count + 7) // 8 if is_bits else 2 * request.count


def _fits(answer: ModbusPDU, request: ModbusPDU, *, numbered: bool) -> bool:
    """Whether an answer can be the one to this request.

    Where a number proves whose it is, a write may be answered with the value that the device chose.
    """
    if answer.function_code & 0x7F != request.function_code:
        return False
    if answer.isError():
        return True
    if isinstance(answer, _RawAnswer):
        return len(answer.payload) == _payload_size(request)
    if answer.address != request.address:
        return False
    if isinstance(request, WriteMultipleRegistersRequest | WriteMultipleCoilsRequest):
        return answer.count == request.count
    if numbered or isinstance(request, MaskWriteRegisterRequest):
        return True
    return (list(answer.registers), list(answer.bits)) == (
        list(request.registers),
        list(request.bits),
    )


# --------------------------------------------------------------- connection ----


class Wire(TransactionManager):
    """One open connection, shared by the units behind it. Its users take turns.

    Attributes:
        link: Settings of the unit that opened it.
        pacing: When its units may be asked.
    """

    def __init__(self, link: ModbusLink, context: ssl.SSLContext | None = None) -> None:
        decoder = DecodePDU(False)
        for answer in _ANSWERS:
            decoder.register(answer)
        framer = _framer_class(link.carrier)(decoder)
        super().__init__(_parameters(link, context), framer, 0, False, None, None, None)
        if context is not None:
            name = link.server_name or link.host
            create: Callable[..., Coroutine[Any, Any, Any]] = self.call_create
            self.call_create = partial(create, server_hostname=name)
        self.link = link
        self._numbered = link.carrier.numbers_requests
        self._is_numbered_stream = link.carrier in {Transport.TCP, Transport.TLS}
        self._request: ModbusPDU | None = None
        self._waiting: asyncio.Future[ModbusPDU] | None = None
        self.pacing = Pacing(numbered=self._numbered)

    async def open(self) -> None:
        """Connect, and keep the pause that the device wants.

        Raises:
            UnavailableError: It cannot be done now; nothing is held.
        """
        try:
            async with asyncio.timeout(self.link.connect_timeout):
                self.transport, _ = await self.call_create()
            # A serial transport becomes ready only in the next turns of the loop.
            await asyncio.sleep(self.link.pause_after_connect)
            await asyncio.sleep(0)
        except TimeoutError as error:
            limit = self.link.connect_timeout
            raise UnavailableError(f"{self.link.endpoint}: no connection in {limit} s") from error
        except (OSError, ValueError, RuntimeError, termios.error) as error:
            raise UnavailableError(f"{self.link.endpoint}: {error}") from error
        except asyncio.CancelledError:
            self.close()
            raise
        if not self.is_active():
            # Perhaps it has as many as it can serve. To connect again at once would not help.
            raise UnavailableError(f"{self.link.endpoint}: the connection was closed at once")

    async def ask(self, request: ModbusPDU, link: ModbusLink) -> ModbusPDU:
        """Send a request and give its answer, which may be an exception response.

        Raises:
            DeadlineError: No answer came in time.
            UnavailableError: The connection broke, or what came was garbage.
        """
        if self.pacing.awaits_late_answer(request.dev_id):
            # Let it through the frame's filter, to be heard and dropped.
            self.request_dev_id, self.request_transaction_id = request.dev_id, 0
        await self.pacing.wait(request.dev_id, link)
        if not self.is_active():
            raise UnavailableError(f"{link.endpoint}: the connection was closed")
        request.transaction_id = self.getNextTID()
        self._request = request
        waiting: asyncio.Future[ModbusPDU] = self.loop.create_future()
        self._waiting = waiting
        seconds = link.timeout + seconds_on_line(_payload_size(request), link)
        alarm = self.loop.call_later(seconds, self._give_up, request.dev_id, link)
        try:
            self.pdu_send(request)
            return await waiting
        except asyncio.CancelledError:
            self.pacing.expect_late(request.dev_id, link)
            if waiting.done() and not waiting.cancelled():
                waiting.exception()  # Seen, although it came too late to matter.
            raise
        finally:
            alarm.cancel()
            self._waiting = self._request = None
            self.pacing.note_end()

    async def shut(self) -> None:
        """Close the connection; safe to call twice."""
        self.close()
        self._fail(UnavailableError(f"{self.link.endpoint}: the connection was closed"))

    def _give_up(self, unit: int, link: ModbusLink) -> None:
        self.pacing.expect_late(unit, link)
        # Half an answer in the buffer: where the next one begins could not be found any more.
        torn = bool(self.recv_buffer) and self._is_numbered_stream
        if self.pacing.note_silence() or torn:
            self.close()
        text = f"unit {unit} at {link.endpoint} did not answer within {link.timeout} s"
        self._fail(DeadlineError(text))

    # ------------------------------------------- called by the transport ----

    def callback_data(self, data: bytes, addr: tuple[Any, ...] | None = None) -> int:
        """Take what has arrived; give how much of it is used up."""
        used = 0
        while used < len(data):
            try:
                step, answer = self.framer.handleFrame(
                    data[used:], self.request_dev_id, self.request_transaction_id
                )
            except (ModbusException, ValueError, IndexError, struct.error) as error:
                self._garbled(str(error))
                return len(data)
            used += step
            if answer is None:
                break
            self._take(answer)
        return used

    def _take(self, answer: ModbusPDU) -> None:
        request, waiting = self._request, self._waiting
        if request is None or waiting is None or waiting.done():
            self.pacing.note_stray(answer.dev_id)
            return
        if self._numbered and answer.transaction_id != request.transaction_id:
            return
        if not _fits(answer, request, numbered=self._numbered):
            if self._numbered:
                self._garbled(f"the answer to function {request.function_code} does not fit it")
            return
        self.pacing.note_answer()
        waiting.set_result(answer)

    def _garbled(self, why: str) -> None:
        if self._waiting is None:
            return
        if self._is_numbered_stream:
            self.close()
        self._fail(
            UnavailableError(f"{self.link.endpoint}: garbage came instead of an answer: {why}")
        )

    def callback_disconnected(self, exc: Exception | None) -> None:
        """The other end closed the connection, or it broke."""
        why = f": {exc}" if exc else ""
        self._fail(UnavailableError(f"{self.link.endpoint}: the connection was lost{why}"))

    def error_received(self, exc: Exception) -> None:
        """UDP: the network says that nobody listens there."""
        self._fail(UnavailableError(f"{self.link.endpoint}: {exc}"))

    def _fail(self, error: DmiError) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)


def _framer_class(carrier: Transport) -> type[FramerBase]:
    match carrier:
        case Transport.RTU | Transport.RTU_OVER_TCP:
            return FramerRTU
        case Transport.ASCII:
            return FramerAscii
    # TLS too: pymodbus's own frame for it cannot put together what two TLS records bring.
    return FramerSocket


def _parameters(link: ModbusLink, context: ssl.SSLContext | None) -> CommParams:
    if link.carrier.is_serial:
        return CommParams(
            comm_name="modbus",
            comm_type=CommType.SERIAL,
            host=str(link.serial_port),
            baudrate=link.baud_rate,
            bytesize=link.data_bits,
            parity=link.parity.value[0].upper(),
            stopbits=link.stop_bits,
            handle_local_echo=link.local_echo,
        )
    kinds = {Transport.TLS: CommType.TLS, Transport.UDP: CommType.UDP}
    return CommParams(
        comm_name="modbus",
        comm_type=kinds.get(link.carrier, CommType.TCP),
        host=str(link.host),
        port=link.tcp_port,
        sslctx=context,
    )


async def open_wire(link: ModbusLink) -> Wire:
    """Open the connection to an endpoint.

    Raises:
        UnavailableError: It cannot be done now, perhaps for a file of TLS; nothing is held.
    """
    # Each thing that pymodbus would log reaches the caller as an error.
    log = logging.getLogger("pymodbus.logging")
    if log.level == logging.NOTSET:
        log.setLevel(logging.CRITICAL)
    context = None
    if link.carrier is Transport.TLS:
        context = await asyncio.to_thread(tls_context, link)
    wire = Wire(link, context)
    await wire.open()
    return wire

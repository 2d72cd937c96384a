"""The Modbus driver: what is asked of one unit; `wire` is the connection, of pymodbus's parts."""

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from pymodbus.pdu import ModbusPDU, ReadCoilsRequest, ReadHoldingRegistersRequest
from pymodbus.pdu.bit_message import (
    ReadDiscreteInputsRequest,
    WriteMultipleCoilsRequest,
    WriteSingleCoilRequest,
)
from pymodbus.pdu.register_message import (
    MaskWriteRegisterRequest,
    ReadInputRegistersRequest,
    WriteMultipleRegistersRequest,
    WriteSingleRegisterRequest,
)

from dmi.errors import OverloadedError, UnavailableError
from dmi.readings import Value
from mapper_sdk.driver import Answer, Driver, Transacting
from mappers.modbus.config import ModbusLink
from mappers.modbus.endpoint import Membership
from mappers.modbus.planner import Span
from mappers.modbus.reader import Reader
from mappers.modbus.refusals import error_of
from mappers.modbus.visit import ModbusVisit, Register
from mappers.modbus.wire import Wire, open_wire
from mappers.modbus.writer import Writer

__all__ = ["ModbusDriver"]

_BUSY_PAUSE = 0.1
"""Seconds after which a unit that is busy is asked again."""

_READS: dict[Register, type[ModbusPDU]] = {
    Register.COIL: ReadCoilsRequest,
    Register.DISCRETE_INPUT: ReadDiscreteInputsRequest,
    Register.HOLDING: ReadHoldingRegistersRequest,
    Register.INPUT: ReadInputRegistersRequest,
}


class ModbusDriver(Driver[ModbusLink, ModbusVisit], Transacting[ModbusVisit]):
    """One unit behind a Modbus endpoint; units of one endpoint share its connection."""

    protocol_name: ClassVar[str] = "modbus"
    link_model: ClassVar[type[ModbusLink]] = ModbusLink
    visit_model: ClassVar[type[ModbusVisit]] = ModbusVisit

    def __init__(self, link: ModbusLink) -> None:
        super().__init__(link)
        self._shared = Membership(link, open_wire)
        self._reader = Reader(link)
        self._writer = Writer(link)
        self._heard = False

    @classmethod
    def bus_key(cls, link: ModbusLink) -> str:
        """The endpoint: one serial line, or one port of one host."""
        return f"modbus:{link.endpoint}"

    async def connect(self) -> None:
        """Open the endpoint's connection, or join the units that have it open already."""
        await self._shared.join(self.bus)
        self._heard = False
        self._reader.start_afresh()

    async def read(self, visits: Sequence[ModbusVisit]) -> Sequence[Answer]:
        """Read everything in the fewest requests; see `Reader`."""
        return await self._reader.read(visits, self.fetch)

    async def write(self, visit: ModbusVisit, value: Value) -> None:
        """Write one property; see `Writer`."""
        await self._writer.write(visit, value, self)

    async def write_together(self, writes: Sequence[tuple[ModbusVisit, Value]]) -> None:
        """Write registers that follow each other by one request; see `Writer`."""
        await self._writer.write_together(writes, self)

    async def close(self) -> None:
        """Leave the connection; the last unit closes it."""
        await self._shared.leave()

    # ------------------------------------------------------------ requests ----

    async def fetch(self, register: Register, span: Span) -> bytes:
        """Read a range of one table; repeated after silence, as the settings say."""
        count = span.end - span.start
        request = _READS[register](address=span.start, count=count, dev_id=self.link.unit)
        retries = self.link.retries if self._heard else 0
        answer = await self._request(
            request, f"reading {count} from {register} {span.start}", retries
        )
        payload: bytes = answer.payload  # type: ignore[attr-defined]  # Wire let only those pass
        return payload

    async def set_bits(self, address: int, bits: Sequence[bool], *, multiple: bool) -> None:
        """Write coils with function 15, or one with function 5."""
        kind = WriteMultipleCoilsRequest if multiple else WriteSingleCoilRequest
        request = kind(address=address, bits=[bool(bit) for bit in bits], dev_id=self.link.unit)
        await self._request(request, f"writing {len(bits)} to CoilRegister {address}")

    async def set_registers(self, address: int, words: Sequence[int], *, multiple: bool) -> None:
        """Write registers with function 16, or one with function 6."""
        kind = WriteMultipleRegistersRequest if multiple else WriteSingleRegisterRequest
        request = kind(address=address, registers=list(words), dev_id=self.link.unit)
        await self._request(request, f"writing {len(words)} to HoldingRegister {address}")

    async def mask_register(self, address: int, and_mask: int, or_mask: int) -> None:
        """Change bits of a register with function 22."""
        request = MaskWriteRegisterRequest(address, and_mask, or_mask, dev_id=self.link.unit)
        await self._request(request, f"writing bits of HoldingRegister {address}")

    async def _request(self, request: ModbusPDU, what: str, retries: int = 0) -> ModbusPDU:
        for left in range(retries, -1, -1):
            wire = await self._shared.wire()
            try:
                return await self._exchange(wire, request, what)
            except OverloadedError:
                if not left:
                    raise
                await asyncio.sleep(_BUSY_PAUSE)
            except UnavailableError:
                if self._shared.drop_if_broken() or not left:
                    raise
        raise AssertionError("the last round returns or raises")

    async def _exchange(self, wire: Wire, request: ModbusPDU, what: str) -> ModbusPDU:
        answer = await wire.ask(request, self.link)
        self._heard = True
        if answer.isError():
            unit = f"unit {self.link.unit} at {self.link.endpoint}"
            raise error_of(answer.exception_code, f"{what} of {unit}")
        return answer

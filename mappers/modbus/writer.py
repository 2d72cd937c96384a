"""Writing one unit: which function writes a property, and what to do where it is missing."""

from collections.abc import Sequence
from typing import Protocol

from dmi.errors import AccessDeniedError, ConfigError, ConversionError, UnsupportedError
from dmi.readings import Value
from mappers.modbus.config import ModbusLink
from mappers.modbus.planner import Span
from mappers.modbus.refusals import ILLEGAL_FUNCTION, Refusal
from mappers.modbus.registers import bytes_to_bits, codec_for
from mappers.modbus.visit import ModbusVisit, Register

__all__ = ["Unit", "Writer"]


class Unit(Protocol):
    """The requests that writing is made of. Each raises Refusal or UnavailableError."""

    async def fetch(self, register: Register, span: Span) -> bytes:
        """Read a range, as `Codec.decode` wants it."""

    async def set_bits(self, address: int, bits: Sequence[bool], *, multiple: bool) -> None:
        """Write coils with function 15, or one with function 5."""

    async def set_registers(self, address: int, words: Sequence[int], *, multiple: bool) -> None:
        """Write registers with function 16, or one with function 6."""

    async def mask_register(self, address: int, and_mask: int, or_mask: int) -> None:
        """Change bits of a register with function 22: (old AND and) OR (or AND NOT and)."""


class Writer:
    """Writes values to one unit, and remembers which functions it lacks."""

    def __init__(self, link: ModbusLink) -> None:
        self._link = link
        self._multiple = {True: link.write_multiple, False: link.write_multiple}
        self._mask = link.mask_write

    async def write(self, visit: ModbusVisit, value: Value, unit: Unit) -> None:
        """Return when the device has accepted the value.

        Raises:
            AccessDeniedError: The table cannot be written.
            ConversionError: The value does not fit.
            ConfigError: It takes more registers than the device lets write at once.
            Refusal: The device said no.
            UnavailableError: It is not known to have arrived.
        """
        if not visit.register_.is_writable:
            raise AccessDeniedError(f"no Modbus function writes a {visit.register_}")
        self._check_size(visit)
        if visit.bit is not None:
            await self._write_bit(visit, value, unit)
            return
        data = codec_for(visit, self._link.byte_order).encode(value)
        if visit.register_.is_bit:
            await self._write_words(True, visit.offset, bytes_to_bits(data, 0, visit.limit), unit)
            return
        words = [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]
        await self._write_words(False, visit.offset, words, unit)

    async def write_together(self, writes: Sequence[tuple[ModbusVisit, Value]], unit: Unit) -> None:
        """Write holding registers that follow each other, by one request of function 16.

        Raises:
            UnsupportedError: They are others, or more than the device lets write at once;
                nothing was written.
            ConversionError: A value does not fit.
            Refusal: The device said no.
            UnavailableError: It is not known to have arrived.
        """
        words: list[int] = []
        ordered = sorted(writes, key=lambda write: write[0].offset)
        first = ordered[0][0].offset
        for visit, value in ordered:
            if visit.register_ is not Register.HOLDING or visit.bit is not None:
                raise UnsupportedError("only whole holding registers are written at once")
            if visit.offset != first + len(words):
                raise UnsupportedError("only registers that follow each other are written at once")
            data = codec_for(visit, self._link.byte_order).encode(value)
            words += [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]
        if len(words) > self._link.max_write_registers:
            raise UnsupportedError("the device does not let so many be written at once")
        try:
            await unit.set_registers(first, words, multiple=True)
        except Refusal as refusal:
            if refusal.code != ILLEGAL_FUNCTION:
                raise
            raise UnsupportedError("the device has no function 16") from refusal

    def _check_size(self, visit: ModbusVisit) -> None:
        most, name = self._link.max_write_registers, "maxWriteRegisters"
        if visit.register_.is_bit:
            most, name = self._link.max_write_coils, "maxWriteCoils"
        if visit.limit > most:
            raise ConfigError(f"limit {visit.limit} is more than the device's {name} of {most}")

    async def _write_words(
        self, bits: bool, address: int, words: Sequence[int], unit: Unit
    ) -> None:
        """Write one by the function for one; a device without it gets the one for several."""
        single = len(words) == 1 and not self._multiple[bits]
        send = unit.set_bits if bits else unit.set_registers
        try:
            await send(address, words, multiple=not single)  # type: ignore[arg-type]  # 0 and 1
        except Refusal as refusal:
            if not single or refusal.code != ILLEGAL_FUNCTION:
                raise
            await send(address, words, multiple=True)  # type: ignore[arg-type]  # 0 and 1
            self._multiple[bits] = True

    async def _write_bit(self, visit: ModbusVisit, value: Value, unit: Unit) -> None:
        if not isinstance(value, int):
            raise ConversionError(f"{value!r} is not true or false")
        mask = int.from_bytes(codec_for(visit).encode(True), "big")
        and_mask, or_mask = ~mask & 0xFFFF, mask if value else 0
        if self._mask:
            try:
                await unit.mask_register(visit.offset, and_mask, or_mask)
            except Refusal as refusal:
                if refusal.code != ILLEGAL_FUNCTION:
                    raise
                self._mask = False
            else:
                return
        # The bus is held all the while, so no other write of ours can come in between.
        old = await unit.fetch(Register.HOLDING, Span(visit.offset, visit.offset + 1))
        word = int.from_bytes(old, "big") & and_mask | or_mask
        await self._write_words(False, visit.offset, [word], unit)

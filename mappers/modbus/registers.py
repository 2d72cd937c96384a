"""What registers and bits mean: bytes from the wire to values, and back."""

import json
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dmi.errors import ConversionError
from dmi.readings import Value
from mappers.modbus.visit import ByteOrder, ModbusVisit, ValueType, width_of

__all__ = ["Codec", "bits_to_bytes", "bytes_to_bits", "codec_for"]

_FORMATS = {
    ValueType.INT16: "h",
    ValueType.UINT16: "H",
    ValueType.INT32: "i",
    ValueType.UINT32: "I",
    ValueType.INT64: "q",
    ValueType.UINT64: "Q",
    ValueType.FLOAT32: "f",
    ValueType.FLOAT64: "d",
}
_FLOATS = {ValueType.FLOAT32, ValueType.FLOAT64}


@dataclass(frozen=True, slots=True)
class Codec:
    """How one property's registers or bits become a value.

    Attributes:
        decode: From the bytes of an answer, which begin `start` registers (or bits) before
            the property. Registers are two bytes each, the high byte first; bits are eight
            to a byte, the lowest first. Raises ConversionError.
        encode: To the bytes of a request, in the same form. Raises ConversionError.

    Source:
        MODBUS Application Protocol V1.1b3, section 4.2 (big-endian), 6.1 (order of bits).
    """

    decode: Callable[[bytes, int], Value]
    encode: Callable[[Value], bytes]


def codec_for(visit: ModbusVisit, device_order: ByteOrder | None = None) -> Codec:
    """Make the codec of a property.

    Args:
        visit: Its settings.
        device_order: The device's order of 32 and 64 bit numbers; the property's own wins.
    """
    if visit.register_.is_bit:
        return _bit_array(visit) if visit.is_array else _single_bit(visit)
    order = visit.order or ByteOrder.ABCD
    match visit.type:
        case ValueType.STRING:
            return _text(visit, order)
        case ValueType.BYTES:
            return _raw(visit, order)
        case ValueType.BOOL if not visit.is_array:
            return _flag(visit, order)
    value_type = visit.type or ValueType.UINT16
    if width_of(value_type) > 1:
        order = visit.order or device_order or ByteOrder.ABCD
    return _number_array(visit, order) if visit.is_array else _number(visit, order)


# ---------------------------------------------------------------- numbers ----


def _packing(value_type: ValueType, order: ByteOrder, count: int) -> tuple[struct.Struct, bool]:
    """The `struct` for `count` values, and whether the bytes of registers change places first.

    The bytes of BADC and DCBA, swapped in each register, are those of ABCD and CDAB; what is
    left of DCBA without that is plain little-endian, which `struct` reads by itself.
    """
    letter = _FORMATS.get(value_type, "H")
    little = order.swaps_registers
    return struct.Struct(f"{'<' if little else '>'}{count}{letter}"), little != order.swaps_bytes


def _number(visit: ModbusVisit, order: ByteOrder) -> Codec:
    value_type = visit.type or ValueType.UINT16
    packing, swapped = _packing(value_type, order, 1)
    size = packing.size
    unpack_from = packing.unpack_from

    def decode(data: bytes, start: int) -> Value:
        value: Value = unpack_from(data, 2 * start)[0]
        return value

    def decode_swapped(data: bytes, start: int) -> Value:
        value: Value = packing.unpack(swap_bytes(data[2 * start : 2 * start + size]))[0]
        return value

    def encode(value: Value) -> bytes:
        data = _pack(packing, [_fit(value, value_type)], value_type)
        return swap_bytes(data) if swapped else data

    return Codec(decode_swapped if swapped else decode, encode)


def _number_array(visit: ModbusVisit, order: ByteOrder) -> Codec:
    value_type = visit.type or ValueType.UINT16
    packing, swapped = _packing(value_type, order, visit.count)
    size = packing.size

    def decode(data: bytes, start: int) -> Value:
        part = data[2 * start : 2 * start + size]
        values = packing.unpack(swap_bytes(part) if swapped else part)
        if value_type is ValueType.BOOL:
            return _to_json([value != 0 for value in values])
        return _to_json(values)

    def encode(value: Value) -> bytes:
        items = [_fit(item, value_type) for item in _from_json(value, visit.count)]
        data = _pack(packing, items, value_type)
        return swap_bytes(data) if swapped else data

    return Codec(decode, encode)


def _pack(packing: struct.Struct, values: Sequence[int | float], value_type: ValueType) -> bytes:
    try:
        return packing.pack(*values)
    except (struct.error, OverflowError) as error:
        given = values[0] if len(values) == 1 else list(values)
        raise ConversionError(f"{given} does not fit into {value_type}") from error


def _fit(value: object, value_type: ValueType) -> int | float:
    """The number to be packed; what lies between two whole ones goes to the nearest."""
    if not isinstance(value, int | float):
        raise ConversionError(f"{value!r} is not a number")
    if value_type is ValueType.BOOL:
        return int(bool(value))
    if value_type in _FLOATS:
        return value
    if not math.isfinite(value):
        raise ConversionError(f"{value} does not fit into {value_type}")
    return round(value)


def swap_bytes(data: bytes) -> bytes:
    """Exchange the two bytes of each register."""
    swapped = bytearray(len(data))
    swapped[0::2] = data[1::2]
    swapped[1::2] = data[0::2]
    return bytes(swapped)


def _flag(visit: ModbusVisit, order: ByteOrder) -> Codec:
    """A whole register, or one bit of it, as a boolean. One bit is written by a mask, not here."""
    mask = 0xFFFF if visit.bit is None else 1 << visit.bit
    little = order.swaps_bytes
    first, second = (1, 0) if little else (0, 1)
    high, low = mask >> 8, mask & 0xFF

    def decode(data: bytes, start: int) -> Value:
        at = 2 * start
        return bool(data[at + first] & high or data[at + second] & low)

    def encode(value: Value) -> bytes:
        number = (1 if visit.bit is None else mask) if _fit(value, ValueType.BOOL) else 0
        return number.to_bytes(2, "little" if little else "big")

    return Codec(decode, encode)


# ----------------------------------------------------------- text and bytes ----


def _ordered(data: bytes, order: ByteOrder) -> bytes:
    """Undo, or make, an order: each of the two steps is its own reverse."""
    if order.swaps_registers:
        data = b"".join(data[i : i + 2] for i in range(len(data) - 2, -2, -2))
    return swap_bytes(data) if order.swaps_bytes else data


def _text(visit: ModbusVisit, order: ByteOrder) -> Codec:
    size = 2 * visit.limit
    encoding = visit.encoding
    end = "\0".encode(encoding)

    def decode(data: bytes, start: int) -> Value:
        part = _ordered(data[2 * start : 2 * start + size], order)
        # What lies behind the end may be anything.
        stops = (i for i in range(0, size, len(end)) if part[i : i + len(end)] == end)
        part = part[: next(stops, size)]
        try:
            return part.decode(encoding).rstrip(" ")
        except UnicodeDecodeError as error:
            raise ConversionError(f"0x{part.hex()} is not {encoding} text") from error

    def encode(value: Value) -> bytes:
        if not isinstance(value, str):
            raise ConversionError(f"{value!r} is not text")
        try:
            data = value.encode(encoding)
        except UnicodeEncodeError as error:
            raise ConversionError(f"{value!r} cannot be written in {encoding}") from error
        if len(data) > size:
            raise ConversionError(f"{value!r} takes {len(data)} bytes; there is room for {size}")
        return _ordered(data + end * ((size - len(data)) // len(end)), order)

    return Codec(decode, encode)


def _raw(visit: ModbusVisit, order: ByteOrder) -> Codec:
    size = 2 * visit.limit

    def decode(data: bytes, start: int) -> Value:
        return _ordered(data[2 * start : 2 * start + size], order)

    def encode(value: Value) -> bytes:
        if not isinstance(value, bytes):
            raise ConversionError(f"{value!r} is not bytes")
        if len(value) != size:
            raise ConversionError(f"{len(value)} bytes are given; the registers hold {size}")
        return _ordered(value, order)

    return Codec(decode, encode)


# ------------------------------------------------------------------- bits ----


def bytes_to_bits(data: bytes, start: int, count: int) -> list[bool]:
    """Take `count` bits, eight to a byte, the lowest first."""
    return [bool(data[i >> 3] >> (i & 7) & 1) for i in range(start, start + count)]


def bits_to_bytes(bits: Sequence[bool]) -> bytes:
    """Put bits eight to a byte, the lowest first."""
    number = sum(1 << place for place, bit in enumerate(bits) if bit)
    return number.to_bytes((len(bits) + 7) // 8, "little")


def _single_bit(visit: ModbusVisit) -> Codec:
    is_number = visit.type is not ValueType.BOOL

    def decode(data: bytes, start: int) -> Value:
        bit = data[start >> 3] >> (start & 7) & 1
        return bit if is_number else bit == 1

    def encode(value: Value) -> bytes:
        number = _fit(value, ValueType.UINT16)
        if number not in {0, 1}:
            raise ConversionError(f"{value!r} does not fit into one bit")
        return bytes([int(number)])

    return Codec(decode, encode)


def _bit_array(visit: ModbusVisit) -> Codec:
    is_number = visit.type is not ValueType.BOOL

    def decode(data: bytes, start: int) -> Value:
        bits = bytes_to_bits(data, start, visit.count)
        return _to_json([int(bit) for bit in bits] if is_number else bits)

    def encode(value: Value) -> bytes:
        items = _from_json(value, visit.count)
        return bits_to_bytes([bool(_fit(item, ValueType.BOOL)) for item in items])

    return Codec(decode, encode)


# ----------------------------------------------------------------- arrays ----


def _to_json(values: Sequence[int | float]) -> str:
    """A list as JSON text; what is no number becomes null, as JSON has no word for it."""
    clean = [None if v != v or v in {math.inf, -math.inf} else v for v in values]
    return json.dumps(clean, separators=(",", ":"))


def _from_json(value: Value, count: int) -> list[object]:
    if not isinstance(value, str):
        raise ConversionError(f"{value!r} is not a JSON list in text")
    try:
        items = json.loads(value)
    except json.JSONDecodeError as error:
        raise ConversionError(f"{value!r} is not a JSON list: {error}") from error
    if not isinstance(items, list) or len(items) != count:
        raise ConversionError(f"{value!r} is not a JSON list of {count}")
    return items

"""Values in bytes: typed fields, as characteristics and one's own advertisements hold them.

Sources: Bluetooth GATT Specification Supplement (types); IEEE 11073-20601 (SFLOAT, FLOAT).
"""

import math
import struct
from enum import StrEnum
from typing import Literal, NamedTuple

from dmi.errors import ConversionError
from dmi.readings import Value

__all__ = ["Endianness", "FieldType", "Layout", "decode_field", "encode_field"]


class FieldType(StrEnum):
    """What the bytes of a field mean."""

    BOOL = "bool"
    INT8 = "int8"
    UINT8 = "uint8"
    INT16 = "int16"
    UINT16 = "uint16"
    INT24 = "int24"
    UINT24 = "uint24"
    INT32 = "int32"
    UINT32 = "uint32"
    INT40 = "int40"
    UINT40 = "uint40"
    INT48 = "int48"
    UINT48 = "uint48"
    INT56 = "int56"
    UINT56 = "uint56"
    INT64 = "int64"
    UINT64 = "uint64"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    SFLOAT = "sfloat"
    FLOAT = "float"
    STRING = "string"
    BYTES = "bytes"

    @property
    def size(self) -> int:
        """Bytes that it takes; 0 for text and bytes, which take what they are given."""
        return _SIZES.get(self, 0)

    @property
    def is_whole(self) -> bool:
        """Whether it is a whole number."""
        return self.value.lstrip("u").startswith("int")


_SIZES = {
    FieldType.BOOL: 1,
    FieldType.FLOAT32: 4,
    FieldType.FLOAT64: 8,
    FieldType.SFLOAT: 2,
    FieldType.FLOAT: 4,
}
_SIZES |= {
    kind: int(kind.value.lstrip("uint")) // 8
    for kind in FieldType
    if kind.value.lstrip("u").startswith("int")
}


class Endianness(StrEnum):
    """Which byte comes first. GATT says: the least significant."""

    LITTLE = "little"
    BIG = "big"


class Layout(NamedTuple):
    """Where a field is and what it is.

    Attributes:
        offset: First byte.
        length: Bytes, for text and bytes; 0 for all that follow.
        bit: Lowest bit of a part of a whole number; None for all of it.
        bits: How many bits that part has.
    """

    type: FieldType
    offset: int = 0
    length: int = 0
    endianness: Endianness = Endianness.LITTLE
    bit: int | None = None
    bits: int = 1


def decode_field(data: bytes, layout: Layout) -> Value:
    """Read a field.

    Raises:
        ConversionError: The data is too short, or holds no number there.
    """
    size = layout.type.size or layout.length or max(0, len(data) - layout.offset)
    raw = data[layout.offset : layout.offset + size]
    if len(raw) < size:
        raise ConversionError(
            f"{layout.type} at byte {layout.offset} needs {size} bytes; there are {len(raw)}"
        )
    if layout.type is FieldType.BYTES:
        return raw
    if layout.type is FieldType.STRING:
        return raw.split(b"\0", 1)[0].decode(errors="replace")
    return _decode_number(raw, layout)


def _decode_number(raw: bytes, layout: Layout) -> Value:
    kind, order = layout.type, layout.endianness
    if layout.bit is not None:
        part = int.from_bytes(raw, order.value) >> layout.bit & (1 << layout.bits) - 1
        return part != 0 if kind is FieldType.BOOL or layout.bits == 1 else part
    if kind is FieldType.BOOL:
        return raw != b"\0"
    if kind in (FieldType.SFLOAT, FieldType.FLOAT):
        return _decode_medical(int.from_bytes(raw, order.value), len(raw) * 8)
    if kind in (FieldType.FLOAT32, FieldType.FLOAT64):
        mark = "<" if order is Endianness.LITTLE else ">"
        number: float = struct.unpack(f"{mark}{'f' if len(raw) == 4 else 'd'}", raw)[0]
        return number
    return int.from_bytes(raw, order.value, signed=not kind.startswith("u"))


def encode_field(value: Value, layout: Layout, whole: bytes = b"") -> bytes:
    """Make the bytes of a characteristic that holds this value.

    Args:
        value: What is written.
        layout: Where it belongs.
        whole: What the characteristic holds now; kept around the field. May be empty where
            the field is all of it.

    Raises:
        ConversionError: The value does not fit.
    """
    raw = _encode(value, layout, whole)
    if not layout.offset and len(whole) <= len(raw):
        return raw
    start = whole[: layout.offset].ljust(layout.offset, b"\0")
    return start + raw + whole[layout.offset + len(raw) :]


def _encode(value: Value, layout: Layout, whole: bytes) -> bytes:
    kind = layout.type
    if kind in (FieldType.STRING, FieldType.BYTES):
        return _encode_text(value, layout)
    if not isinstance(value, (int, float)):
        raise ConversionError(f"{value!r} is not a number")
    if not math.isfinite(value):
        raise ConversionError(f"{value!r} is not a number")
    if layout.bit is not None:
        return _encode_bits(value, layout, whole)
    if kind is FieldType.BOOL:
        return bytes([bool(value)])
    if kind in (FieldType.SFLOAT, FieldType.FLOAT):
        raw = _encode_medical(value, kind.size * 8)
        return raw.to_bytes(kind.size, layout.endianness.value)
    if kind in (FieldType.FLOAT32, FieldType.FLOAT64):
        mark = "<" if layout.endianness is Endianness.LITTLE else ">"
        try:
            return struct.pack(f"{mark}{'f' if kind.size == 4 else 'd'}", value)
        except OverflowError as error:
            raise ConversionError(f"{value!r} does not fit {kind}") from error
    try:
        # Scaling leaves 20.3 / 0.01 a hair beside 2030: the nearest whole number is meant.
        number = value if isinstance(value, int) else math.floor(value + 0.5)
        return number.to_bytes(kind.size, layout.endianness.value, signed=not kind.startswith("u"))
    except OverflowError as error:
        raise ConversionError(f"{value!r} does not fit {kind}") from error


def _encode_text(value: Value, layout: Layout) -> bytes:
    if isinstance(value, str):
        raw = value.encode()
    elif isinstance(value, bytes):
        raw = value
    else:
        raise ConversionError(f"{value!r} is neither text nor bytes")
    if layout.length and len(raw) > layout.length:
        raise ConversionError(f"{len(raw)} bytes do not fit {layout.length}")
    return raw.ljust(layout.length, b"\0") if layout.type is FieldType.STRING else raw


def _encode_bits(value: float, layout: Layout, whole: bytes) -> bytes:
    size = layout.type.size
    order: Literal["little", "big"] = layout.endianness.value
    most = (1 << layout.bits) - 1
    if int(value) != value or not 0 <= value <= most:
        raise ConversionError(f"{value!r} does not fit {layout.bits} bits")
    shift = layout.bit or 0
    old = int.from_bytes(whole[layout.offset : layout.offset + size].ljust(size, b"\0"), order)
    return (old & ~(most << shift) | int(value) << shift).to_bytes(size, order)


# ------------------------------------------------------------- IEEE 11073 ----

_MANTISSA = {16: 12, 32: 24}


def _decode_medical(raw: int, width: int) -> float:
    """Mantissa and power of ten; five mantissas are no numbers."""
    bits = _MANTISSA[width]
    mantissa, exponent = raw & (1 << bits) - 1, raw >> bits
    largest = (1 << bits - 1) - 1
    if largest - 1 <= mantissa <= largest + 3 and exponent == 0:
        words = ("+infinity", "not a number", "not at this resolution", "reserved", "-infinity")
        raise ConversionError(f"the device says: {words[mantissa - largest + 1]}")
    if mantissa > largest:
        mantissa -= 1 << bits
    exponent_bits = width - bits
    if exponent >= 1 << exponent_bits - 1:
        exponent -= 1 << exponent_bits
    return mantissa * 10.0**exponent if exponent >= 0 else mantissa / 10.0**-exponent


def _encode_medical(value: float, width: int) -> int:
    bits = _MANTISSA[width]
    largest = (1 << bits - 1) - 3
    lowest, highest = -(1 << width - bits - 1), (1 << width - bits - 1) - 1
    for exponent in range(lowest, highest + 1):
        scaled = value / 10.0**exponent if exponent >= 0 else value * 10.0**-exponent
        mantissa = round(scaled)
        if abs(mantissa) > largest:
            continue
        while mantissa and mantissa % 10 == 0 and exponent < 0:
            mantissa, exponent = mantissa // 10, exponent + 1
        return (exponent & (1 << width - bits) - 1) << bits | mantissa & (1 << bits) - 1
    raise ConversionError(f"{value!r} does not fit")

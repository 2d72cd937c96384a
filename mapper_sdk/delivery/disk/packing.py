"""Readings as bytes: column by column, as JSON, compressed; exact for every value there is."""

import base64
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import orjson

from dmi.readings import Quality, Reading, Value

__all__ = ["PackedError", "pack", "packed", "unpack", "unpack_times", "weight"]

_LEVEL: Final = 1
"""Each further level takes longer than it saves."""
_ROW: Final = 1000
_HEAVY: Final = 2**20
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1

Odd = tuple[int, str, str]
"""A value that JSON has no form for: its index, what it is, its text."""


class PackedError(ValueError):
    """The bytes are not what `pack` made."""


def weight(readings: Iterable[Reading]) -> int:
    """How much text and bytes there are in all the values."""
    return sum(len(r.value) for r in readings if isinstance(r.value, (str, bytes)))


def packed(routes: Sequence[int], readings: Sequence[Reading]) -> Iterator[tuple[int, bytes]]:
    """Put readings into rows: how many, and their bytes, see `pack`.

    A row has a thousand readings, or about 1 MiB where their values are large.
    """
    start = heavy = 0
    for end, reading in enumerate(readings):
        if end - start == _ROW or heavy >= _HEAVY:
            yield end - start, pack(routes[start:end], readings[start:end])
            start, heavy = end, 0
        if isinstance(reading.value, (str, bytes)):
            heavy += len(reading.value)
    if readings:
        yield len(readings) - start, pack(routes[start:], readings[start:])


def pack(routes: Sequence[int], readings: Sequence[Reading]) -> bytes:
    """Put readings into bytes.

    Args:
        routes: For each reading the number of its route.
        readings: As many.
    """
    values: list[Value | None] = [reading.value for reading in readings]
    odd = _take_out(values, strings=False)
    marks = [
        (index, int(reading.quality), reading.reason)
        for index, reading in enumerate(readings)
        if reading.quality or reading.reason
    ]
    times = [reading.time for reading in readings]
    try:
        data = orjson.dumps((routes, times, values, odd, marks))
    except orjson.JSONEncodeError:
        # Some text has half of a surrogate pair in it, which UTF-8 cannot carry.
        odd += _take_out(values, strings=True)
        marks = [(index, quality, _encodable(reason)) for index, quality, reason in marks]
        data = orjson.dumps((routes, times, values, odd, marks))
    return zlib.compress(data, _LEVEL)


def unpack(data: bytes) -> tuple[list[int], list[Reading]]:
    """Give routes and readings back.

    Raises:
        PackedError: The bytes are damaged.
    """
    try:
        routes, times, values, odd, marks = _parts(data)
        for index, kind, text in odd:
            values[index] = _FROM_TEXT[kind](text)
        readings = [Reading(value, time) for value, time in zip(values, times, strict=True)]
        for index, quality, reason in marks:
            readings[index].quality = Quality(quality)
            readings[index].reason = reason
    except (ValueError, TypeError, LookupError) as error:
        raise PackedError(str(error)) from error
    if len(routes) != len(readings):
        raise PackedError(f"{len(routes)} routes for {len(readings)} readings")
    return routes, readings


def unpack_times(data: bytes) -> tuple[list[int], list[float]]:
    """Give back only routes and times, for counting.

    Raises:
        PackedError: The bytes are damaged.
    """
    try:
        routes, times, *_ = _parts(data)
    except (ValueError, TypeError) as error:
        raise PackedError(str(error)) from error
    return routes, times


def _parts(
    data: bytes,
) -> tuple[list[int], list[float], list[Value | None], list[Odd], list[tuple[int, int, str]]]:
    try:
        routes, times, values, odd, marks = orjson.loads(zlib.decompress(data))
    except zlib.error as error:
        raise PackedError(str(error)) from error
    return routes, times, values, odd, marks


def _take_out(values: list[Value | None], *, strings: bool) -> list[Odd]:
    """Replace by None what JSON cannot carry, and give it as text."""
    odd: list[Odd] = []
    for index, value in enumerate(values):
        if not _is_plain(value, strings=strings):
            odd.append((index, *_to_text(value)))
            values[index] = None
    return odd


def _is_plain(value: Value | None, *, strings: bool) -> bool:
    if isinstance(value, float):
        return value - value == 0.0  # only infinity and not-a-number differ from themselves
    if isinstance(value, int):
        return _INT_MIN <= value <= _INT_MAX
    return value is None or (isinstance(value, str) and not strings)


def _to_text(value: Value | None) -> tuple[str, str]:
    match value:
        case bytes():
            return "bytes", base64.b64encode(value).decode()
        case str():
            return "text", base64.b64encode(value.encode("utf-8", "surrogatepass")).decode()
        case float():
            return "float", str(value)
    return "int", hex(value or 0)


_FROM_TEXT: Final[dict[str, Callable[[str], Value]]] = {
    "bytes": base64.b64decode,
    "text": lambda text: base64.b64decode(text).decode("utf-8", "surrogatepass"),
    "float": float,
    "int": lambda text: int(text, 16),  # in decimal, Python refuses very long ones
}


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()

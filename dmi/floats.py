"""Floating point as text: the shortest decimal that reads back the same, in 32 and 64 bits.

This is how Go prints with strconv.FormatFloat(x, 'f', -1, bits), and hence how values look
that come from EdgeCore and from Go mappers.
"""

import math
import struct
from collections.abc import Iterator
from decimal import Decimal

__all__ = ["FLOAT32_LIMIT", "float32_text", "float64_text", "narrow", "round_float32"]

FLOAT32_LIMIT = 3.4028235677973366e38
"""Halfway between the greatest 32-bit float and the next one: from here on it overflows."""

# "<f" and not "f": only the former refuses numbers beyond the range.
_SINGLE = struct.Struct("<f")
# Any 6 digits survive a 32-bit float, and 9 always identify one; below the normal
# numbers fewer digits are enough, and the shortest must be searched from 1.
_SURE_DIGITS = 6
_MAX_DIGITS = 9
_SMALLEST_NORMAL = 2.0**-126
_MANTISSA_OF_POWER = 0.5


def narrow(number: float) -> float:
    """The nearest 32-bit float.

    Raises:
        OverflowError: The number is beyond the 32-bit range.
    """
    return float(_SINGLE.unpack(_SINGLE.pack(number))[0])


def float32_text(number: float) -> str:
    """Shortest decimal, without exponent, that identifies the nearest 32-bit float.

    Raises:
        OverflowError: The number is beyond the 32-bit range.
    """
    return _plain(_shortest32(number))


def round_float32(number: float) -> float:
    """The number that `float32_text` shows: 0.1 for the 32-bit float 0.10000000149011612.

    Raises:
        OverflowError: The number is beyond the 32-bit range.
    """
    return float(_shortest32(number))


def float64_text(number: float) -> str:
    """Shortest decimal, without exponent, that identifies this 64-bit float."""
    return _plain(repr(number))


def _shortest32(number: float) -> str:
    single = narrow(number)
    first = _SURE_DIGITS if abs(single) >= _SMALLEST_NORMAL else 1
    for digits in range(first, _MAX_DIGITS):
        for text in _candidates(single, digits):
            near = float(text)
            if abs(near) < FLOAT32_LIMIT and narrow(near) == single:
                return text
    return f"{single:.{_MAX_DIGITS}g}"


def _candidates(single: float, digits: int) -> Iterator[str]:
    """The nearest decimal of so many digits; at a power of two also the next one outwards.

    There the 32-bit floats lie twice as close on the side of zero: the nearest decimal may
    belong to that neighbour while the one on the far side is still ours.
    """
    yield f"{single:.{digits}g}"
    if abs(math.frexp(single)[0]) != _MANTISSA_OF_POWER:
        return
    nearest = Decimal(f"{single:.{digits - 1}e}")
    step = Decimal(1).scaleb(nearest.adjusted() - digits + 1)
    yield str(nearest + step.copy_sign(nearest))


def _plain(text: str) -> str:
    if "e" in text or "E" in text:
        text = format(Decimal(text), "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text

"""Shortest decimals: against a search over all shorter ones, and against known Go output."""

import struct
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dmi.floats import FLOAT32_LIMIT, float32_text, float64_text, narrow, round_float32

SINGLES = st.integers(0, 0x7F7FFFFF).map(
    lambda bits: struct.unpack("<f", struct.pack("<I", bits))[0]
)
POWERS = [2.0**exponent for exponent in range(-149, 128)]


def neighbour(single: float, step: int) -> Fraction:
    bits = struct.unpack("<i", struct.pack("<f", single))[0] + step
    if bits == 0x7F800000:
        return Fraction(2**128)
    return Fraction(struct.unpack("<f", struct.pack("<i", bits))[0])


def shorter_exists(single: float, digits: int) -> bool:
    """Whether a decimal of so many digits reads back as this positive float (exact search)."""
    here = Fraction(single)
    low = (here + neighbour(single, -1)) / 2
    high = (here + neighbour(single, 1)) / 2
    exponent = Decimal(repr(single)).adjusted() - digits + 1
    unit = Fraction(10) ** exponent
    even = struct.unpack("<I", struct.pack("<f", single))[0] % 2 == 0
    first = -(-low // unit)
    return any(
        low < step * unit < high or (even and step * unit in (low, high))
        for step in range(first, first + 3)
    )


def digits_of(text: str) -> int:
    return len(Decimal(text).normalize().as_tuple().digits)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (0.1, "0.1"),
        (struct.unpack("f", struct.pack("f", 0.1))[0], "0.1"),
        (1.0, "1"),
        (-731.5, "-731.5"),
        (16777217.0, "16777216"),
        (1e10, "10000000000"),
        (1e-7, "0.0000001"),
        (1e-45, "0." + "0" * 44 + "1"),
        (3.4028234663852886e38, "34028235" + "0" * 31),
        (-3.4028234663852886e38, "-34028235" + "0" * 31),
        (2.0**-126, "0." + "0" * 37 + "11754944"),
        (9.5367431640625e-07, "0.0000009536743"),
        (13.148581504821777, "13.1485815"),
    ],
)
def test_32_bits_as_go_prints_them(number, text):
    assert float32_text(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.1, "0.1"),
        (1.0, "1"),
        (100.0, "100"),
        (1e22, "1" + "0" * 22),
        (1e300, "1" + "0" * 300),
        (5e-324, "0." + "0" * 323 + "5"),
        (-1.5e-9, "-0.0000000015"),
        (0.30000000000000004, "0.30000000000000004"),
    ],
)
def test_64_bits_as_go_prints_them(number, text):
    assert float64_text(number) == text


@given(SINGLES)
@example(3.4028234663852886e38)
@example(9.5367431640625e-07)
@example(13.148581504821777)
def test_the_shortest_decimal_reads_back_the_same(single):
    text = float32_text(single)
    assert "e" not in text.lower()
    assert narrow(float(text)) == single
    assert narrow(round_float32(single)) == single
    if single:
        assert not shorter_exists(single, digits_of(text) - 1) or digits_of(text) == 1


@pytest.mark.parametrize("power", POWERS)
def test_no_shorter_decimal_at_powers_of_two(power):
    text = float32_text(power)
    assert narrow(float(text)) == power
    assert digits_of(text) == 1 or not shorter_exists(power, digits_of(text) - 1)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_64_bits_read_back_the_same(number):
    text = float64_text(number)
    assert float(text) == number
    assert set(text) <= set("-.0123456789")


def test_beyond_32_bits_overflows():
    with pytest.raises(OverflowError):
        float32_text(FLOAT32_LIMIT)
    assert narrow(3.4028235677973362e38) == 3.4028234663852886e38


def test_rounding_keeps_what_people_typed():
    assert round_float32(narrow(23.1)) == 23.1

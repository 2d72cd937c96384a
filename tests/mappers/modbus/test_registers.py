import json
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmi.errors import ConversionError
from mappers.modbus.registers import bits_to_bytes, bytes_to_bits, codec_for
from mappers.modbus.visit import ByteOrder, ModbusVisit

NUMBERS = {
    "int16": st.integers(-(2**15), 2**15 - 1),
    "uint16": st.integers(0, 2**16 - 1),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "uint32": st.integers(0, 2**32 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "uint64": st.integers(0, 2**64 - 1),
    "float32": st.floats(width=32, allow_nan=False),
    "float64": st.floats(allow_nan=False),
}
ORDERS = st.sampled_from(list(ByteOrder))


def codec(device_order=None, **settings):
    return codec_for(ModbusVisit.model_validate(settings), device_order)


# 0x0A0B0C0D and 0x0102030405060708 as a device with each order sends them.
@pytest.mark.parametrize(
    ("order", "wire"),
    [("ABCD", "0a0b0c0d"), ("BADC", "0b0a0d0c"), ("CDAB", "0c0d0a0b"), ("DCBA", "0d0c0b0a")],
)
def test_orders_of_32_bits(order, wire):
    made = codec(type="uint32", byteOrder=order)
    assert made.decode(bytes.fromhex(wire), 0) == 0x0A0B0C0D
    assert made.encode(0x0A0B0C0D).hex() == wire


@pytest.mark.parametrize(
    ("order", "wire"),
    [
        ("ABCDEFGH", "0102030405060708"),
        ("BADCFEHG", "0201040306050807"),
        ("GHEFCDAB", "0708050603040102"),
        ("HGFEDCBA", "0807060504030201"),
    ],
)
def test_orders_of_64_bits(order, wire):
    made = codec(type="uint64", byteOrder=order)
    assert made.decode(bytes.fromhex(wire), 0) == 0x0102030405060708
    assert made.encode(0x0102030405060708).hex() == wire


@pytest.mark.parametrize(
    ("order", "wire"),
    [("ABCD", "0102"), ("CDAB", "0102"), ("BADC", "0201"), ("DCBA", "0201")],
)
def test_a_single_register_has_bytes_to_swap_but_no_other_register(order, wire):
    assert codec(type="uint16", byteOrder=order).decode(bytes.fromhex(wire), 0) == 0x0102


def test_the_device_order_is_for_32_and_64_bits_only():
    data = bytes.fromhex("0c0d0a0b")
    assert codec(ByteOrder.CDAB, type="uint32").decode(data, 0) == 0x0A0B0C0D
    assert codec(ByteOrder.DCBA, type="uint16").decode(data, 0) == 0x0C0D
    assert codec(ByteOrder.DCBA, type="bytes", limit=2).decode(data, 0) == data


def test_the_property_order_wins_over_the_device_order():
    made = codec(ByteOrder.CDAB, type="uint32", byteOrder="ABCD")
    assert made.decode(bytes.fromhex("0a0b0c0d"), 0) == 0x0A0B0C0D


@pytest.mark.parametrize(
    ("settings", "wire", "value"),
    [
        ({"type": "int16"}, "fffe", -2),
        ({"type": "float32"}, "41200000", 10.0),
        ({"type": "float64"}, "c02e000000000000", -15.0),
        ({"type": "bool"}, "0100", True),
        ({"type": "bool"}, "0000", False),
        ({"type": "bytes", "limit": 2}, "00ff0102", b"\x00\xff\x01\x02"),
        ({"type": "string", "limit": 4}, "4d6574657200ffff", "Meter"),
        ({"type": "string", "limit": 4}, "4d65746572202020", "Meter"),
        ({"type": "string", "limit": 3, "isSwap": True}, "654d65740072", "Meter"),
        ({"type": "string", "limit": 2, "isRegisterSwap": True}, "43444142", "ABCD"),
        ({"type": "string", "limit": 1, "encoding": "latin-1"}, "b043", "°C"),
        ({"type": "string", "limit": 2, "encoding": "utf-16-be"}, "00410000", "A"),
        ({"bit": 0}, "0001", True),
        ({"bit": 15}, "8000", True),
        ({"bit": 15}, "7fff", False),
        ({"bit": 8, "isSwap": True}, "0001", True),
        ({"type": "uint16", "count": 3}, "000100020003", "[1,2,3]"),
        ({"type": "int32", "count": 2, "byteOrder": "CDAB"}, "00020000ffffffff", "[2,-1]"),
        ({"type": "bool", "count": 2}, "00010000", "[true,false]"),
        ({"type": "float32", "count": 2}, "7fc000003f800000", "[null,1.0]"),
        ({"register": "coil"}, "01", True),
        ({"register": "coil", "type": "int"}, "01", 1),
        ({"register": "discrete", "count": 10, "type": "int"}, "0502", "[1,0,1,0,0,0,0,0,0,1]"),
        ({"register": "discrete", "count": 3}, "05", "[true,false,true]"),
    ],
)
def test_what_bytes_mean(settings, wire, value):
    found = codec(**settings).decode(bytes.fromhex(wire), 0)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("settings", "value", "wire"),
    [
        ({"type": "uint16"}, 213.4, "00d5"),
        ({"type": "int16"}, -2.5, "fffe"),
        ({"type": "uint16"}, True, "0001"),
        ({"type": "bool"}, False, "0000"),
        ({"bit": 9}, True, "0200"),
        ({"bit": 9}, False, "0000"),
        ({"type": "string", "limit": 3}, "Hi", "486900000000"),
        ({"type": "string", "limit": 2, "encoding": "utf-16-le"}, "A", "41000000"),
        ({"type": "uint16", "count": 2}, "[1, 2]", "00010002"),
        ({"type": "bool", "count": 2}, "[true, false]", "00010000"),
        ({"register": "coil"}, 1, "01"),
        ({"register": "coil", "count": 9}, json.dumps([True] * 9), "ff01"),
        ({"register": "coil", "type": "int", "count": 2}, "[0,1]", "02"),
    ],
)
def test_what_values_become(settings, value, wire):
    assert codec(**settings).encode(value).hex() == wire


@pytest.mark.parametrize(
    ("settings", "value", "words"),
    [
        ({"type": "uint16"}, -1, "does not fit into uint16"),
        ({"type": "int16"}, 40000, "does not fit into int16"),
        ({"type": "float32"}, 1e39, "does not fit into float32"),
        ({"type": "uint16"}, math.nan, "does not fit"),
        ({"type": "uint16"}, "5", "is not a number"),
        ({"type": "string", "limit": 1}, "long", "room for 2"),
        ({"type": "string", "limit": 1, "encoding": "ascii"}, "°", "cannot be written"),
        ({"type": "string", "limit": 1}, 5, "is not text"),
        ({"type": "bytes", "limit": 1}, b"abc", "the registers hold 2"),
        ({"type": "bytes", "limit": 1}, "ab", "is not bytes"),
        ({"type": "uint16", "count": 2}, "[1]", "JSON list of 2"),
        ({"type": "uint16", "count": 2}, "1,2", "not a JSON list"),
        ({"type": "uint16", "count": 2}, "[1,99999]", r"\[1, 99999\] does not fit"),
        ({"type": "uint16", "count": 2}, 7, "JSON list in text"),
        ({"register": "coil", "type": "int"}, 2, "does not fit into one bit"),
    ],
)
def test_values_that_do_not_fit(settings, value, words):
    with pytest.raises(ConversionError, match=words):
        codec(**settings).encode(value)


def test_bytes_that_are_no_text():
    with pytest.raises(ConversionError, match="0xff41 is not utf-8 text"):
        codec(type="string", limit=1).decode(b"\xff\x41", 0)


@given(name=st.sampled_from(sorted(NUMBERS)), order=ORDERS, data=st.data())
def test_numbers_come_back(name, order, data):
    value = data.draw(NUMBERS[name])
    made = codec(type=name, byteOrder=order)
    assert made.decode(b"\x55\x55" + made.encode(value), 1) == value


@given(name=st.sampled_from(sorted(NUMBERS)), order=ORDERS, data=st.data())
def test_arrays_come_back(name, order, data):
    numbers = NUMBERS[name].filter(math.isfinite)
    values = data.draw(st.lists(numbers, min_size=2, max_size=25))
    made = codec(type=name, byteOrder=order, count=len(values))
    assert json.loads(made.decode(made.encode(json.dumps(values)), 0)) == values


@given(order=ORDERS, value=st.integers(0, 2**32 - 1))
def test_orders_are_those_of_struct(order, value):
    """An independent account of the four orders: shuffle the bytes of the big-endian number."""
    big = struct.pack(">I", value)
    wire = bytes(big["ABCD".index(letter)] for letter in order)
    assert codec(type="uint32", byteOrder=order).encode(value) == wire


@given(
    order=ORDERS,
    text=st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=10).filter(
        lambda text: not text.endswith(" ")
    ),
)
def test_text_comes_back(order, text):
    made = codec(type="string", limit=20, byteOrder=order)
    assert made.decode(made.encode(text), 0) == text


@given(order=ORDERS, value=st.binary(min_size=8, max_size=8))
def test_bytes_come_back(order, value):
    made = codec(type="bytes", limit=4, byteOrder=order)
    assert made.decode(made.encode(value), 0) == value


@given(bits=st.lists(st.booleans(), max_size=40), before=st.integers(0, 9))
def test_bits_come_back(bits, before):
    data = bits_to_bytes([True] * before + bits)
    assert bytes_to_bits(data, before, len(bits)) == bits

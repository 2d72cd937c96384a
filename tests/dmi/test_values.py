"""Values: every type against every kind of input, text both ways, ranges, JSON."""

import enum
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmi.errors import ConversionError, OutOfRangeError
from dmi.floats import FLOAT32_LIMIT, narrow
from dmi.resources import DataType
from dmi.values import (
    INT_MAX,
    INT_MIN,
    check_range,
    coerce_value,
    coercer,
    format_value,
    json_value,
    parse_bound,
    parse_value,
    same_value,
    value_from_json,
)

INT, FLOAT, DOUBLE = DataType.INT, DataType.FLOAT, DataType.DOUBLE
STRING, BOOLEAN, BYTES = DataType.STRING, DataType.BOOLEAN, DataType.BYTES

VALUES = {
    INT: st.integers(INT_MIN, INT_MAX),
    FLOAT: st.floats(width=32, allow_nan=False, allow_infinity=False),
    DOUBLE: st.floats(allow_nan=False, allow_infinity=False),
    STRING: st.text(st.characters(codec="utf-8")),
    BOOLEAN: st.booleans(),
    BYTES: st.binary(),
    DataType.STREAM: st.text(st.characters(codec="utf-8")),
}
TYPED = st.sampled_from(list(VALUES)).flatmap(lambda t: st.tuples(st.just(t), VALUES[t]))


class Mode(enum.IntEnum):
    AUTO = 3


@pytest.mark.parametrize(
    ("value", "data_type", "expected"),
    [
        (7, INT, 7),
        (7.0, INT, 7),
        (INT_MIN, INT, INT_MIN),
        (INT_MAX, INT, INT_MAX),
        (Mode.AUTO, INT, 3),
        (7, FLOAT, 7.0),
        (Mode.AUTO, FLOAT, 3.0),
        (0.1, FLOAT, 0.1),
        (3.4028234663852886e38, FLOAT, 3.4028234663852886e38),
        (7, DOUBLE, 7.0),
        (2**70, DOUBLE, 2.0**70),
        (1e308, DOUBLE, 1e308),
        ("", STRING, ""),
        ("Grüße", STRING, "Grüße"),
        ("rtsp://10.0.0.9", DataType.STREAM, "rtsp://10.0.0.9"),
        (True, BOOLEAN, True),
        (1, BOOLEAN, True),
        (0, BOOLEAN, False),
        (b"\x00\xff", BYTES, b"\x00\xff"),
        (bytearray(b"ab"), BYTES, b"ab"),
        (memoryview(b"ab"), BYTES, b"ab"),
    ],
)
def test_coerce(value, data_type, expected):
    result = coerce_value(value, data_type)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("value", "data_type"),
    [
        (7.5, INT),
        (True, INT),
        ("7", INT),
        (INT_MAX + 1, INT),
        (INT_MIN - 1, INT),
        (1e19, INT),
        (math.nan, INT),
        (math.inf, INT),
        (None, INT),
        (math.nan, FLOAT),
        (-math.inf, FLOAT),
        (FLOAT32_LIMIT, FLOAT),
        (10**39, FLOAT),
        (10**400, FLOAT),
        (False, FLOAT),
        ("0.1", FLOAT),
        (math.nan, DOUBLE),
        (math.inf, DOUBLE),
        (10**400, DOUBLE),
        (True, DOUBLE),
        (b"1", DOUBLE),
        (7, STRING),
        (b"text", STRING),
        ("\ud800", STRING),
        (2, BOOLEAN),
        (1.0, BOOLEAN),
        ("true", BOOLEAN),
        ("text", BYTES),
        ([1, 2], BYTES),
        (None, BYTES),
        (5, DataType.STREAM),
    ],
)
def test_coerce_refuses(value, data_type):
    with pytest.raises(ConversionError, match=r"does not fit type .* is needed"):
        coerce_value(value, data_type)


def test_the_message_says_value_type_and_what_would_be_right():
    with pytest.raises(ConversionError) as caught:
        coerce_value("warm", INT)
    assert str(caught.value).startswith("'warm' (str) does not fit type INT: a whole number from -")
    with pytest.raises(ConversionError) as caught:
        coerce_value("x" * 10_000, INT)
    assert len(str(caught.value)) < 250


@given(TYPED)
def test_a_value_of_its_type_is_left_alone(typed):
    data_type, value = typed
    assert coercer(data_type)(value) == value


@pytest.mark.parametrize(
    ("text", "data_type", "expected"),
    [
        ("12", INT, 12),
        (" -12\n", INT, -12),
        ("+3", INT, 3),
        ("12.0", INT, 12),
        ("1.2e1", INT, 12),
        ("0e99999", INT, 0),
        ("9223372036854775807", INT, INT_MAX),
        ("-9223372036854775808", INT, INT_MIN),
        ("0.1", FLOAT, 0.1),
        ("3.4e38", FLOAT, 3.4e38),
        (".5", DOUBLE, 0.5),
        ("5.", DOUBLE, 5.0),
        ("1e-400", DOUBLE, 0.0),
        ("-1E+3", DOUBLE, -1000.0),
        ("TRUE", BOOLEAN, True),
        ("False", BOOLEAN, False),
        (" 1 ", BOOLEAN, True),
        ("0", BOOLEAN, False),
        ("  kept  ", STRING, "  kept  "),
        ("", STRING, ""),
        ("aé", BYTES, b"a\xc3\xa9"),
    ],
)
def test_parse(text, data_type, expected):
    result = parse_value(text, data_type)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("text", "data_type"),
    [
        ("", INT),
        ("12.5", INT),
        ("0x10", INT),
        ("1_000", INT),
        ("١٢", INT),
        ("9223372036854775808", INT),
        ("1e99999", INT),
        ("1e-5", INT),
        ("twelve", INT),
        ("true", INT),
        ("nan", FLOAT),
        ("Infinity", DOUBLE),
        ("3.5e38", FLOAT),
        ("1e309", DOUBLE),
        ("1e9999999", DOUBLE),
        ("1,5", DOUBLE),
        ("", DOUBLE),
        ("", BOOLEAN),
        ("yes", BOOLEAN),
        ("t", BOOLEAN),
        ("\udc80", STRING),
        ("\udc80", BYTES),
    ],
)
def test_parse_refuses(text, data_type):
    with pytest.raises(ConversionError, match="is needed"):
        parse_value(text, data_type)


@given(st.text(), st.sampled_from(list(DataType)))
def test_any_text_is_read_or_refused(text, data_type):
    try:
        value = parse_value(text, data_type)
    except ConversionError:
        return
    assert coerce_value(value, data_type) == value


@pytest.mark.parametrize(
    ("value", "data_type", "text"),
    [
        (12, INT, "12"),
        (12.0, INT, "12"),
        (731.5, FLOAT, "731.5"),
        (0.10000000149011612, FLOAT, "0.1"),
        (0.10000000149011612, DOUBLE, "0.10000000149011612"),
        (1e21, DOUBLE, "1" + "0" * 21),
        (3, DOUBLE, "3"),
        (True, BOOLEAN, "true"),
        (0, BOOLEAN, "false"),
        ("a b", STRING, "a b"),
        (b"raw", BYTES, "raw"),
    ],
)
def test_format(value, data_type, text):
    assert format_value(value, data_type) == text


def test_format_refuses_what_text_cannot_carry():
    with pytest.raises(ConversionError, match="valid UTF-8"):
        format_value(b"\xff", BYTES)
    with pytest.raises(ConversionError):
        format_value(1.5, INT)


@given(TYPED.filter(lambda typed: typed[0] is not BYTES))
def test_text_there_and_back(typed):
    data_type, value = typed
    back = parse_value(format_value(value, data_type), data_type)
    assert same_value(back, value, data_type)


@given(TYPED)
def test_json_there_and_back(typed):
    data_type, value = typed
    assert same_value(value_from_json(json_value(value, data_type), data_type), value, data_type)


def test_json_forms():
    assert json_value(b"\x00\xff") == "AP8="
    assert json_value(0.10000000149011612, FLOAT) == 0.1
    assert json_value(0.10000000149011612) == 0.10000000149011612
    assert value_from_json(3, FLOAT) == 3.0


@pytest.mark.parametrize("obj", ["AP8", "not base64!", "é", 5, None])
def test_json_bytes_are_base64(obj):
    with pytest.raises(ConversionError, match="base64"):
        value_from_json(obj, BYTES)


def test_same_value_uses_the_precision_of_the_type():
    assert same_value(narrow(23.1), 23.1, FLOAT)
    assert not same_value(narrow(23.1), 23.1, DOUBLE)
    assert not same_value(23.1, 23.2, FLOAT)
    assert same_value("a", "a", STRING)


@pytest.mark.parametrize(
    ("text", "data_type", "expected"),
    [
        ("", INT, None),
        ("  ", DOUBLE, None),
        ("5", INT, 5),
        ("0.5", INT, 0.5),
        ("-1e2", FLOAT, -100.0),
        ("7", STRING, None),
        ("x", BOOLEAN, None),
    ],
)
def test_bounds(text, data_type, expected):
    assert parse_bound(text, data_type) == expected


@pytest.mark.parametrize("data_type", [INT, FLOAT, DOUBLE])
def test_a_bound_that_is_no_number_is_refused(data_type):
    with pytest.raises(ConversionError):
        parse_bound("low", data_type)


@pytest.mark.parametrize(
    ("value", "minimum", "maximum"),
    [
        (5, 5, 5),
        (5, None, None),
        (5.5, 5, None),
        (-1, None, 0),
        ("z", 0, 1),
        (True, 5, 9),
        (b"", 1, 2),
    ],
)
def test_in_range(value, minimum, maximum):
    check_range(value, minimum, maximum)


@pytest.mark.parametrize(
    ("value", "minimum", "maximum", "words"),
    [(4, 5, None, "4 is below the minimum 5"), (0.6, None, 0.5, "0.6 is above the maximum 0.5")],
)
def test_out_of_range(value, minimum, maximum, words):
    with pytest.raises(OutOfRangeError, match=words):
        check_range(value, minimum, maximum)

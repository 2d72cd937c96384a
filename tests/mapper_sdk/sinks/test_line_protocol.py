"""Line protocol as written by us and read by a strict reader of the tests."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmi.errors import ConversionError
from dmi.values import INT_MAX, INT_MIN
from mapper_sdk.sinks.influxdb2.line_protocol import (
    Precision,
    field_value,
    measurement_name,
    tag_or_key,
    unit_of,
)
from tests.servers.influxdb2 import parse

NAMES = st.text(min_size=1, max_size=20) | st.text("\\ ,=\"'#a", min_size=1, max_size=8)
VALUES = (
    st.booleans()
    | st.integers(INT_MIN, INT_MAX)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)


@given(NAMES, NAMES, NAMES, NAMES, VALUES)
def test_whatever_is_written_is_read_back(measurement, key, tag, field, value):
    try:
        head = f"{measurement_name(measurement)},{tag_or_key(key)}={tag_or_key(tag)}"
        line = f"{head} {tag_or_key(field)}={field_value(value)} 1"
    except ConversionError:
        return
    found = parse(line)
    assert found == (measurement, ((key, tag),), {field: value}, 1)
    assert type(found[2][field]) is type(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1i"),
        (INT_MIN, "-9223372036854775808i"),
        (True, "true"),
        (False, "false"),
        (1.0, "1.0"),
        (5e-324, "5e-324"),
        ('a "b" \\ c\nd', '"a \\"b\\" \\\\ c\nd"'),
        (b"\x00\xff", '"AP8="'),
    ],
)
def test_writes_each_type_as_itself(value, text):
    assert field_value(value) == text


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_refuses_numbers_that_influxdb_has_not(value):
    with pytest.raises(ConversionError):
        field_value(value)


@pytest.mark.parametrize("name", ["", "a\nb", "a\x00", "a\\", "a\\ b", "a\\,b", "a\\=b"])
def test_refuses_names_that_would_be_read_as_others(name):
    with pytest.raises(ConversionError):
        tag_or_key(name)


def test_refuses_a_measurement_that_would_be_a_comment():
    with pytest.raises(ConversionError):
        measurement_name("#1")
    assert tag_or_key("#1") == "#1"


def test_a_backslash_elsewhere_is_no_escape():
    assert tag_or_key("a\\b") == "a\\b"


@pytest.mark.parametrize(
    ("precision", "number"),
    [
        (Precision.MS, 1_790_000_000_123),
        (Precision.US, 1_790_000_000_123_456),
        (Precision.NS, 1_790_000_000_123_456_000),
    ],
)
def test_times_have_the_unit_that_is_asked_for(precision, number):
    factor, scale = unit_of(precision)
    assert round(1_790_000_000.123456 * factor) * scale == number

"""Free settings in Any maps: what a Go mapper is sent, and everything that may come back."""

import math

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.empty_pb2 import Empty
from google.protobuf.struct_pb2 import ListValue, Struct
from google.protobuf.struct_pb2 import Value as StructValue
from google.protobuf.wrappers_pb2 import (
    BoolValue,
    BytesValue,
    DoubleValue,
    FloatValue,
    Int32Value,
    Int64Value,
    StringValue,
    UInt32Value,
    UInt64Value,
)
from hypothesis import given
from hypothesis import strategies as st

from dmi.convert.any_values import any_from_json, any_to_json, config_from_any, config_to_any
from dmi.errors import ConfigError
from dmi.floats import narrow
from dmi.proto.v1beta1 import api_pb2 as pb
from dmi.values import INT_MAX, INT_MIN


def packed(message):
    result = AnyMessage()
    result.Pack(message)
    return result


def wrapped(value):
    struct = StructValue()
    struct.struct_value.update({"a": value})
    return struct


@pytest.mark.parametrize(
    ("value", "wrapper"),
    [
        ("InputRegister", StringValue(value="InputRegister")),
        ("", StringValue(value="")),
        (True, BoolValue(value=True)),
        (False, BoolValue(value=False)),
        (502, Int64Value(value=502)),
        (16777217, Int64Value(value=16777217)),
        (INT_MIN, Int64Value(value=INT_MIN)),
        (INT_MAX + 1, StringValue(value="9223372036854775808")),
        (0.1, FloatValue(value=0.1)),
        (12.0, FloatValue(value=12)),
        (1.23456789012, FloatValue(value=1.23456789012)),
        (1e39, StringValue(value="1" + "0" * 39)),
        ([1, 2], StringValue(value="[1,2]")),
        ({"a": None}, StringValue(value='{"a":null}')),
    ],
)
def test_only_what_a_go_mapper_takes_is_sent(value, wrapper):
    result = any_from_json(value)
    assert result == packed(wrapper)
    assert result.type_url == f"type.googleapis.com/{wrapper.DESCRIPTOR.full_name}"


@pytest.mark.parametrize("value", [math.nan, math.inf, "\ud800", object(), {1: 2}])
def test_what_is_no_setting_is_named(value):
    with pytest.raises(ConfigError, match=r"configData\.odd: "):
        config_to_any({"fine": 1, "odd": value}, pb.CustomizedValue().data)


@pytest.mark.parametrize(
    ("message", "value"),
    [
        (StringValue(value="a b"), "a b"),
        (BoolValue(value=True), True),
        (Int32Value(value=-5), -5),
        (Int64Value(value=INT_MIN), INT_MIN),
        (UInt32Value(value=2**32 - 1), 2**32 - 1),
        (UInt64Value(value=2**64 - 1), 2**64 - 1),
        (FloatValue(value=502), 502),
        (FloatValue(value=0.1), 0.1),
        (FloatValue(value=-0.5), -0.5),
        (FloatValue(value=3.4e38), 3.4e38),
        (DoubleValue(value=0.1), 0.1),
        (DoubleValue(value=7), 7),
        (DoubleValue(value=1e300), 1e300),
        (BytesValue(value=b"\x00\xff"), "AP8="),
        (StructValue(null_value=0), None),
        (StructValue(number_value=7), 7),
        (StructValue(string_value="x"), "x"),
        (StructValue(bool_value=False), False),
        (StructValue(), None),
        (
            wrapped([1, 2.5, None, "x", True, {"b": []}]),
            {"a": [1, 2.5, None, "x", True, {"b": []}]},
        ),
        (wrapped({}).struct_value, {"a": {}}),
        (ListValue(values=[StructValue(number_value=1.5)]), [1.5]),
        (Struct(), {}),
    ],
)
def test_every_well_known_type_is_understood(message, value):
    result = any_to_json(packed(message))
    assert result == value
    assert type(result) is type(value)


def test_only_what_follows_the_last_slash_counts():
    message = AnyMessage(
        type_url="google.protobuf.StringValue", value=StringValue(value="x").SerializeToString()
    )
    assert any_to_json(message) == "x"


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (packed(Empty()), "'google.protobuf.Empty' is not one that settings can have"),
        (AnyMessage(), "type '' is not one"),
        (
            AnyMessage(type_url="type.googleapis.com/google.protobuf.StringValue", value=b"\xff"),
            "damaged google.protobuf.StringValue",
        ),
        (packed(FloatValue(value=math.nan)), "nan is not a number"),
        (packed(DoubleValue(value=math.inf)), "inf is not a number"),
        (packed(wrapped(math.nan)), "nan is not a number"),
    ],
)
def test_strange_types_are_named_with_their_key(message, words):
    with pytest.raises(ConfigError, match=f"configData.odd: .*{words}"):
        config_from_any({"odd": message})


PLAIN = st.one_of(st.text(), st.booleans(), st.integers(INT_MIN, INT_MAX))


@given(st.dictionaries(st.text(), PLAIN))
def test_text_booleans_and_whole_numbers_lose_nothing(config):
    message = pb.CustomizedValue()
    config_to_any(config, message.data)
    arrived = pb.CustomizedValue.FromString(message.SerializeToString())
    assert config_from_any(arrived.data) == config


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_32_bit_floats_lose_nothing(number):
    assert narrow(any_to_json(any_from_json(number))) == number


@given(st.decimals(-1000, 1000, places=3).map(float))
def test_short_decimals_look_as_they_were_typed(number):
    assert any_to_json(any_from_json(number)) == number


def test_null_is_left_out():
    message = pb.CustomizedValue()
    config_to_any({"a": None, "b": 1}, message.data)
    assert config_from_any(message.data) == {"b": 1}

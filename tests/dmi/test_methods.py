import functools

import pytest

from dmi.errors import ConversionError, NotFoundError, OutOfRangeError
from dmi.methods import (
    Method,
    argument_from_text,
    checked_arguments,
    named_method,
    property_schema,
    type_word,
)
from dmi.resources import DataType

DEEP = functools.reduce(lambda inner, _: [inner], range(500), [])
BYTES = {"type": "string", "contentEncoding": "base64"}


def check(schema, value):
    return checked_arguments(Method("m", arguments={"a": schema}), {"a": value})["a"]


@pytest.mark.parametrize(
    ("schema", "given", "value"),
    [
        ({"type": "integer"}, 3.0, 3),
        ({"type": "number"}, 3, 3.0),
        ({"type": "boolean"}, True, True),
        ({"type": "string"}, "ä", "ä"),
        ({"type": "string"}, [1, {"b": None}], '[1,{"b":null}]'),
        ({"type": "array"}, [1], "[1]"),
        ({"type": "array"}, "[ 1 ]", "[1]"),
        ({"type": "object"}, {"b": 1}, '{"b":1}'),
        (BYTES, "AA==", b"\0"),
        (BYTES, b"\0", b"\0"),
        ({}, 7, 7),
        ({}, True, True),
        ({}, 7.5, 7.5),
        ({"type": ["integer", "null"]}, "x", "x"),
        ({"enum": ["on", "off"]}, "on", "on"),
        (property_schema(DataType.FLOAT, maximum=95.0), 95, 95.0),
        (property_schema(DataType.BYTES), "AA==", b"\0"),
        (property_schema(DataType.BOOLEAN), 1, True),
    ],
)
def test_arguments_are_brought_to_their_types(schema, given, value):
    found = check(schema, given)
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    ("schema", "given", "error", "told"),
    [
        ({"type": "integer"}, 3.5, ConversionError, "argument 'a': 3.5"),
        ({"type": "integer"}, True, ConversionError, "bool"),
        ({"type": "integer"}, [1], ConversionError, "does not fit type integer"),
        ({"type": "number"}, "3", ConversionError, "'3'"),
        ({"type": "array"}, {"b": 1}, ConversionError, "does not fit type array"),
        ({"type": "array"}, "[", ConversionError, "no JSON array"),
        ({"type": "object"}, 3, ConversionError, "no JSON object"),
        (BYTES, "%", ConversionError, "base64"),
        ({}, DEEP, ConversionError, "cannot be written as JSON"),
        ({}, None, ConversionError, "neither"),
        ({}, 2**64, ConversionError, "whole number"),
        ({"type": "integer", "minimum": 1}, 0, OutOfRangeError, "argument 'a': 0 is below"),
        ({"enum": [1, 2]}, 3, ConversionError, "not one of [1, 2]"),
        (property_schema(DataType.INT, maximum=9), 10, OutOfRangeError, "above the maximum 9"),
    ],
)
def test_what_does_not_fit_is_refused(schema, given, error, told):
    with pytest.raises(error) as refused:
        check(schema, given)
    assert told in str(refused.value)
    assert type(refused.value) is error


def test_missing_and_unknown_arguments_are_named():
    method = Method("mix", arguments={"a": {}, "b": {"default": 1}, "c": {"type": "string"}})
    assert checked_arguments(method, {"a": 1, "c": "x"}) == {"a": 1, "c": "x"}
    with pytest.raises(ConversionError, match="'mix' needs the argument 'c'"):
        checked_arguments(method, {"a": 1})
    with pytest.raises(ConversionError, match="no argument 'd'; it takes: a, b, c"):
        checked_arguments(method, {"d": 1})
    with pytest.raises(ConversionError, match="it takes: none"):
        checked_arguments(Method("stop"), {"d": 1})


def test_a_method_that_writes_properties_takes_any_of_them():
    schemas = {name: property_schema(DataType.INT) for name in ("a", "b")}
    assert checked_arguments(Method("set", arguments=schemas), {"b": 1}) == {"b": 1}


def test_methods_are_found_by_name():
    methods = [Method("stop"), Method("go")]
    assert named_method(methods, "go") is methods[1]
    with pytest.raises(NotFoundError, match="no method 'run'; there is: go, stop"):
        named_method(methods, "run")
    with pytest.raises(NotFoundError, match="there is: none"):
        named_method([], "run")


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "integer"}, "1.2e1", 12),
        ({"type": "number"}, " 1.5 ", 1.5),
        ({"type": "boolean"}, "TRUE", True),
        ({"type": "string"}, "12", "12"),
        ({"type": "array"}, "[1, 2]", [1, 2]),
        ({"type": "object"}, '{"a": 1}', {"a": 1}),
        (BYTES, "AA==", "AA=="),
        (BYTES, "ä", "w6Q="),
        ({}, "[1]", [1]),
        ({}, "12", 12),
        ({}, "twelve", "twelve"),
        (property_schema(DataType.FLOAT, unit="K"), "21.5", 21.5),
        (property_schema(DataType.STRING), "21.5", "21.5"),
        ({"x-dmi-type": "INT"}, "7", 7),
    ],
)
def test_typed_text_becomes_json(schema, text, value):
    found = argument_from_text("a", schema, text)
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    ("schema", "text"),
    [({"type": "integer"}, "1.5"), ({"type": "array"}, "1,2"), ({"type": "boolean"}, "yes")],
)
def test_text_that_does_not_fit_is_refused(schema, text):
    with pytest.raises(ConversionError, match="argument 'a'"):
        argument_from_text("a", schema, text)


def test_types_have_a_word():
    assert type_word({"type": "integer"}) == "integer"
    assert type_word(property_schema(DataType.FLOAT)) == "FLOAT"
    assert type_word({}) == type_word({"type": ["integer", "null"]}) == "any"


def test_the_schema_of_a_property_says_all_that_is_known():
    assert property_schema(DataType.FLOAT, minimum=1.0, maximum=2.0, unit="K") == {
        "type": "number",
        "x-dmi-type": "FLOAT",
        "minimum": 1.0,
        "maximum": 2.0,
        "description": "K",
    }

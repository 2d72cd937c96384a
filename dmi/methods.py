"""Methods of devices: what they take and give, and arguments brought to the types declared."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import orjson

from dmi.errors import ConversionError, NotFoundError
from dmi.readings import Value
from dmi.resources import DataType
from dmi.values import check_range, coerce_value, parse_value, value_from_json

__all__ = [
    "Method",
    "Schema",
    "argument_from_text",
    "checked_arguments",
    "named_method",
    "property_schema",
    "type_word",
]

Schema: TypeAlias = Mapping[str, Any]
"""JSON Schema of one argument or result. What counts of it here: `type`, `minimum`, `maximum`,
`enum`, `default`, `contentEncoding: base64` for bytes, and `x-dmi-type` for a property's type."""

_OWN_TYPE: Final = "x-dmi-type"
_JSON_TYPES: Final[Mapping[DataType, str]] = MappingProxyType(
    {
        DataType.INT: "integer",
        DataType.FLOAT: "number",
        DataType.DOUBLE: "number",
        DataType.BOOLEAN: "boolean",
    }
)
_KINDS: Final[Mapping[str, DataType]] = MappingProxyType(
    {
        "integer": DataType.INT,
        "number": DataType.DOUBLE,
        "boolean": DataType.BOOLEAN,
        "string": DataType.STRING,
    }
)
_SHAPES: Final[Mapping[str, type]] = MappingProxyType({"array": list, "object": dict})


@dataclass(frozen=True, slots=True)
class Method:
    """A method that a device offers, as JSON Schema types.

    An argument must be given unless its schema has a `default`. Arrays and objects travel
    as text of JSON.

    Attributes:
        arguments: Name to JSON Schema of one argument.
        results: Name to JSON Schema of one result.
    """

    name: str
    description: str = ""
    arguments: Mapping[str, Schema] = field(default_factory=dict)
    results: Mapping[str, Schema] = field(default_factory=dict)


def named_method(methods: Sequence[Method], name: str) -> Method:
    """The method of this name.

    Raises:
        NotFoundError: There is none; the text names those that there are.
    """
    for method in methods:
        if method.name == name:
            return method
    there = ", ".join(sorted(method.name for method in methods)) or "none"
    raise NotFoundError(f"there is no method {name!r}; there is: {there}")


def property_schema(
    data_type: DataType,
    *,
    minimum: Value | None = None,
    maximum: Value | None = None,
    unit: str = "",
) -> dict[str, Any]:
    """JSON Schema of an argument that is written into a property."""
    schema: dict[str, Any] = {"type": _JSON_TYPES.get(data_type, "string"), _OWN_TYPE: data_type}
    if data_type is DataType.BYTES:
        schema["contentEncoding"] = "base64"
    bounds = {"minimum": minimum, "maximum": maximum}
    schema.update({name: bound for name, bound in bounds.items() if bound is not None})
    if unit:
        schema["description"] = unit
    return schema


def type_word(schema: Schema) -> str:
    """The type of an argument in one word, for people."""
    if own := schema.get(_OWN_TYPE):
        return str(own)
    return _word(schema) or "any"


def checked_arguments(method: Method, given: Mapping[str, object]) -> dict[str, Value]:
    """Bring arguments, as JSON has them or typed already, to the types that a method declares.

    Raises:
        ConversionError: One is missing, unknown or of another type.
        OutOfRangeError: One lies outside the declared range.
    """
    takes = method.arguments
    if unknown := [name for name in given if name not in takes]:
        known = ", ".join(takes) or "none"
        raise ConversionError(
            f"method {method.name!r} has no argument {unknown[0]!r}; it takes: {known}"
        )
    missing = [name for name, schema in takes.items() if name not in given and _is_needed(schema)]
    if missing:
        raise ConversionError(f"method {method.name!r} needs the argument {missing[0]!r}")
    return {name: _checked(name, takes[name], value) for name, value in given.items()}


def _is_needed(schema: Schema) -> bool:
    # A method declared in a Device writes whichever of its properties are given.
    return "default" not in schema and _OWN_TYPE not in schema


def _checked(name: str, schema: Schema, given: object) -> Value:
    try:
        value = _typed(schema, given)
        check_range(value, _number(schema, "minimum"), _number(schema, "maximum"))
    except ConversionError as error:
        raise type(error)(f"argument {name!r}: {error.message}") from error
    allowed = schema.get("enum")
    if isinstance(allowed, list) and value not in allowed:
        raise ConversionError(f"argument {name!r}: {value!r} is not one of {allowed}")
    return value


def _number(schema: Schema, name: str) -> Value | None:
    bound = schema.get(name)
    return bound if isinstance(bound, (int, float)) and not isinstance(bound, bool) else None


def _typed(schema: Schema, given: object) -> Value:
    own, word = schema.get(_OWN_TYPE), _word(schema)
    if isinstance(given, bytes) and schema.get("contentEncoding") == "base64":
        return given
    if isinstance(own, str) and own in DataType.__members__:
        return value_from_json(given, DataType(own))
    if isinstance(given, (list, dict)):
        return _as_text(word, given)
    if word in _SHAPES and isinstance(given, str):
        return _as_text(word, _decoded(word, given))
    if word == "string" and schema.get("contentEncoding") == "base64":
        return value_from_json(given, DataType.BYTES)
    if word in _KINDS:
        return coerce_value(given, _KINDS[word])
    if word in _SHAPES:
        raise ConversionError(f"{given!r} is no JSON {word}")
    if isinstance(given, int) and not isinstance(given, bool):
        return coerce_value(given, DataType.INT)
    if isinstance(given, (bool, float, str)):
        return given
    raise ConversionError(f"{given!r} is neither a number, text, true nor false")


def _word(schema: Schema) -> str:
    """The one type that is declared; empty for none or several."""
    word = schema.get("type")
    return word if isinstance(word, str) else ""


def _as_text(word: str, given: object) -> str:
    """An array or object, where one is wanted or text is; as text of JSON."""
    wanted = _SHAPES.get(word, object if word in ("string", "") else type(None))
    if not isinstance(given, wanted):
        raise ConversionError(f"{given!r} does not fit type {word}")
    try:
        return orjson.dumps(given).decode()
    except TypeError as error:
        raise ConversionError(f"cannot be written as JSON: {error}") from error


def _decoded(word: str, text: str) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise ConversionError(f"{text!r} is no JSON {word}") from None


def argument_from_text(name: str, schema: Schema, text: str) -> object:
    """Read an argument that somebody typed, as JSON has it.

    Numbers and truth values are read as `dmi set` reads them; arrays and objects are JSON;
    what has no declared type is JSON if it can be, else text. Bytes are the text's own.

    Raises:
        ConversionError: The text does not fit.
    """
    try:
        return _from_text(schema, text)
    except ConversionError as error:
        raise type(error)(f"argument {name!r}: {error.message}") from error


def _from_text(schema: Schema, text: str) -> object:
    own, word = schema.get(_OWN_TYPE), _word(schema)
    if word == "string":
        return _base64(text) if schema.get("contentEncoding") == "base64" else text
    if isinstance(own, str) and own in DataType.__members__:
        return parse_value(text, DataType(own))
    if word in _KINDS:
        return parse_value(text, _KINDS[word])
    if word in _SHAPES:
        return _decoded(word, text)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _base64(text: str) -> str:
    """What is base64 stays; anything else is text whose bytes are meant."""
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return base64.b64encode(text.encode()).decode("ascii")
    return text

"""Values by declared type: checking, text as KubeEdge writes it, JSON as REST writes it.

A value is at home in Python as int, float, bool, str or bytes. Three ways lead in:

- `parse_value` for text: desired values of resources and of v1beta1 and v1alpha1;
- `coerce_value` for what drivers return and what a typed link carries;
- `value_from_json` for REST bodies.

A FLOAT is a 32-bit float on the wire and in text, but is kept in 64 bits here: nothing is
lost to scaling, and 0.1 stays 0.1. `same_value` compares with the precision of the type.
STREAM is treated as STRING: such a property names a stream, its value is an address.
"""

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import NoReturn

from dmi.errors import ConversionError, OutOfRangeError
from dmi.floats import FLOAT32_LIMIT, float32_text, float64_text, narrow, round_float32
from dmi.readings import Value
from dmi.resources import DataType

__all__ = [
    "INT_MAX",
    "INT_MIN",
    "check_range",
    "coerce_value",
    "coercer",
    "float32_text",
    "format_value",
    "json_value",
    "parse_bound",
    "parse_value",
    "round_float32",
    "same_value",
    "value_from_json",
]

INT_MIN = -(2**63)
INT_MAX = 2**63 - 1

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,5})?", re.ASCII)
_NUMERIC = frozenset({DataType.INT, DataType.FLOAT, DataType.DOUBLE})
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_INT_DIGITS = 19
_SHOWN = 60
_NEEDED: Mapping[DataType, str] = MappingProxyType(
    {
        DataType.INT: f"a whole number from {INT_MIN} to {INT_MAX}",
        DataType.FLOAT: "a finite number that fits 32-bit floating point (up to 3.4e38)",
        DataType.DOUBLE: "a finite number that fits 64-bit floating point (up to 1.8e308)",
        DataType.STRING: "text",
        DataType.BOOLEAN: "true or false (1 and 0 are understood)",
        DataType.BYTES: "bytes",
        DataType.STREAM: "text",
    }
)


def _refuse(value: object, data_type: DataType, needed: str = "") -> NoReturn:
    shown = repr(value)
    if len(shown) > _SHOWN:
        shown = shown[:_SHOWN] + "..."
    raise ConversionError(
        f"{shown} ({type(value).__name__}) does not fit type {data_type}:"
        f" {needed or _NEEDED[data_type]} is needed"
    )


# ------------------------------------------------------------ typed input ----


def _to_int(value: object) -> int:
    if type(value) is int:
        if INT_MIN <= value <= INT_MAX:
            return value
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and value % 1 == 0:
        return _to_int(int(value))
    _refuse(value, DataType.INT)


def _to_float(value: object) -> float:
    if type(value) is float:
        # Refuses NaN and the infinities too.
        if -FLOAT32_LIMIT < value < FLOAT32_LIMIT:
            return value
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        return _to_float(_widen(value, DataType.FLOAT))
    _refuse(value, DataType.FLOAT)


def _to_double(value: object) -> float:
    if type(value) is float:
        if math.isfinite(value):
            return value
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        return _to_double(_widen(value, DataType.DOUBLE))
    _refuse(value, DataType.DOUBLE)


def _widen(value: float, data_type: DataType) -> float:
    try:
        return float(value)
    except OverflowError:
        _refuse(value, data_type)


def _to_bool(value: object) -> bool:
    if value is True or value is False:
        return value
    if type(value) is int and value in (0, 1):
        return value == 1
    _refuse(value, DataType.BOOLEAN)


def _to_text(value: object) -> str:
    if not isinstance(value, str):
        _refuse(value, DataType.STRING)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            _refuse(value, DataType.STRING, "valid Unicode, without lone surrogates,")
    return value


def _to_bytes(value: object) -> bytes:
    if type(value) is bytes:
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    _refuse(value, DataType.BYTES)


_COERCERS: Mapping[DataType, Callable[[object], Value]] = MappingProxyType(
    {
        DataType.INT: _to_int,
        DataType.FLOAT: _to_float,
        DataType.DOUBLE: _to_double,
        DataType.STRING: _to_text,
        DataType.BOOLEAN: _to_bool,
        DataType.BYTES: _to_bytes,
        DataType.STREAM: _to_text,
    }
)


def coercer(data_type: DataType) -> Callable[[object], Value]:
    """The function behind `coerce_value` for one type; fetch it once, call it often."""
    return _COERCERS[data_type]


def coerce_value(value: object, data_type: DataType) -> Value:
    """Bring a typed value to the declared type, where nothing of its meaning is lost.

    An integral float becomes an int for INT; an int becomes a float for FLOAT and DOUBLE
    (rounded beyond 2^53); 0 and 1 become a bool for BOOLEAN. A bool is never a number and
    text is never anything but text.

    Raises:
        ConversionError: It does not fit; the message says value, type and what would.
    """
    return _COERCERS[data_type](value)


# ------------------------------------------------------------------- text ----


def parse_value(text: str, data_type: DataType) -> Value:
    """Read a value from text, as users, EdgeCore and Go mappers write it.

    Numbers are decimal, with an optional exponent, and may have blanks around them. A
    whole number may be written "12.0" or "1.2e1": EdgeCore turns every number of a
    resource into a float. Booleans are true, false, 1 and 0 in any case. BYTES is the
    text itself in UTF-8, as Go converts it (base64 is for JSON only, see `value_from_json`).

    Raises:
        ConversionError: The text does not fit; the message says text, type and what would.
    """
    if data_type in (DataType.STRING, DataType.STREAM):
        return _to_text(text)
    if data_type is DataType.BYTES:
        return _to_text(text).encode()
    word = text.strip()
    if data_type is DataType.BOOLEAN:
        found = _BOOLEANS.get(word.lower())
        if found is None:
            _refuse(text, data_type)
        return found
    if _NUMBER.fullmatch(word) is None:
        _refuse(text, data_type)
    if data_type is DataType.INT:
        return _parse_int(word, text)
    number = float(word)
    limit = FLOAT32_LIMIT if data_type is DataType.FLOAT else math.inf
    if not -limit < number < limit:
        _refuse(text, data_type)
    return number


def _parse_int(word: str, text: str) -> int:
    exact = Decimal(word)
    # The size is checked first: int(Decimal("1e99999")) would build a giant.
    if exact and exact.adjusted() >= _INT_DIGITS:
        _refuse(text, DataType.INT)
    number = int(exact)
    if number != exact or not INT_MIN <= number <= INT_MAX:
        _refuse(text, DataType.INT)
    return number


def format_value(value: Value, data_type: DataType) -> str:
    """Write a value as Go mappers do: shortest decimal, never an exponent, true or false.

    Raises:
        ConversionError: The value does not fit the type, or is BYTES that are not UTF-8,
            which a protobuf string cannot carry.

    Source:
        mapper-framework `pkg/common`: strconv.FormatFloat(x, 'f', -1, 32 or 64).
    """
    known = _COERCERS[data_type](value)
    if isinstance(known, bool):
        return "true" if known else "false"
    if isinstance(known, float):
        return float32_text(known) if data_type is DataType.FLOAT else float64_text(known)
    if isinstance(known, bytes):
        try:
            return known.decode()
        except UnicodeDecodeError:
            _refuse(value, data_type, "to travel as text, valid UTF-8")
    return str(known)


# ------------------------------------------------------------------ range ----


def parse_bound(text: str, data_type: DataType) -> int | float | None:
    """Read a model's `minimum` or `maximum`; None where there is no bound.

    Only numbers have bounds: text given for another type means nothing and is ignored, as
    upstream does. An INT may have a bound that is not whole.

    Raises:
        ConversionError: The type is a number and the text is not.
    """
    if data_type not in _NUMERIC or not text.strip():
        return None
    if data_type is DataType.INT:
        try:
            whole = parse_value(text, DataType.INT)
        except ConversionError:
            data_type = DataType.DOUBLE
        else:
            return int(whole)
    return float(parse_value(text, data_type))


def check_range(value: Value, minimum: Value | None, maximum: Value | None) -> None:
    """Let a number pass that lies within both bounds; anything but a number has none.

    Raises:
        OutOfRangeError: The number lies outside.
    """
    if type(value) is not int and type(value) is not float:
        return
    if isinstance(minimum, (int, float)) and value < minimum:
        raise OutOfRangeError(f"{value} is below the minimum {minimum}")
    if isinstance(maximum, (int, float)) and value > maximum:
        raise OutOfRangeError(f"{value} is above the maximum {maximum}")


def same_value(one: Value, other: Value, data_type: DataType) -> bool:
    """Whether two values are equal in the precision of their type (32 bits for FLOAT)."""
    if data_type is DataType.FLOAT and one != other:
        return narrow(_to_float(one)) == narrow(_to_float(other))
    return one == other


# ------------------------------------------------------------------- JSON ----


def json_value(value: Value, data_type: DataType | None = None) -> int | float | bool | str:
    """Give a value as a JSON type; bytes become base64.

    With `data_type` FLOAT the number is the shortest one that is the same in 32 bits; one
    that is beyond them, from before the model changed its type, is given as it is.
    """
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if (
        data_type is DataType.FLOAT
        and isinstance(value, float)
        and -FLOAT32_LIMIT < value < FLOAT32_LIMIT
    ):
        return round_float32(value)
    return value


def value_from_json(obj: object, data_type: DataType) -> Value:
    """Read a value from decoded JSON; BYTES come as base64 text.

    Raises:
        ConversionError: It does not fit the type.
    """
    if data_type is not DataType.BYTES:
        return _COERCERS[data_type](obj)
    if isinstance(obj, str):
        try:
            return base64.b64decode(obj, validate=True)
        except (binascii.Error, ValueError):
            pass
    _refuse(obj, data_type, "base64 text")

"""Free settings (configData) to and from the `google.protobuf.Any` maps of v1beta1.

A Go mapper understands five wrappers and silently drops a key with any other, so only
those are sent: text, true and false, whole numbers of 64 bits, and 32-bit floats for all
other numbers (EdgeCore sends those for whole numbers too). What does not fit:

- a number that needs more than 32 bits of float is rounded, as EdgeCore rounds it;
- whole numbers beyond 64 bits, and floats beyond the 32-bit range, go as text;
- lists and objects go as JSON text (EdgeCore cannot carry them at all);
- null is left out: absent is what it means.

What is received may be any well-known wrapper, Struct, Value or ListValue.

Source:
    KubeEdge `edge/pkg/devicetwin/dtcommon/util.go`, mapper-framework
    `pkg/common/dataconverter.go`.
"""

import base64
import math
from collections.abc import Callable, Mapping, MutableMapping
from types import MappingProxyType
from typing import TypeAlias

import orjson
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError, Message
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

from dmi.errors import ConfigError
from dmi.floats import FLOAT32_LIMIT, float64_text, round_float32
from dmi.values import INT_MAX, INT_MIN

__all__ = ["Json", "any_from_json", "any_to_json", "config_from_any", "config_to_any"]

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None

# Above this a whole float is an approximation, and stays a float.
_EXACT_WHOLE = 2.0**53


def config_to_any(config: Mapping[str, object], target: MutableMapping[str, AnyMessage]) -> None:
    """Write settings into a message's map.

    Raises:
        ConfigError: A setting cannot travel; the message names it.
    """
    for key, value in config.items():
        try:
            packed = any_from_json(value)
            if packed is not None:
                target[key].CopyFrom(packed)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"configData.{key}: {error}") from error


def config_from_any(source: Mapping[str, AnyMessage]) -> dict[str, Json]:
    """Read settings from a message's map.

    Raises:
        ConfigError: A setting is of an unknown type or damaged; the message names it.
    """
    config: dict[str, Json] = {}
    for key, packed in source.items():
        try:
            config[key] = any_to_json(packed)
        except ConfigError as error:
            raise ConfigError(f"configData.{key}: {error}") from error
    return config


# --------------------------------------------------------------- encoding ----


def any_from_json(value: object) -> AnyMessage | None:
    """Pack one JSON value; None for null, which cannot travel.

    Raises:
        TypeError: It is not a JSON value.
        ValueError: It is text that is not valid Unicode, or a number that is not finite.
    """
    if value is None:
        return None
    packed = AnyMessage()
    packed.Pack(_wrapper_of(value))
    return packed


def _wrapper_of(value: object) -> Message:
    if isinstance(value, bool):
        return BoolValue(value=value)
    if isinstance(value, str):
        return StringValue(value=value)
    if isinstance(value, int):
        if INT_MIN <= value <= INT_MAX:
            return Int64Value(value=value)
        return StringValue(value=str(value))
    if isinstance(value, float):
        if -FLOAT32_LIMIT < value < FLOAT32_LIMIT:
            return FloatValue(value=value)
        if not math.isfinite(value):
            raise ValueError(f"{value} is not a number that settings can have")
        return StringValue(value=float64_text(value))
    return StringValue(value=orjson.dumps(value).decode())


# --------------------------------------------------------------- decoding ----


def any_to_json(packed: AnyMessage) -> Json:
    """Unpack one value into the JSON type that a person would have written.

    A whole float becomes an int; a 32-bit float the shortest decimal that identifies it, so
    that 0.1 is 0.1; bytes become base64, as protobuf's own JSON writes them.

    Raises:
        ConfigError: The type is unknown, or the bytes are damaged.
    """
    name = packed.type_url.rpartition("/")[2]
    found = _READERS.get(name)
    if found is None:
        raise ConfigError(f"type {name!r} is not one that settings can have")
    kind, read = found
    message = kind()
    try:
        message.ParseFromString(packed.value)
    except DecodeError as error:
        raise ConfigError(f"damaged {name}") from error
    return read(message)


def _number(value: float) -> Json:
    if not math.isfinite(value):
        raise ConfigError(f"{value} is not a number that settings can have")
    if value.is_integer() and abs(value) < _EXACT_WHOLE:
        return int(value)
    return value


def _single(message: FloatValue) -> Json:
    if not math.isfinite(message.value):
        return _number(message.value)
    return _number(round_float32(message.value))


def _struct(message: Struct) -> Json:
    return {key: _structured(value) for key, value in message.fields.items()}


def _list(message: ListValue) -> Json:
    return [_structured(value) for value in message.values]


def _structured(message: StructValue) -> Json:
    match message.WhichOneof("kind"):
        case "number_value":
            return _number(message.number_value)
        case "string_value":
            return message.string_value
        case "bool_value":
            return message.bool_value
        case "struct_value":
            return _struct(message.struct_value)
        case "list_value":
            return _list(message.list_value)
    return None


_Reader: TypeAlias = tuple[type[Message], Callable[..., Json]]
_READERS: Mapping[str, _Reader] = MappingProxyType(
    {
        kind.DESCRIPTOR.full_name: (kind, read)
        for kind, read in (
            (StringValue, lambda message: message.value),
            (BoolValue, lambda message: message.value),
            (Int32Value, lambda message: message.value),
            (Int64Value, lambda message: message.value),
            (UInt32Value, lambda message: message.value),
            (UInt64Value, lambda message: message.value),
            (FloatValue, _single),
            (DoubleValue, lambda message: _number(message.value)),
            (BytesValue, lambda message: base64.b64encode(message.value).decode("ascii")),
            (Struct, _struct),
            (ListValue, _list),
            (StructValue, _structured),
        )
    }
)

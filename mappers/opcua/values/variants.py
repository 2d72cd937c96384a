"""Values on their way between OPC UA and ours: types, arrays, structures, status and time."""

import base64
import dataclasses
import json
import math
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from asyncua import ua
from asyncua.ua.uaerrors import UaError

from dmi.errors import ConversionError, OutOfRangeError
from dmi.readings import Quality, Reading, Value
from mapper_sdk.driver import Answer
from mappers.opcua.addresses import parse_node_id
from mappers.opcua.values.refusals import status_error, status_name

__all__ = [
    "answer_of",
    "is_raw_structure",
    "jsonable",
    "plain_value",
    "seconds_of",
    "to_variant",
]

_PLAIN = frozenset({int, float, bool, str, bytes})
_NAMED = frozenset(
    # Bad states of the value itself: the node exists and may be read.
    {
        *("BadSensorFailure", "BadDeviceFailure", "BadOutOfService", "BadNotConnected"),
        *("BadNoCommunication", "BadWaitingForInitialData", "BadDataUnavailable", "BadNoData"),
        *("BadCommunicationError", "BadConfigurationError", "BadOutOfRange", "Bad"),
        *("BadUnexpectedError", "BadInternalError", "BadShutdown", "BadInvalidState"),
        *("BadResourceUnavailable", "BadTimeout", "BadServerNotConnected"),
    }
)
_EARLIEST = datetime(1970, 1, 2, tzinfo=UTC).timestamp()
_RANGES = {
    ua.VariantType.SByte: (-(2**7), 2**7 - 1),
    ua.VariantType.Byte: (0, 2**8 - 1),
    ua.VariantType.Int16: (-(2**15), 2**15 - 1),
    ua.VariantType.UInt16: (0, 2**16 - 1),
    ua.VariantType.Int32: (-(2**31), 2**31 - 1),
    ua.VariantType.UInt32: (0, 2**32 - 1),
    ua.VariantType.Int64: (-(2**63), 2**63 - 1),
    ua.VariantType.UInt64: (0, 2**64 - 1),
}


# -------------------------------------------------------------------- reading ----


def answer_of(data: ua.DataValue, now: float) -> Answer:
    """A reading with the server's own time and quality, or why there is none.

    Args:
        data: What the server says.
        now: Time for values that bring none, seconds since 1970-01-01 UTC.
    """
    status = data.StatusCode
    code = 0 if status is None else status.value
    source = data.SourceTimestamp or data.ServerTimestamp
    time = now if source is None else seconds_of(source)
    if time < _EARLIEST:
        time = now
    if code & 0x80000000:
        name = status_name(code)
        if name in _NAMED:
            return Reading(None, time, Quality.BAD, name)
        return status_error(code, "the server answers")
    value = data.Value.Value if data.Value is not None else None
    if type(value) not in _PLAIN:
        value = plain_value(value)
    if value is None:
        return Reading(None, time, Quality.BAD, "BadNoData")
    if code & 0x40000000:
        return Reading(value, time, Quality.UNCERTAIN, status_name(code))
    return Reading(value, time)


def seconds_of(moment: datetime) -> float:
    """Seconds since 1970-01-01 UTC; asyncua gives times without a zone in UTC."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def plain_value(value: object) -> Value | None:
    """One of our values: numbers, text and bytes as they are, everything composed as JSON."""
    if value is None:
        return None
    if isinstance(value, Enum) and isinstance(value, int):
        return int(value)
    if isinstance(value, (bool, int, float, str, bytes)):
        return value
    shown = jsonable(value)
    if isinstance(shown, str):
        return shown
    return json.dumps(shown, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def jsonable(value: object) -> Any:  # noqa: ANN401 - JSON
    """Any OPC UA value as JSON: times in ISO 8601, bytes in Base64, ids as text."""
    match value:
        case Enum():
            return value.value
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case bytes():
            return base64.b64encode(value).decode()
        case datetime():
            return datetime.fromtimestamp(seconds_of(value), UTC).isoformat().replace("+00:00", "Z")
        case uuid.UUID():
            return str(value)
        case ua.NodeId():
            return value.to_string()
        case ua.QualifiedName():
            return value.to_string()
        case ua.LocalizedText():
            return value.Text or ""
        case ua.StatusCode():
            return status_name(value.value)
        case ua.Variant() | ua.DataValue():
            return jsonable(value.Value)
        case list() | tuple():
            return [jsonable(one) for one in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: jsonable(getattr(value, name)) for name in _fields(value)}
    return str(value)


def _fields(structure: object) -> list[str]:
    names = (field.name for field in dataclasses.fields(structure))  # type: ignore[arg-type]  # callers look
    return [name for name in names if name not in {"TypeId", "Encoding", "data_type"}]


def is_raw_structure(data: ua.DataValue) -> bool:
    """Whether it holds a structure whose definition has not been read from the server."""
    value = data.Value.Value if data.Value is not None else None
    if isinstance(value, list) and value:
        value = value[0]
    return type(value) is ua.ExtensionObject


# -------------------------------------------------------------------- writing ----


def to_variant(value: object, like: ua.Variant) -> ua.Variant:
    """A variant of the node's own type.

    Args:
        value: Ours; an array or a structure as JSON, or as text of JSON.
        like: Of the type that is wanted; a structure needs one as its pattern.

    Raises:
        ConversionError: The value does not fit that type.
    """
    kind = like.VariantType
    composed = like.is_array or kind is ua.VariantType.ExtensionObject
    if composed and isinstance(value, (str, bytes)):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise ConversionError(f"this node needs JSON: {error}") from error
    try:
        if not like.is_array:
            return ua.Variant(_scalar(value, kind, like.Value), kind)
        if not isinstance(value, list):
            raise ConversionError("this node is an array: write a JSON list")
        pattern = like.Value[0] if like.Value else None
        return ua.Variant(_array(value, kind, pattern), kind, is_array=True)
    except (TypeError, ValueError, UaError) as error:
        raise ConversionError(f"{value!r} is no {kind.name}: {error}") from error


def _array(values: Sequence[object], kind: ua.VariantType, pattern: object) -> list[object]:
    return [
        _array(one, kind, pattern) if isinstance(one, list) else _scalar(one, kind, pattern)
        for one in values
    ]


def _scalar(value: Any, kind: ua.VariantType, pattern: object) -> object:  # noqa: ANN401 - JSON
    if kind in _RANGES:
        return _integer(value, kind)
    match kind:
        case ua.VariantType.Boolean:
            return _boolean(value)
        case ua.VariantType.Float | ua.VariantType.Double:
            return float(value)
        case ua.VariantType.String | ua.VariantType.XmlElement:
            return value.decode() if isinstance(value, bytes) else str(value)
        case ua.VariantType.ByteString:
            return value if isinstance(value, bytes) else base64.b64decode(value, validate=True)
        case ua.VariantType.DateTime:
            moment = datetime.fromisoformat(str(value))
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        case ua.VariantType.Guid:
            return uuid.UUID(str(value))
        case ua.VariantType.LocalizedText:
            return ua.LocalizedText(str(value))
        case ua.VariantType.QualifiedName:
            return ua.QualifiedName.from_string(str(value))
        case ua.VariantType.NodeId | ua.VariantType.ExpandedNodeId:
            parse_node_id(str(value))
            return ua.NodeId.from_string(str(value))
        case ua.VariantType.ExtensionObject:
            return fill(pattern, value)
    raise ConversionError(f"values of type {kind.name} cannot be written")


def _integer(value: Any, kind: ua.VariantType) -> int:  # noqa: ANN401 - JSON
    number = float(value) if isinstance(value, str) else value
    whole = int(number)
    if isinstance(number, float) and whole != number:
        # A scaled property: the device takes the nearest number that it can hold.
        whole = math.floor(number + 0.5)
    low, high = _RANGES[kind]
    if not low <= whole <= high:
        raise OutOfRangeError(f"{whole} is no {kind.name}: {low} to {high}")
    return whole


def _boolean(value: Any) -> bool:  # noqa: ANN401 - JSON
    if value in (True, False):
        return bool(value)
    if str(value).lower() in {"true", "false"}:
        return str(value).lower() == "true"
    raise ConversionError(f"{value!r} is neither true nor false")


def fill(pattern: object, data: object) -> object:
    """A structure like `pattern`, its fields taken from JSON; fields not given stay.

    Raises:
        ConversionError: There is no such field, or its value does not fit.
    """
    if not isinstance(data, dict):
        raise ConversionError("this node is a structure: write a JSON object")
    if type(pattern) is ua.ExtensionObject or not dataclasses.is_dataclass(pattern):
        raise ConversionError("the server does not tell what this structure is made of")
    names = _fields(pattern)
    if unknown := set(data) - set(names):
        raise ConversionError(f"the structure has no {', '.join(sorted(unknown))}: {names}")
    changes = {name: _field(getattr(pattern, name), given) for name, given in data.items()}
    return dataclasses.replace(pattern, **changes)  # type: ignore[type-var]  # not a class, as asked above


def _field(present: object, given: Any) -> object:  # noqa: ANN401 - JSON
    match present:
        case bool():
            return _boolean(given)
        case Enum():
            return type(present)(given)
        case int():
            return int(given)
        case float():
            return float(given)
        case list():
            pattern = present[0] if present else None
            return [
                given_one if pattern is None else _field(pattern, given_one) for given_one in given
            ]
        case datetime():
            return datetime.fromisoformat(str(given))
        case ua.LocalizedText():
            return ua.LocalizedText(str(given))
        case bytes():
            return base64.b64decode(given)
    if isinstance(given, dict):
        return fill(present, given)
    return given

"""Values on their way from OPC UA to ours: types, arrays, structures, status and time."""

import base64
import dataclasses
import json
import math
import uuid
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from asyncua import ua

from dmi.errors import ConversionError
from dmi.readings import Quality, Reading, Value
from mapper_sdk.driver import Answer
from mappers.opcua.values.refusals import status_error, status_name
from mappers.opcua.values.structures import Structures

__all__ = ["answer_of", "field_names", "jsonable", "plain_value", "seconds_of"]

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


def answer_of(data: ua.DataValue, now: float, structures: Structures) -> Answer:
    """A reading with the server's own time and quality, or why there is none.

    Args:
        data: What the server says.
        now: Time for values that bring none, seconds since 1970-01-01 UTC.
        structures: Those that the server has defined itself.

    Raises:
        UnknownStructureError: The definition of a structure must be read first.
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
        try:
            value = plain_value(value, structures)
        except ConversionError as error:
            return error
    if value is None:
        return Reading(None, time, Quality.BAD, "BadNoData")
    if code & 0x40000000:
        return Reading(value, time, Quality.UNCERTAIN, status_name(code))
    return Reading(value, time)


def seconds_of(moment: datetime) -> float:
    """Seconds since 1970-01-01 UTC; asyncua gives times without a zone in UTC."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def plain_value(value: object, structures: Structures) -> Value | None:
    """One of our values: numbers, text and bytes as they are, everything composed as JSON.

    Raises:
        UnknownStructureError: The definition of a structure must be read first.
        ConversionError: A structure does not fit its definition.
    """
    if value is None:
        return None
    if isinstance(value, Enum) and isinstance(value, int):
        return int(value)
    if isinstance(value, (bool, int, float, str, bytes)):
        return value
    shown = jsonable(value, structures)
    if isinstance(shown, str):
        return shown
    return json.dumps(shown, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def jsonable(value: object, structures: Structures) -> Any:  # noqa: ANN401 - JSON
    """Any OPC UA value as JSON: times in ISO 8601, bytes in Base64, ids as text.

    Raises:
        UnknownStructureError: The definition of a structure must be read first.
        ConversionError: A structure does not fit its definition.
    """
    match value:
        case Enum():
            return value.value
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case ua.Variant() | ua.DataValue():
            return jsonable(value.Value, structures)
        case list() | tuple():
            return [jsonable(one, structures) for one in value]
        case dict():
            return {name: jsonable(one, structures) for name, one in value.items()}
        case ua.ExtensionObject():
            given = None if value.TypeId.is_null() else structures.decoded(value)
            return jsonable(given, structures)
    return _leaf_text(value, structures)


def _leaf_text(value: object, structures: Structures) -> Any:  # noqa: ANN401 - JSON
    match value:
        case bytes():
            return base64.b64encode(value).decode()
        case datetime():
            return datetime.fromtimestamp(seconds_of(value), UTC).isoformat().replace("+00:00", "Z")
        case uuid.UUID():
            return str(value)
        case ua.NodeId() | ua.QualifiedName():
            return value.to_string()
        case ua.LocalizedText():
            return value.Text or ""
        case ua.StatusCode():
            return status_name(value.value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: jsonable(getattr(value, name), structures) for name in field_names(value)}
    return str(value)


def field_names(structure: object) -> list[str]:
    """The fields of a structure that asyncua has a class for."""
    names = (one.name for one in dataclasses.fields(structure))  # type: ignore[arg-type]  # callers look
    return [name for name in names if name not in {"TypeId", "Encoding", "data_type"}]

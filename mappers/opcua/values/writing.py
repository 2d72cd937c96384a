"""Values on their way from ours to OPC UA: always of the node's own type."""

import base64
import dataclasses
import json
import math
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from asyncua import ua
from asyncua.ua.uaerrors import UaError

from dmi.errors import ConversionError, OutOfRangeError
from mappers.opcua.addresses import parse_node_id
from mappers.opcua.values.reading import field_names
from mappers.opcua.values.structures import Definition, Kind, Member, Structures

__all__ = ["bytes_of", "to_variant"]

_NULLABLE = frozenset({ua.VariantType.String, ua.VariantType.ByteString})
"""Types that have a null of their own. Source: OPC UA Part 6, 5.2.2.4 and 5.2.2.7."""
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


def to_variant(value: object, like: ua.Variant, structures: Structures) -> ua.Variant:
    """A variant of the node's own type.

    Args:
        value: Ours; an array or a structure as JSON, or as text of JSON.
        like: Of the type that is wanted; a structure needs one as its pattern.
        structures: Those that the server has defined itself.

    Raises:
        ConversionError: The value does not fit that type.
        UnknownStructureError: The structure's definition has not been read yet.
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
            return ua.Variant(_one(value, kind, like.Value, structures), kind)
        if not isinstance(value, list):
            raise ConversionError("this node is an array: write a JSON list")
        return ua.Variant(_array(value, kind, like.Value, structures), kind, is_array=True)
    except (TypeError, ValueError, AttributeError, UaError) as error:
        raise ConversionError(f"{value!r} is no {kind.name}: {error}") from error


def _one(value: object, kind: ua.VariantType, pattern: object, structures: Structures) -> object:
    if kind is ua.VariantType.ExtensionObject:
        return _structure(value, pattern, structures)
    return _scalar(value, kind)


def _array(
    values: Sequence[object], kind: ua.VariantType, present: object, structures: Structures
) -> list[object]:
    """An array of any dimension; a structure in it is filled up from the one in its place."""
    patterns = present if isinstance(present, list) else []
    found: list[object] = []
    for place, one in enumerate(values):
        if isinstance(one, list):
            found.append(_array(one, kind, patterns, structures))
        elif place < len(patterns):
            found.append(_one(one, kind, patterns[place], structures))
        else:
            found.append(_one(one, kind, _blank(patterns), structures))
    return found


def _blank(patterns: Sequence[object]) -> object:
    """A structure like the others, of which nothing is there yet."""
    like = patterns[0] if patterns else None
    return ua.ExtensionObject(TypeId=like.TypeId) if isinstance(like, ua.ExtensionObject) else like


def _scalar(value: Any, kind: ua.VariantType) -> object:  # noqa: ANN401 - JSON
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
            return value if isinstance(value, bytes) else bytes_of(value)
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


def bytes_of(text: str) -> bytes:
    """Bytes from Base64.

    Raises:
        ConversionError: It is none.
    """
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ConversionError(f"{text!r} is no Base64: {error}") from error


# ------------------------------------------------------------------ structures ----


def _structure(data: object, pattern: object, structures: Structures) -> object:
    """A structure like `pattern`, its fields taken from JSON; fields not given stay."""
    if not isinstance(data, dict):
        raise ConversionError("this node is a structure: write a JSON object")
    if not isinstance(pattern, ua.ExtensionObject):
        return _standard(pattern, data)
    if pattern.TypeId in structures.opaque or pattern.TypeId.is_null():
        raise ConversionError("the server does not tell what this structure is made of")
    definition = structures.of(pattern)
    present = structures.decoded(pattern) if pattern.Body is not None else {}
    return structures.encoded(definition, _merged(definition, present, data, structures))


def _merged(
    definition: Definition,
    present: Mapping[str, object],
    given: Mapping[str, object],
    structures: Structures,
) -> dict[str, object]:
    names = [one.name for one in definition.members]
    _refuse_unknown(definition.name, given, names)
    if definition.is_union and len(given) > 1:
        raise ConversionError(f"{definition.name} has one of its fields at a time")
    values: dict[str, object] = {}
    for member in definition.members:
        name = member.name
        if name in given:
            values[name] = _member(member, present.get(name), given[name], structures)
        elif definition.is_union:
            continue
        elif name in present or member.is_optional:
            values[name] = present.get(name)
        else:
            raise ConversionError(f"{definition.name} needs {name}")
    return values


def _member(member: Member, present: object, given: object, structures: Structures) -> object:
    if given is None and (member.is_optional or member.is_array):
        return None
    if not member.is_array:
        return _value(member.kind, present, given, structures)
    if not isinstance(given, list):
        raise ConversionError(f"{member.name} is an array: write a JSON list")
    old = present if isinstance(present, list) else []
    return [
        _value(member.kind, old[place] if place < len(old) else None, one, structures)
        for place, one in enumerate(given)
    ]


def _value(kind: Kind, present: object, given: object, structures: Structures) -> object:
    if isinstance(kind, ua.VariantType):
        return None if given is None and kind in _NULLABLE else _scalar(given, kind)
    if not isinstance(given, dict):
        raise ConversionError("a structure in a structure is a JSON object")
    if isinstance(kind, type):
        return _standard(kind() if present is None else present, given)
    before = present if isinstance(present, dict) else {}
    return _merged(structures.by_type[kind], before, given, structures)


def _refuse_unknown(name: str, given: Mapping[str, object], names: Sequence[str]) -> None:
    if unknown := set(given) - set(names):
        raise ConversionError(
            f"the structure {name} has no {', '.join(sorted(unknown))}: {', '.join(names)}"
        )


def _standard(pattern: object, given: Mapping[str, object]) -> object:
    """A structure of the standard, which asyncua has a class for."""
    if not dataclasses.is_dataclass(pattern) or isinstance(pattern, type):
        raise ConversionError("the server does not tell what this structure is made of")
    _refuse_unknown(type(pattern).__name__, given, field_names(pattern))
    changes = {name: _field(getattr(pattern, name), one) for name, one in given.items()}
    return dataclasses.replace(pattern, **changes)


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
            return [one if pattern is None else _field(pattern, one) for one in given]
        case datetime():
            return datetime.fromisoformat(str(given))
        case ua.LocalizedText():
            return ua.LocalizedText(str(given))
        case bytes():
            return bytes_of(given)
    if isinstance(given, dict):
        return _standard(present, given)
    return given

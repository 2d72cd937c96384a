"""Validation errors of pydantic, worded for the author of a YAML file."""

from collections.abc import Sequence
from difflib import get_close_matches
from types import UnionType
from typing import Final, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from dmi.mistakes import Fault, YamlPath

__all__ = ["closest", "describe", "fault_of", "field_names"]

_V1ALPHA2: Final = {
    "propertyVisitors": "v1alpha2 wrote this; v1beta1 has `properties` with `visitors` in them",
    "propertyName": "v1alpha2 wrote this; in v1beta1 it is `name`",
    "nodeSelector": "v1alpha2 wrote this; v1beta1 has `nodeName`",
    "customizedProtocol": "v1alpha2 wrote this; v1beta1 has `protocolName` and `configData`",
    "common": "v1alpha2 wrote this; v1beta1 puts all of it flat into `configData`",
    "customizedValues": "v1alpha2 wrote this; v1beta1 puts all of it flat into `configData`",
    "modbus": "v1alpha2 wrote this; v1beta1 has `protocolName: modbus` and `configData`",
    "opcua": "v1alpha2 wrote this; v1beta1 has `protocolName: opcua` and `configData`",
    "bluetooth": "v1alpha2 wrote this; v1beta1 has `protocolName: bluetooth` and `configData`",
    "defaultValue": "v1beta1 has no default; write `desired` in the Device",
}
_KINDS: Final = {
    "list_type": "must be a list, each entry starting with '-'",
    "dict_type": "must be a block of fields",
    "model_type": "must be a block of fields",
    "model_attributes_type": "must be a block of fields",
}


def closest(word: str, known: Sequence[str]) -> str:
    """Say which known word was probably meant; empty when none is near."""
    lowered = {name.lower(): name for name in known}
    match = get_close_matches(word.lower(), list(lowered), n=1, cutoff=0.6)
    return f"did you mean {lowered[match[0]]!r}?" if match else ""


def field_names(model: type[BaseModel], path: YamlPath) -> list[str]:
    """Names that may stand at `path` of an object that `model` reads; empty when any may."""
    current: type[BaseModel] | None = model
    for part in path:
        if isinstance(part, str) and current is not None:
            fields = {info.alias or name: info for name, info in current.model_fields.items()}
            current = _model_in(fields[part].annotation) if part in fields else None
    if current is None:
        return []
    return [info.alias or name for name, info in current.model_fields.items()]


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in {Union, UnionType, list}:
        found = (_model_in(inner) for inner in get_args(annotation))
        return next((inner for inner in found if inner is not None), None)
    return None


def fault_of(error: ErrorDetails, model: type[BaseModel]) -> Fault:
    """Word one of pydantic's errors about an object that `model` reads."""
    path = tuple(part for part in error["loc"] if part != "[key]")
    given = error.get("input")
    context = error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            return _unknown(path, field_names(model, path[:-1]))
        case "missing":
            return Fault(path, "is missing")
        case "string_type":
            return Fault(path, f"must be text, not {describe(given)}", _quoted(given))
        case "bool_type":
            return Fault(path, f"must be true or false, not {describe(given)}", _unquoted(given))
        case "int_type" | "int_from_float":
            problem = f"must be a whole number, not {describe(given)}"
            return Fault(path, problem, _unquoted(given))
        case "enum" | "literal_error":
            return _choice(path, given, str(context["expected"]))
        case "string_pattern_mismatch":
            return Fault(path, f"{given!r} is not a Kubernetes name", _NAME_HINT)
        case "string_too_short":
            return Fault(path, "must not be empty")
        case "string_too_long":
            return Fault(path, f"is longer than {context['max_length']} characters")
        case "greater_than_equal":
            return Fault(path, f"must be {context['ge']} or more, not {given}")
        case "less_than_equal":
            return Fault(path, f"must be {context['le']} or less, not {given}")
        case kind if kind in _KINDS:
            return Fault(path, f"{_KINDS[kind]}, not {describe(given)}")
    message = error["msg"].removeprefix("Value error, ")
    return Fault(path, message[0].lower() + message[1:])


_NAME_HINT: Final = "lower-case letters, digits and '-', starting and ending with a letter or digit"


def _unknown(path: YamlPath, known: Sequence[str]) -> Fault:
    name = str(path[-1])
    hint = _V1ALPHA2.get(name) or closest(name, known)
    if not hint and known:
        hint = f"known here: {', '.join(known)}"
    return Fault(path, "unknown field", hint)


def _choice(path: YamlPath, given: object, expected: str) -> Fault:
    choices = [word.strip("'") for word in expected.replace(" or ", ", ").split(", ")]
    hint = closest(given, choices) if isinstance(given, str) else ""
    return Fault(path, f"must be one of {', '.join(choices)}; not {describe(given)}", hint)


def describe(given: object) -> str:
    """Name a value that stands where another kind was wanted."""
    match given:
        case None:
            return "nothing"
        case bool():
            return f"the word {str(given).lower()}"
        case int() | float():
            return f"the number {given}"
        case str():
            return f"the text {given[:60]!r}"
        case list():
            return "a list"
    return "a block of fields"


def _quoted(given: object) -> str:
    if isinstance(given, bool):
        return f'put it in quotes: "{str(given).lower()}"'
    return f'put it in quotes: "{given}"' if isinstance(given, int | float) else ""


def _unquoted(given: object) -> str:
    if not isinstance(given, str):
        return ""
    return "without quotes" if given.lstrip("-").isdigit() or given in {"true", "false"} else ""

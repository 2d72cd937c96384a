"""What the OpenAPI document says of bodies and answers, with examples."""

from typing import Any, Final, TypeAlias

from pydantic import BaseModel

from dmi.rest.problem import MEDIA_TYPE
from mapper_sdk.rest.openapi import examples, models

__all__ = [
    "ALL_WRITTEN",
    "ARGUMENTS_BODY",
    "AUDIT",
    "CALLED",
    "CHANGES",
    "DERIVED",
    "DEVICE",
    "DEVICES",
    "GAPS",
    "HEALTH",
    "HISTORY",
    "IDEMPOTENCY_KEY",
    "IF_NONE_MATCH",
    "KUBEEDGE",
    "LEVELS",
    "LEVEL_BODY",
    "METHODS",
    "METRICS",
    "NOT_MODIFIED",
    "PROBLEMS",
    "PROPERTIES",
    "PROPERTY",
    "READINGS_BODY",
    "SECURITY_SCHEMES",
    "TARGETS",
    "VALUES_BODY",
    "VALUE_BODY",
    "WRITE_HEADERS",
    "WRITTEN",
    "Responses",
]

Responses: TypeAlias = dict[int | str, dict[str, Any]]

_JSON: Final = "application/json"


def _ref(model: type[BaseModel]) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _content(schema: dict[str, Any], example: object, kind: str = _JSON) -> dict[str, Any]:
    return {kind: {"schema": schema, "example": example}}


def _ok(schema: dict[str, Any], example: object, description: str = "Done.") -> Responses:
    return {200: {"description": description, "content": _content(schema, example)}}


def _body(schema: dict[str, Any], example: object) -> dict[str, Any]:
    return {"required": True, "content": _content(schema, example)}


def _header(name: str, description: str) -> dict[str, Any]:
    schema = {"type": "string"}
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": schema,
    }


_TEXT: Final = {"type": "string"}
_ANY: Final[dict[str, Any]] = {}
_READING: Final = _object(value=_ANY) | {
    "properties": {
        "value": {"description": "Of the property's type; null for a bad reading."},
        "time": {
            "description": "When it was true, ISO 8601 or seconds since 1970; now without it.",
            "anyOf": [{"type": "string"}, {"type": "number"}],
        },
        "quality": {"enum": ["good", "uncertain", "bad"], "default": "good"},
        "reason": {"type": "string", "description": "Why it is not good."},
    }
}

SECURITY_SCHEMES: Final[dict[str, dict[str, str]]] = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "Where the mapper has a token file. The token needs the scope that is "
        "named: `write` includes `read`, and `admin` both.",
    },
    "certificate": {
        "type": "mutualTLS",
        "description": "Where the mapper knows clients by the name in their certificate, which "
        "has the same scopes.",
    },
}

PROBLEMS: Final[Responses] = {
    "4XX": {
        "description": "Refused; nothing was changed.",
        "content": _content(_ref(models.Problem), examples.PROBLEM, MEDIA_TYPE),
    },
    "5XX": {
        "description": "Not possible now.",
        "content": _content(_ref(models.Problem), examples.UNAVAILABLE, MEDIA_TYPE),
    },
}
NOT_MODIFIED: Final[Responses] = {304: {"description": "It is as `If-None-Match` says."}}
IF_NONE_MATCH: Final = _header(
    "If-None-Match", "`ETag` of an earlier answer: 304 if there is no newer reading."
)
IDEMPOTENCY_KEY: Final = _header(
    "Idempotency-Key",
    "The same key with the same request gives the first answer, and does nothing.",
)
WRITE_HEADERS: Final = [
    IDEMPOTENCY_KEY,
    _header(
        "If-Match", "`ETag` of a read of the same properties: 412 if there is a newer reading."
    ),
]
PROPERTY: Final = _ok(_ref(models.Property), examples.PROPERTY, "The property.")
PROPERTIES: Final = _ok(
    _object(items=_array(_ref(models.Property))), {"items": [examples.PROPERTY]}, "The properties."
)
DEVICE: Final = _ok(
    _ref(models.WholeDevice), {**examples.DEVICE, "properties": [examples.PROPERTY]}, "The device."
)
DEVICES: Final = _ok(
    _object(items=_array(_ref(models.ListedDevice)), **{"continue": _TEXT}),
    {"items": [examples.DEVICE], "continue": ""},
    "A page of devices.",
)
VALUE_BODY: Final = _body(_object(value=_ANY), {"value": 80})
VALUES_BODY: Final = _body(
    _object(values={"type": "object", "additionalProperties": {}, "minProperties": 1}),
    {"values": {"setpoint": 80, "mode": "eco"}},
)
WRITTEN: Final = _ok(
    _ref(models.Written), {**examples.PROPERTY, "written": 80.0, "dryRun": False}, "It is written."
)
ALL_WRITTEN: Final = _ok(
    _ref(models.AllWritten),
    {
        "written": {"setpoint": 80.0},
        "together": False,
        "dryRun": False,
        "items": [examples.PROPERTY],
    },
    "All are written.",
)
READINGS_BODY: Final = _body(
    {"anyOf": [_READING, _array(_READING)]},
    {"value": 21.5, "time": "2026-11-21T09:30:00Z", "quality": "good"},
)
DERIVED: Final = _ok(_object(accepted={"type": "integer"}), {"accepted": 1}, "They were published.")
METHODS: Final = _ok(
    _object(items=_array(_ref(models.Method))), {"items": [examples.METHOD]}, "The methods."
)
ARGUMENTS_BODY: Final = _body(
    _object(arguments={"type": "object"}), {"arguments": {"setpoint": 80}}
)
CALLED: Final = _ok(
    _object(results={"type": "object"}), {"results": {"sum": 3}}, "It ran to its end."
)
HISTORY: Final[Responses] = {
    200: {
        "description": "The readings, oldest first; with `step` one interval each.",
        "content": {
            **_content(
                _object(items=_array({"anyOf": [_ref(models.Span), _ref(models.Reading)]})),
                {"items": [examples.READING]},
            ),
            "text/csv": {"schema": _TEXT, "example": examples.CSV},
            "application/jsonl": {"schema": _TEXT, "example": examples.JSON_LINES},
        },
    }
}
TARGETS: Final = _ok(
    _object(items=_array(_ref(models.Target))), {"items": [examples.TARGET]}, "The targets."
)
GAPS: Final = _ok(
    _object(items=_array(_ref(models.Gap)), **{"continue": _TEXT}),
    {"items": [examples.GAP], "continue": ""},
    "What was lost, newest first.",
)
AUDIT: Final = _ok(
    _object(items=_array(_ref(models.AuditEntry)), **{"continue": _TEXT}),
    {"items": [examples.AUDIT], "continue": ""},
    "What was done, newest first.",
)
CHANGES: Final[Responses] = {
    200: {
        "description": "Server-sent events, without end.",
        "content": {"text/event-stream": {"schema": _TEXT, "example": examples.EVENTS}},
    }
}
LEVELS: Final = _ok(
    _object(level=_TEXT, loggers={"type": "object", "additionalProperties": _TEXT}),
    {"level": "info", "loggers": {"mapper_sdk.sessions.session": "debug"}},
    "The levels.",
)
LEVEL_BODY: Final = _body(
    {
        "type": "object",
        "required": ["level"],
        "properties": {
            "level": {"enum": ["debug", "info", "warning", "error", None]},
            "logger": {"type": "string", "description": "Of this logger only, and those below."},
        },
    },
    {"level": "debug", "logger": "mapper_sdk.sessions.session"},
)
HEALTH: Final = _ok(_object(status=_TEXT), {"status": "ok"}, "All is well.")
METRICS: Final[Responses] = {
    200: {
        "description": "Prometheus' text format.",
        "content": {"text/plain": {"schema": _TEXT, "example": examples.METRICS}},
    }
}
KUBEEDGE: Final = _ok(
    _object(apiVersion=_TEXT, statusCode={"type": "integer"}, timeStamp=_TEXT),
    examples.KUBEEDGE,
    "As KubeEdge's mapper-framework answers.",
)

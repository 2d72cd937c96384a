"""What the OpenAPI document says of bodies and answers; no request is checked against it."""

from typing import Any, Final, Literal, TypeAlias

from pydantic import BaseModel

from dmi.rest.problem import MEDIA_TYPE

__all__ = [
    "APPLIED",
    "BODIES",
    "CALL_BODY",
    "CHANGES",
    "COMMAND",
    "COMMANDS",
    "MAPPER",
    "MAPPERS",
    "METHODS",
    "OBJECT",
    "OBJECTS",
    "OBJECT_BODY",
    "PROBLEMS",
    "STATUS",
    "TWIN",
    "TWINS",
    "VERSION",
    "WISH_BODY",
    "Applied",
    "Command",
    "Desired",
    "Mapper",
    "Method",
    "MethodList",
    "Problem",
    "Reported",
    "Twin",
    "problems",
]

Responses: TypeAlias = dict[int | str, dict[str, Any]]
_REFERENCE: Final = "#/components/schemas/{model}"

Scalar: TypeAlias = int | float | bool | str


class Problem(BaseModel):
    """A refusal, as RFC 9457 words it; `reason` is one word for programs."""

    type: str
    title: str
    status: int
    detail: str
    reason: str


class Desired(BaseModel):
    """What somebody wants a property to be, and what became of it."""

    value: Scalar
    version: int
    time: str
    status: Literal["pending", "written", "confirmed", "rejected", "failed"]
    reason: str
    message: str


class Reported(BaseModel):
    """What the device had; `value` is null exactly when quality is bad. Bytes are base64."""

    value: Scalar | None
    time: str | None
    quality: Literal["good", "uncertain", "bad"]
    reason: str


class Twin(BaseModel):
    """Both sides of one property; type, unit and access are null while the model lacks it."""

    namespace: str
    device: str
    property: str
    type: str | None
    unit: str | None
    access: str | None
    desired: Desired | None
    reported: Reported | None
    age_s: float | None


class Mapper(BaseModel):
    """A mapper, living or gone; the two schemas are JSON Schema as text."""

    name: str
    instance: str
    protocol: str
    version: str
    api: Literal["v1", "v1beta1"]
    address: str
    alive: bool
    lastSeen: str | None
    abilities: list[str]
    devices: int
    linkSchema: str
    visitSchema: str
    gauges: dict[str, float]


class Method(BaseModel):
    """A method; arguments and results are JSON Schemas by name."""

    name: str
    description: str
    source: Literal["declared", "device"]
    arguments: dict[str, Any]
    results: dict[str, Any]


class MethodList(BaseModel):
    """What can be called; `complete` is false until a mapper has said what the device offers."""

    items: list[Method]
    complete: bool


class Command(BaseModel):
    """A call of a method and what became of it; `results` are there once it succeeded."""

    id: str
    namespace: str
    device: str
    method: str
    arguments: dict[str, Scalar]
    phase: Literal["accepted", "running", "succeeded", "unsuccessful", "expired", "cancelled"]
    percent: int
    reason: str
    message: str
    results: dict[str, Scalar | None]
    caller: str
    mapper: str
    cancelling: bool
    created: str
    deadline: str
    started: str | None
    ended: str | None


class Result(BaseModel):
    """What applying did to one object."""

    kind: str
    namespace: str
    name: str
    result: Literal["created", "configured", "unchanged"]


class Fault(BaseModel):
    """A mistake, and where it is in the body."""

    file: str
    document: int
    line: int
    path: str
    problem: str
    hint: str


class Applied(BaseModel):
    """What was applied, and what is wrong."""

    applied: list[Result]
    mistakes: list[Fault]


class FaultyApply(Applied, Problem):
    """What was applied all the same, and what is wrong."""


def _problem(model: type[BaseModel]) -> dict[str, Any]:
    return {MEDIA_TYPE: {"schema": {"$ref": _REFERENCE.format(model=model.__name__)}}}


def problems() -> dict[str, Any]:
    """The schemas of problem objects by name, which the framework does not know of."""
    found: dict[str, Any] = {}
    for model in (Problem, FaultyApply):
        schema = model.model_json_schema(ref_template=_REFERENCE)
        found |= schema.pop("$defs", {}) | {model.__name__: schema}
    return found


def _list_of(item: dict[str, Any]) -> Responses:
    properties = {"items": {"type": "array", "items": item}, "continue": {"type": "string"}}
    schema = {"type": "object", "required": ["items", "continue"], "properties": properties}
    return {200: {"content": {"application/json": {"schema": schema}}}}


def _body(schema: dict[str, Any], *kinds: str) -> dict[str, Any]:
    content = {kind: {"schema": schema} for kind in kinds}
    return {"requestBody": {"required": True, "content": content}}


_OBJECT: Final = {"type": "object", "description": "A Device or DeviceModel, Kubernetes JSON."}
_JSON, _YAML = "application/json", "application/yaml"

PROBLEMS: Final[Responses] = {
    "4XX": {"description": "Refused; nothing was changed.", "content": _problem(Problem)},
    "5XX": {"description": "Not possible now.", "content": _problem(Problem)},
}
OBJECT: Final[Responses] = {200: {"content": {_JSON: {"schema": _OBJECT}}}}
OBJECTS: Final[Responses] = _list_of(_OBJECT)
OBJECT_BODY: Final = _body(_OBJECT, _JSON, _YAML)
BODIES: Final = _body({"description": "Devices and DeviceModels, several documents."}, _YAML, _JSON)
APPLIED: Final[Responses] = {
    200: {"model": Applied},
    422: {"description": "There are mistakes.", "content": _problem(FaultyApply)},
}
TWIN: Final[Responses] = {200: {"model": Twin}}
TWINS: Final[Responses] = _list_of({"$ref": "#/components/schemas/Twin"})
WISH_BODY: Final = _body(
    {"type": "object", "required": ["value"], "properties": {"value": {}}}, _JSON
)
MAPPER: Final[Responses] = {200: {"model": Mapper}}
MAPPERS: Final[Responses] = _list_of({"$ref": "#/components/schemas/Mapper"})
METHODS: Final[Responses] = {200: {"model": MethodList}}
COMMAND: Final[Responses] = {200: {"model": Command}}
COMMANDS: Final[Responses] = _list_of({"$ref": "#/components/schemas/Command"})
CALL_BODY: Final = {
    "requestBody": {
        "content": {
            _JSON: {"schema": {"type": "object", "properties": {"arguments": {"type": "object"}}}}
        }
    }
}
CHANGES: Final[Responses] = {200: {"content": {"text/event-stream": {}}}}
STATUS: Final[Responses] = {200: {"content": {_JSON: {"schema": {"type": "object"}}}}}
VERSION: Final[Responses] = STATUS

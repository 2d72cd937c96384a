"""The shapes of answers in the OpenAPI document; no answer is checked against them."""

from typing import Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from pydantic.json_schema import models_json_schema

__all__ = [
    "AllWritten",
    "AuditEntry",
    "Device",
    "Gap",
    "ListedDevice",
    "Method",
    "Problem",
    "Property",
    "Reading",
    "Span",
    "Target",
    "WholeDevice",
    "Written",
    "components",
]

Scalar: TypeAlias = int | float | bool | str


class Problem(BaseModel):
    """A refusal, as RFC 9457 words it; `reason` is one word for programs."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    reason: str


class Reading(BaseModel):
    """A value at a moment; it is null exactly when the quality is bad. Bytes are base64."""

    value: Scalar | None
    time: str | None
    quality: Literal["good", "uncertain", "bad"]
    reason: str


class Property(Reading):
    """A property with its last reading."""

    namespace: str
    device: str
    property: str
    message: str
    age_s: float | None
    type: str
    unit: str
    writable: bool
    derived: bool


class Written(Property):
    """A property that was written, and how."""

    written: Scalar
    dryRun: bool


class AllWritten(BaseModel):
    """Properties that were written; `together` when they were all or none."""

    written: dict[str, Scalar]
    together: bool
    dryRun: bool
    items: list[Property]


class Device(BaseModel):
    """A device and its state; `problems` says what is declared wrongly, by property."""

    namespace: str
    name: str
    state: str
    reason: str
    message: str
    since: str | None
    model: str | None
    labels: dict[str, Any]
    problems: dict[str, str]


class WholeDevice(Device):
    """A device with properties."""

    properties: list[Property]


class ListedDevice(Device):
    """A device in a list; `error` says why it was not read, when it should have been."""

    properties: list[Property] | None = None
    error: Problem | None = None


class Method(BaseModel):
    """What can be called; arguments and results are JSON Schemas by name."""

    name: str
    description: str
    source: Literal["declared", "device"]
    arguments: dict[str, dict[str, Any]]
    results: dict[str, dict[str, Any]] | None = None


class Span(BaseModel):
    """One interval of a downsampled past."""

    time: str
    value: Scalar | None
    count: int
    quality: Literal["good", "uncertain", "bad"]


class Target(BaseModel):
    """A target of readings, and how it does."""

    model_config = ConfigDict(alias_generator=to_camel)

    name: str
    kind: str
    address: str
    condition: Literal["idle", "live", "storing", "draining"]
    since: str | None
    delivered: int
    retried: int
    lost: dict[str, int]
    queued: int
    spooled: int
    spooled_bytes: int
    hours_left: float | None
    error: str
    reason: str


class Gap(BaseModel):
    """Readings of one property that one target never got."""

    target: str
    namespace: str
    device: str
    property: str
    first: str | None
    last: str | None
    count: int
    reason: str
    noted: str | None


class AuditEntry(BaseModel):
    """One thing that somebody did."""

    id: int
    time: str | None
    client: str
    action: str
    namespace: str
    device: str
    target: str
    given: str
    result: str
    message: str


_MODELS: Final[tuple[type[BaseModel], ...]] = (
    Problem,
    Reading,
    Property,
    Written,
    AllWritten,
    WholeDevice,
    ListedDevice,
    Method,
    Span,
    Target,
    Gap,
    AuditEntry,
)


def components() -> dict[str, Any]:
    """The schemas that are referred to, by name."""
    wanted: list[tuple[type[BaseModel], Literal["serialization"]]]
    wanted = [(model, "serialization") for model in _MODELS]
    _, found = models_json_schema(wanted, ref_template="#/components/schemas/{model}")
    defined: dict[str, Any] = found["$defs"]
    return defined

"""What a mapper's REST API answers, as values of Python."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

__all__ = [
    "Change",
    "Gap",
    "JsonValue",
    "Method",
    "PropertyValue",
    "ServedDevice",
    "Span",
    "Target",
    "moment",
]

JsonValue: TypeAlias = int | float | bool | str | None
"""A value of a property: BYTES are base64 text."""


def moment(text: object) -> datetime | None:
    """Read a time of the API; None where there is none."""
    return datetime.fromisoformat(text) if isinstance(text, str) else None


@dataclass(frozen=True, slots=True)
class PropertyValue:
    """One property as it was read last.

    Attributes:
        device: NAMESPACE/NAME.
        name: Of the property.
        value: In `unit`; None exactly when `quality` is `bad`.
        time: When the device had this value; None before the first reading.
        quality: `good`, `uncertain` or `bad`.
        reason: Why the quality is not good, as a word; empty when it is.
        age: Seconds since `time`, when the mapper answered.
        writable: Whether it can be written.
        message: What is wrong, for people.
        tag: For `if_match`: names this reading, and no other; empty where it was not told.
    """

    device: str
    name: str
    value: JsonValue
    time: datetime | None
    quality: str
    reason: str
    age: float | None = None
    type: str = ""
    unit: str = ""
    writable: bool = False
    message: str = ""
    tag: str = ""

    @property
    def is_good(self) -> bool:
        """Whether the value may be trusted."""
        return self.quality == "good"

    @classmethod
    def of(cls, answer: Mapping[str, Any], tag: str = "") -> "PropertyValue":
        """Read one from JSON."""
        return cls(
            device=f"{answer['namespace']}/{answer['device']}",
            name=answer["property"],
            value=answer["value"],
            time=moment(answer["time"]),
            quality=answer["quality"],
            reason=answer["reason"],
            age=answer.get("age_s"),
            type=answer.get("type", ""),
            unit=answer.get("unit", ""),
            writable=answer.get("writable", False),
            message=answer.get("message", ""),
            tag=tag,
        )


@dataclass(frozen=True, slots=True)
class ServedDevice:
    """A device of the mapper.

    Attributes:
        name: NAMESPACE/NAME.
        state: `online`, `offline`, `unhealthy` and so on.
        since: Since when it is in this state.
        reason: Why, as a word; empty when it is well.
        properties: By name; empty in lists that did not ask for them.
    """

    name: str
    state: str
    since: datetime | None
    reason: str = ""
    message: str = ""
    model: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, PropertyValue] = field(default_factory=dict)

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> "ServedDevice":
        """Read one from JSON."""
        values = (PropertyValue.of(item) for item in answer.get("properties") or ())
        return cls(
            name=f"{answer['namespace']}/{answer['name']}",
            state=answer["state"],
            since=moment(answer["since"]),
            reason=answer["reason"],
            message=answer["message"],
            model=answer.get("model") or "",
            labels=answer.get("labels") or {},
            properties={value.name: value for value in values},
        )


@dataclass(frozen=True, slots=True)
class Method:
    """What can be called.

    Attributes:
        arguments: Name to JSON Schema of each argument.
        results: Name to JSON Schema of each result.
    """

    name: str
    description: str
    arguments: Mapping[str, Mapping[str, Any]]
    results: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> "Method":
        """Read one from JSON."""
        return cls(
            answer["name"],
            answer.get("description", ""),
            answer.get("arguments") or {},
            answer.get("results") or {},
        )


@dataclass(frozen=True, slots=True)
class Span:
    """One interval of the downsampled past.

    Attributes:
        time: When it begins.
        value: None when no good number was read in it.
        count: Good readings in it.
        quality: The worst of its readings.
    """

    time: datetime
    value: JsonValue
    count: int
    quality: str


@dataclass(frozen=True, slots=True)
class Target:
    """One target that readings are delivered to; `details` is everything told of it."""

    name: str
    kind: str
    condition: str
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Gap:
    """Readings of one property that one target never got."""

    target: str
    device: str
    property: str
    first: datetime | None
    last: datetime | None
    count: int
    reason: str


@dataclass(frozen=True, slots=True)
class Change:
    """One event of the stream.

    Attributes:
        kind: `readings`, `state`, `outcome`, `event`; or `gap`: changes are missing here.
        data: The JSON of the event.
        id: Following the stream after it gives what came next.
    """

    kind: str
    data: Mapping[str, Any]
    id: str

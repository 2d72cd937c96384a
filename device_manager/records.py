"""What the manager keeps of each twin, device and mapper."""

from dataclasses import dataclass, field
from typing import Literal

from dmi.readings import Reading, Value
from dmi.reports import OutcomeStatus
from dmi.resources import Key

__all__ = [
    "Change",
    "ChangeKind",
    "MapperRecord",
    "StateRecord",
    "TwinReading",
    "TwinRecord",
    "Wish",
]


@dataclass(frozen=True, slots=True)
class Wish:
    """A desired value and what became of it.

    Attributes:
        version: Grows with each wish for this property, never used twice.
        time: When it was wished, in seconds since 1970-01-01 UTC.
        settled_at: When it reached its present status.
    """

    value: Value
    version: int
    time: float
    status: OutcomeStatus = OutcomeStatus.PENDING
    settled_at: float = 0.0
    reason: str = ""
    message: str = ""


@dataclass(slots=True)
class TwinRecord:
    """Both sides of one property; `reported` and `desired` are replaced, never changed."""

    device: Key
    property: str
    reported: Reading | None = None
    desired: Wish | None = None


@dataclass(frozen=True, slots=True)
class StateRecord:
    """Whether a device answers; `since` and `last_online` in seconds since 1970-01-01 UTC."""

    state: str
    since: float
    reason: str = ""
    message: str = ""
    last_online: float = 0.0


@dataclass(slots=True)
class TwinReading:
    """A reading on its way into the store. Never changed after it was made.

    Not frozen, because a frozen dataclass takes three times as long to make and tens of
    thousands are made each second.
    """

    device: Key
    property: str
    reading: Reading


@dataclass(slots=True)
class MapperRecord:
    """A mapper that has registered at some time.

    Attributes:
        address: Socket path of a v1beta1 mapper; empty for v1.
        api: "v1" or "v1beta1".
    """

    name: str
    protocol: str
    instance: str
    version: str
    api: str
    address: str = ""
    alive: bool = False
    last_seen: float = 0.0
    abilities: list[str] = field(default_factory=list)
    link_schema: str = ""
    visit_schema: str = ""


ChangeKind = Literal["model", "device", "desired"]


@dataclass(frozen=True, slots=True)
class Change:
    """Something that is wanted has changed; what it is now must be looked up.

    Attributes:
        version: Grows with each change, never used twice.
        property: Of a changed desired value; empty otherwise.
    """

    version: int
    kind: ChangeKind
    key: Key
    property: str = ""

"""What mapper and manager tell each other beside readings: wishes, commands, states, names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from dmi.readings import Value
from dmi.resources import Key

__all__ = [
    "STATES",
    "Command",
    "CommandProgress",
    "Desired",
    "DeviceState",
    "Outcome",
    "OutcomeStatus",
    "Phase",
    "Registration",
]

STATES: Final = ("online", "offline", "unhealthy", "unknown")
"""What a device can be, in KubeEdge's words."""


class OutcomeStatus(IntEnum):
    """What became of a wish; the numbers are those of `dmi.v1.OutcomeStatus`."""

    PENDING = 0
    WRITTEN = 1
    CONFIRMED = 2
    REJECTED = 3
    FAILED = 4


@dataclass(frozen=True, slots=True)
class Desired:
    """What somebody wants a property to be.

    Attributes:
        value: Typed, or still text where the link's contract knows only text; None
            when nothing is desired any more.
        version: Grows with each wish for this property; 0 where the link has none.
        settled: An earlier session has written it already.
        epoch: Within which versions grow; empty where there is only one.
    """

    device: Key
    property: str
    value: Value | None
    version: int = 0
    settled: bool = False
    epoch: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one wish; `time` in seconds since 1970-01-01 UTC."""

    device: Key
    property: str
    version: int
    status: OutcomeStatus
    time: float
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class DeviceState:
    """Whether a device answers; `since` in seconds since 1970-01-01 UTC.

    `state` is one of `STATES`.
    """

    device: Key
    state: str
    since: float
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Registration:
    """Who a mapper is and what it can do.

    Attributes:
        protocol: Equal to `Device.spec.protocol.protocolName` of what it serves.
        instance: Distinguishes several processes of one name; empty where the link has none.
        abilities: Lower-case names of `dmi.v1.Ability`.
        link_schema: JSON Schema of `Device.spec.protocol.configData`.
        visit_schema: JSON Schema of a property's `visitors.configData`.
        address: Path of the mapper's own socket; empty where the link needs none.
    """

    name: str
    protocol: str
    instance: str = ""
    version: str = ""
    abilities: tuple[str, ...] = ()
    link_schema: str = ""
    visit_schema: str = ""
    address: str = ""


class Phase(IntEnum):
    """How far a command has come; the numbers are those of `dmi.v1.Phase`."""

    ACCEPTED = 0
    RUNNING = 1
    SUCCEEDED = 2
    UNSUCCESSFUL = 3
    EXPIRED = 4
    CANCELLED = 5

    @property
    def is_final(self) -> bool:
        """Whether nothing follows."""
        return self > Phase.RUNNING


@dataclass(frozen=True, slots=True)
class Command:
    """A method of a device that is to be called, once.

    Attributes:
        id: Unique for ever; a command that comes again has the same.
        deadline: After it the command must not start, in seconds since 1970-01-01 UTC.
        cancel: Somebody takes it back: it ends CANCELLED if it has not started.
        settled: The manager keeps its outcome; only `id` means anything then.
    """

    id: str
    device: Key
    method: str
    arguments: Mapping[str, Value] = field(default_factory=dict)
    deadline: float = 0.0
    cancel: bool = False
    settled: bool = False


@dataclass(frozen=True, slots=True)
class CommandProgress:
    """How far one command has come; `time` in seconds since 1970-01-01 UTC.

    Attributes:
        percent: 0 to 100; means something while RUNNING.
        results: By name; empty unless it SUCCEEDED.
    """

    id: str
    phase: Phase
    time: float
    percent: int = 0
    reason: str = ""
    message: str = ""
    results: Mapping[str, Value] = field(default_factory=dict)

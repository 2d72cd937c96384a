"""What mapper and manager tell each other beside readings: wishes, outcomes, states, names."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from dmi.readings import Value
from dmi.resources import Key

__all__ = ["STATES", "Desired", "DeviceState", "Outcome", "OutcomeStatus", "Registration"]

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

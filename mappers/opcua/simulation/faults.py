"""Faults that the simulator shows on request: on the command line, from tests, by a method."""

from enum import StrEnum
from typing import NamedTuple

from dmi.errors import ConfigError

__all__ = ["Fault", "FaultKind", "parse_fault"]


class FaultKind(StrEnum):
    """What goes wrong."""

    DROP = "drop"
    SILENT = "silent"
    BAD = "bad"
    SLOW = "slow"


class Fault(NamedTuple):
    """One fault.

    Attributes:
        seconds: How long reads take (slow), or the sensor is broken (bad).
    """

    kind: FaultKind
    seconds: float = 5.0


def parse_fault(text: str) -> Fault:
    """Read `kind[:seconds]`, such as `bad:10`.

    Raises:
        ConfigError: It is not of that form.
    """
    kind, _, seconds = text.partition(":")
    try:
        return Fault(FaultKind(kind), float(seconds)) if seconds else Fault(FaultKind(kind))
    except ValueError:
        kinds = ", ".join(FaultKind)
        raise ConfigError(
            f"{text!r} is no fault; write kind[:seconds] with a kind of {kinds}"
        ) from None

"""Faults that the simulated devices show on request: on the command line and from tests."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from dmi.errors import ConfigError

__all__ = ["Fault", "FaultKind", "Faults", "parse_fault"]


class FaultKind(StrEnum):
    """What goes wrong."""

    OUT_OF_RANGE = "out-of-range"
    DROP = "drop"
    ERROR = "error"
    SLOW = "slow"
    FLOOD = "flood"


_USUAL = {
    FaultKind.OUT_OF_RANGE: 0.0,
    FaultKind.DROP: 1.0,
    FaultKind.ERROR: 0x80,
    FaultKind.SLOW: 5.0,
    FaultKind.FLOOD: 200.0,
}


@dataclass(slots=True, eq=False)
class Fault:
    """One fault and what it strikes.

    Attributes:
        device: Name of the device that has it; empty for all.
        parameter: Seconds out of range, 0 for ever; reads and writes that are answered by a
            lost link, 0 for all; the ATT error code; seconds of delay; pushes per second.
    """

    kind: FaultKind
    device: str = ""
    parameter: float = 0.0


class Faults:
    """The faults that are on."""

    def __init__(self, changed: Callable[[], None]) -> None:
        """None is on.

        Args:
            changed: Called after each change of what is on.
        """
        self._on: list[Fault] = []
        self._changed = changed

    @contextmanager
    def on(
        self, kind: FaultKind, device: str = "", parameter: float | None = None
    ) -> Iterator[Fault]:
        """Have a fault for the length of a block; what is left out is as on the command line."""
        kind = FaultKind(kind)
        fault = Fault(kind, device, _USUAL[kind] if parameter is None else parameter)
        self.add(fault)
        try:
            yield fault
        finally:
            self.remove(fault)

    def add(self, fault: Fault) -> None:
        """Switch a fault on."""
        self._on.append(fault)
        self._changed()

    def remove(self, fault: Fault) -> None:
        """Switch a fault off, if it is still on."""
        if fault in self._on:
            self._on.remove(fault)
            self._changed()

    def met_by(self, kind: FaultKind, device: str) -> Fault | None:
        """The fault of a kind that a device has now."""
        for fault in self._on:
            if fault.kind is kind and fault.device in {"", device}:
                return fault
        return None

    def of(self, kind: FaultKind) -> list[Fault]:
        """All faults of a kind that are on."""
        return [fault for fault in self._on if fault.kind is kind]


def parse_fault(text: str) -> Fault:
    """Read `kind[:device[:parameter]]`, such as `slow:heater:0.5` or `error::0x0e`.

    Raises:
        ConfigError: It is not of that form.
    """
    kind, *rest = text.split(":")
    try:
        known = FaultKind(kind)
        device, given = (*rest, "", "")[:2] if len(rest) <= 2 else (text, text)
        return Fault(known, device, _number(given) if given else _USUAL[known])
    except ValueError:
        kinds = ", ".join(FaultKind)
        raise ConfigError(
            f"{text!r} is no fault; write kind[:device[:parameter]] with a kind of {kinds}"
        ) from None


def _number(text: str) -> float:
    return int(text, 16) if text.lower().startswith("0x") else float(text)

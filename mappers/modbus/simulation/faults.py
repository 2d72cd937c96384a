"""Faults that the simulator shows on request: on the command line, from tests, over Modbus."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from dmi.errors import ConfigError
from mappers.modbus.visit import Register

__all__ = ["CONTROL_UNIT", "ControlPanel", "Fault", "FaultKind", "Faults", "parse_fault"]

CONTROL_UNIT = 247
"""Unit whose holding registers 0 to 3 say which fault is on; see `ControlPanel`."""


class FaultKind(StrEnum):
    """What goes wrong."""

    DROP = "drop"
    DELAY = "delay"
    REFUSE = "refuse"
    GARBLE = "garble"
    SILENT = "silent"


@dataclass(slots=True)
class Fault:
    """One fault and what it strikes.

    Attributes:
        unit: The unit that has it; None for all.
        parameter: Seconds of a delay; exception code of a refusal.
        times: How many requests it strikes; None for all.
        register: The table that it strikes; None for all.
        start: First address of the range that it strikes.
        end: Address behind the range.
        functions: Function codes that it strikes; empty for all.
    """

    kind: FaultKind
    unit: int | None = None
    parameter: float = 0.0
    times: int | None = None
    register: Register | None = None
    start: int = 0
    end: int = 0x10000
    functions: frozenset[int] = frozenset()

    def strikes(self, unit: int, function: int, register: Register | None, span: range) -> bool:
        """Whether a request meets it."""
        return (
            self.times != 0
            and self.unit in {None, unit}
            and (self.register is None or self.register is register)
            and span.start < self.end
            and self.start < span.stop
            and (not self.functions or function in self.functions)
        )


class Faults:
    """The faults that are on."""

    def __init__(self) -> None:
        self._on: list[Fault] = []

    @contextmanager
    def on(self, fault: Fault) -> Iterator[Fault]:
        """Switch a fault on for the length of a block."""
        self.add(fault)
        try:
            yield fault
        finally:
            self._on.remove(fault)

    def add(self, fault: Fault) -> None:
        """Switch a fault on."""
        self._on.append(fault)

    def clear(self) -> None:
        """Switch all off."""
        self._on.clear()

    def met_by(
        self, unit: int, function: int, register: Register | None, span: range
    ) -> Fault | None:
        """The first fault that a request meets; it counts as used."""
        for fault in self._on:
            if fault.strikes(unit, function, register, span):
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None


def parse_fault(text: str) -> Fault:
    """Read `kind[:unit[:parameter]]`, such as `delay:2:0.5` or `refuse:0:2`; unit 0 is all.

    Raises:
        ConfigError: It is not of that form.
    """
    kind, *rest = text.split(":")
    try:
        unit = int(rest[0]) if rest else 0
        parameter = float(rest[1]) if len(rest) > 1 else _usual(FaultKind(kind))
        return Fault(FaultKind(kind), unit or None, parameter)
    except ValueError:
        kinds = ", ".join(FaultKind)
        raise ConfigError(
            f"{text!r} is no fault; write kind[:unit[:parameter]] with a kind of {kinds}"
        ) from None


def _usual(kind: FaultKind) -> float:
    return {FaultKind.DELAY: 5.0, FaultKind.REFUSE: 2.0}.get(kind, 0.0)


class ControlPanel:
    """Unit 247: four holding registers that switch one fault on.

    0: the kind (0 none, then in the order of `FaultKind`), 1: the unit (0 all), 2: milliseconds
    of a delay or code of a refusal, 3: how many requests (0 all). Register 0 acts; write the
    others before it. The panel itself meets no faults.
    """

    SIZE = 4

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def apply(self, registers: dict[int, int]) -> bool:
        """Take over what the registers say; tells whether they make sense."""
        kind, unit, parameter, times = (registers[address] for address in range(self.SIZE))
        if kind > len(FaultKind):
            return False
        self._faults.clear()
        if kind:
            fault = Fault(list(FaultKind)[kind - 1], unit or None, float(parameter), times or None)
            if fault.kind is FaultKind.DELAY:
                fault.parameter /= 1000
            self._faults.add(fault)
        return True

"""The plant that the simulator simulates: what is in its registers, and how it moves.

A boiler (unit 1), a pump (unit 2), a power meter (unit 3), and any number of racks of plain
registers behind them. Time is counted only when somebody looks, so a plant costs nothing.
"""

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from mappers.modbus.visit import Register

__all__ = ["RACK_SIZE", "ROWS", "Plant", "Row", "Tables", "UnknownUnitError"]

RACK_SIZE = 100
"""Registers of each kind in a rack."""

_AMBIENT = 20.0
_WARMING_SECONDS = 12.0
_COOLING_SECONDS = 40.0
_SERIAL_NUMBER = b"DMI-2026-000417"


class Row(NamedTuple):
    """One line of the map in the documentation."""

    unit: int
    device: str
    property: str
    register: Register
    offset: int
    type: str
    writable: bool
    meaning: str


ROWS = (
    Row(1, "boiler", "temperature", Register.INPUT, 0, "float32", False, "°C, goes to setpoint"),
    Row(1, "boiler", "pressure", Register.INPUT, 2, "float32", False, "bar, follows temperature"),
    Row(1, "boiler", "setpoint", Register.HOLDING, 0, "float32", True, "°C"),
    Row(1, "boiler", "burner", Register.COIL, 0, "bool", True, "whether the burner may run"),
    Row(1, "boiler", "flame", Register.DISCRETE_INPUT, 0, "bool", False, "whether it runs now"),
    Row(2, "pump", "speed", Register.HOLDING, 0, "uint16", True, "1/min, up to 3000"),
    Row(2, "pump", "flow", Register.INPUT, 0, "int16", False, "0.1 m3/h, follows speed"),
    Row(2, "pump", "overheated", Register.INPUT, 1, "bit 3", False, "above 2,800 1/min"),
    Row(2, "pump", "running", Register.DISCRETE_INPUT, 0, "bool", False, "speed is not 0"),
    Row(3, "meter", "energy", Register.INPUT, 0, "uint64", False, "Wh, counts up"),
    Row(3, "meter", "voltage-l1", Register.INPUT, 4, "uint16", False, "0.1 V"),
    Row(3, "meter", "voltage-l2", Register.INPUT, 5, "uint16", False, "0.1 V"),
    Row(3, "meter", "voltage-l3", Register.INPUT, 6, "uint16", False, "0.1 V"),
    Row(3, "meter", "power", Register.INPUT, 8, "float32, CDAB", False, "W"),
    Row(3, "meter", "serial", Register.INPUT, 16, "string of 8", False, "serial number"),
)
"""Each property of the plant and where it lives; `examples/plant` and the docs agree with it."""


class UnknownUnitError(Exception):
    """Nobody with this number is on the line."""


Tables = dict[Register, dict[int, int]]
"""Address to content: 0 to 65535 for registers, 0 and 1 for bits."""


@dataclass(slots=True)
class _Unit:
    tables: Tables
    move: Callable[[float, float], None] | None = None

    def put(self, register: Register, address: int, layout: str, *values: float | bytes) -> None:
        """Store values as `struct` lays them out, two bytes to a register."""
        data = struct.pack(layout, *values)
        words = struct.unpack(f">{len(data) // 2}H", data)
        self.tables[register].update(enumerate(words, address))

    def number(self, register: Register, address: int, layout: str) -> float:
        """The number that lies there."""
        size = struct.calcsize(layout) // 2
        words = (self.tables[register][a] for a in range(address, address + size))
        value: float = struct.unpack(layout, struct.pack(f">{size}H", *words))[0]
        return value


def _empty(*, coils: int = 0, discrete: int = 0, inputs: int = 0, holding: int = 0) -> _Unit:
    sizes = {
        Register.COIL: coils,
        Register.DISCRETE_INPUT: discrete,
        Register.INPUT: inputs,
        Register.HOLDING: holding,
    }
    return _Unit({kind: dict.fromkeys(range(size), 0) for kind, size in sizes.items()})


class Plant:
    """The memory of all units.

    Args:
        units: How many there are; the first three are boiler, pump and meter.
        now: Seconds since some moment.
    """

    def __init__(self, units: int, now: Callable[[], float]) -> None:
        makers = [_boiler, _pump, _meter]
        self._units = {
            number: makers[number - 1]() if number <= len(makers) else _rack(number)
            for number in range(1, units + 1)
        }
        self._now = now
        self._began = self._last = now()

    def tables(self, unit: int) -> Tables:
        """The tables of a unit, moved on to this moment.

        Raises:
            UnknownUnitError: There is none of this number.
        """
        found = self._units.get(unit)
        if found is None:
            raise UnknownUnitError(f"there is no unit {unit}")
        self._move()
        return found.tables

    def _move(self) -> None:
        now = self._now()
        passed, self._last = now - self._last, now
        if passed <= 0:
            return
        for unit in self._units.values():
            if unit.move is not None:
                unit.move(passed, now - self._began)


def _boiler() -> _Unit:
    unit = _empty(coils=1, discrete=1, inputs=4, holding=2)
    unit.put(Register.INPUT, 0, ">2f", 55.0, 1.55)
    unit.put(Register.HOLDING, 0, ">f", 60.0)
    unit.tables[Register.COIL][0] = 1
    water = 55.0

    def move(passed: float, age: float) -> None:
        nonlocal water
        wanted = unit.number(Register.HOLDING, 0, ">f")
        fires = unit.tables[Register.COIL][0] == 1 and water < wanted
        aim, seconds = (wanted + 1, _WARMING_SECONDS) if fires else (_AMBIENT, _COOLING_SECONDS)
        water = aim + (water - aim) * math.exp(-passed / seconds)
        shown = water + 0.05 * math.sin(age)
        unit.put(Register.INPUT, 0, ">2f", shown, 1 + shown / 100)
        unit.tables[Register.DISCRETE_INPUT][0] = int(fires)

    unit.move = move
    return unit


def _pump() -> _Unit:
    unit = _empty(discrete=1, inputs=2, holding=1)
    unit.put(Register.HOLDING, 0, ">H", 1450)

    def move(passed: float, age: float) -> None:
        speed = unit.number(Register.HOLDING, 0, ">H")
        flow = speed * 0.08 * (1 + 0.02 * math.sin(age / 2))
        unit.put(Register.INPUT, 0, ">hH", int(min(flow, 32767)), (speed > 2800) << 3)
        unit.tables[Register.DISCRETE_INPUT][0] = int(speed > 0)

    unit.move = move
    move(0, 0)
    return unit


def _meter() -> _Unit:
    unit = _empty(inputs=24)
    unit.put(Register.INPUT, 16, ">16s", _SERIAL_NUMBER)
    counted = 1_234_567.0

    def move(passed: float, age: float) -> None:
        nonlocal counted
        power = 1500 + 400 * math.sin(age / 5)
        counted += power * passed / 3600
        unit.put(Register.INPUT, 0, ">Q", int(counted))
        volts = (2300 + round(15 * math.sin(age / 7 + phase)) for phase in (0, 2, 4))
        unit.put(Register.INPUT, 4, ">3H", *volts)
        low_word_first = struct.unpack(">2H", struct.pack(">f", power))[::-1]
        unit.put(Register.INPUT, 8, ">2H", *low_word_first)

    unit.move = move
    move(0, 0)
    return unit


def _rack(number: int) -> _Unit:
    unit = _empty(coils=RACK_SIZE, discrete=RACK_SIZE, inputs=RACK_SIZE, holding=RACK_SIZE)
    unit.tables[Register.HOLDING].update((a, a) for a in range(RACK_SIZE))
    unit.tables[Register.DISCRETE_INPUT].update((a, a % 2) for a in range(RACK_SIZE))

    def move(passed: float, age: float) -> None:
        # Whole seconds: a register differs from the one before it by one, and moves each second.
        count = int(age) + number
        unit.tables[Register.INPUT].update((a, (count + a) & 0xFFFF) for a in range(RACK_SIZE))

    unit.move = move
    move(0, 0)
    return unit

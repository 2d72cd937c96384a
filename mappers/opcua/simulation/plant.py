"""The plant that the simulator simulates: its variables, and how they move."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from asyncua import ua

__all__ = ["NAMESPACE", "ROWS", "Plant", "Row"]

NAMESPACE = "urn:dmi-toolkit:plant"
"""URI of the plant's namespace. Its index differs from start to start on request."""

_AMBIENT = 20.0
_WARMING_SECONDS = 12.0
_COOLING_SECONDS = 40.0

Type = ua.VariantType
Number = float | int | bool | str


class Row(NamedTuple):
    """One line of the map in the documentation."""

    device: str
    name: str
    type: ua.VariantType
    writable: bool
    start: Number
    meaning: str

    @property
    def node(self) -> str:
        """Text of the node id's identifier."""
        return f"{self.device}.{self.name}"


ROWS = (
    Row("Boiler", "Temperature", Type.Double, False, 55.0, "°C, goes to the setpoint; historized"),
    Row("Boiler", "Pressure", Type.Float, False, 1.55, "bar, follows the temperature"),
    Row("Boiler", "Setpoint", Type.Float, True, 60.0, "°C"),
    Row("Boiler", "Burner", Type.Boolean, True, True, "whether the burner may run"),
    Row("Boiler", "Flame", Type.Boolean, False, True, "whether it runs now"),
    Row("Pump", "Speed", Type.UInt16, True, 1450, "1/min, up to 3000"),
    Row("Pump", "Flow", Type.Double, False, 11.6, "m3/h, follows the speed"),
    Row("Pump", "Overheated", Type.Boolean, False, False, "above 2,800 1/min"),
    Row("Meter", "Energy", Type.UInt64, False, 1_234_567, "Wh, counts up"),
    Row("Meter", "Power", Type.Double, False, 1500.0, "W"),
    Row("Meter", "Serial", Type.String, False, "DMI-2026-000417", "serial number"),
)
"""Each variable of the plant; `examples/plant_opcua` and the docs agree with it."""


@dataclass(slots=True)
class Plant:
    """The values of all variables.

    Args:
        now: Seconds since some moment.
    """

    now: Callable[[], float]
    values: dict[str, Number] = field(default_factory=lambda: {row.node: row.start for row in ROWS})
    _began: float = 0.0
    _last: float = 0.0
    _counted: float = 1_234_567.0

    def __post_init__(self) -> None:
        self._began = self._last = self.now()

    def move(self) -> dict[str, Number]:
        """Go on to this moment; gives what has changed."""
        before = dict(self.values)
        now = self.now()
        passed, self._last = now - self._last, now
        self._boil(passed, now - self._began)
        self._pump(now - self._began)
        self._meter(passed, now - self._began)
        return {name: value for name, value in self.values.items() if value != before[name]}

    def _boil(self, passed: float, age: float) -> None:
        values = self.values
        wanted, water = float(values["Boiler.Setpoint"]), float(values["Boiler.Temperature"])
        fires = bool(values["Boiler.Burner"]) and water < wanted
        aim, seconds = (wanted + 1, _WARMING_SECONDS) if fires else (_AMBIENT, _COOLING_SECONDS)
        water = aim + (water - aim) * math.exp(-passed / seconds)
        values["Boiler.Temperature"] = water
        values["Boiler.Pressure"] = 1 + water / 100 + 0.01 * math.sin(age)
        values["Boiler.Flame"] = fires

    def _pump(self, age: float) -> None:
        speed = float(self.values["Pump.Speed"])
        self.values["Pump.Flow"] = speed * 0.008 * (1 + 0.02 * math.sin(age / 2))
        self.values["Pump.Overheated"] = speed > 2800

    def _meter(self, passed: float, age: float) -> None:
        power = 1500 + 400 * math.sin(age / 5)
        self._counted += power * passed / 3600
        self.values["Meter.Power"] = power
        self.values["Meter.Energy"] = int(self._counted)

"""What this mapper serves: a device's declaration, resolved against its model and the driver."""

from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict

from dmi.readings import Quality, Reading, Value
from dmi.resources import AccessMode, DataType, Device, DeviceMethod, Key, PushMethod, StateReport
from mapper_sdk.devices.gate import Gate
from mapper_sdk.devices.scaling import DEFAULTS, Common, Convert, Scaling, converter

__all__ = ["DerivedVisit", "Plan", "Point", "Unserved"]


class Unserved(BaseModel):
    """The visit of a property that cannot be served."""


class DerivedVisit(BaseModel):
    """The visit of a derived property: no device is asked, so there is nothing to set."""

    model_config = ConfigDict(extra="forbid")


def _as_it_is(raw: Any, time: float) -> Reading:  # noqa: ANN401 - a driver's value
    return Reading(raw, time)


@dataclass(slots=True, eq=False)
class Point:
    """One property being served: its declaration resolved, and its latest reading.

    It lives as long as its device has the property: changed settings change it in place.

    Attributes:
        handle: Number of this property, unique in this process and never used again.
        visit: The driver's own settings.
        collect_ms: How often it is read.
        report_ms: How often sinks get it.
        to_cloud: Whether links that lead to the cloud may report it.
        latest: The last reading of all, whether or not `gate` let it pass.
        common: The settings common to all protocols.
        convert: Makes a reading of what the driver gives.
        gate: Holds back what has not changed; None where everything is reported.
        problem: Why it cannot be served; empty when it can.
        trouble: What went wrong at the latest reading, for people; empty when nothing.
    """

    handle: int
    device: Key
    name: str
    type: DataType
    access: AccessMode
    visit: BaseModel
    minimum: Value | None = None
    maximum: Value | None = None
    unit: str = ""
    collect_ms: int = 1000
    report_ms: int = 1000
    to_cloud: bool = False
    push: PushMethod | None = None
    latest: Reading | None = None
    common: Common = DEFAULTS
    convert: Convert = _as_it_is
    gate: Gate | None = None
    problem: str = ""
    trouble: str = ""

    def prepare(self) -> None:
        """Derive `convert` and `gate` from the declaration."""
        self.convert = converter(self.type, self.common, self.minimum, self.maximum)
        self.gate = Gate(self.common) if self.common.is_filtered else None

    @property
    def is_writable(self) -> bool:
        """Whether a value may be written to the device at all."""
        return self.access is AccessMode.READ_WRITE and not self.common.derived and not self.problem

    @property
    def silence_ms(self) -> int:
        """After how long an unchanged value is reported all the same; 0 for never."""
        return self.common.max_silence if self.common.is_filtered else 0

    @property
    def scaling(self) -> Scaling:
        """The arithmetic between the device's number and this property's."""
        return Scaling(self.common, self.type)

    def fail(self, reason: str, message: str, time: float) -> Reading:
        """Note and give a reading without a value."""
        self.trouble = message
        self.latest = Reading(None, time, Quality.BAD, reason)
        return self.latest


@dataclass(slots=True, eq=False)
class Plan:
    """One device, ready to be served.

    Attributes:
        link: The driver's own connection settings.
        bus_key: Name of the bus it shares; None for a bus of its own.
        points: All its properties, those with a problem included.
        problems: Property name to why it alone cannot be served.
        revision: Grows whenever the plan is changed in place.
    """

    device: Device
    link: BaseModel
    bus_key: str | None
    points: dict[str, Point]
    methods: list[DeviceMethod]
    state_report: StateReport
    problems: dict[str, str] = field(default_factory=dict)
    labels: dict[str, Any] = field(default_factory=dict)
    revision: int = 0

    @property
    def key(self) -> Key:
        """The device's identity."""
        return self.device.key

    @property
    def sound(self) -> list[Point]:
        """The points that can be served."""
        return [point for point in self.points.values() if not point.problem]

    @property
    def collected(self) -> list[Point]:
        """The points that the device itself is asked for."""
        return [p for p in self.points.values() if not (p.problem or p.common.derived)]

    @property
    def is_derived(self) -> bool:
        """Whether there is nothing to be asked of a device: all its properties are derived."""
        return bool(self.points) and all(p.common.derived for p in self.points.values())

    @property
    def faulty(self) -> list[Point]:
        """The points that cannot."""
        return [point for point in self.points.values() if point.problem]

"""The device table: what this mapper serves, resolved against models and the driver."""

from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from dmi.readings import Reading, Value
from dmi.resources import AccessMode, DataType, Device, DeviceMethod, Key, PushMethod, StateReport

__all__ = ["Plan", "Point"]


@dataclass(slots=True, eq=False)
class Point:
    """One property being served: its declaration resolved, and its latest reading.

    Attributes:
        handle: Number of this property, unique in this process and never used again.
        visit: The driver's own settings.
        collect_ms: How often it is read.
        report_ms: How often sinks get it.
        to_cloud: Whether links that lead to the cloud may report it.
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


@dataclass(slots=True, eq=False)
class Plan:
    """One device, ready to be served.

    Attributes:
        link: The driver's own connection settings.
        bus_key: Name of the bus it shares; None for a bus of its own.
        problems: Property name to why it alone cannot be served.
    """

    device: Device
    link: BaseModel
    bus_key: str | None
    points: dict[str, Point]
    methods: list[DeviceMethod]
    state_report: StateReport
    problems: dict[str, str] = field(default_factory=dict)
    labels: dict[str, Any] = field(default_factory=dict)

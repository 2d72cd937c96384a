"""From resources to plans: resolving a device, and finding the least that a change requires."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from dmi.errors import ConfigError, ConversionError
from dmi.mistakes import Fault, YamlPath
from dmi.resources import (
    AccessMode,
    DataType,
    Device,
    DeviceModel,
    DeviceProperty,
    Key,
    ModelProperty,
    StateReport,
    merge_defaults,
)
from dmi.values import parse_bound
from dmi.wording import fault_of
from mapper_sdk.devices.plan import DerivedVisit, Plan, Point, Unserved
from mapper_sdk.devices.scaling import DEFAULTS, Common, split_settings
from mapper_sdk.driver import Driver

__all__ = ["AnyDriver", "PlanChange", "adopt", "build_plan", "diff_plans", "visit_model_of"]

AnyDriver = Driver[Any, Any]
"""A driver whose settings are known only when it runs."""

DEFAULT_CYCLE_MS = 1000
"""What KubeEdge takes for a cycle of 0."""

Settings = TypeVar("Settings", bound=BaseModel)


def build_plan(
    device: Device, model: DeviceModel, driver_class: type[AnyDriver], handles: Iterator[int]
) -> Plan:
    """Resolve a device against its model and its driver's settings.

    A property that cannot be served is in the plan with its problem; it harms no other.

    Raises:
        ConfigError: The device as a whole cannot be served; the text names it, and each
            fault with its path, such as `spec.protocol.configData.port`.
    """
    merged = merge_defaults(device, model)
    points, problems = _build_points(merged, model, driver_class, handles)
    plan = Plan(
        device=device,
        link=Unserved(),
        bus_key=None,
        points=points,
        methods=merged.spec.methods,
        state_report=merged.spec.state_report or StateReport(),
        problems=problems,
        labels=dict(merged.metadata.labels),
    )
    if plan.is_derived:
        return plan  # Nobody is reached, so nothing has to be set.
    base: YamlPath = ("spec", "protocol", "configData")
    link = _read(driver_class.link_model, merged.spec.protocol.config_data, base)
    if isinstance(link, str):
        raise ConfigError(link, device=str(device.key))
    plan.link, plan.bus_key = link, driver_class.bus_key(link)
    return plan


def _build_points(
    merged: Device, model: DeviceModel, driver_class: type[AnyDriver], handles: Iterator[int]
) -> tuple[dict[str, Point], dict[str, str]]:
    """Give the points by name, and by name what is wrong with them."""
    declared = {prop.name: prop for prop in model.spec.properties}
    points: dict[str, Point] = {}
    problems: dict[str, str] = {}
    for index, prop in enumerate(merged.spec.properties):
        path: YamlPath = ("spec", "properties", index)
        if prop.name in points:
            problem = f"property {prop.name!r} is there twice; the first one is served"
            problems[f"{prop.name}[{index}]"] = str(Fault(path, problem))
            continue
        point = _build_point(
            merged.key, next(handles), prop, declared.get(prop.name), driver_class, path
        )
        points[prop.name] = point
        if point.problem:
            problems[prop.name] = point.problem
    return points, problems


def _read(
    model: type[Settings], data: Mapping[str, Any], base: YamlPath, declared: str = ""
) -> Settings | str:
    """Give the settings, or what is wrong with them.

    A driver's model may look at the property's declared type: `type` in pydantic's context.
    """
    try:
        return model.model_validate(data, context={"type": declared})
    except ValidationError as error:
        faults = (fault_of(detail, model) for detail in error.errors())
        return "; ".join(str(Fault(base + f.path, f.problem, f.hint)) for f in faults)


def _build_point(
    device: Key,
    handle: int,
    prop: DeviceProperty,
    declared: ModelProperty | None,
    driver_class: type[AnyDriver],
    path: YamlPath,
) -> Point:
    point = Point(
        handle=handle,
        device=device,
        name=prop.name,
        type=declared.type if declared else DataType.STRING,
        access=declared.access_mode if declared else AccessMode.READ_ONLY,
        visit=Unserved(),
        unit=declared.unit if declared else "",
        collect_ms=prop.collect_cycle or DEFAULT_CYCLE_MS,
        report_ms=prop.report_cycle or DEFAULT_CYCLE_MS,
        to_cloud=prop.report_to_cloud,
        push=prop.push_method,
    )
    if declared is None:
        point.problem = str(Fault((*path, "name"), f"the model has no property {prop.name!r}"))
        return point
    point.problem = _resolve(point, prop, declared, driver_class, path)
    if not point.problem:
        point.prepare()
    return point


def _resolve(
    point: Point,
    prop: DeviceProperty,
    declared: ModelProperty,
    driver_class: type[AnyDriver],
    path: YamlPath,
) -> str:
    """Fill in settings and bounds; give what is wrong, or nothing."""
    base: YamlPath = (*path, "visitors", "configData")
    common_data, own_data = split_settings(prop.visitors.config_data, driver_class.visit_model)
    common = _read(Common, common_data, base)
    if isinstance(common, str):
        return common
    if wrong := common.misplaced(declared.type):
        return str(Fault((*base, wrong[0]), common.why_misplaced(wrong[0], declared.type)))
    # First: whatever else is wrong with a derived property, no device is needed for it.
    point.common = DEFAULTS if common == DEFAULTS else common
    try:
        point.minimum = parse_bound(declared.minimum, declared.type)
        point.maximum = parse_bound(declared.maximum, declared.type)
    except ConversionError as error:
        return f"range of {prop.name!r} in the model: {error}"
    visit = _read(visit_model_of(driver_class, common), own_data, base, declared.type)
    if isinstance(visit, str):
        return visit
    point.visit = visit
    return ""


def visit_model_of(driver_class: type[AnyDriver], common: Common) -> type[BaseModel]:
    """The model that reads a property's own settings: the driver's, unless it is derived."""
    return DerivedVisit if common.derived else driver_class.visit_model


# ------------------------------------------------------------------ diffs ----


@dataclass(slots=True)
class PlanChange:
    """What turns one plan into the next, as little as possible.

    Attributes:
        reconnect: The device is reached in another way now.
        added: Points that are read from now on.
        removed: Names of properties that are gone.
        redirected: Points whose visit or type changed: what was read before means nothing.
        retimed: Points with another collect cycle.
        retuned: Points with other common settings, bounds or report settings.
        described: Methods, labels or state report settings changed.
    """

    reconnect: bool = False
    added: list[Point] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    redirected: list[Point] = field(default_factory=list)
    retimed: list[Point] = field(default_factory=list)
    retuned: list[Point] = field(default_factory=list)
    described: bool = False

    @property
    def touches_reading(self) -> bool:
        """Whether something else is read, or at another time."""
        return bool(self.added or self.removed or self.redirected or self.retimed)

    def __bool__(self) -> bool:
        return self.reconnect or self.touches_reading or bool(self.retuned) or self.described


_REDIRECTING = ("visit", "type", "problem")
_TUNING = ("access", "minimum", "maximum", "unit", "report_ms", "to_cloud", "push", "common")


_TIMING = ("collect_ms", "silence_ms")


def diff_plans(old: Plan, new: Plan) -> PlanChange:
    """Say what differs; the points named are those of `new`."""
    change = PlanChange(
        reconnect=old.link != new.link or old.bus_key != new.bus_key,
        removed=[name for name in old.points if name not in new.points],
        described=(old.methods, old.labels, old.state_report)
        != (new.methods, new.labels, new.state_report),
    )
    for name, point in new.points.items():
        known = old.points.get(name)
        if known is None:
            change.added.append(point)
            continue
        if _differ(known, point, _REDIRECTING):
            change.redirected.append(point)
        if _differ(known, point, _TIMING):
            change.retimed.append(point)
        if _differ(known, point, _TUNING):
            change.retuned.append(point)
    return change


def _differ(one: Point, other: Point, names: tuple[str, ...]) -> bool:
    return any(getattr(one, name) != getattr(other, name) for name in names)


def adopt(old: Plan, new: Plan, change: PlanChange) -> None:
    """Make `old` equal to `new`, keeping the points that stay: others hold them."""
    for name in change.removed:
        old.points.pop(name).problem = f"the device has no property {name!r} any more"
    for point in change.added:
        old.points[point.name] = point
    for point in (*change.redirected, *change.retimed, *change.retuned):
        known = old.points[point.name]
        for name in (*_REDIRECTING, *_TUNING, "collect_ms"):
            setattr(known, name, getattr(point, name))
    for point in change.redirected:
        old.points[point.name].latest = None
    for point in (*change.redirected, *change.retuned):
        known = old.points[point.name]
        known.convert, known.gate, known.trouble = point.convert, point.gate, ""
    old.device, old.link, old.bus_key = new.device, new.link, new.bus_key
    old.methods, old.labels, old.state_report = new.methods, new.labels, new.state_report
    old.problems = new.problems
    old.revision += 1

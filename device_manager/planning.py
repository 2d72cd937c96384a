"""Working out what a change of models and devices means for twins and wishes, before it is kept."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from device_manager.changes import ChangeLog
from device_manager.desired import Desired
from device_manager.known import Known
from device_manager.records import Change, ChangeKind, Wish
from device_manager.storage import rows
from device_manager.storage.rows import Statement, Twin
from device_manager.wishes import was_refused_at_once, wish_of_text
from dmi.reports import OutcomeStatus
from dmi.resources import Device, DeviceModel, DeviceProperty, Key, ModelProperty

__all__ = ["Plan", "Planner", "without_desired"]


def without_desired(device: Device) -> Device:
    """The device without what somebody wants its properties to be, and without status."""
    properties = [
        prop.model_copy(update={"desired": None}) if prop.desired is not None else prop
        for prop in device.spec.properties
    ]
    spec = device.spec.model_copy(update={"properties": properties})
    return device.model_copy(update={"spec": spec, "status": {}})


@dataclass(slots=True)
class Plan:
    """What is to be written, and what is true once it is.

    Attributes:
        models: New models; None for one that goes.
        devices: New devices; None for one that goes.
        wishes: New wishes by twin; a version instead of a wish takes that wish back.
        specs: For each twin the desired text of its Device that is honoured now, and
            the version of its wish.
    """

    origin: str
    models: Mapping[Key, DeviceModel | None]
    devices: Mapping[Key, Device | None]
    statements: list[Statement] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    added: list[Twin] = field(default_factory=list)
    removed: list[Twin] = field(default_factory=list)
    wishes: list[tuple[Twin, Wish | int]] = field(default_factory=list)
    specs: list[tuple[Twin, str | None, int]] = field(default_factory=list)


class Planner:
    """Makes plans against what is wanted and known now; changes neither."""

    def __init__(self, desired: Desired, known: Known, log: ChangeLog) -> None:
        self._desired = desired
        self._known = known
        self._log = log

    def plan(
        self,
        origin: str,
        models: Mapping[Key, DeviceModel | None],
        devices: Mapping[Key, Device | None],
        now: float,
    ) -> Plan:
        """Say what these changes mean. Objects equal to what is there mean nothing.

        Args:
            origin: Who wants it.
            models: By key; None takes a model away.
            devices: By key; None takes a device away.
            now: Time of new wishes, in seconds since 1970-01-01 UTC.
        """
        plan = Plan(origin, models, devices)
        for key, model in models.items():
            if model != self._desired.models.get(key):
                self._change(plan, "model", key)
            plan.statements.append(_object(model, origin, "DeviceModel", key))
        touched = {
            key: self._desired.devices[key] for model in models for key in self._users(model)
        }
        for key, device in devices.items():
            self._device(plan, key, device)
            plan.statements.append(_object(device, origin, "Device", key))
            if device is None:
                touched.pop(key, None)
            else:
                touched[key] = device
        fresh: dict[Key, dict[str, Twin]] = {}
        for twin in plan.added:
            fresh.setdefault(twin.device, {})[twin.property] = twin
        for key, device in touched.items():
            twins = {**self._known.twins.get(key, {}), **fresh.get(key, {})}
            self._wishes(plan, device, twins, now)
        if plan.changes:
            plan.statements.append(rows.setting_put("version", plan.changes[-1].version))
        return plan

    def _users(self, model: Key) -> list[Key]:
        return list(self._desired.users(model))

    def _change(self, plan: Plan, kind: ChangeKind, key: Key, name: str = "") -> int:
        version = self._log.reserve()
        plan.changes.append(Change(version, kind, key, name))
        return version

    def _device(self, plan: Plan, key: Key, device: Device | None) -> None:
        before = self._desired.devices.get(key)
        known = self._known.twins.get(key, {})
        names = {prop.name for prop in device.spec.properties} if device is not None else set()
        removed = [twin for name, twin in known.items() if name not in names]
        added = [self._known.make(key, name) for name in sorted(names - known.keys())]
        for twin in removed:
            plan.statements += rows.twin_remove(twin)
        plan.statements += [rows.twin_put(twin, None, 0) for twin in added]
        plan.removed += removed
        plan.added += added
        if device is None:
            plan.statements.append(rows.state_remove(key))
            self._change(plan, "device", key)
        elif before is None or without_desired(before) != without_desired(device):
            self._change(plan, "device", key)

    def _wishes(self, plan: Plan, device: Device, twins: Mapping[str, Twin], now: float) -> None:
        """Turn each desired value that differs from the last one honoured into a wish."""
        model = plan.models.get(device.model_key, self._desired.models.get(device.model_key))
        declared = {prop.name: prop for prop in model.spec.properties} if model is not None else {}
        for prop in {prop.name: prop for prop in device.spec.properties}.values():
            twin = twins[prop.name]
            text = prop.desired.value if prop.desired is not None else ""
            if not text:
                self._take_back(plan, twin)
            elif (known := declared.get(prop.name)) is not None:
                self._wish(plan, twin, prop, known, now)

    def _take_back(self, plan: Plan, twin: Twin) -> None:
        """The Device desires nothing: the wish goes, unless somebody wished since."""
        if twin.spec_text is None:
            return
        if twin.desired is not None and twin.desired.version == twin.spec_version:
            self._change(plan, "desired", twin.device, twin.property)
            plan.wishes.append((twin, twin.spec_version))
            plan.statements.append(rows.wish_remove(twin.row, twin.spec_version))
        self._honour(plan, twin, None, 0)

    def _wish(
        self, plan: Plan, twin: Twin, prop: DeviceProperty, declared: ModelProperty, now: float
    ) -> None:
        text = prop.desired.value if prop.desired is not None else ""
        if text == twin.spec_text and _still_right(twin, declared, text):
            return
        version = self._change(plan, "desired", twin.device, twin.property)
        wish = wish_of_text(declared, text, version, now)
        plan.wishes.append((twin, wish))
        plan.statements.append(rows.wish_put(twin.row, wish))
        self._honour(plan, twin, text, version)

    def _honour(self, plan: Plan, twin: Twin, text: str | None, version: int) -> None:
        plan.specs.append((twin, text, version))
        plan.statements.append(rows.twin_put(twin, text, version))


def _still_right(twin: Twin, declared: ModelProperty, text: str) -> bool:
    """Whether the wish from a text is still what the model makes of that text.

    It always is once somebody else has wished, or taken the wish back.
    """
    wish = twin.desired
    if wish is None or wish.version != twin.spec_version:
        return True
    fresh = wish_of_text(declared, text, 0, 0.0)
    if fresh.status is OutcomeStatus.REJECTED:
        return wish.status is OutcomeStatus.REJECTED
    if was_refused_at_once(wish):
        return False
    return (type(fresh.value), fresh.value) == (type(wish.value), wish.value)


def _object(item: Device | DeviceModel | None, origin: str, kind: str, key: Key) -> Statement:
    return rows.object_remove(kind, key) if item is None else rows.object_put(item, origin)

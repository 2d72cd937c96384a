"""How devices, properties and changes read as JSON."""

from datetime import UTC, datetime
from typing import Any

from dmi.readings import Reading
from dmi.reports import DeviceState, Outcome
from dmi.resources import AccessMode, DataType
from dmi.values import json_value
from mapper_sdk.devices import Plan, Point
from mapper_sdk.events import DeviceEvent
from mapper_sdk.hub import Batch

__all__ = [
    "Json",
    "batch_view",
    "device_view",
    "event_view",
    "outcome_view",
    "property_view",
    "reading_view",
    "state_view",
]

Json = dict[str, Any]

_QUALITY = ("good", "uncertain", "bad")


def _time_text(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def reading_view(reading: Reading, data_type: DataType) -> Json:
    """A reading; `value` is null when there is none, BYTES are base64."""
    value = reading.value
    return {
        "value": None if value is None else json_value(value, data_type),
        "time": _time_text(reading.time),
        "quality": _QUALITY[reading.quality],
        "reason": reading.reason,
    }


_NOTHING_YET: Json = {"value": None, "time": None, "quality": "bad", "reason": "not_read"}


def property_view(point: Point, now: float) -> Json:
    """A property with its latest reading; `age_s` is null before the first."""
    latest = point.latest
    view = _NOTHING_YET if latest is None else reading_view(latest, point.type)
    return {
        "namespace": point.device.namespace,
        "device": point.device.name,
        "property": point.name,
        **view,
        "message": point.trouble or point.problem,
        "age_s": None if latest is None else round(max(0.0, now - latest.time), 3),
        "type": point.type,
        "unit": point.unit,
        "writable": point.access is AccessMode.READ_WRITE and not point.problem,
    }


def state_view(state: DeviceState) -> Json:
    """Whether a device answers, why not, and since when."""
    return {
        "namespace": state.device.namespace,
        "name": state.device.name,
        "state": state.state,
        "reason": state.reason,
        "message": state.message,
        "since": _time_text(state.since),
    }


def device_view(state: DeviceState, plan: Plan | None, now: float) -> Json:
    """A device with all its properties; `problems` says what is declared wrongly."""
    points = plan.points.values() if plan is not None else ()
    return {
        **state_view(state),
        "model": plan.device.spec.device_model_ref.name if plan is not None else None,
        "labels": plan.labels if plan is not None else {},
        "problems": plan.problems if plan is not None else {},
        "properties": [property_view(point, now) for point in points],
    }


def batch_view(batch: Batch) -> Json:
    """The readings of one look at a device."""
    device = batch[0][0].device
    return {
        "namespace": device.namespace,
        "device": device.name,
        "readings": [
            {"property": point.name, **reading_view(reading, point.type)}
            for point, reading in batch
        ],
    }


def event_view(happened: DeviceEvent) -> Json:
    """Something that a device told of."""
    event = happened.event
    return {
        "namespace": happened.device.namespace,
        "device": happened.device.name,
        "time": _time_text(event.time),
        "kind": event.kind,
        "source": event.source,
        "severity": event.severity,
        "message": event.message,
        "fields": event.fields,
    }


def outcome_view(outcome: Outcome) -> Json:
    """What became of a desired value."""
    return {
        "namespace": outcome.device.namespace,
        "device": outcome.device.name,
        "property": outcome.property,
        "version": outcome.version,
        "status": outcome.status.name.lower(),
        "reason": outcome.reason,
        "message": outcome.message,
        "time": _time_text(outcome.time),
    }

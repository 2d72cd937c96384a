"""How devices, properties and changes read as JSON."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import orjson

from dmi.clock import time_text
from dmi.readings import QUALITIES, Reading
from dmi.reports import DeviceState, Outcome
from dmi.resources import DataType
from dmi.values import json_value
from mapper_sdk.audit import Entry
from mapper_sdk.delivery.history import Span
from mapper_sdk.delivery.status import Gap, TargetStatus
from mapper_sdk.devices.plan import Plan, Point
from mapper_sdk.events import DeviceEvent
from mapper_sdk.hub import Batch

__all__ = [
    "Json",
    "audit_view",
    "batch_view",
    "device_view",
    "event_view",
    "gap_view",
    "outcome_view",
    "point_json",
    "point_view",
    "reading_view",
    "span_view",
    "state_view",
    "target_view",
    "time_text",
]

Json = dict[str, Any]

_NONE: Mapping[str, str] = MappingProxyType({})


def reading_view(reading: Reading, data_type: DataType) -> Json:
    """A reading; `value` is null when there is none, BYTES are base64."""
    value = reading.value
    return {
        "value": None if value is None else json_value(value, data_type),
        "time": time_text(reading.time),
        "quality": QUALITIES[reading.quality],
        "reason": reading.reason,
    }


_NOTHING_YET: Json = {"value": None, "time": None, "quality": "bad", "reason": "not_read"}


def point_view(point: Point) -> Json:
    """A property with its latest reading, whose age is told apart."""
    latest = point.latest
    view = _NOTHING_YET if latest is None else reading_view(latest, point.type)
    return {
        "namespace": point.device.namespace,
        "device": point.device.name,
        "property": point.name,
        **view,
        "message": point.trouble or point.problem,
        "type": point.type,
        "unit": point.unit,
        "writable": point.is_writable,
        "derived": point.common.derived,
    }


def point_json(point: Point, now: float) -> tuple[bytes, bytes]:
    """Write a property as JSON; and what makes it older as the end of that object.

    Returns:
        `{…}` without an age, and `,"age_s":…}`, which takes the place of its last brace;
        the age is null before the first reading.
    """
    latest = point.latest
    content = orjson.dumps(point_view(point))
    if latest is None:
        return content, b',"age_s":null}'
    return content, b',"age_s":%.3f}' % max(0.0, now - latest.time)


def state_view(state: DeviceState) -> Json:
    """Whether a device answers, why not, and since when."""
    return {
        "namespace": state.device.namespace,
        "name": state.device.name,
        "state": state.state,
        "reason": state.reason,
        "message": state.message,
        "since": time_text(state.since),
    }


def device_view(
    state: DeviceState, plan: Plan | None, delivery_problems: Mapping[str, str] = _NONE
) -> Json:
    """A device without its properties; `problems` says what is declared wrongly.

    Args:
        state: Its state.
        plan: How it is served; None when it is not.
        delivery_problems: Why properties do not go where their pushMethod says.
    """
    return {
        **state_view(state),
        "model": plan.device.spec.device_model_ref.name if plan is not None else None,
        "labels": plan.labels if plan is not None else {},
        "problems": _joined(plan.problems, delivery_problems) if plan is not None else {},
    }


def _joined(problems: Mapping[str, str], more: Mapping[str, str]) -> Mapping[str, str]:
    """Problems of two sorts by property; a property may have both."""
    both = {name: f"{problems[name]}; {more[name]}" for name in problems.keys() & more.keys()}
    return {**problems, **more, **both}


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
        "time": time_text(event.time),
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
        "time": time_text(outcome.time),
    }


def span_view(span: Span, data_type: DataType) -> Json:
    """One interval of a downsampled past; a mean is a number whatever the type."""
    value = span.value
    whole = value if value is None or isinstance(value, float) else json_value(value, data_type)
    return {
        "time": time_text(span.time),
        "value": whole,
        "count": span.count,
        "quality": QUALITIES[span.quality],
    }


def target_view(target: TargetStatus) -> Json:
    """A target of readings, and how it does."""
    return {
        "name": target.name,
        "kind": target.kind,
        "address": target.address,
        "condition": target.condition,
        "since": time_text(target.since),
        "delivered": target.delivered,
        "retried": target.retried,
        "lost": target.lost,
        "queued": target.queued,
        "spooled": target.spooled,
        "spooledBytes": target.spooled_bytes,
        "hoursLeft": target.hours_left,
        "error": target.error,
        "reason": target.reason,
    }


def gap_view(gap: Gap) -> Json:
    """Readings of one property that one target never got."""
    return {
        "target": gap.target,
        "namespace": gap.device.namespace,
        "device": gap.device.name,
        "property": gap.property,
        "first": time_text(gap.first),
        "last": time_text(gap.last),
        "count": gap.count,
        "reason": gap.reason,
        "noted": time_text(gap.noted),
    }


def audit_view(entry: Entry) -> Json:
    """One thing that somebody did."""
    return {
        "id": entry.id,
        "time": time_text(entry.time),
        "client": entry.client,
        "action": entry.action,
        "namespace": entry.namespace,
        "device": entry.device,
        "target": entry.target,
        "given": entry.given,
        "result": entry.result,
        "message": entry.message,
    }

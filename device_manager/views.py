"""How the manager's records read as JSON: one wording for REST, the change feed and tests."""

from typing import Any

from device_manager.records import MapperRecord, StateRecord, TwinRecord, Wish
from dmi.clock import time_text as moment_text
from dmi.readings import QUALITIES, Reading
from dmi.reports import OutcomeStatus
from dmi.resources import DataType, Device, DeviceModel, ModelProperty
from dmi.values import json_value

__all__ = [
    "Json",
    "device_view",
    "mapper_view",
    "model_view",
    "state_view",
    "time_text",
    "twin_view",
]

Json = dict[str, Any]

_STATUS = {status: status.name.lower() for status in OutcomeStatus}


def time_text(seconds: float) -> str | None:
    """Write a moment as `dmi.clock.time_text` does; None for never, too."""
    return moment_text(seconds) if seconds > 0 else None


def twin_view(twin: TwinRecord, declared: ModelProperty | None, now: float) -> Json:
    """Both sides of one property; type, unit and access are null while the model lacks it."""
    data_type = declared.type if declared else None
    reported = twin.reported
    return {
        "namespace": twin.device.namespace,
        "device": twin.device.name,
        "property": twin.property,
        "type": data_type,
        "unit": declared.unit if declared else None,
        "access": declared.access_mode if declared else None,
        "desired": _wish_view(twin.desired, data_type) if twin.desired else None,
        "reported": _reading_view(reported, data_type) if reported else None,
        "age_s": round(max(0.0, now - reported.time), 3) if reported else None,
    }


def _wish_view(wish: Wish, data_type: DataType | None) -> Json:
    return {
        "value": json_value(wish.value, data_type),
        "version": wish.version,
        "time": time_text(wish.time),
        "status": _STATUS[wish.status],
        "reason": wish.reason,
        "message": wish.message,
    }


def _reading_view(reading: Reading, data_type: DataType | None) -> Json:
    value = reading.value
    return {
        "value": None if value is None else json_value(value, data_type),
        "time": time_text(reading.time),
        "quality": QUALITIES[reading.quality],
        "reason": reading.reason,
    }


def state_view(state: StateRecord, *, mapper: str = "", problem: str = "") -> Json:
    """Whether a device answers, which mapper serves it, and what is wrong with its text."""
    return {
        "state": state.state,
        "reason": state.reason,
        "message": state.message,
        "since": time_text(state.since),
        "lastOnlineTime": time_text(state.last_online),
        "mapper": mapper,
        "problem": problem,
    }


def device_view(device: Device, status: Json) -> Json:
    """A Device as Kubernetes JSON with the status that this node knows."""
    return {**device.to_json(), "status": status}


def model_view(model: DeviceModel) -> Json:
    """A DeviceModel as Kubernetes JSON."""
    return model.to_json()


def mapper_view(record: MapperRecord, devices: int = 0) -> Json:
    """A mapper and how many devices it serves now; the JSON Schemas stay text."""
    return {
        "name": record.name,
        "instance": record.instance,
        "protocol": record.protocol,
        "version": record.version,
        "api": record.api,
        "address": record.address,
        "alive": record.alive,
        "lastSeen": time_text(record.last_seen),
        "abilities": list(record.abilities),
        "devices": devices,
        "linkSchema": record.link_schema,
        "visitSchema": record.visit_schema,
    }

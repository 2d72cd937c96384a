"""The events of the manager's change feed, as JSON-ready objects named by `event`."""

from collections.abc import Callable
from typing import Any

from device_manager.commands.records import CommandRecord, command_view
from device_manager.records import MapperRecord, StateRecord, TwinRecord, Wish
from device_manager.views import mapper_view, state_view, twin_view
from dmi.readings import Reading
from dmi.resources import Device, DeviceModel, Key, ModelProperty

__all__ = [
    "Json",
    "command",
    "desired",
    "device",
    "gone",
    "mapper",
    "model",
    "state",
    "twin",
    "upstream",
]

Json = dict[str, Any]


def twin(
    device: Key,
    name: str,
    reported: Reading | None,
    wish: Wish | None,
    declared: Callable[[Key, str], ModelProperty | None],
    now: float,
) -> Json:
    """A property has a new reading."""
    record = TwinRecord(device, name, reported, wish)
    return {"event": "twin", **twin_view(record, declared(device, name), now)}


def desired(
    device: Key,
    name: str,
    reported: Reading | None,
    wish: Wish | None,
    declared: Callable[[Key, str], ModelProperty | None],
) -> Json:
    """A property has another wish, or its wish has another status."""
    now = reported.time if reported is not None else 0.0
    return {**twin(device, name, reported, wish, declared, now), "event": "desired"}


def state(device: Key, record: StateRecord) -> Json:
    """A device's state has changed."""
    return {
        "event": "state",
        "namespace": device.namespace,
        "device": device.name,
        **state_view(record),
    }


def device(item: Device, problem: str) -> Json:
    """A device is new or changed."""
    return {**_head("device", item.key), "problem": problem, "object": item.to_json()}


def model(item: DeviceModel) -> Json:
    """A model is new or changed."""
    return {**_head("model", item.key), "object": item.to_json()}


def gone(kind: str, key: Key) -> Json:
    """A device or a model is deleted.

    Args:
        kind: "device" or "model".
        key: Its identity.
    """
    return {**_head(kind, key), "deleted": True, "object": None}


def mapper(record: MapperRecord) -> Json:
    """A mapper has registered, come or gone."""
    return {"event": "mapper", **mapper_view(record)}


def command(record: CommandRecord) -> Json:
    """A command was made, or has come further."""
    return {"event": "command", **command_view(record)}


def upstream(origin: str, errors: list[str]) -> Json:
    """A source of devices has mistakes, or has none any more."""
    return {"event": "upstream", "origin": origin, "errors": errors}


def _head(kind: str, key: Key) -> Json:
    return {"event": kind, "namespace": key.namespace, "name": key.name, "deleted": False}

"""Resources as EdgeCore sends them to mappers, its losses included."""

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import wrappers_pb2
from google.protobuf.message import Message

from dmi.errors import ConversionError
from dmi.proto.v1beta1 import api_pb2 as pb
from dmi.resources import Device, DeviceModel

__all__ = ["device_to_wire", "model_to_wire"]


def device_to_wire(device: Device) -> pb.Device:
    """Convert a device, model defaults already merged, the way EdgeCore does.

    Every number of configData becomes a 32-bit float; both halves that Go mappers
    dereference (`desired`, `visitors`) are always there.

    Raises:
        ConversionError: configData holds an object, a list or null.
    """
    spec = device.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    wire = pb.Device(name=device.metadata.name, namespace=device.metadata.namespace)
    wire.spec.deviceModelReference = device.spec.device_model_ref.name
    _fill(wire.spec, {"protocol": spec["protocol"], "methods": spec["methods"]})
    wire.spec.protocol.configData.SetInParent()
    for prop in spec["properties"]:
        entry = wire.spec.properties.add()
        entry.desired.SetInParent()
        entry.visitors.configData.SetInParent()
        _fill(entry, prop)
    if device.spec.state_report is not None:
        wire.status.reportToCloud = device.spec.state_report.report_to_cloud
        wire.status.reportCycle = device.spec.state_report.report_cycle
    return wire


def model_to_wire(model: DeviceModel) -> pb.DeviceModel:
    """Convert a model; protocol and visitors have no place on this wire."""
    wire = pb.DeviceModel(name=model.metadata.name, namespace=model.metadata.namespace)
    wire.spec.SetInParent()
    for prop in model.spec.properties:
        entry = wire.spec.properties.add()
        _fill(entry, prop.model_dump(mode="json", by_alias=True, exclude={"visitors"}))
    return wire


def _fill(message: Message, data: Mapping[str, Any]) -> None:
    """Copy JSON into a message by field name, ignoring case as Go's JSON does."""
    fields = {field.name.lower(): field for field in message.DESCRIPTOR.fields}
    if set(fields) == {"data"}:
        _fill_free(message, data)
        return
    for name, value in data.items():
        field = fields.get(name.lower())
        if field is None or value is None:
            continue
        if field.message_type is None:
            _set_plain(message, field.name, value)
        elif isinstance(value, Mapping) and field.message_type.GetOptions().map_entry:
            getattr(message, field.name).update(value)
        elif isinstance(value, Mapping):
            child = getattr(message, field.name)
            child.SetInParent()
            _fill(child, value)
        else:
            for item in value:
                _fill(getattr(message, field.name).add(), item)


def _set_plain(message: Message, name: str, value: object) -> None:
    if isinstance(value, Sequence) and not isinstance(value, str):
        getattr(message, name).extend(value)
    else:
        setattr(message, name, value)


def _fill_free(message: Message, data: Mapping[str, Any]) -> None:
    """Fill CustomizedValue or AnomalyDetection: each value in the wrapper that EdgeCore picks."""
    for key, value in data.items():
        wrapped: Message
        if isinstance(value, bool):
            wrapped = wrappers_pb2.BoolValue(value=value)
        elif isinstance(value, int | float):
            wrapped = wrappers_pb2.FloatValue(value=value)
        elif isinstance(value, str):
            wrapped = wrappers_pb2.StringValue(value=value)
        else:
            raise ConversionError(f"{type(value).__name__} does not support converting to any")
        message.data[key].Pack(wrapped)  # type: ignore[attr-defined]  # found by its descriptor

"""Devices and models to and from v1beta1 messages.

Towards mappers every part is always set, also empty ones: Go mappers crash on a missing
`desired`, `visitors` or `configData`. From managers nothing is taken for granted. Cycles
are milliseconds; 0 on the wire means the default.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dmi.convert.any_values import config_from_any, config_to_any
from dmi.convert.push import push_from_v1beta1, push_to_v1beta1
from dmi.convert.resource_json import resource_from
from dmi.errors import ConfigError
from dmi.proto.v1beta1 import api_pb2 as pb
from dmi.resources import Device, DeviceModel, DeviceProperty, Key, StateReport, Visitors

__all__ = [
    "Inventory",
    "device_from_v1beta1",
    "device_to_v1beta1",
    "inventory_from_v1beta1",
    "key_from_v1beta1",
    "model_from_v1beta1",
    "model_to_v1beta1",
]

# EdgeCore before v1.16 knew no namespaces and sends none.
_NAMESPACE = "default"


def key_from_v1beta1(namespace: str, name: str) -> Key:
    """Identity of an object; a missing namespace is "default".

    Raises:
        ConfigError: The name is empty.
    """
    if not name:
        raise ConfigError("the name of the device or model is missing")
    return Key(namespace or _NAMESPACE, name)


# ------------------------------------------------------------- to mappers ----


def device_to_v1beta1(device: Device, desired: Mapping[str, str] | None = None) -> pb.Device:
    """Write a device with everything that a Go mapper dereferences.

    Args:
        device: With its model's defaults already merged in.
        desired: Text by property of what is wished now, for properties that have a wish;
            None takes what the resource itself says.

    Raises:
        ConfigError: A value cannot travel in this version.
    """
    message = pb.Device(name=device.metadata.name, namespace=device.metadata.namespace)
    spec = message.spec
    report = device.spec.state_report or StateReport()
    try:
        spec.deviceModelReference = device.spec.device_model_ref.name
        _write_settings(device.spec.protocol, spec.protocol)
        for prop in device.spec.properties:
            _write_property(prop, desired, spec.properties.add())
        for method in device.spec.methods:
            spec.methods.add(
                name=method.name,
                description=method.description,
                propertyNames=method.property_names,
            )
        message.status.SetInParent()
        message.status.reportToCloud = report.report_to_cloud
        message.status.reportCycle = report.report_cycle
    except (ConfigError, ValueError) as error:
        raise ConfigError(f"cannot be sent: {error}", device=str(device.key)) from error
    return message


def _write_property(
    prop: DeviceProperty, desired: Mapping[str, str] | None, target: pb.DeviceProperty
) -> None:
    target.name = prop.name
    target.collectCycle = prop.collect_cycle
    target.reportCycle = prop.report_cycle
    target.reportToCloud = prop.report_to_cloud
    target.desired.SetInParent()
    own = prop.desired.value if prop.desired else ""
    target.desired.value = own if desired is None else desired.get(prop.name, "")
    if prop.desired and target.desired.value == own:
        target.desired.metadata.update(prop.desired.metadata)
    _write_settings(prop.visitors, target.visitors)
    if prop.push_method is not None:
        target.pushMethod.SetInParent()
        push_to_v1beta1(prop.push_method, target.pushMethod)


def _write_settings(settings: Visitors, target: pb.ProtocolConfig | pb.VisitorConfig) -> None:
    target.protocolName = settings.protocol_name
    target.configData.SetInParent()
    config_to_any(settings.config_data, target.configData.data)


def model_to_v1beta1(model: DeviceModel) -> pb.DeviceModel:
    """Write a model; its protocol and its default settings have no place in this version.

    Raises:
        ConfigError: A text is not valid Unicode.
    """
    message = pb.DeviceModel(name=model.metadata.name, namespace=model.metadata.namespace)
    message.spec.SetInParent()
    try:
        for prop in model.spec.properties:
            message.spec.properties.add(
                name=prop.name,
                description=prop.description,
                type=prop.type,
                accessMode=prop.access_mode,
                minimum=prop.minimum,
                maximum=prop.maximum,
                unit=prop.unit,
            )
    except ValueError as error:
        raise ConfigError(f"model {model.key} cannot be sent: {error}") from error
    return message


# ---------------------------------------------------------- from managers ----


def device_from_v1beta1(message: pb.Device) -> Device:
    """Read a device.

    A desired value with empty text is none: EdgeCore sends it where nothing is wished.

    Raises:
        ConfigError: Something is missing or wrong; the message says what.
    """
    key = key_from_v1beta1(message.namespace, message.name)
    missing = "spec" if not message.HasField("spec") else "spec.protocol"
    if not message.HasField("spec") or not message.spec.HasField("protocol"):
        raise ConfigError(f"{missing} is missing", device=str(key))
    spec = message.spec
    try:
        data: dict[str, Any] = {
            "deviceModelRef": {"name": spec.deviceModelReference},
            "protocol": _read_settings(spec.protocol),
            "properties": [_read_property(prop) for prop in spec.properties],
            "methods": [
                {
                    "name": method.name,
                    "description": method.description,
                    "propertyNames": list(method.propertyNames),
                }
                for method in spec.methods
            ],
            "stateReport": _read_state_report(message.status),
        }
    except ConfigError as error:
        raise ConfigError(error.message, device=str(key)) from error
    return resource_from(
        Device, {"metadata": {"name": key.name, "namespace": key.namespace}, "spec": data}, str(key)
    )


def _read_property(prop: pb.DeviceProperty) -> dict[str, Any]:
    try:
        data: dict[str, Any] = {
            "name": prop.name,
            "visitors": _read_settings(prop.visitors),
            "reportToCloud": prop.reportToCloud,
            **_read_cycles(collectCycle=prop.collectCycle, reportCycle=prop.reportCycle),
        }
        if prop.desired.value:
            data["desired"] = {
                "value": prop.desired.value,
                "metadata": dict(prop.desired.metadata),
            }
        if prop.HasField("pushMethod"):
            data["pushMethod"] = push_from_v1beta1(prop.pushMethod)
    except ConfigError as error:
        raise ConfigError(f"property {prop.name}: {error.message}") from error
    return data


def _read_settings(settings: pb.ProtocolConfig | pb.VisitorConfig) -> dict[str, Any]:
    return {
        "protocolName": settings.protocolName,
        "configData": config_from_any(settings.configData.data),
    }


def _read_state_report(status: pb.DeviceStatus) -> dict[str, Any]:
    return {
        "reportToCloud": status.reportToCloud,
        **_read_cycles(reportCycle=status.reportCycle),
    }


def _read_cycles(**cycles: int) -> dict[str, int]:
    return {name: cycle for name, cycle in cycles.items() if cycle != 0}


def model_from_v1beta1(message: pb.DeviceModel) -> DeviceModel:
    """Read a model; types may be written in any case, as old releases did.

    Raises:
        ConfigError: Something is missing or wrong; the message says what.
    """
    key = key_from_v1beta1(message.namespace, message.name)
    properties = [
        {
            "name": prop.name,
            "description": prop.description,
            "minimum": prop.minimum,
            "maximum": prop.maximum,
            "unit": prop.unit,
            **({"type": prop.type.upper()} if prop.type else {}),
            **({"accessMode": prop.accessMode} if prop.accessMode else {}),
        }
        for prop in message.spec.properties
    ]
    metadata = {"name": key.name, "namespace": key.namespace}
    return resource_from(
        DeviceModel, {"metadata": metadata, "spec": {"properties": properties}}, f"model {key}"
    )


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a manager answered to a registration.

    Attributes:
        problems: One error for each object that cannot be read; it harms no other.
    """

    models: dict[Key, DeviceModel] = field(default_factory=dict)
    devices: dict[Key, Device] = field(default_factory=dict)
    problems: list[ConfigError] = field(default_factory=list)


def inventory_from_v1beta1(response: pb.MapperRegisterResponse) -> Inventory:
    """Read everything that a mapper must serve; EdgeCore repeats a model for each device."""
    inventory = Inventory()
    for model_message in response.modelList:
        try:
            model = model_from_v1beta1(model_message)
            inventory.models[model.key] = model
        except ConfigError as error:
            inventory.problems.append(error)
    for device_message in response.deviceList:
        try:
            device = device_from_v1beta1(device_message)
            inventory.devices[device.key] = device
        except ConfigError as error:
            inventory.problems.append(error)
    return inventory

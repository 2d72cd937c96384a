"""What no schema can say of a Device or a DeviceModel: repeated names, bounds, desired values."""

from collections.abc import Iterable
from typing import Final

from dmi.errors import ConversionError, OutOfRangeError
from dmi.mistakes import Fault, YamlPath
from dmi.resources import (
    AccessMode,
    DataType,
    Device,
    DeviceModel,
    DeviceProperty,
    ModelProperty,
)
from dmi.values import check_range, parse_bound, parse_value
from dmi.wording import closest

__all__ = ["check_alone", "check_device", "check_model"]

_NUMBERS: Final = frozenset({DataType.INT, DataType.FLOAT, DataType.DOUBLE})


def check_model(model: DeviceModel) -> list[Fault]:
    """Faults of a model: names that repeat, bounds that are no numbers or leave no room."""
    spec = model.spec
    faults = _repeated((prop.name for prop in spec.properties), ("spec", "properties"), "property")
    for index, prop in enumerate(spec.properties):
        faults += _bound_faults(prop, ("spec", "properties", index))
    return faults


def _bound_faults(prop: ModelProperty, path: YamlPath) -> list[Fault]:
    faults = []
    bounds: dict[str, int | float | None] = {}
    for side, text in (("minimum", prop.minimum), ("maximum", prop.maximum)):
        if text.strip() and prop.type not in _NUMBERS:
            faults.append(Fault((*path, side), f"a {prop.type} has no bounds", "remove it"))
            continue
        try:
            bounds[side] = parse_bound(text, prop.type)
        except ConversionError:
            faults.append(Fault((*path, side), f"{text!r} is not a number of type {prop.type}"))
    low, high = bounds.get("minimum"), bounds.get("maximum")
    if low is not None and high is not None and low > high:
        problem = f"minimum {prop.minimum} is above maximum {prop.maximum}: no value would fit"
        faults.append(Fault((*path, "minimum"), problem))
    return faults


def check_device(device: Device, model: DeviceModel | None) -> list[Fault]:
    """Faults of a device, alone and against its model.

    Args:
        device: As written; the model's defaults need not be merged in.
        model: The one it refers to; None when there is no such model.
    """
    return [
        *check_alone(device),
        *_protocol_faults(device, model),
        *_model_faults(device, model),
        *_property_faults(device, model),
    ]


def check_alone(device: Device) -> list[Fault]:
    """Faults of a device that show without its model: repeated names, methods over nothing."""
    names = (prop.name for prop in device.spec.properties)
    return [*_repeated(names, ("spec", "properties"), "property"), *_method_faults(device)]


def _model_faults(device: Device, model: DeviceModel | None) -> list[Fault]:
    path = ("spec", "deviceModelRef", "name")
    if not device.spec.device_model_ref.name:
        return [Fault(path, "is missing: a device needs a model")]
    if model is None:
        problem = f"there is no model {device.model_key}"
        return [Fault(path, problem, "a model is looked up in the device's own namespace")]
    return []


def _protocol_faults(device: Device, model: DeviceModel | None) -> list[Fault]:
    own = device.spec.protocol.protocol_name
    path = ("spec", "protocol", "protocolName")
    if not own:
        return [Fault(path, "is missing: it says which mapper serves the device")]
    other = model.spec.protocol if model is not None else ""
    if other and other != own:
        problem = f"{own!r} is not {other!r}, the protocol of model {device.model_key}"
        return [Fault(path, problem, "both must be the same text, capitals included")]
    return []


def _property_faults(device: Device, model: DeviceModel | None) -> list[Fault]:
    faults = []
    declared = {prop.name: prop for prop in model.spec.properties} if model is not None else {}
    for index, prop in enumerate(device.spec.properties):
        place = ("spec", "properties", index)
        faults += _visitor_faults(device, prop, place)
        if model is None:
            continue
        if prop.name in declared:
            faults += _desired_faults(prop, declared[prop.name], place)
        else:
            problem = f"{prop.name!r} is not in model {device.model_key}"
            hint = closest(prop.name, list(declared)) or f"it has {', '.join(declared) or 'none'}"
            faults.append(Fault((*place, "name"), problem, hint))
    return faults


def _visitor_faults(device: Device, prop: DeviceProperty, place: YamlPath) -> list[Fault]:
    name = prop.visitors.protocol_name
    if name and name != device.spec.protocol.protocol_name:
        problem = f"{name!r} is not the device's protocol {device.spec.protocol.protocol_name!r}"
        return [Fault((*place, "visitors", "protocolName"), problem)]
    return []


def _desired_faults(prop: DeviceProperty, declared: ModelProperty, place: YamlPath) -> list[Fault]:
    """A desired value must be one that could be written; empty text desires nothing."""
    path = (*place, "desired", "value")
    if prop.desired is None or not prop.desired.value:
        return []
    if declared.access_mode is AccessMode.READ_ONLY:
        return [Fault(path, "the model declares this property ReadOnly", "remove desired")]
    try:
        value = parse_value(prop.desired.value, declared.type)
    except ConversionError as error:
        return [Fault(path, error.message)]
    try:
        check_range(
            value,
            parse_bound(declared.minimum, declared.type),
            parse_bound(declared.maximum, declared.type),
        )
    except OutOfRangeError as error:
        return [Fault(path, error.message)]
    except ConversionError:
        return []  # the bound is the model's own fault, and told there
    return []


def _method_faults(device: Device) -> list[Fault]:
    path = ("spec", "methods")
    methods = device.spec.methods
    faults = _repeated((method.name for method in methods), path, "method")
    names = [prop.name for prop in device.spec.properties]
    for index, method in enumerate(methods):
        for position, name in enumerate(method.property_names):
            place = (*path, index, "propertyNames", position)
            if name not in names:
                problem = f"the device has no property {name!r}"
                faults.append(Fault(place, problem, closest(name, names)))
    return faults


def _repeated(names: Iterable[str], path: YamlPath, what: str) -> list[Fault]:
    first: dict[str, int] = {}
    faults = []
    for index, name in enumerate(names):
        if first.setdefault(name, index) != index:
            problem = f"{what} {name!r} is already number {first[name] + 1} of this list"
            faults.append(Fault((*path, index, "name"), problem))
    return faults

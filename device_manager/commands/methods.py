"""What can be called: methods declared in Devices, and those that devices themselves offer."""

from collections.abc import Mapping, Sequence
from typing import Any

from device_manager.node import Node
from device_manager.wishes import checked_value
from dmi.errors import ConversionError, NotFoundError
from dmi.methods import Method, checked_arguments, named_method, property_schema
from dmi.readings import Value
from dmi.resources import Device, DeviceMethod, Key, ModelProperty
from dmi.values import parse_bound

__all__ = ["Methods", "declared_method"]

Json = dict[str, Any]


class Methods:
    """The methods of this node's devices.

    What devices offer is told by their mappers, anew in each session; until then, and after
    a restart of the manager, it is not known.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._own: dict[Key, Sequence[Method]] = {}

    def tell(self, device: Key, methods: Sequence[Method]) -> None:
        """Note all that a device itself offers."""
        self._own = {key: known for key, known in self._own.items() if key in self._node.devices}
        if device in self._node.devices:
            self._own[device] = methods

    def knows(self, device: Key) -> bool:
        """Whether a mapper has said what a device itself offers."""
        return device in self._own

    def declared(self, device: Device) -> list[Method]:
        """The methods that write properties."""
        return [self._of_device(device, method) for method in device.spec.methods]

    def own(self, device: Device) -> list[Method]:
        """What the device itself offers, where no declared method has the same name."""
        hidden = {method.name for method in device.spec.methods}
        return [one for one in self._own.get(device.key, ()) if one.name not in hidden]

    def check(
        self, device: Device, name: str, given: Mapping[str, object], *, complete: bool = False
    ) -> Mapping[str, Value]:
        """Bring the arguments of a call to their types, as far as the method is known.

        Args:
            device: Whose method it is.
            name: Of the method.
            given: As JSON has them.
            complete: There can be no methods but those that are known here.

        Raises:
            NotFoundError: There is no such method.
            AccessDeniedError: A declared method would write a ReadOnly property.
            ConversionError: An argument is missing, unknown or of another type.
        """
        declared = self.declared(device)
        if any(method.name == name for method in declared):
            return self._check_declared(device, named_method(declared, name), given)
        own = self.own(device)
        if name and not complete and not self.knows(device.key):
            # Whoever serves the device will judge it.
            free: dict[str, Mapping[str, Any]] = {argument: {} for argument in given}
            return checked_arguments(Method(name, arguments=free), given)
        return checked_arguments(named_method([*declared, *own], name), given)

    def _check_declared(
        self, device: Device, method: Method, given: Mapping[str, object]
    ) -> Mapping[str, Value]:
        if not given:
            raise ConversionError(f"method {method.name!r} needs an argument")
        values = checked_arguments(method, given)
        return {name: checked_value(self._property(device, name), values[name]) for name in values}

    def _property(self, device: Device, name: str) -> ModelProperty:
        found = self._node.property_type(device.key, name)
        if found is None:
            raise NotFoundError(f"no model declares property {name!r}", device=str(device.key))
        return found

    def _of_device(self, device: Device, method: DeviceMethod) -> Method:
        properties = {prop.name for prop in device.spec.properties}
        names = [name for name in method.property_names if name in properties]
        found = ((name, self._node.property_type(device.key, name)) for name in names)
        return declared_method(method, {name: prop for name, prop in found if prop is not None})


def declared_method(method: DeviceMethod, properties: Mapping[str, ModelProperty]) -> Method:
    """A method of a Device with the types of the properties that it writes."""
    return Method(
        method.name,
        method.description,
        {name: _schema(prop) for name, prop in properties.items()},
        {name: _schema(prop) for name, prop in properties.items()},
    )


def _schema(prop: ModelProperty) -> Mapping[str, Any]:
    return property_schema(
        prop.type,
        minimum=_bound(prop, prop.minimum),
        maximum=_bound(prop, prop.maximum),
        unit=prop.unit,
    )


def _bound(prop: ModelProperty, text: str) -> Value | None:
    try:
        return parse_bound(text, prop.type)
    except ConversionError:
        return None  # the model's own fault; the device's problem says so

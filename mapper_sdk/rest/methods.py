"""Methods of a device: those declared in its resource, and those that the device itself has."""

from collections.abc import Mapping

from dmi.errors import AccessDeniedError, ConversionError
from dmi.readings import Value
from dmi.resources import DeviceMethod
from dmi.values import json_value, value_from_json
from mapper_sdk.rest.views import Json, reading_view
from mapper_sdk.session import Session
from mapper_sdk.twin import checked_value

__all__ = ["call_method", "method_views"]


def method_views(session: Session) -> list[Json]:
    """Everything that can be called; a declared method hides one of the device's own."""
    points = session.plan.points
    declared = [
        {
            "name": method.name,
            "description": method.description,
            "source": "declared",
            "arguments": {
                name: {"x-dmi-type": points[name].type}
                for name in method.property_names
                if name in points
            },
        }
        for method in session.plan.methods
    ]
    names = {method.name for method in session.plan.methods}
    own = [
        {
            "name": method.name,
            "description": method.description,
            "source": "device",
            "arguments": method.arguments,
            "results": method.results,
        }
        for method in session.methods
        if method.name not in names
    ]
    return declared + own


async def call_method(session: Session, name: str, arguments: Mapping[str, object]) -> Json:
    """Call a method; a declared one writes the properties that are given as arguments.

    Raises:
        NotFoundError: There is no such method.
        ConversionError: An argument does not fit.
        DmiError: The device refuses it or is away. Of several properties the ones before
            the refused one are written then.
    """
    for method in session.plan.methods:
        if method.name == name:
            return await _write_all(session, method, arguments)
    given = {key: _plain(key, value) for key, value in arguments.items()}
    results = await session.call(name, given)
    return {key: json_value(value) for key, value in results.items()}


async def _write_all(
    session: Session, method: DeviceMethod, arguments: Mapping[str, object]
) -> Json:
    device = str(session.plan.key)
    if not arguments:
        raise ConversionError(f"method {method.name!r} needs an argument", device=device)
    values: dict[str, Value] = {}
    # All are checked before the first one is written.
    for name, given in arguments.items():
        if name not in method.property_names:
            raise AccessDeniedError(
                f"method {method.name!r} does not write {name!r}", device=device
            )
        point = session.point(name)
        values[name] = checked_value(point, value_from_json(given, point.type))
    return {
        name: reading_view(await session.write(name, value), session.point(name).type)
        for name, value in values.items()
    }


def _plain(name: str, given: object) -> Value:
    if not isinstance(given, (bool, int, float, str)):
        raise ConversionError(f"argument {name!r} must be a number, text, true or false")
    return given

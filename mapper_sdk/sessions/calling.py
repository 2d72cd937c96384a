"""Calling methods: those declared in a Device write properties, the others are the device's own."""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from dmi.errors import ConversionError, DmiError, DriverBugError
from dmi.methods import Method, checked_arguments, named_method, property_schema
from dmi.readings import Reading, Value
from dmi.resources import DeviceMethod, Key
from mapper_sdk.devices.plan import Plan
from mapper_sdk.sessions.session import Begin, Session
from mapper_sdk.sessions.twin import checked_value
from mapper_sdk.sessions.writing import Progress

__all__ = ["Callee", "call_method", "declared_methods", "own_methods"]


_VALUES: Final = (bool, int, float, str, bytes)


class Callee(Protocol):
    """Whose devices' methods can be called: the mapper, as a link sees it."""

    def methods(self) -> Mapping[Key, Sequence[Method]]:
        """What each device that has been connected offers itself."""

    def is_undecided(self, device: Key) -> bool:
        """Whether a device is not known yet, or still being connected for the first time."""

    async def call(
        self, device: Key, method: str, arguments: Mapping[str, Value], begin: Begin
    ) -> Mapping[str, Value]:
        """Call a method and give its results.

        Args:
            device: Which device.
            method: Name of the method.
            arguments: By name.
            begin: Called once, when it is about to take effect at the device; what it
                raises keeps it from that.

        Raises:
            DmiError: There is no such device or method, an argument does not fit, the
                device refuses it or is away.
        """


def declared_methods(plan: Plan) -> list[Method]:
    """The methods that the Device declares; each writes properties."""
    return [_declared(plan, method) for method in plan.methods]


def own_methods(session: Session) -> list[Method]:
    """The methods that the device itself offers; a declared one hides one of the same name."""
    hidden = {method.name for method in session.plan.methods}
    return [method for method in session.methods if method.name not in hidden]


async def call_method(
    session: Session,
    name: str,
    arguments: Mapping[str, object],
    begin: Begin | None = None,
    *,
    limit: float | None = None,
) -> Mapping[str, Value | Reading]:
    """Call a method; a declared one writes the properties that are given as arguments.

    Args:
        session: Of the device.
        name: Of the method.
        arguments: As JSON has them, or typed already.
        begin: Called once, when it is about to take effect; what it raises stops it.
        limit: Most seconds to wait for the turn on the bus; None where the caller sees to that.

    Returns:
        Its results; of a declared method, what each property reads back.

    Raises:
        NotFoundError: There is no such method.
        ConversionError: An argument is missing, unknown or does not fit.
        DmiError: The device refuses it or is away. Of several properties the ones before
            the refused one may be written then, which the text says.
    """
    declared = declared_methods(session.plan)
    if any(method.name == name for method in declared):
        return await _write_all(session, named_method(declared, name), arguments, begin, limit)
    own = own_methods(session)
    if not own:
        # Away, perhaps: the session says so better.
        return await session.call(name, {})
    values = checked_arguments(named_method([*declared, *own], name), arguments)
    results = await session.call(name, values, begin, limit=limit)
    wrong = [key for key, value in results.items() if not isinstance(value, _VALUES)]
    if wrong:
        raise DriverBugError(f"result {wrong[0]!r} of method {name!r} is no value")
    return results


async def _write_all(
    session: Session,
    method: Method,
    arguments: Mapping[str, object],
    begin: Begin | None,
    limit: float | None,
) -> Mapping[str, Reading]:
    device = str(session.plan.key)
    if not arguments:
        raise ConversionError(f"method {method.name!r} needs an argument", device=device)
    # All are checked before the first one is written, in the order that the Device gives them.
    given = checked_arguments(method, arguments)
    names = [name for name in method.arguments if name in given]
    values = {name: checked_value(session.point(name), given[name]) for name in names}
    progress = Progress()
    try:
        await session.write_all(values, progress, begin, limit=limit)
    except DmiError as error:
        if not progress.written:
            raise
        text = f"{error.message}; written before: {', '.join(progress.written)}"
        raise type(error)(text, device=device) from error
    readings = {name: session.point(name).latest for name in names}
    return {name: reading for name, reading in readings.items() if reading is not None}


def _declared(plan: Plan, method: DeviceMethod) -> Method:
    points = [plan.points[name] for name in method.property_names if name in plan.points]
    schemas = {
        point.name: property_schema(
            point.type, minimum=point.minimum, maximum=point.maximum, unit=point.unit
        )
        for point in points
    }
    return Method(method.name, method.description, schemas, schemas)

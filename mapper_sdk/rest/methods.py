"""Methods of a device as REST gives them."""

from collections.abc import Mapping

from dmi.methods import Method
from dmi.readings import Reading
from dmi.values import json_value
from mapper_sdk import calling
from mapper_sdk.rest.views import Json, reading_view
from mapper_sdk.session import Session

__all__ = ["call_method", "method_views"]


def method_views(session: Session) -> list[Json]:
    """Everything that can be called; a declared method hides one of the device's own."""
    declared = [_view(method, "declared") for method in calling.declared_methods(session.plan)]
    return declared + [_view(method, "device") for method in calling.own_methods(session)]


async def call_method(session: Session, name: str, arguments: Mapping[str, object]) -> Json:
    """Call a method; a declared one gives the readings of what it wrote.

    Raises:
        DmiError: As `mapper_sdk.calling.call_method` says.
    """
    results = await calling.call_method(session, name, arguments)
    return {
        key: reading_view(value, session.point(key).type)
        if isinstance(value, Reading)
        else json_value(value)
        for key, value in results.items()
    }


def _view(method: Method, source: str) -> Json:
    view: Json = {
        "name": method.name,
        "description": method.description,
        "source": source,
        "arguments": {name: dict(schema) for name, schema in method.arguments.items()},
    }
    if source == "device":
        view["results"] = {name: dict(schema) for name, schema in method.results.items()}
    return view

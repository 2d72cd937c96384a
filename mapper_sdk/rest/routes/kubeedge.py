"""The six paths of KubeEdge's mapper-framework, with its own names and spellings.

Its clients find what they know: `statusCode` in each body, `Data`, `Message` and so on.
What failed has its own HTTP status here, where mapper-framework says 500 to everything;
its body is a problem object with the same members besides.

Source:
    KubeEdge mapper-framework, `pkg/httpserver` and `pkg/common`.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final, TypeAlias

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from dmi.errors import AccessDeniedError, DmiError, NotFoundError, UnavailableError
from dmi.resources import DeviceModel, Key
from dmi.values import format_value, parse_value
from mapper_sdk.rest.answers import json_answer, problem_answer
from mapper_sdk.rest.clients import client_of
from mapper_sdk.rest.context import Api
from mapper_sdk.rest.openapi import schemas
from mapper_sdk.rest.queries import parameters
from mapper_sdk.rest.views import Json
from mapper_sdk.sessions.calling import call_method
from mapper_sdk.sessions.session import REQUEST_LIMIT

__all__ = ["router"]

_VERSION: Final = "v1"
_CORRELATION: Final = "x-correlation-id"
_METHODS: Final = "/api/v1/devicemethod/{namespace}/{name}"

_WRITE: Final = _METHODS + "/{method}/{prop}/{data}"

Handler: TypeAlias = Callable[[Api, Request], Awaitable[Json]]
"""Gives the members of an answer beside those that all have."""


async def ping(_api: Api, _request: Request) -> Json:
    """Say that the mapper runs."""
    return {"Message": f"This is {_VERSION} API, the server is running normally."}


async def read_device(api: Api, request: Request) -> Json:
    """Read a property from the device itself; mapper-framework's clients expect no other."""
    path = request.path_params
    key, name = _key(request), path["prop"]
    session = api.mapper.session(key)
    await session.read_now([name])
    point = session.point(name)
    if point.latest is None or point.latest.value is None:
        raise UnavailableError(point.trouble or "there is no value", device=str(key))
    data = {
        "DeviceName": key.name,
        "PropertyName": name,
        "Namespace": key.namespace,
        "Value": format_value(point.latest.value, point.type),
        "Type": point.type,
        "TimeStamp": round(point.latest.time * 1000),
    }
    return {"Data": data}


async def list_device_methods(api: Api, request: Request) -> Json:
    """List the methods that the Device declares, and what each may write."""
    key = _key(request)
    plan = api.mapper.session(key).plan
    methods = [
        {
            "Name": method.name,
            "Path": f"/api/v1/devicemethod/{key}/{method.name}/{{propertyName}}/{{data}}",
            "Parameters": [
                {"PropertyName": name, "ValueType": plan.points[name].type}
                for name in method.property_names
                if name in plan.points
            ],
        }
        for method in plan.methods
    ]
    return {"Data": {"Methods": methods}}


async def call_device_method(api: Api, request: Request) -> Json:
    """Write a property through a declared method; only where `kubeedgeWrites` is switched on.

    It is a GET that changes something: whoever follows links would do so too.
    """
    if not api.kubeedge_writes:
        raise AccessDeniedError(
            "writing by GET is switched off (kubeedgeWrites): "
            "PUT /api/v1/devices/{namespace}/{name}/properties/{property} writes"
        )
    path = request.path_params
    key, method, name, text = _key(request), path["method"], path["prop"], path["data"]
    session = api.mapper.session(key)
    if all(declared.name != method for declared in session.plan.methods):
        raise NotFoundError(f"the Device declares no method {method!r}", device=str(key))
    result, message = "unknown", ""
    try:
        value = parse_value(text, session.point(name).type)
        await call_method(session, method, {name: value}, limit=REQUEST_LIMIT)
        result = "ok"
    except DmiError as error:
        result, message = error.reason, str(error)
        raise
    finally:
        client, given = client_of(request.scope), orjson.dumps({name: text})
        await api.audit.note(client, "call", key, method, given, result, message)
    return {"Message": f"Write data {text} to device {key} successfully."}


async def get_model(api: Api, request: Request) -> Json:
    """Get the model of a device; it is the device that is named."""
    key = _key(request)
    model = api.mapper.table.model_of(key)
    if model is None:
        raise NotFoundError("the device or its model is not known here", device=str(key))
    return _model_view(model)


async def get_database(_api: Api, request: Request) -> Json:
    """Nothing: mapper-framework has the path, and no data behind it."""
    raise UnavailableError(
        "The database is not enabled. GET /api/v1/devices/{namespace}/{name}/properties/"
        "{property}/history has the past",
        device=str(_key(request)),
    )


def _model_view(model: DeviceModel) -> Json:
    """A model as mapper-framework writes it: what is empty is left out."""
    properties = [
        {
            "name": prop.name,
            "dataType": prop.type,
            "description": prop.description,
            "accessMode": prop.access_mode,
            "minimum": prop.minimum,
            "maximum": prop.maximum,
            "unit": prop.unit,
        }
        for prop in model.spec.properties
    ]
    view = {
        "id": str(model.key),
        "name": model.key.name,
        "namespace": model.key.namespace,
        "properties": [{k: v for k, v in prop.items() if v} for prop in properties],
    }
    return {name: value for name, value in view.items() if value}


def _key(request: Request) -> Key:
    return Key(request.path_params["namespace"], request.path_params["name"])


def _base(status: int) -> Json:
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {"apiVersion": _VERSION, "statusCode": status, "timeStamp": now}


def _answering(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            more = await handler(request.app.state.api, request)
        except DmiError as error:
            told = _base(error.http_status)
            found = problem_answer(error, **told, Message=str(error))
        else:
            found = json_answer({**_base(HTTPStatus.OK), **more})
        if (given := request.headers.get(_CORRELATION)) is not None:
            found.headers[_CORRELATION] = given
        return found

    answer.__doc__, answer.__name__ = handler.__doc__, handler.__name__
    return answer


router = APIRouter(tags=["mapper-framework"], responses=schemas.PROBLEMS)

for _path, _handler in (
    ("/api/v1/ping", ping),
    ("/api/v1/device/{namespace}/{name}/{prop}", read_device),
    (_METHODS, list_device_methods),
    (_WRITE, call_device_method),
    ("/api/v1/meta/model/{namespace}/{name}", get_model),
    ("/api/v1/database/{namespace}/{name}", get_database),
):
    router.add_api_route(
        _path,
        _answering(_handler),
        methods=["GET"],
        response_class=Response,
        responses=schemas.KUBEEDGE,
        openapi_extra={"parameters": parameters(_path)},
    )

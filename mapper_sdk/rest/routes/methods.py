"""Methods of a device: what can be called, and calling it."""

from collections.abc import Mapping
from typing import Final

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from dmi.errors import ConfigError, DmiError
from dmi.methods import Method
from dmi.readings import Reading, Value
from dmi.resources import Key
from dmi.rest.body import parse_object, read_body
from dmi.values import json_value
from mapper_sdk.rest.answers import json_answer
from mapper_sdk.rest.clients import client_of
from mapper_sdk.rest.context import TheApi
from mapper_sdk.rest.idempotency import Attempt
from mapper_sdk.rest.openapi import schemas
from mapper_sdk.rest.routes.reads import DEVICE
from mapper_sdk.rest.routes.writes import LARGEST
from mapper_sdk.rest.views import Json, reading_view
from mapper_sdk.sessions.calling import call_method, declared_methods, own_methods
from mapper_sdk.sessions.session import REQUEST_LIMIT, Session

__all__ = ["router"]

_METHODS: Final = DEVICE + "/methods"

router = APIRouter(tags=["methods"], responses=schemas.PROBLEMS)


@router.get(_METHODS, response_class=Response, responses=schemas.METHODS)
async def list_methods(api: TheApi, namespace: str, name: str) -> Response:
    """List what can be called: methods declared in the Device, and the device's own."""
    session = api.mapper.session(Key(namespace, name))
    declared = [_view(method, "declared") for method in declared_methods(session.plan)]
    own = [_view(method, "device") for method in own_methods(session)]
    return json_answer({"items": declared + own})


@router.post(
    _METHODS + "/{method}",
    response_class=Response,
    responses=schemas.CALLED,
    openapi_extra={"requestBody": schemas.ARGUMENTS_BODY, "parameters": [schemas.IDEMPOTENCY_KEY]},
)
async def post_call(
    api: TheApi, request: Request, namespace: str, name: str, method: str
) -> Response:
    """Call a method and wait for its results."""
    key = Key(namespace, name)
    session = api.mapper.session(key)
    body = await read_body(request, LARGEST)

    async def act(attempt: Attempt) -> Response:
        arguments = parse_object(body).get("arguments")
        if not isinstance(arguments, dict):
            raise ConfigError('the body must be {"arguments": {…}}')
        result, message = "unknown", ""
        try:
            results = await call_method(
                session, method, arguments, attempt.begin, limit=REQUEST_LIMIT
            )
            result = "ok"
        except DmiError as error:
            result, message = error.reason, str(error)
            raise
        finally:
            client, given = client_of(request.scope), orjson.dumps(arguments)
            await api.audit.note(client, "call", key, method, given, result, message)
        return json_answer({"results": _results(session, results)})

    return await api.repetitions.once(request, body, act)


def _results(session: Session, results: Mapping[str, Value | Reading]) -> Json:
    """What it gave; a declared method gives the readings of what it wrote."""
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

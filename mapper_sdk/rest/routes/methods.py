"""Methods of a device: what can be called, and calling it."""

from typing import Final

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from dmi.errors import ConfigError, DmiError
from dmi.resources import Key
from dmi.rest_body import read_body
from mapper_sdk.rest import schemas
from mapper_sdk.rest.answers import json_answer
from mapper_sdk.rest.bodies import parsed
from mapper_sdk.rest.clients import client_of
from mapper_sdk.rest.context import TheApi
from mapper_sdk.rest.methods import call_method, method_views
from mapper_sdk.rest.routes.reads import DEVICE
from mapper_sdk.rest.routes.writes import LARGEST

__all__ = ["router"]

_METHODS: Final = DEVICE + "/methods"

router = APIRouter(tags=["methods"], responses=schemas.PROBLEMS)


@router.get(_METHODS, response_class=Response, responses=schemas.METHODS)
async def list_methods(api: TheApi, namespace: str, name: str) -> Response:
    """List what can be called: methods declared in the Device, and the device's own."""
    return json_answer({"items": method_views(api.mapper.session(Key(namespace, name)))})


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

    async def act() -> Response:
        arguments = parsed(body).get("arguments")
        if not isinstance(arguments, dict):
            raise ConfigError('the body must be {"arguments": {…}}')
        result, message = "ok", ""
        try:
            results = await call_method(session, method, arguments)
        except DmiError as error:
            result, message = error.reason, str(error)
            raise
        finally:
            client, given = client_of(request.scope), orjson.dumps(arguments)
            await api.audit.note(client, "call", key, method, given, result, message)
        return json_answer({"results": results})

    return await api.repetitions.once(request, body, act)

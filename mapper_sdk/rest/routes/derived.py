"""Derived readings that apps post."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from dmi.resources import Key
from dmi.rest.body import read_body
from mapper_sdk.derived.parsing import readings_from_json
from mapper_sdk.rest.answers import json_answer
from mapper_sdk.rest.context import TheApi
from mapper_sdk.rest.idempotency import Attempt
from mapper_sdk.rest.openapi import schemas
from mapper_sdk.rest.routes.reads import PROPERTY
from mapper_sdk.rest.routes.writes import LARGEST

__all__ = ["router"]

router = APIRouter(tags=["write"], responses=schemas.PROBLEMS)


@router.post(
    PROPERTY + "/readings",
    response_class=Response,
    responses=schemas.DERIVED,
    openapi_extra={"requestBody": schemas.READINGS_BODY, "parameters": [schemas.IDEMPOTENCY_KEY]},
)
async def post_readings(
    api: TheApi, request: Request, namespace: str, name: str, prop: str
) -> Response:
    """Publish a reading, or a list of them, of a property that is declared `derived`.

    All are checked before the first is published; they are published in the order of time.
    """
    session = api.mapper.session(Key(namespace, name))
    body = await read_body(request, LARGEST)

    async def act(attempt: Attempt) -> Response:
        point = session.point(prop)
        now = api.mapper.clock.time()
        readings = readings_from_json(body, point.type, now)
        session.derive(prop, readings)
        attempt.begin()
        return json_answer({"accepted": len(readings)})

    return await api.repetitions.once(request, body, act)

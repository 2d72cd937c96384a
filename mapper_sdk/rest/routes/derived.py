"""Derived readings that apps post."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from dmi.errors import ConfigError, MalformedError
from dmi.readings import Quality, Value
from dmi.resources import DataType, Key
from dmi.rest_body import read_body
from dmi.values import value_from_json
from mapper_sdk.derived import Derived
from mapper_sdk.rest import schemas
from mapper_sdk.rest.answers import json_answer
from mapper_sdk.rest.context import TheApi
from mapper_sdk.rest.routes.reads import PROPERTY
from mapper_sdk.rest.routes.writes import LARGEST

__all__ = ["router"]

_MOST: Final = 10_000
_QUALITIES: Final = {quality.name.lower(): quality for quality in Quality}
_FIELDS: Final = frozenset({"value", "time", "quality", "reason"})

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

    async def act() -> Response:
        point = session.point(prop)
        now = api.mapper.clock.time()
        readings = [_reading(item, point.type, now) for item in _items(body)]
        readings.sort(key=lambda reading: reading.time)
        session.derive(prop, readings)
        return json_answer({"accepted": len(readings)})

    return await api.repetitions.once(request, body, act)


def _items(body: bytes) -> list[Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedError(f"the body is not JSON: {error}") from None
    items = found if isinstance(found, list) else [found]
    if not 0 < len(items) <= _MOST:
        raise ConfigError(f"the body must be a reading, or a list of 1 to {_MOST}")
    return items


def _reading(given: object, kind: DataType, now: float) -> Derived:
    if not isinstance(given, Mapping):
        raise ConfigError('a reading must be {"value": …}')
    if unknown := sorted(given.keys() - _FIELDS):
        raise ConfigError(f"a reading has no {', '.join(unknown)}")
    if "value" not in given:
        raise ConfigError("a reading must have a value, which may be null")
    value: Value | None = None
    if given["value"] is not None:
        value = value_from_json(given["value"], kind)
    quality = _QUALITIES.get(str(given.get("quality", "bad" if value is None else "good")))
    if quality is None:
        raise ConfigError(f"quality must be one of {', '.join(_QUALITIES)}")
    reason = given.get("reason", "")
    if not isinstance(reason, str):
        raise ConfigError("reason must be text")
    return Derived(value, _moment(given.get("time"), now), quality, reason)


def _moment(given: object, now: float) -> float:
    """Seconds since 1970; a time without a zone is in UTC."""
    if given is None:
        return now
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        return float(given)
    try:
        moment = datetime.fromisoformat(str(given))
    except ValueError:
        raise ConfigError(f"time {given!r} is neither ISO 8601 nor seconds since 1970") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()

"""Routes of twins: what is reported, what is desired, and waiting for it to come true."""

import asyncio
from collections.abc import Iterator
from http import HTTPStatus
from typing import Annotated, Final, TypeAlias

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from device_manager.api import schemas
from device_manager.api.answers import Json
from device_manager.api.context import Api, Continue, Limit, TheApi, page
from device_manager.records import TwinRecord
from device_manager.views import Json as View
from device_manager.views import twin_view
from dmi.errors import ConfigError
from dmi.feed import Reader
from dmi.readings import Value
from dmi.reports import OutcomeStatus
from dmi.resources import DataType, Key
from dmi.rest.body import read_json
from dmi.values import value_from_json

__all__ = ["get_twin", "router"]

LARGEST_WISH: Final = 1024 * 1024
LONGEST_WAIT: Final = 30.0

Wait: TypeAlias = Annotated[
    float, Query(ge=0, le=LONGEST_WAIT, description="Seconds to wait until the wish is settled.")
]

_SETTLED: Final = frozenset({OutcomeStatus.CONFIRMED, OutcomeStatus.REJECTED, OutcomeStatus.FAILED})

router = APIRouter(prefix="/api/v1", tags=["twins"], responses=schemas.PROBLEMS)


@router.get("/devices/{namespace}/{name}/twins/{property:path}", responses=schemas.TWIN)
async def get_twin(request: Request) -> Response:
    """Get both sides of one property."""
    api: Api = request.app.state.api
    path = request.path_params
    twin = api.node.twin(Key(path["namespace"], path["name"]), path["property"])
    return Json(_view(api, twin))


@router.get("/twins", responses=schemas.TWINS)
async def list_twins(
    api: TheApi,
    namespace: str = "",
    device: str = "",
    limit: Limit = 1000,
    after: Continue = "",
) -> Response:
    """List the twins of all devices, by page."""
    keys = [
        key
        for key in api.node.devices
        if namespace in ("", key.namespace) and device in ("", key.name)
    ]
    found, more = page(_twins(api, keys, after), limit, after)
    return Json({"items": [_view(api, twin) for twin in found], "continue": more})


@router.get("/devices/{namespace}/{name}/twins", responses=schemas.TWINS)
async def list_device_twins(api: TheApi, namespace: str, name: str) -> Response:
    """List the twins of one device."""
    twins = api.node.twins(api.device(namespace, name).key)
    return Json({"items": [_view(api, twins[each]) for each in sorted(twins)], "continue": ""})


@router.put(
    "/devices/{namespace}/{name}/twins/{property:path}/desired",
    responses={**schemas.TWIN, 202: schemas.TWIN[200]},
    openapi_extra=schemas.WISH_BODY,
)
async def put_desired(
    api: TheApi, request: Request, namespace: str, name: str, property: str, wait: Wait = 0.0
) -> Response:
    """Wish a property to have a value: 202 while it is on its way, 200 once it is settled."""
    key = api.device(namespace, name).key
    value = _value(api, key, property, await read_json(request, LARGEST_WISH))
    with api.node.feed.reader() as reader:
        wish = await api.node.set_desired(key, property, value)
        settled = await _settled(api, reader, key, property, wish.version, wait)
    status = HTTPStatus.OK if settled else HTTPStatus.ACCEPTED
    return Json(_view(api, api.node.twin(key, property)), status)


@router.delete("/devices/{namespace}/{name}/twins/{property:path}/desired", responses=schemas.TWIN)
async def delete_desired(api: TheApi, namespace: str, name: str, property: str) -> Response:
    """Wish nothing of a property any more; the device keeps the value that it has."""
    key = api.device(namespace, name).key
    await api.node.clear_desired(key, property)
    return Json(_view(api, api.node.twin(key, property)))


def _view(api: Api, twin: TwinRecord) -> View:
    declared = api.node.property_type(twin.device, twin.property)
    return twin_view(twin, declared, api.clock.time())


def _twins(
    api: Api, keys: list[Key], after: str
) -> Iterator[tuple[tuple[str, str, str], TwinRecord]]:
    """Twins in the order of their names, from the device on in which a page begins."""
    begin = tuple(after.split("/")[:2])
    for key in sorted(key for key in keys if key >= begin):
        twins = api.node.twins(key)
        yield from (((*key, name), twins[name]) for name in sorted(twins))


def _value(api: Api, device: Key, name: str, body: View) -> Value:
    if "value" not in body or body["value"] is None:
        raise ConfigError('the body must be {"value": …}; DELETE clears a desired value')
    value = body["value"]
    declared = api.node.property_type(device, name)
    data_type = declared.type if declared else DataType.STRING
    if isinstance(value, str) and data_type is not DataType.BYTES:
        # Text is read as in a Device, by the property's type.
        return value
    return value_from_json(value, data_type) if declared else str(value)


async def _settled(
    api: Api, reader: Reader[View], device: Key, name: str, version: int, wait: float
) -> bool:
    """Wait until a wish is confirmed, rejected or failed; False when that takes longer."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait
    while True:
        wish = api.node.twin(device, name).desired
        if wish is None or wish.version != version:
            return False
        if wish.status in _SETTLED:
            return True
        reader.skip()
        try:
            async with asyncio.timeout_at(deadline):
                if not await reader.wait():
                    return False
        except TimeoutError:
            return False

"""Routes of devices and models: list, get, put, delete."""

import asyncio
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Final, TypeVar

from fastapi import APIRouter, Request
from starlette.responses import Response

from device_manager.api import schemas
from device_manager.api.answers import Json, read_manifests
from device_manager.api.context import Api, Continue, Limit, TheApi, page
from device_manager.views import model_view
from dmi.errors import ConfigError, ConflictError, NotFoundError
from dmi.manifests import ManifestError
from dmi.resources import Device, DeviceModel, Key

__all__ = ["ORIGIN", "router"]

Kind = TypeVar("Kind", Device, DeviceModel)

ORIGIN: Final = "api"
LARGEST_OBJECT: Final = 1024 * 1024
_AT_ONCE: Final = 20

router = APIRouter(prefix="/api/v1", responses=schemas.PROBLEMS)


@router.get("/models", tags=["models"], responses=schemas.OBJECTS)
async def list_models(
    api: TheApi, namespace: str = "", limit: Limit = 1000, after: Continue = ""
) -> Response:
    """List models."""
    found, more = page(_named(api.node.models, namespace), limit, after)
    return Json({"items": [model_view(model) for model in found], "continue": more})


@router.get("/models/{namespace}/{name}", tags=["models"], responses=schemas.OBJECT)
async def get_model(api: TheApi, namespace: str, name: str) -> Response:
    """Get a model."""
    key = Key(namespace, name)
    if key not in api.node.models:
        raise NotFoundError(f"there is no model {key}")
    return Json(model_view(api.node.models[key]))


@router.put(
    "/models/{namespace}/{name}",
    tags=["models"],
    responses=schemas.OBJECT,
    openapi_extra=schemas.OBJECT_BODY,
)
async def put_model(api: TheApi, request: Request, namespace: str, name: str) -> Response:
    """Create or replace a model; the body is YAML or JSON."""
    model = await _one_object(request, DeviceModel, Key(namespace, name))
    fresh = await _apply(api, model)
    return Json(model_view(model), HTTPStatus.CREATED if fresh else HTTPStatus.OK)


@router.delete("/models/{namespace}/{name}", tags=["models"], status_code=204)
async def delete_model(api: TheApi, namespace: str, name: str) -> Response:
    """Delete a model; its devices stay, and say that it is missing."""
    await api.node.delete("DeviceModel", Key(namespace, name), ORIGIN)
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.get("/devices", tags=["devices"], responses=schemas.OBJECTS)
async def list_devices(
    api: TheApi, namespace: str = "", limit: Limit = 1000, after: Continue = ""
) -> Response:
    """List devices with their status."""
    found, more = page(_named(api.node.devices, namespace), limit, after)
    items = []
    for number, device in enumerate(found, start=1):
        items.append(api.view(device))
        if number % _AT_ONCE == 0:
            # A large fleet takes a tenth of a second; reports and wishes must not wait.
            await asyncio.sleep(0)
    return Json({"items": items, "continue": more})


@router.get("/devices/{namespace}/{name}", tags=["devices"], responses=schemas.OBJECT)
async def get_device(api: TheApi, namespace: str, name: str) -> Response:
    """Get a device with its status."""
    return Json(api.view(api.device(namespace, name)))


@router.put(
    "/devices/{namespace}/{name}",
    tags=["devices"],
    responses=schemas.OBJECT,
    openapi_extra=schemas.OBJECT_BODY,
)
async def put_device(api: TheApi, request: Request, namespace: str, name: str) -> Response:
    """Create or replace a device; the body is YAML or JSON."""
    device = await _one_object(request, Device, Key(namespace, name))
    fresh = await _apply(api, device)
    return Json(api.view(device), HTTPStatus.CREATED if fresh else HTTPStatus.OK)


@router.delete("/devices/{namespace}/{name}", tags=["devices"], status_code=204)
async def delete_device(api: TheApi, namespace: str, name: str) -> Response:
    """Delete a device and its twins."""
    await api.node.delete("Device", Key(namespace, name), ORIGIN)
    return Response(status_code=HTTPStatus.NO_CONTENT)


async def _apply(api: Api, item: Device | DeviceModel) -> bool:
    """Want an object; gives whether it is a new one.

    Raises:
        ConflictError: Somebody else, such as a file, owns it.
    """
    fresh = api.node.find(item.kind, item.key) is None
    await api.node.apply(item, origin=ORIGIN)
    return fresh


async def _one_object(request: Request, kind: type[Kind], key: Key) -> Kind:
    """The body, which must hold exactly the object that the path names."""
    manifests, mistakes = await read_manifests(request, LARGEST_OBJECT)
    if mistakes:
        raise ManifestError(mistakes)
    if len(manifests) != 1:
        raise ConfigError(f"the body must hold one object, not {len(manifests)}")
    item = manifests[0].object
    if not isinstance(item, kind):
        raise ConfigError(f"the body must hold a {kind.__name__}, not a {item.kind}")
    if item.key != key:
        raise ConflictError(f"the path names {key}, the body {item.key}")
    return item


def _named(objects: Mapping[Key, Kind], namespace: str) -> Iterator[tuple[Key, Kind]]:
    keys = sorted(key for key in objects if namespace in ("", key.namespace))
    return ((key, objects[key]) for key in keys)

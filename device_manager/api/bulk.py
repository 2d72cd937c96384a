"""Apply for many objects at once, as `dmi apply -f` and curl send them."""

from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from device_manager.api import schemas
from device_manager.api.answers import Json, problem, read_manifests
from device_manager.api.context import Api, TheApi
from device_manager.api.objects import ORIGIN
from dmi.manifests import Fault, Manifest, Mistake
from dmi.resources import Device, DeviceModel

__all__ = ["router"]

LARGEST: Final = 8 * 1024 * 1024
_SHOWN: Final = 5

router = APIRouter(prefix="/api/v1", responses=schemas.PROBLEMS)


@router.post("/apply", tags=["objects"], responses=schemas.APPLIED, openapi_extra=schemas.BODIES)
async def apply(api: TheApi, request: Request) -> Response:
    """Apply devices and models from YAML (several documents) or JSON (a List too).

    Every object that is right is applied, all of them at once; every mistake is told,
    and then the status is 422.
    """
    manifests, mistakes = await read_manifests(request, LARGEST)
    taken: list[Manifest] = []
    for manifest in manifests:
        fault = _fault(api, manifest)
        if fault is None:
            taken.append(manifest)
        else:
            mistakes.append(manifest.mistake(fault))
    objects = [one.object for one in taken if isinstance(one.object, Device | DeviceModel)]
    applied = [_result(api, item) for item in objects]
    await api.node.apply(*objects, origin=ORIGIN)
    return _answer(applied, mistakes)


def _fault(api: Api, manifest: Manifest) -> Fault | None:
    if not isinstance(manifest.object, Device | DeviceModel):
        return Fault(("kind",), f"a {manifest.kind} cannot be applied", "it is only reported")
    owner = api.node.origin(manifest.kind, manifest.key)
    if owner not in (None, ORIGIN):
        hint = "change it there, or delete it there first"
        return Fault((), f"{manifest.kind} {manifest.key} belongs to {owner}", hint)
    return None


def _result(api: Api, item: Device | DeviceModel) -> dict[str, str]:
    """What applying will do."""
    before = api.node.find(item.kind, item.key)
    result = "created" if before is None else "unchanged" if before == item else "configured"
    key = item.key
    return {"kind": item.kind, "namespace": key.namespace, "name": key.name, "result": result}


def _answer(applied: list[dict[str, str]], mistakes: list[Mistake]) -> Response:
    told = [mistake.to_json() for mistake in mistakes]
    if not mistakes:
        return Json({"applied": applied, "mistakes": told})
    shown = "; ".join(str(mistake) for mistake in mistakes[:_SHOWN])
    more = f"; and {len(mistakes) - _SHOWN} more" if len(mistakes) > _SHOWN else ""
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    return problem(status, shown + more, "config", applied=applied, mistakes=told)

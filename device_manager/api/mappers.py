"""Routes of mappers: who has registered, who lives, and what each serves."""

from collections import Counter

from fastapi import APIRouter
from starlette.responses import Response

from device_manager.api import schemas
from device_manager.api.answers import Json
from device_manager.api.context import Api, Continue, Limit, TheApi, page
from device_manager.records import MapperRecord
from device_manager.views import Json as View
from device_manager.views import mapper_view
from dmi.errors import NotFoundError

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", tags=["mappers"], responses=schemas.PROBLEMS)


@router.get("/mappers", responses=schemas.MAPPERS)
async def list_mappers(
    api: TheApi, protocol: str = "", limit: Limit = 1000, after: Continue = ""
) -> Response:
    """List mappers, living and gone."""
    records = [one for one in _records(api).values() if protocol in ("", one.protocol)]
    named = sorted(((one.name, one.instance), one) for one in records)
    found, more = page(named, limit, after)
    serving = Counter(api.mapper_of(device) for device in api.node.devices.values())
    return Json({"items": [_view(api, one, serving) for one in found], "continue": more})


@router.get("/mappers/{name}/{instance}", responses=schemas.MAPPER)
async def get_mapper(api: TheApi, name: str, instance: str) -> Response:
    """Get a mapper."""
    record = _records(api).get(f"{name}/{instance}")
    if record is None:
        raise NotFoundError(f"there is no mapper {name}/{instance}")
    serving = Counter(api.mapper_of(device) for device in api.node.devices.values())
    return Json(_view(api, record, serving))


def _records(api: Api) -> dict[str, MapperRecord]:
    """What the store remembers, and on top what is true now."""
    living = {session.mapper: session.record for session in api.dmi.leases.sessions}
    return {**api.node.mappers, **living}


def _view(api: Api, record: MapperRecord, serving: Counter[str]) -> View:
    name = f"{record.name}/{record.instance}"
    gauges = next((s.gauges for s in api.dmi.leases.sessions if s.mapper == name), {})
    return {**mapper_view(record, serving[name]), "gauges": gauges}

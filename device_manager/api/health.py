"""Routes about the manager itself: alive, ready, its condition, its version, its metrics."""

from importlib.metadata import version

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import PlainTextResponse, Response

from device_manager.api import schemas
from device_manager.api.answers import Json, problem
from device_manager.api.context import TheApi

__all__ = ["router"]

router = APIRouter(tags=["manager"], responses=schemas.PROBLEMS)


@router.get("/healthz", response_class=PlainTextResponse)
async def healthz() -> Response:
    """Say that the process answers; open to all."""
    return PlainTextResponse("ok\n")


@router.get("/readyz", response_class=PlainTextResponse)
async def readyz(api: TheApi) -> Response:
    """Say that everything works, or with 503 what does not."""
    if error := api.node.storage_error:
        return problem(503, f"the database takes nothing now: {error}", "unavailable")
    return PlainTextResponse("ok\n")


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Give the metrics for Prometheus."""
    text = generate_latest(request.app.state.registry)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


@router.get("/api/v1/status", responses=schemas.STATUS)
async def status(api: TheApi) -> Response:
    """Say what is wrong anywhere, and how much there is of everything."""
    node = api.node
    return Json(
        {
            "epoch": node.epoch,
            "version": node.version,
            "ready": not node.storage_error,
            "storage": {"error": node.storage_error},
            "upstreams": {name: {"errors": told} for name, told in node.upstream_errors.items()},
            "problems": {str(key): text for key, text in node.problems.items()},
            "counts": {
                "models": len(node.models),
                "devices": len(node.devices),
                "twins": sum(len(node.twins(key)) for key in node.devices),
                "mappers": len(node.mappers),
                "mappers_alive": sum(one.alive for one in node.mappers.values()),
                "sessions": len(api.dmi.leases.sessions),
            },
        }
    )


@router.get("/api/v1/version", responses=schemas.VERSION)
async def api_version() -> Response:
    """Say which software and which contracts this is."""
    return Json(
        {"name": "dmi-toolkit", "version": version("dmi-toolkit"), "dmi": ["v1", "v1beta1"]}
    )

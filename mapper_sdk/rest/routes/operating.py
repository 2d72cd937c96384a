"""For those who run the mapper: health, metrics, log levels, the audit trail."""

from typing import Annotated, Final, get_args

import orjson
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from dmi.errors import ConfigError, UnavailableError
from dmi.logs import LogLevel, change_log_level, log_levels
from dmi.rest.body import read_json
from mapper_sdk.rest.answers import json_answer
from mapper_sdk.rest.clients import client_of
from mapper_sdk.rest.context import Api, TheApi
from mapper_sdk.rest.openapi import schemas
from mapper_sdk.rest.views import audit_view

__all__ = ["router"]

_LARGEST: Final = 4096

router = APIRouter(tags=["operating"], responses=schemas.PROBLEMS)


class AuditQuery(BaseModel):
    """Which entries."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    namespace: str = Field(default="", description="Only of devices of this namespace.")
    device: str = Field(default="", description="Only of devices of this name.")
    client: str = Field(default="", description="Only of this client.")
    limit: int = Field(default=100, ge=1, le=10_000, description="Most entries of one answer.")
    after: int = Field(
        default=0,
        ge=0,
        le=2**63 - 1,
        alias="continue",
        description="`continue` of the answer before.",
    )


@router.get("/healthz", response_class=Response, responses=schemas.HEALTH)
async def healthz() -> Response:
    """Say that the process runs; open to all."""
    return json_answer({"status": "ok"})


@router.get("/readyz", response_class=Response, responses=schemas.HEALTH)
async def readyz(api: TheApi) -> Response:
    """Say that the devices are known and served, or with 503 what is missing; open to all."""
    if reasons := _missing(api):
        raise UnavailableError("; ".join(reasons))
    return json_answer({"status": "ok"})


def _missing(api: Api) -> list[str]:
    connecting = sum(
        state.state == "unknown" and state.reason == "connecting"
        for state in api.mapper.states.values()
    )
    reasons: list[str] = []
    if not api.mapper.link.connected:
        reasons.append("the manager is not reached")
    if connecting:
        reasons.append(f"{connecting} devices are being connected for the first time")
    return reasons


@router.get("/metrics", response_class=Response, responses=schemas.METRICS)
async def metrics(api: TheApi) -> Response:
    """Get what is counted, for Prometheus."""
    text = api.metrics.exposition()
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/api/v1/loglevel", response_class=Response, responses=schemas.LEVELS)
async def get_log_level() -> Response:
    """Get the log level, and the loggers that have one of their own."""
    return _levels()


@router.put(
    "/api/v1/loglevel",
    response_class=Response,
    responses=schemas.LEVELS,
    openapi_extra={"requestBody": schemas.LEVEL_BODY},
)
async def put_log_level(api: TheApi, request: Request) -> Response:
    """Change the log level while the mapper runs; a restart forgets it."""
    body = await read_json(request, _LARGEST)
    level, logger = body.get("level"), body.get("logger", "")
    known = get_args(LogLevel)
    if not isinstance(logger, str) or "level" not in body:
        raise ConfigError('the body must be {"level": …}, perhaps with {"logger": "…"}')
    if level not in known and not (level is None and logger):
        raise ConfigError(f"level must be one of {', '.join(known)}; of a logger also null")
    change_log_level(level, logger)
    given = orjson.dumps(level)
    await api.audit.note(client_of(request.scope), "loglevel", None, logger, given)
    return _levels()


def _levels() -> Response:
    level, loggers = log_levels()
    return json_answer({"level": level, "loggers": loggers})


@router.get("/api/v1/audit", response_class=Response, responses=schemas.AUDIT)
async def list_audit(api: TheApi, query: Annotated[AuditQuery, Query()]) -> Response:
    """List who changed what, when, and what came of it; newest first."""
    found = await api.audit.entries(
        namespace=query.namespace,
        device=query.device,
        client=query.client,
        before=query.after,
        limit=query.limit + 1,
    )
    shown = found[: query.limit]
    more = str(shown[-1].id) if len(found) > query.limit else ""
    return json_answer({"items": [audit_view(entry) for entry in shown], "continue": more})

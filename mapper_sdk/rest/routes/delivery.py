"""The targets of readings: how they do, and what they never got."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from dmi.errors import ConfigError
from dmi.resources import Key
from mapper_sdk.delivery.status import Gap
from mapper_sdk.rest.answers import json_answer
from mapper_sdk.rest.context import TheApi
from mapper_sdk.rest.openapi import schemas
from mapper_sdk.rest.views import gap_view, target_view

__all__ = ["router"]

router = APIRouter(tags=["delivery"], responses=schemas.PROBLEMS)


class GapsQuery(BaseModel):
    """Which gaps."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    target: str = Field(default="", description="Only of this target.")
    namespace: str = Field(default="", description="Only of devices of this namespace.")
    device: str = Field(
        default="", description="NAMESPACE/NAME of the only device.", examples=["default/kettle"]
    )
    property: str = Field(default="", description="Only of properties of this name.")
    since: float | None = Field(
        default=None, ge=0, description="Only what is missing from then on, seconds since 1970."
    )
    limit: int = Field(default=1000, ge=1, le=10_000, description="Most gaps of one answer.")
    after: str = Field(
        default="",
        alias="continue",
        description="`continue` of the answer before; empty at first.",
    )


@router.get("/api/v1/targets", response_class=Response, responses=schemas.TARGETS)
async def list_targets(api: TheApi) -> Response:
    """List the targets that readings go to, and how each does."""
    found = api.delivery.targets() if api.delivery is not None else []
    return json_answer({"items": [target_view(target) for target in found]})


@router.get("/api/v1/gaps", response_class=Response, responses=schemas.GAPS)
async def list_gaps(api: TheApi, query: Annotated[GapsQuery, Query()]) -> Response:
    """List exactly what was lost: which target, property and interval, and why; newest first."""
    passed = _number(query.after)
    device = _key(query.device) if query.device else None
    found: list[Gap] = []
    if api.delivery is not None:
        found = api.delivery.gaps(
            query.target or None,
            device,
            query.property or None,
            query.since,
            limit=passed + query.limit + 1,
        )
    if query.namespace:
        found = [gap for gap in found if gap.device.namespace == query.namespace]
    shown = found[passed : passed + query.limit]
    more = str(passed + query.limit) if len(found) > passed + query.limit else ""
    return json_answer({"items": [gap_view(gap) for gap in shown], "continue": more})


def _number(text: str) -> int:
    if text and not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ConfigError("continue must be what the answer before said")
    return int(text or 0)


def _key(text: str) -> Key:
    namespace, slash, name = text.partition("/")
    if not slash:
        raise ConfigError("device must be NAMESPACE/NAME")
    return Key(namespace, name)

"""The stream of changes as server-sent events, resumable by the id of the last one."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Header
from starlette.responses import Response, StreamingResponse

from device_manager.api import schemas
from device_manager.api.context import TheApi
from dmi.errors import ConfigError
from dmi.feed import Encode, sse_stream

__all__ = ["TYPES", "router"]

TYPES: Final = (
    "twin",
    "desired",
    "state",
    "device",
    "model",
    "mapper",
    "upstream",
    "proposal",
    "command",
)
"""What an event can be named, beside `gap`."""

_HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    # Proxies must hand over each event at once.
    {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
)

router = APIRouter(prefix="/api/v1", tags=["changes"], responses=schemas.PROBLEMS)


@router.get("/changes", response_class=StreamingResponse, responses=schemas.CHANGES)
async def watch_changes(
    api: TheApi,
    namespace: str = "",
    device: str = "",
    types: str = "",
    last_event_id: Annotated[str, Header()] = "",
) -> Response:
    """Follow what changes; after `Last-Event-ID`, or from now on.

    An event is named by its type; `gap` says that events are missing, and how many.
    `types` is a list with commas.
    """
    wanted = frozenset(filter(None, types.split(",")))
    if unknown := wanted.difference(TYPES):
        known = ", ".join(sorted(TYPES))
        raise ConfigError(f"types: {', '.join(sorted(unknown))} unknown; there are {known}")
    stream = sse_stream(api.node.feed, last_event_id, _encoder(namespace, device, wanted))
    return StreamingResponse(stream, media_type="text/event-stream", headers=dict(_HEADERS))


def _encoder(namespace: str, device: str, types: frozenset[str]) -> Encode[dict[str, Any]]:
    def encode(event: dict[str, Any]) -> tuple[str, bytes] | None:
        kind = event["event"]
        if types and kind not in types:
            return None
        if namespace and event.get("namespace") != namespace:
            return None
        if device and _device(event) != device:
            return None
        return kind, orjson.dumps(event)

    return encode


def _device(event: dict[str, Any]) -> str | None:
    name: str | None = event.get("name" if event["event"] == "device" else "device")
    return name

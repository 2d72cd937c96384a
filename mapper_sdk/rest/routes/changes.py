"""The stream of changes: server-sent events, or a WebSocket at the same address."""

from typing import Annotated, Final

from fastapi import APIRouter, Header, Query
from pydantic import ValidationError
from starlette.responses import Response
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from dmi.errors import ConfigError
from mapper_sdk.rest.context import Api, TheApi
from mapper_sdk.rest.openapi import schemas
from mapper_sdk.rest.streams.filters import ChangesQuery, Filter
from mapper_sdk.rest.streams.sse import EventStream
from mapper_sdk.rest.streams.websocket import serve_socket

__all__ = ["CHANGES", "router", "socket_route"]

CHANGES: Final = "/api/v1/changes"
_POLICY_VIOLATION: Final = 1008
_LONGEST_REASON: Final = 120

router = APIRouter(tags=["changes"], responses=schemas.PROBLEMS)


@router.get(CHANGES, response_class=Response, responses=schemas.CHANGES)
async def watch_changes(
    api: TheApi,
    query: Annotated[ChangesQuery, Query()],
    last_event_id: Annotated[str, Header()] = "",
) -> Response:
    """Follow what changes, as server-sent events named `readings`, `state`, `outcome`, `event`.

    `Last-Event-ID` goes on where a stream was cut; what is lost then is a `gap` event. A
    WebSocket at this address, with the same query, sends JSON arrays of the same events.
    """
    after = last_event_id or query.last_event_id
    return EventStream(api.channels, Filter.of(query), after)


async def watch_by_socket(socket: WebSocket) -> None:
    """Follow what changes over a WebSocket."""
    api: Api = socket.app.state.api
    try:
        query = ChangesQuery.model_validate(dict(socket.query_params))
        wanted = Filter.of(query)
    except ValidationError as error:
        await _refuse(socket, "; ".join(fault["msg"] for fault in error.errors()))
    except ConfigError as error:
        await _refuse(socket, error.message)
    else:
        after = socket.headers.get("last-event-id", "") or query.last_event_id
        await serve_socket(socket, api.channels, wanted, after)


async def _refuse(socket: WebSocket, reason: str) -> None:
    await socket.accept()
    text = reason.encode()[:_LONGEST_REASON].decode(errors="ignore")
    await socket.close(_POLICY_VIOLATION, text)


socket_route = WebSocketRoute(CHANGES, watch_by_socket)

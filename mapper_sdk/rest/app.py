"""The routes of a mapper's REST API."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import orjson
from fastapi import FastAPI, Query
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from dmi.errors import ConfigError, DmiError, NotFoundError, UnavailableError
from dmi.feed import Feed, sse_stream
from dmi.problem import MEDIA_TYPE, http_problem, to_problem
from dmi.reports import DeviceState, Outcome
from dmi.resources import Key
from dmi.rest_body import read_json
from dmi.values import value_from_json
from mapper_sdk.events import DeviceEvent
from mapper_sdk.hub import Batch
from mapper_sdk.mapper import Mapper
from mapper_sdk.rest.methods import call_method, method_views
from mapper_sdk.rest.views import (
    Json,
    batch_view,
    device_view,
    event_view,
    outcome_view,
    property_view,
    reading_view,
    state_view,
)
from mapper_sdk.session import Session

if TYPE_CHECKING:
    from mapper_sdk.rest.metrics import Metrics

__all__ = ["Change", "make_app"]

Change = Batch | DeviceState | Outcome | DeviceEvent
"""What the stream of changes carries."""

_DEVICE = "/api/v1/devices/{namespace}/{name}"
_PROPERTY = _DEVICE + "/properties/{prop}"

_LARGEST = 1024 * 1024
"""Most bytes of a body."""

Live = Annotated[bool, Query(description="Ask the device itself, instead of the last reading.")]


class _Answers:
    """The handlers; each gives what is true now, in one look at the mapper."""

    def __init__(self, mapper: Mapper, feed: Feed[Change]) -> None:
        self._mapper = mapper
        self._feed = feed
        self._metrics: Metrics | None = None

    def _session(self, namespace: str, name: str) -> Session:
        return self._mapper.session(Key(namespace, name))

    async def property(self, request: Request) -> Response:
        """One property, cached; with `?live=true` from the device itself.

        The route that apps ask most: it goes past FastAPI, at half the cost.
        """
        path = request.path_params
        session = self._session(path["namespace"], path["name"])
        name = path["prop"]
        if request.scope["query_string"] and _is_true(request.query_params.get("live")):
            await session.read_now([name])
        return _json(property_view(session.point(name), self._mapper.clock.time()))

    async def devices(self) -> Response:
        """Every device of this mapper and its state."""
        return _json({"items": [state_view(state) for state in self._mapper.states.values()]})

    async def device(self, namespace: str, name: str, live: Live = False) -> Response:
        """One device with all its properties."""
        key = Key(namespace, name)
        session = self._mapper.sessions.get(key)
        state = self._mapper.states.get(key)
        if state is None:
            raise NotFoundError("the device is not known here", device=str(key))
        if live:
            session = self._session(namespace, name)
            await session.read_now([point.name for point in session.plan.sound])
        plan = session.plan if session is not None else None
        return _json(device_view(state, plan, self._mapper.clock.time()))

    async def write(self, request: Request, namespace: str, name: str, prop: str) -> Response:
        """Write a property and read it back; the desired value of the manager stays as it is."""
        session = self._session(namespace, name)
        point = session.point(prop)
        value = (await read_json(request, _LARGEST)).get("value")
        if value is None:
            raise ConfigError('the body must be {"value": …}')
        await session.write(prop, value_from_json(value, point.type))
        return _json(property_view(point, self._mapper.clock.time()))

    async def history(
        self,
        namespace: str,
        name: str,
        prop: str,
        start: Annotated[datetime, Query(description="From when on, ISO 8601.")],
        end: Annotated[datetime | None, Query(description="Until when; now without it.")] = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    ) -> Response:
        """What the device itself keeps of a property's past, oldest first."""
        session = self._session(namespace, name)
        until = self._mapper.clock.time() if end is None else _seconds(end)
        readings = await session.history(prop, _seconds(start), until, limit)
        kind = session.point(prop).type
        return _json({"items": [reading_view(reading, kind) for reading in readings]})

    async def methods(self, namespace: str, name: str) -> Response:
        """What can be called: methods declared in the Device, and the device's own."""
        return _json({"items": method_views(self._session(namespace, name))})

    async def call(self, request: Request, namespace: str, name: str, method: str) -> Response:
        """Call a method and wait for its results."""
        arguments = (await read_json(request, _LARGEST)).get("arguments")
        if not isinstance(arguments, dict):
            raise ConfigError('the body must be {"arguments": {…}}')
        results = await call_method(self._session(namespace, name), method, arguments)
        return _json({"results": results})

    async def changes(
        self,
        request: Request,
        device: Annotated[str, Query(description="NAMESPACE/NAME of the only device.")] = "",
    ) -> Response:
        """Readings, states, outcomes and events as they happen, as server-sent events.

        `Last-Event-ID` resumes where a stream was cut; what is lost then is a `gap` event.
        """
        only = device or None

        def encode(change: Change) -> tuple[str, bytes] | None:
            return _encode(change, only)

        stream = sse_stream(self._feed, request.headers.get("last-event-id"), encode)
        return StreamingResponse(stream, media_type="text/event-stream")

    async def healthy(self) -> Response:
        """The process runs."""
        return _json({"status": "ok"})

    async def ready(self) -> Response:
        """The manager is reached, so the devices are known."""
        if not self._mapper.link.connected:
            raise UnavailableError("the manager is not reached")
        return _json({"status": "ok"})

    async def metrics(self) -> Response:
        """Counters for Prometheus."""
        if self._metrics is None:
            # Lazily, like all that an idle mapper can do without.
            from mapper_sdk.rest.metrics import Metrics

            self._metrics = Metrics(self._mapper)
        return Response(self._metrics.exposition(), media_type="text/plain; version=0.0.4")


class _Application(FastAPI):
    """FastAPI, with the one route in its document that goes past it."""

    def openapi(self) -> Json:
        """Give the document; it is made when somebody asks for the first time."""
        if self.openapi_schema is None:
            self.openapi_schema = _documented(super().openapi())
        return self.openapi_schema


def make_app(mapper: Mapper, feed: Feed[Change]) -> FastAPI:
    """Build the application over a mapper; `feed` is what `/api/v1/changes` streams."""
    app = _Application(title="DMI mapper", version="1", redoc_url=None, docs_url=None)
    answers = _Answers(mapper, feed)
    app.router.routes.append(Route(_PROPERTY, answers.property, methods=["GET"]))
    get = {"methods": ["GET"], "response_class": Response}
    for path, handler in (
        ("/api/v1/devices", answers.devices),
        (_DEVICE, answers.device),
        (_DEVICE + "/methods", answers.methods),
        (_PROPERTY + "/history", answers.history),
        ("/api/v1/changes", answers.changes),
        ("/healthz", answers.healthy),
        ("/readyz", answers.ready),
        ("/metrics", answers.metrics),
    ):
        app.add_api_route(path, handler, **get)  # type: ignore[arg-type]  # one dict for all
    app.add_api_route(
        _PROPERTY,
        answers.write,
        methods=["PUT"],
        response_class=Response,
        openapi_extra=_body("value", {}),
    )
    app.add_api_route(
        _DEVICE + "/methods/{method}",
        answers.call,
        methods=["POST"],
        response_class=Response,
        openapi_extra=_body("arguments", {"type": "object"}),
    )
    app.add_exception_handler(DmiError, _on_dmi_error)
    app.add_exception_handler(RequestValidationError, _on_wrong_request)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(ClientDisconnect, _on_gone)
    return app


def _body(field: str, schema: Json) -> Json:
    """Document a body; the handlers read it themselves, whatever its Content-Type."""
    whole = {"type": "object", "required": [field], "properties": {field: schema}}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": whole}}}}


def _documented(schema: Json) -> Json:
    """Add the one route that FastAPI does not know."""
    written = schema["paths"][_PROPERTY]["put"]
    live = {
        "name": "live",
        "in": "query",
        "required": False,
        "schema": {"type": "boolean", "default": False},
        "description": "Ask the device itself, instead of the last reading.",
    }
    schema["paths"][_PROPERTY]["get"] = {
        "summary": "Property",
        "description": "One property, cached; with `?live=true` from the device itself.",
        "operationId": "property",
        "parameters": [*written["parameters"], live],
        "responses": written["responses"],
    }
    return schema


def _seconds(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _is_true(word: str | None) -> bool:
    return word is not None and word.lower() in ("true", "1")


def _json(content: Json) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")


def _problem(problem: Mapping[str, object], status: int) -> Response:
    return Response(orjson.dumps(problem), status, media_type=MEDIA_TYPE)


def _encode(change: Change, only: str | None) -> tuple[str, bytes] | None:
    if isinstance(change, list):
        if only is not None and str(change[0][0].device) != only:
            return None
        return "readings", orjson.dumps(batch_view(change))
    if only is not None and str(change.device) != only:
        return None
    if isinstance(change, DeviceState):
        return "state", orjson.dumps(state_view(change))
    if isinstance(change, DeviceEvent):
        return "event", orjson.dumps(event_view(change))
    return "outcome", orjson.dumps(outcome_view(change))


# ---------------------------------------------------------------- errors ----


async def _on_dmi_error(_request: Request, error: Exception) -> Response:
    known = error if isinstance(error, DmiError) else DmiError(str(error))
    return _problem(to_problem(known), known.http_status)


async def _on_wrong_request(request: Request, error: Exception) -> Response:
    faults = error.errors() if isinstance(error, RequestValidationError) else []
    text = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults)
    return await _on_dmi_error(request, ConfigError(text or "the request is not understood"))


async def _on_gone(_request: Request, _error: Exception) -> Response:
    """Nobody reads this answer any more."""
    return Response(status_code=400)


async def _on_http_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    content = orjson.dumps(http_problem(error.status_code, str(error.detail)))
    return Response(content, error.status_code, error.headers, media_type=MEDIA_TYPE)

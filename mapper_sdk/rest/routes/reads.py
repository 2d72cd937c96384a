"""Reading: one property, several, a device, many devices; as last read, or from the device.

The routes that apps ask most. They go past FastAPI, at half the cost, and are only
described to it.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

import orjson
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from dmi.errors import DmiError, NotFoundError
from dmi.resources import Key
from dmi.rest.problem import to_problem
from dmi.selectors import parse_selector
from mapper_sdk.devices.plan import Point
from mapper_sdk.mapper import Mapper
from mapper_sdk.rest.answers import Tag, tagged_answer
from mapper_sdk.rest.openapi import schemas
from mapper_sdk.rest.queries import ListQuery, LiveQuery, ReadQuery, parameters, query_of, words
from mapper_sdk.rest.views import device_view, point_json
from mapper_sdk.sessions.session import Session

__all__ = ["DEVICE", "PROPERTIES", "PROPERTY", "Reads"]

DEVICES: Final = "/api/v1/devices"
DEVICE: Final = DEVICES + "/{namespace}/{name}"
PROPERTIES: Final = DEVICE + "/properties"
PROPERTY: Final = PROPERTIES + "/{prop}"

_ONE: Final = LiveQuery()
_SEVERAL: Final = ReadQuery()
_MANY: Final = ListQuery()
_ALL: Final = "*"
_AT_ONCE: Final = 500
"""Points that are written as JSON before others get their turn."""


Handler: TypeAlias = Callable[[Request], Awaitable[Response]]


class _Route(Route):
    """A route that can be told from its request, as those of FastAPI can."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Say whether this is its request."""
        match, found = super().matches(scope)
        if match is not Match.NONE:
            found["route"] = self
        return match, found


class Reads:
    """The handlers; each gives what is true now, in one look at the mapper."""

    def __init__(self, mapper: Mapper) -> None:
        self._mapper = mapper

    def add_to(self, app: FastAPI) -> None:
        """Serve them, and describe them."""
        routes: tuple[tuple[str, Handler, type[BaseModel], schemas.Responses], ...] = (
            (PROPERTY, self.property, LiveQuery, schemas.PROPERTY),
            (PROPERTIES, self.properties, ReadQuery, schemas.PROPERTIES),
            (DEVICE, self.device, ReadQuery, schemas.DEVICE),
            (DEVICES, self.devices, ListQuery, schemas.DEVICES),
        )
        # They are looked through in this order: what is asked most comes first.
        app.router.routes[:0] = [
            _Route(path, handler, methods=["GET"]) for path, handler, *_ in routes
        ]
        for path, handler, model, answer in routes:
            app.add_api_route(
                path,
                handler,
                methods=["GET"],
                tags=["read"],
                response_class=Response,
                responses={**answer, **schemas.NOT_MODIFIED, **schemas.PROBLEMS},
                openapi_extra={"parameters": [*parameters(path, model), schemas.IF_NONE_MATCH]},
            )

    async def property(self, request: Request) -> Response:
        """Give one property: its last reading, or with `?live=true` a fresh one."""
        path = request.path_params
        session = self._mapper.session(Key(path["namespace"], path["name"]))
        name = path["prop"]
        query = query_of(LiveQuery, request, _ONE)
        if query.live:
            await session.read_now([name], limit=query.timeout)
        content, age = point_json(session.point(name), self._mapper.clock.time())
        return tagged_answer(request, content[:-1] + age, Tag(content))

    async def properties(self, request: Request) -> Response:
        """Give several properties of a device, or all."""
        path = request.path_params
        session = self._mapper.session(Key(path["namespace"], path["name"]))
        points = await _points(session, query_of(ReadQuery, request, _SEVERAL))
        tag = Tag()
        items = self._items(points, tag)
        return tagged_answer(request, b'{"items":[%b]}' % items, tag)

    async def device(self, request: Request) -> Response:
        """Give a device with its state and its properties, or several of them."""
        query = query_of(ReadQuery, request, _SEVERAL)
        path = request.path_params
        key = Key(path["namespace"], path["name"])
        if key not in self._mapper.states:
            raise NotFoundError("the device is not known here", device=str(key))
        session = self._mapper.sessions.get(key)
        if session is None and (query.live or query.properties):
            self._mapper.session(key)  # Says why it is not served.
        points = await _points(session, query) if session is not None else []
        tag = Tag()
        return tagged_answer(request, self._device(key, points, tag), tag)

    async def devices(self, request: Request) -> Response:
        """List devices and their states; with `?properties=` their readings too."""
        query = query_of(ListQuery, request, _MANY)
        keys, more = self._page(query)
        errors: dict[Key, DmiError] = {}
        if query.live and query.properties:
            await self._read_all(keys, query, errors)
        tag, items, points = Tag(more.encode()), list[bytes](), 0
        for key in keys:
            if key not in self._mapper.states:
                continue  # It has gone since, while others were read.
            session = self._mapper.sessions.get(key)
            chosen = _chosen(session, query.properties)
            items.append(self._device(key, chosen, tag, errors.get(key)))
            points += 1 + len(chosen or ())
            if points > _AT_ONCE:
                # Many devices take long to write; polls must not wait for it.
                points = 0
                await asyncio.sleep(0)
        content = b'{"items":[%b],"continue":%b}' % (b",".join(items), orjson.dumps(more))
        return tagged_answer(request, content, tag)

    # ------------------------------------------------------------ details ----

    def _device(
        self, key: Key, points: Sequence[Point] | None, tag: Tag, error: DmiError | None = None
    ) -> bytes:
        """A device, and its properties unless they are not asked for, as JSON."""
        session = self._mapper.sessions.get(key)
        delivery = self._mapper.delivery
        view = device_view(
            self._mapper.states[key],
            session.plan if session else None,
            delivery.problems_of(key) if delivery is not None else {},
        )
        if error is not None:
            view["error"] = to_problem(error)
        head = orjson.dumps(view)
        tag.update(head)
        if points is None:
            return head
        return b'%b,"properties":[%b]}' % (head[:-1], self._items(points, tag))

    def _items(self, points: Sequence[Point], tag: Tag) -> bytes:
        """Properties as JSON with commas between them; the tag takes all but their age."""
        now = self._mapper.clock.time()
        items: list[bytes] = []
        for point in points:
            content, age = point_json(point, now)
            tag.update(content)
            items.append(content[:-1] + age)
        return b",".join(items)

    def _page(self, query: ListQuery) -> tuple[list[Key], str]:
        """The devices of one page, in order, and what to continue after."""
        states = self._mapper.states
        keys = sorted(key for key in states if query.namespace in ("", key.namespace))
        if query.labels:
            select = parse_selector(query.labels)
            keys = [key for key in keys if select(self._labels(key))]
        if query.after:
            namespace, _, name = query.after.partition("/")
            keys = keys[bisect_right(keys, Key(namespace, name)) :]
        found = keys[: query.limit]
        return found, str(found[-1]) if len(keys) > query.limit else ""

    def _labels(self, key: Key) -> dict[str, object]:
        session = self._mapper.sessions.get(key)
        return session.plan.labels if session is not None else {}

    async def _read_all(
        self, keys: Sequence[Key], query: ListQuery, errors: dict[Key, DmiError]
    ) -> None:
        """Read from many devices at once; one that fails is noted and harms no other."""

        async def read(key: Key) -> None:
            session = self._mapper.sessions.get(key)
            if session is None:
                return
            points = _chosen(session, query.properties) or []
            names = [point.name for point in points if not point.problem]
            try:
                await session.read_now(names, limit=query.timeout)
            except DmiError as error:
                errors[key] = error

        async with asyncio.TaskGroup() as group:
            for key in keys:
                group.create_task(read(key), name=f"live read of {key}")


async def _points(session: Session, query: ReadQuery) -> list[Point]:
    """The points that are asked for; they have been read when it returns, if live."""
    names = words(query.properties)
    if query.live:
        asked = names or [point.name for point in session.plan.sound]
        await session.read_now(asked, limit=query.timeout)
    return [session.point(name) for name in names] or list(session.plan.points.values())


def _chosen(session: Session | None, properties: str) -> list[Point] | None:
    """The points that a list is to have of one device; None where it is to have none at all.

    It may have no property of a name that others have.
    """
    if not properties:
        return None
    if session is None:
        return []
    points = session.plan.points
    if properties.strip() == _ALL:
        return list(points.values())
    return [points[name] for name in words(properties) if name in points]

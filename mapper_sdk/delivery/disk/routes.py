"""Routes as rows: what is needed to send a reading on after a restart."""

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError

from dmi.resources import DataType, Key
from mapper_sdk.delivery.disk.packing import PackedError
from mapper_sdk.delivery.sink import Route, Source

__all__ = ["RouteTable"]


class RouteTable:
    """The numbers of routes in one database, and what is known of them without asking it."""

    def __init__(self) -> None:
        self._numbers: dict[Route[Any], int] = {}
        self._routes: dict[int, Route[Any]] = {}

    def numbered(
        self, db: sqlite3.Connection, routes: Iterable[Route[Any]]
    ) -> dict[Route[Any], int]:
        """Give the number of each route; those that have none get one, in this transaction."""
        numbers: dict[Route[Any], int] = {}
        for route in dict.fromkeys(routes):
            number = self._numbers.get(route)
            if number is None:
                body = _route_to_body(route)
                db.execute("INSERT OR IGNORE INTO routes (body) VALUES (?)", (body,))
                row = db.execute("SELECT id FROM routes WHERE body = ?", (body,)).fetchone()
                number = int(row[0])
            numbers[route] = number
        return numbers

    def learn(self, numbers: Mapping[Route[Any], int]) -> None:
        """The transaction that gave these numbers is committed."""
        self._numbers.update(numbers)
        self._routes.update((number, route) for route, number in numbers.items())

    def forget(self) -> None:
        """The database has no routes any more."""
        self._numbers.clear()
        self._routes.clear()

    def route(
        self, db: sqlite3.Connection, number: int, place_model: type[BaseModel]
    ) -> Route[Any]:
        """Give the route of a number; the same object each time.

        Raises:
            PackedError: There is none, or this version cannot read it.
        """
        route = self._routes.get(number)
        if route is None:
            route = self._routes[number] = _body_to_route(_body(db, number), place_model)
        return route

    def origin(self, db: sqlite3.Connection, number: int) -> tuple[Key, str]:
        """Give only device and property, which can be told without knowing the target.

        Raises:
            PackedError: There is none, or it is damaged.
        """
        route = self._routes.get(number)
        if route is not None:
            return route.source.device, route.source.property
        return _body_to_origin(_body(db, number))


def _body(db: sqlite3.Connection, number: int) -> str:
    row = db.execute("SELECT body FROM routes WHERE id = ?", (number,)).fetchone()
    if row is None:
        raise PackedError(f"there is no route {number}")
    return str(row[0])


def _route_to_body(route: Route[Any]) -> str:
    """Give a route as text; equal routes give equal texts."""
    source = route.source
    body = {
        "namespace": source.device.namespace,
        "device": source.device.name,
        "property": source.property,
        "type": source.type.value,
        "unit": source.unit,
        "model": source.model,
        "labels": dict(source.labels),
        "place": route.place.model_dump(mode="json", by_alias=True),
    }
    return orjson.dumps(body, option=orjson.OPT_SORT_KEYS).decode()


def _body_to_origin(body: str) -> tuple[Key, str]:
    found = _parsed(body)
    try:
        return Key(found["namespace"], found["device"]), found["property"]
    except KeyError as error:
        raise PackedError(f"no {error}") from error


def _body_to_route(body: str, place_model: type[BaseModel]) -> Route[Any]:
    found = _parsed(body)
    try:
        source = Source(
            Key(found["namespace"], found["device"]),
            found["property"],
            DataType(found["type"]),
            found["unit"],
            found["model"],
            found["labels"],
        )
        return Route(source, place_model.model_validate(found["place"]))
    except (ValueError, ValidationError, KeyError) as error:
        raise PackedError(str(error)) from error


def _parsed(body: str) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise PackedError(str(error)) from error
    return found

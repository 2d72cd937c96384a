"""The past of a property, from the embedded store or from the device itself."""

import csv
import io
import math
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Self

import orjson
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.responses import Response, StreamingResponse

from dmi.errors import UnsupportedError
from dmi.readings import Reading
from dmi.resources import DataType, Key
from mapper_sdk.delivery.history import Function, History
from mapper_sdk.rest.context import TheApi
from mapper_sdk.rest.openapi import schemas
from mapper_sdk.rest.routes.reads import PROPERTY
from mapper_sdk.rest.views import Json, reading_view, span_view

__all__ = ["router"]

_PAGE: Final = 500
"""Most that is held at once, however much is asked for; polls wait while it is written."""

_MOST_FROM_DEVICE: Final = 10_000

_MICROSECONDS: Final = 1_000_000
"""In a second; the store's times are whole ones."""

_OF_READINGS: Final = ("time", "value", "quality", "reason")
_OF_SPANS: Final = ("time", "value", "count", "quality")
"""Columns of CSV."""

router = APIRouter(tags=["history"], responses=schemas.PROBLEMS)


class Format(StrEnum):
    """How the past is written."""

    JSON = "json"
    CSV = "csv"
    JSON_LINES = "jsonl"


class Place(StrEnum):
    """Who is asked."""

    STORE = "store"
    DEVICE = "device"


class HistoryQuery(BaseModel):
    """Which part of the past, how dense, and in which form."""

    model_config = ConfigDict(frozen=True)

    start: datetime = Field(
        description="From when on, ISO 8601; in UTC without a zone.",
        examples=["2026-11-21T09:00:00Z"],
    )
    end: datetime | None = Field(default=None, description="Until before when; now without it.")
    limit: int = Field(default=1000, ge=1, le=1_000_000, description="Most readings.")
    step: float | None = Field(
        default=None,
        gt=0,
        le=366 * 86400,
        description="Seconds of an interval: gives one value for each, not the readings.",
    )
    function: Function = Field(default=Function.MEAN, description="What an interval's value is.")
    format: Format = Field(default=Format.JSON, description="Form of the answer.")
    source: Place | None = Field(
        default=None,
        description="The embedded store, or what the device itself keeps; without it the store "
        "where there is one.",
    )

    @model_validator(mode="after")
    def _device_gives_readings(self) -> Self:
        if self.source is Place.DEVICE and self.step is not None:
            raise ValueError("step is for the store; a device gives readings")
        return self


@router.get(PROPERTY + "/history", response_class=Response, responses=schemas.HISTORY)
async def get_history(
    api: TheApi, namespace: str, name: str, prop: str, query: Annotated[HistoryQuery, Query()]
) -> Response:
    """Get the past of a property, oldest first."""
    key = Key(namespace, name)
    session = api.mapper.session(key)
    kind = session.point(prop).type
    start = _seconds(query.start)
    end = api.mapper.clock.time() if query.end is None else _seconds(query.end)
    store = api.history
    if query.source is Place.STORE and store is None:
        raise UnsupportedError("no history is kept here: there is no target of the kind sqlite")
    if query.source is Place.DEVICE or store is None:
        if query.step is not None:
            raise UnsupportedError(
                "a device gives readings; step needs a target of the kind sqlite"
            )
        limit = min(query.limit, _MOST_FROM_DEVICE)
        pages = _once(await session.history(prop, start, end, limit), kind)
    elif query.step is None:
        pages = _readings(store, (key, prop, start, end), query.limit, kind)
    else:
        pages = _spans(
            store, (key, prop, start, end), query.step, query.function, query.limit, kind
        )
    # The first page before the answer begins: what is refused is refused with its status.
    first: list[Json] = await anext(pages, [])
    return _written(first, pages, query)


def _seconds(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


async def _once(
    found: Sequence[Reading] | Sequence[Json], kind: DataType | None = None
) -> AsyncIterator[list[Json]]:
    yield [
        reading_view(item, kind or DataType.STRING) if isinstance(item, Reading) else item
        for item in found
    ]


async def _readings(
    store: History, wanted: tuple[Key, str, float, float], limit: int, kind: DataType
) -> AsyncIterator[list[Json]]:
    """Page after page, so that no answer is ever held whole."""
    key, prop, start, end = wanted
    while limit > 0:
        page = list(await store.readings(key, prop, start, end, min(limit, _PAGE)))
        full = len(page) == min(limit, _PAGE) and len(page) < limit
        if full and page[0].time < page[-1].time:
            # More of the last moment may be on the next page: it begins with that moment.
            start = page[-1].time
            page = [reading for reading in page if reading.time < start]
        elif full:
            start = math.nextafter(page[-1].time, math.inf)
        limit = limit - len(page) if full else 0
        yield [reading_view(reading, kind) for reading in page]


async def _spans(
    store: History,
    wanted: tuple[Key, str, float, float],
    step: float,
    function: Function,
    limit: int,
    kind: DataType,
) -> AsyncIterator[list[Json]]:
    """Page after page of intervals; the next page begins where the last interval ends."""
    key, prop, start, end = wanted
    width = max(1, round(step * _MICROSECONDS))
    while limit > 0:
        wished = min(limit, _PAGE)
        page = await store.spans(key, prop, start, end, step, function, wished)
        limit = limit - len(page) if len(page) == wished else 0
        if limit:
            start = (round(page[-1].time * _MICROSECONDS) + width) / _MICROSECONDS
        yield [span_view(span, kind) for span in page]


def _written(first: list[Json], rest: AsyncIterator[list[Json]], query: HistoryQuery) -> Response:
    if query.format is Format.CSV:
        columns = _OF_READINGS if query.step is None else _OF_SPANS
        return StreamingResponse(_csv(first, rest, columns), media_type="text/csv; charset=utf-8")
    if query.format is Format.JSON_LINES:
        return StreamingResponse(_lines(first, rest), media_type="application/jsonl")
    return StreamingResponse(_json(first, rest), media_type="application/json")


async def _all(first: list[Json], rest: AsyncIterator[list[Json]]) -> AsyncIterator[list[Json]]:
    yield first
    async for page in rest:
        yield page


async def _json(first: list[Json], rest: AsyncIterator[list[Json]]) -> AsyncIterator[bytes]:
    before = b'{"items":['
    async for page in _all(first, rest):
        if page:
            yield before + orjson.dumps(page)[1:-1]
            before = b","
    yield b"]}" if before == b"," else before + b"]}"


async def _lines(first: list[Json], rest: AsyncIterator[list[Json]]) -> AsyncIterator[bytes]:
    async for page in _all(first, rest):
        yield b"".join(orjson.dumps(item, option=orjson.OPT_APPEND_NEWLINE) for item in page)


async def _csv(
    first: list[Json], rest: AsyncIterator[list[Json]], columns: Sequence[str]
) -> AsyncIterator[bytes]:
    """Comma-separated values: a column for each member, the same whatever was found.

    Source:
        RFC 4180.
    """
    named = False
    async for page in _all(first, rest):
        text = io.StringIO()
        writer = csv.writer(text)
        if not named:
            writer.writerow(columns)
            named = True
        writer.writerows(_cells(item, columns) for item in page)
        yield text.getvalue().encode()


def _cells(item: Mapping[str, Any], columns: Iterable[str]) -> list[str]:
    return ["" if item[name] is None else _cell(item[name]) for name in columns]


def _cell(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()

"""Every request of the API: how it is put, and how its answer is read. No connection is used here.

Both clients send these; so what one of them can do, the other can too.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, TypeAlias, TypeVar
from urllib.parse import quote

from mapper_sdk.client.models import (
    Gap,
    JsonValue,
    Method,
    PropertyValue,
    ServedDevice,
    Span,
    Target,
    moment,
)

__all__ = ["Call", "Headers", "Json", "Page", "When"]

T = TypeVar("T")

Json: TypeAlias = Any
Headers: TypeAlias = Mapping[str, str]
Parse = Callable[[Json, Headers], T]
When: TypeAlias = datetime | float
"""A moment: aware, or in seconds since 1970-01-01 UTC."""

_API = "/api/v1"
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request.

    Attributes:
        parse: Makes the result of the answer's JSON and headers.
        repeatable: Whether it may be sent again when its answer was lost.
        patience: Seconds that the answer may take beyond the usual.
    """

    method: str
    path: str
    parse: Parse[T]
    params: Mapping[str, str | int | float] = field(default_factory=dict)
    headers: Headers = field(default_factory=dict)
    body: Json = None
    repeatable: bool = True
    patience: float = 0.0


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Part of a list, and what to continue after; empty on the last one."""

    items: list[T]
    after: str


def device_path(device: str, *more: str) -> str:
    """The path of NAMESPACE/NAME; a name alone is one of the namespace `default`."""
    namespace, slash, name = device.partition("/")
    if not slash:
        namespace, name = "default", device
    parts = (quote(part, safe="") for part in (namespace, name, *more))
    return f"{_API}/devices/{'/'.join(parts)}"


def seconds(when: When) -> float:
    """A moment in seconds since 1970.

    Raises:
        ValueError: It has no zone, so that it could be any of many.
    """
    if not isinstance(when, datetime):
        return when
    if when.tzinfo is None:
        raise ValueError("the time needs a zone: datetime(…, tzinfo=UTC)")
    return when.timestamp()


def _text(when: When) -> str:
    return datetime.fromtimestamp(seconds(when), UTC).isoformat()


def _freshness(live: bool, timeout: float | None) -> dict[str, str | float]:
    if not live:
        return {}
    return {"live": "true"} if timeout is None else {"live": "true", "timeout": timeout}


# --------------------------------------------------------------- reading ----


def read(device: str, property_: str, *, live: bool, timeout: float | None) -> Call[PropertyValue]:
    """One property."""
    return Call(
        "GET",
        device_path(device, "properties", property_),
        lambda answer, headers: PropertyValue.of(answer, headers.get("etag", "")),
        _freshness(live, timeout),
        patience=(timeout or 15.0) if live else 0.0,
    )


def read_many(
    device: str, properties: Iterable[str], *, live: bool, timeout: float | None
) -> Call[dict[str, PropertyValue]]:
    """Several properties of a device; none named means all."""
    names = ",".join(properties)
    params = {**({"properties": names} if names else {}), **_freshness(live, timeout)}

    def parse(answer: Json, _: Headers) -> dict[str, PropertyValue]:
        values = (PropertyValue.of(item) for item in answer["items"])
        return {value.name: value for value in values}

    return Call(
        "GET",
        device_path(device, "properties"),
        parse,
        params,
        patience=(timeout or 15.0) if live else 0.0,
    )


def device(name: str) -> Call[ServedDevice]:
    """One device with its properties."""
    return Call("GET", device_path(name), lambda answer, _: ServedDevice.of(answer))


def devices(
    *, namespace: str, labels: str, properties: Iterable[str], after: str
) -> Call[Page[ServedDevice]]:
    """A page of devices."""
    given = {
        "namespace": namespace,
        "labels": labels,
        "properties": ",".join(properties),
        "continue": after,
    }
    params: dict[str, str | int | float] = {name: text for name, text in given.items() if text}
    params["limit"] = _PAGE
    return Call(
        "GET",
        f"{_API}/devices",
        lambda answer, _: Page(
            [ServedDevice.of(item) for item in answer["items"]], answer.get("continue") or ""
        ),
        params,
    )


# --------------------------------------------------------------- writing ----


def _once(key: str | None) -> dict[str, str]:
    return {"idempotency-key": key or secrets.token_hex(16)}


def write(
    device: str,
    property_: str,
    value: JsonValue,
    *,
    readback: bool,
    dry_run: bool,
    if_match: str,
    key: str | None,
) -> Call[PropertyValue]:
    """One property; by its key it is done once however often it is sent."""
    headers = _once(key)
    if if_match:
        headers["if-match"] = if_match
    return Call(
        "PUT",
        device_path(device, "properties", property_),
        lambda answer, headers: PropertyValue.of(answer, headers.get("etag", "")),
        _manner(readback, dry_run),
        headers,
        {"value": value},
        patience=15.0,
    )


def write_many(
    device: str,
    values: Mapping[str, JsonValue],
    *,
    readback: bool,
    dry_run: bool,
    key: str | None,
) -> Call[dict[str, PropertyValue]]:
    """Several properties of a device: all are checked before any is written."""

    def parse(answer: Json, _: Headers) -> dict[str, PropertyValue]:
        found = (PropertyValue.of(item) for item in answer["items"])
        return {value.name: value for value in found}

    return Call(
        "PATCH",
        device_path(device, "properties"),
        parse,
        _manner(readback, dry_run),
        _once(key),
        {"values": dict(values)},
        patience=15.0,
    )


def _manner(readback: bool, dry_run: bool) -> dict[str, str | int | float]:
    params: dict[str, str | int | float] = {}
    if not readback:
        params["readback"] = "false"
    if dry_run:
        params["dryRun"] = "true"
    return params


def derive(
    device: str,
    property_: str,
    value: JsonValue,
    *,
    time: When | None,
    quality: str,
    key: str | None,
) -> Call[None]:
    """A reading that an app worked out; by its key it is taken once however often it is sent."""
    body: dict[str, Json] = {"value": value}
    if time is not None:
        body["time"] = _text(time)
    if quality:
        body["quality"] = quality
    return Call(
        "POST",
        device_path(device, "properties", property_, "readings"),
        _nothing,
        headers=_once(key),
        body=body,
    )


def _nothing(_answer: Json, _headers: Headers) -> None:
    return None


# --------------------------------------------------------------- methods ----


def methods(device: str) -> Call[list[Method]]:
    """What can be called."""
    return Call(
        "GET",
        device_path(device, "methods"),
        lambda answer, _: [Method.of(item) for item in answer["items"]],
    )


def call(device: str, method: str, arguments: Mapping[str, Json]) -> Call[dict[str, Json]]:
    """A method, and its results by name. It is not sent again: nobody knows what it does twice."""
    return Call(
        "POST",
        device_path(device, "methods", method),
        lambda answer, _: dict(answer["results"]),
        body={"arguments": dict(arguments)},
        repeatable=False,
        patience=60.0,
    )


# ------------------------------------------------------------------ past ----


def history(
    device: str, property_: str, start: When, end: When | None, limit: int
) -> Call[list[PropertyValue]]:
    """What was read, oldest first."""
    names = dict(zip(("namespace", "device"), _names(device), strict=True))

    def parse(answer: Json, _: Headers) -> list[PropertyValue]:
        return [
            PropertyValue.of({**names, "property": property_, **item}) for item in answer["items"]
        ]

    return Call(
        "GET",
        device_path(device, "properties", property_, "history"),
        parse,
        _range(start, end, limit),
    )


def spans(
    device: str,
    property_: str,
    start: When,
    end: When | None,
    *,
    step: float,
    function: str,
    limit: int,
) -> Call[list[Span]]:
    """The same, downsampled."""

    def parse(answer: Json, _: Headers) -> list[Span]:
        return [
            Span(_moment(item["time"]), item["value"], item["count"], item["quality"])
            for item in answer["items"]
        ]

    return Call(
        "GET",
        device_path(device, "properties", property_, "history"),
        parse,
        {**_range(start, end, limit), "step": step, "function": function},
    )


def _names(device: str) -> tuple[str, str]:
    namespace, slash, name = device.partition("/")
    return (namespace, name) if slash else ("default", device)


def _range(start: When, end: When | None, limit: int) -> dict[str, str | int | float]:
    params: dict[str, str | int | float] = {"start": _text(start), "limit": limit}
    if end is not None:
        params["end"] = _text(end)
    return params


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


# -------------------------------------------------------------- delivery ----


def targets() -> Call[list[Target]]:
    """Where readings are delivered to, and how that goes."""
    return Call(
        "GET",
        f"{_API}/targets",
        lambda answer, _: [
            Target(item["name"], item["kind"], item["condition"], item) for item in answer["items"]
        ],
    )


def gaps(*, target: str, device: str, namespace: str, after: str) -> Call[Page[Gap]]:
    """A page of what was lost on the way."""
    given = {"target": target, "device": device, "namespace": namespace, "continue": after}
    params: dict[str, str | int | float] = {name: text for name, text in given.items() if text}
    params["limit"] = _PAGE

    def parse(answer: Json, _: Headers) -> Page[Gap]:
        found = [
            Gap(
                item["target"],
                f"{item['namespace']}/{item['device']}",
                item["property"],
                moment(item["first"]),
                moment(item["last"]),
                item["count"],
                item["reason"],
            )
            for item in answer["items"]
        ]
        return Page(found, answer.get("continue") or "")

    return Call("GET", f"{_API}/gaps", parse, params)


def ready() -> Call[None]:
    """Whether the mapper serves."""
    return Call("GET", "/readyz", _nothing)

"""Errors on the HTTP side: RFC 9457 problem objects, made and read in this one place."""

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType

import orjson

from dmi.errors import (
    AccessDeniedError,
    ConfigError,
    ConflictError,
    DeadlineError,
    DmiError,
    NotFoundError,
    OverloadedError,
    PreconditionError,
    UnavailableError,
    UnsupportedError,
    error_class,
)

__all__ = ["MEDIA_TYPE", "from_problem", "http_problem", "to_problem"]

MEDIA_TYPE = "application/problem+json"
"""Content type of a problem object."""

_BY_STATUS: Mapping[int, type[DmiError]] = MappingProxyType(
    {
        401: AccessDeniedError,
        403: AccessDeniedError,
        404: NotFoundError,
        405: UnsupportedError,
        408: DeadlineError,
        409: ConflictError,
        410: NotFoundError,
        412: PreconditionError,
        429: OverloadedError,
        500: DmiError,
        501: UnsupportedError,
        502: UnavailableError,
        503: UnavailableError,
        504: DeadlineError,
    }
)
_FIRST_SERVER_ERROR = 500
_SHOWN = 500


def to_problem(error: DmiError) -> dict[str, str | int]:
    """Word an error for a REST client; serve it with `error.http_status` and `MEDIA_TYPE`.

    `reason` is the machine word, `device` is there when the error concerns one device.

    Source:
        RFC 9457, section 3.1; "about:blank" says that the status tells the kind.
    """
    problem: dict[str, str | int] = {
        "type": "about:blank",
        "title": HTTPStatus(error.http_status).phrase,
        "status": error.http_status,
        "detail": str(error),
        "reason": error.reason,
    }
    if error.device is not None:
        problem["device"] = error.device
    return problem


def http_problem(status: int, detail: str) -> dict[str, str | int]:
    """Word a refusal that is HTTP's own, such as 405; its `reason` is the status in words."""
    title = HTTPStatus(status).phrase
    return {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "reason": title.lower().replace(" ", "_"),
    }


def from_problem(status: int, body: object) -> DmiError:
    """Turn a refusing HTTP answer back into the error that caused it.

    Args:
        status: HTTP status of the answer, 400 or more.
        body: The decoded JSON, or the raw bytes or text, of whoever answered: a proxy in
            between may send HTML, and then the status alone decides.
    """
    problem = _decode(body)
    kind = error_class(_text(problem, "reason")) or _class_of(status)
    device = _text(problem, "device") or None
    detail = _text(problem, "detail") or _text(problem, "title") or _shown(body)
    if device:
        detail = detail.removeprefix(f"{device}: ")
    return kind(detail or f"HTTP status {status}", device=device)


def _class_of(status: int) -> type[DmiError]:
    found = _BY_STATUS.get(status)
    if found is None:
        found = UnavailableError if status > _FIRST_SERVER_ERROR else ConfigError
    return found


def _decode(body: object) -> Mapping[str, object]:
    if isinstance(body, (bytes, str)):
        try:
            body = orjson.loads(body)
        except orjson.JSONDecodeError:
            return {}
    return body if isinstance(body, Mapping) else {}


def _text(problem: Mapping[str, object], field: str) -> str:
    found = problem.get(field)
    return found if isinstance(found, str) else ""


def _shown(body: object) -> str:
    text = body.decode(errors="replace") if isinstance(body, bytes) else body
    return text.strip()[:_SHOWN] if isinstance(text, str) else ""

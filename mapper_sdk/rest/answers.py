"""How the mapper's REST answers look: JSON, entity tags, and problem objects for refusals."""

from hashlib import blake2b
from http import HTTPStatus
from typing import Final

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from dmi.errors import ConfigError, DmiError, PreconditionError
from dmi.rest.problem import MEDIA_TYPE, http_problem, to_problem

__all__ = [
    "Tag",
    "add_problem_handlers",
    "check_precondition",
    "json_answer",
    "problem_answer",
    "tagged_answer",
]

_TAG_BYTES: Final = 8


def json_answer(content: object, status: int = 200) -> Response:
    """Give JSON."""
    return Response(orjson.dumps(content), status, media_type="application/json")


class Tag:
    """The entity tag of some content: the same for the same, whichever process made it."""

    __slots__ = ("_digest", "update")

    def __init__(self, content: bytes = b"") -> None:
        """Begin with some content; `update` adds more."""
        self._digest = blake2b(content, digest_size=_TAG_BYTES)
        self.update = self._digest.update

    def __str__(self) -> str:
        return f'"{self._digest.hexdigest()}"'


def tagged_answer(request: Request, content: bytes, tag: Tag) -> Response:
    """Give JSON with its tag, or 304 where the client has it already.

    Args:
        request: May have an `If-None-Match`.
        content: What is given. The age of readings is no part of what is tagged.
        tag: What it is known by.

    Source:
        RFC 9110, section 13.1.2; tags are compared weakly.
    """
    text = str(tag)
    for name, value in request.scope["headers"]:
        if name == b"if-none-match" and _names(value.decode("latin-1"), text):
            return Response(status_code=304, headers={"etag": text})
    return _TaggedJson(content, text)


class _TaggedJson(Response):
    """JSON and its tag; the base class takes its time to find out what its headers are."""

    def __init__(self, content: bytes, tag: str) -> None:
        self.status_code = 200
        self.background = None
        self.body = content
        self.raw_headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(content)),
            (b"etag", tag.encode()),
        ]


def check_precondition(wanted: str | None, tag: Tag) -> None:
    """Let a write pass whose `If-Match` names what is there, or that has none.

    Args:
        wanted: The header; None where there is none.
        tag: Of what is there.

    Raises:
        PreconditionError: It names something else.

    Source:
        RFC 9110, section 13.1.1.
    """
    if wanted is not None and not _names(wanted, str(tag)):
        raise PreconditionError(f"If-Match is {wanted}, but the last reading is {tag}")


def _names(header: str, tag: str) -> bool:
    return header.strip() == "*" or tag in [
        part.strip().removeprefix("W/") for part in header.split(",")
    ]


# ---------------------------------------------------------------- errors ----


def problem_answer(error: DmiError, **more: object) -> Response:
    """Word an error for the client; `more` are members of this one answer."""
    content = {**to_problem(error), **more}
    return Response(orjson.dumps(content), error.http_status, media_type=MEDIA_TYPE)


def add_problem_handlers(app: FastAPI) -> None:
    """Word every refusal as a problem object, the framework's own too."""
    app.add_exception_handler(DmiError, _ours)
    app.add_exception_handler(RequestValidationError, _parameters)
    app.add_exception_handler(HTTPException, _frameworks)
    app.add_exception_handler(ClientDisconnect, _gone)


async def _ours(_request: Request, error: Exception) -> Response:
    if not isinstance(error, DmiError):
        raise error
    return problem_answer(error)


async def _parameters(_request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
    return problem_answer(ConfigError("; ".join(faults)))


async def _frameworks(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        # The framework knows those of one route only; an address may have several.
        path = getattr(request.scope.get("route"), "path", "")
        methods = request.app.openapi()["paths"].get(path, {})
        headers["Allow"] = ", ".join(method.upper() for method in methods)
    content = orjson.dumps(http_problem(error.status_code, str(error.detail)))
    return Response(content, error.status_code, headers, media_type=MEDIA_TYPE)


async def _gone(_request: Request, _error: Exception) -> Response:
    """Nobody reads this answer any more."""
    return Response(status_code=400)

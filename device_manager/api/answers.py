"""How REST answers look: JSON, problem objects for all that is refused, and manifests read."""

import asyncio
from http import HTTPStatus

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from dmi.errors import DmiError
from dmi.manifests import Manifest, Mistake, parse_manifests
from dmi.rest.body import read_body
from dmi.rest.problem import MEDIA_TYPE, http_problem, to_problem

__all__ = [
    "Json",
    "add_problem_handlers",
    "problem",
    "read_manifests",
]


class Json(Response):
    """JSON by orjson."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """Encode."""
        return orjson.dumps(content)


async def read_manifests(request: Request, limit: int) -> tuple[list[Manifest], list[Mistake]]:
    """Read a body of resources, YAML or JSON: every object that is right, and every mistake.

    Raises:
        TooLargeError: It is longer than `limit` bytes.
    """
    body = await read_body(request, limit)
    # Megabytes of YAML take seconds; mappers and other clients must not wait for them.
    return await asyncio.to_thread(parse_manifests, body, "body")


def problem(status: int, detail: str, reason: str, **more: object) -> Response:
    """An RFC 9457 problem object."""
    content = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "reason": reason,
        **more,
    }
    return Json(content, status, media_type=MEDIA_TYPE)


def add_problem_handlers(app: FastAPI) -> None:
    """Word every refusal as a problem object, the framework's own too."""
    app.add_exception_handler(DmiError, _ours)
    app.add_exception_handler(HTTPException, _frameworks)
    app.add_exception_handler(RequestValidationError, _parameters)
    app.add_exception_handler(ClientDisconnect, _gone)


async def _ours(_request: Request, error: Exception) -> Response:
    if not isinstance(error, DmiError):
        raise error
    return Json(to_problem(error), error.http_status, media_type=MEDIA_TYPE)


async def _frameworks(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    content = http_problem(error.status_code, str(error.detail))
    return Json(content, error.status_code, error.headers, media_type=MEDIA_TYPE)


async def _parameters(_request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    faults = [
        f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
        for fault in error.errors()
    ]
    return problem(422, "; ".join(faults), "config")


async def _gone(_request: Request, _error: Exception) -> Response:
    """Nobody reads this answer any more."""
    return Response(status_code=400)

"""Bodies of REST requests, read up to a limit and whatever their Content-Type says."""

from typing import TYPE_CHECKING, Any

import orjson

from dmi.errors import MalformedError, TooLargeError

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["parse_object", "read_body", "read_json"]


async def read_body(request: "Request", limit: int) -> bytes:
    """Read the whole body.

    Args:
        request: Of the client.
        limit: Most bytes that are read.

    Raises:
        TooLargeError: It is longer.
    """
    told = request.headers.get("content-length", "")
    parts: list[bytes] = []
    size = int(told) if told.isascii() and told.isdigit() else 0
    if size <= limit:
        size = 0
        async for part in request.stream():
            size += len(part)
            if size > limit:
                break
            parts.append(part)
    if size > limit:
        raise TooLargeError(f"the body is longer than {limit} bytes")
    return b"".join(parts)


async def read_json(request: "Request", limit: int) -> dict[str, Any]:
    """Read a body that must be one JSON object.

    Its Content-Type is not asked for: `curl -d` sends a wrong one, and strangers' pages are
    known by their Origin.

    Raises:
        TooLargeError: It is longer than `limit` bytes.
        MalformedError: It is anything else.
    """
    return parse_object(await read_body(request, limit))


def parse_object(body: bytes) -> dict[str, Any]:
    """Understand a body that must be one JSON object.

    Raises:
        MalformedError: It is anything else.
    """
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedError(f"the body is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise MalformedError("the body must be a JSON object")
    return found

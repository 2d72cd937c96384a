"""Bodies of requests, once they are read."""

from typing import Any

import orjson

from dmi.errors import MalformedError

__all__ = ["parsed"]


def parsed(body: bytes) -> dict[str, Any]:
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

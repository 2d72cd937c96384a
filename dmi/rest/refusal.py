"""Saying no before the application is asked."""

import orjson
from starlette.types import Scope, Send

from dmi.errors import DmiError
from dmi.rest.problem import MEDIA_TYPE, to_problem

__all__ = ["UNAUTHORIZED", "refuse"]

UNAUTHORIZED = 401
_POLICY_VIOLATION = 1008


async def refuse(
    scope: Scope,
    send: Send,
    error: DmiError,
    status: int = 0,
    *,
    retry_after: int = 0,
    close: bool = False,
) -> None:
    """Answer a request by a problem object; a WebSocket by 403.

    Args:
        scope: Of the request.
        send: To the client.
        error: Why.
        status: Instead of the error's own.
        retry_after: Seconds to wait; 0 says nothing of it.
        close: Whether the connection is of no more use.
    """
    if scope["type"] == "websocket":
        # Before the handshake is answered this is HTTP's 403.
        reason = str(error)
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": reason})
        return
    problem = to_problem(error)
    status = status or error.http_status
    problem["status"] = status
    headers = [(b"content-type", MEDIA_TYPE.encode())]
    if status == UNAUTHORIZED:
        problem["title"] = "Unauthorized"
        headers.append((b"www-authenticate", b"Bearer"))
    if retry_after:
        headers.append((b"retry-after", b"%d" % retry_after))
    if close:
        headers.append((b"connection", b"close"))
    body = orjson.dumps(problem)
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

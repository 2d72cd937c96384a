"""Which permission each request needs: one table for the guard, the routes and the docs."""

from typing import Final, Literal

__all__ = ["Scope", "needed_scope"]

Scope = Literal["read", "write", "admin"]
"""What a token may allow. `write` includes `read`, and `admin` both."""

_ADMIN: Final = frozenset({"/api/v1/audit", "/api/v1/loglevel"})

_HARMLESS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

_METHOD_CALLS: Final = "/api/v1/devicemethod/"
"""Below it KubeEdge's mapper-framework writes by GET, when there are more than two parts."""


def needed_scope(method: str, path: str) -> Scope:
    """Give the scope that a request needs, whether or not such a route exists.

    Args:
        method: The HTTP method; `GET` for a WebSocket, since it only listens.
        path: The path as ASGI gives it, percent-decoded, without the query.
    """
    path = path.rstrip("/")
    if path in _ADMIN:
        return "admin"
    if method not in _HARMLESS:
        return "write"
    if path.startswith(_METHOD_CALLS) and path.count("/", len(_METHOD_CALLS)) > 1:
        return "write"
    return "read"

"""Who may use the REST API: anybody on this machine, or whoever shows the token."""

import hmac
import ipaddress
from pathlib import Path

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from dmi.errors import AccessDeniedError, ConfigError
from dmi.problem import MEDIA_TYPE, to_problem

__all__ = ["Guard", "is_loopback", "read_token"]

_LEAST_TOKEN = 16


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_token(path: Path | None, host: str) -> bytes | None:
    """Give the token that clients must show; None where none is needed.

    Raises:
        ConfigError: There is none and the address can be reached from elsewhere, or its
            file cannot be read or holds fewer than 16 characters.
    """
    if path is None:
        if is_loopback(host):
            return None
        raise ConfigError(f"listening on {host} needs restTokenFile: others can reach it")
    try:
        token = path.read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"restTokenFile: {error}") from error
    if len(token) < _LEAST_TOKEN:
        raise ConfigError(f"restTokenFile: {path} holds fewer than {_LEAST_TOKEN} characters")
    return token


class Guard:
    """Lets a request pass to the application, or refuses it with 401 or 403.

    Without a token the `Host` must be a literal address or localhost: otherwise any web
    page could reach the API through a name that it lets point here (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, token: bytes | None) -> None:
        self._app = app
        self._expected = b"Bearer " + token if token is not None else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, as ASGI asks for."""
        if scope["type"] == "http":
            headers: dict[bytes, bytes] = dict(scope["headers"])
            if self._expected is None:
                if not _is_literal(headers.get(b"host", b"localhost")):
                    await _refuse(send, "this host name is not ours", 403)
                    return
            elif not hmac.compare_digest(headers.get(b"authorization", b""), self._expected):
                await _refuse(send, "a bearer token is needed", 401)
                return
        await self._app(scope, receive, send)


def _is_literal(host: bytes) -> bool:
    name = host.decode("latin-1")
    name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
    if name == "localhost":
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def _refuse(send: Send, detail: str, status: int) -> None:
    problem = {**to_problem(AccessDeniedError(detail)), "status": status}
    headers = [(b"content-type", MEDIA_TYPE.encode())]
    if status == 401:
        problem["title"] = "Unauthorized"
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": orjson.dumps(problem)})

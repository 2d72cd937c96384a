"""Who may use a REST API: anybody on this machine but strangers' web pages, or who has the token.

The manager and the mappers both guard themselves so; whoever listens is told apart by nothing.
"""

import hmac
import ipaddress
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from dmi.errors import AccessDeniedError, ConfigError
from dmi.problem import MEDIA_TYPE, to_problem

__all__ = ["Access", "is_loopback", "read_token"]

_LEAST_TOKEN: Final = 16
_OPEN: Final = frozenset({"/healthz", "/readyz"})
"""A kubelet probes these; it has no token."""
_MOST_HOSTS: Final = 256
_UNAUTHORIZED: Final = 401


def is_loopback(address: str) -> bool:
    """Whether `HOST:PORT` or `unix:/PATH` can be reached from this machine only."""
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_token(file: Path | None, setting: str, address: str) -> str:
    """Give the token that clients must show; empty where none is needed.

    Args:
        file: Holds it, with space around it.
        setting: What the setting that names the file is called.
        address: Where the API listens: `HOST:PORT` or `unix:/PATH`.

    Raises:
        ConfigError: There is none and the address can be reached from elsewhere, or its
            file cannot be read or holds fewer than 16 characters.
    """
    if file is None:
        if is_loopback(address):
            return ""
        raise ConfigError(
            f"REST on {address} could be reached by anybody: it needs {setting}, a file with a"
            " token; or let it listen on 127.0.0.1"
        )
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{setting}: {file}: {error}") from error
    if len(token) < _LEAST_TOKEN:
        raise ConfigError(f"{setting}: {file} holds fewer than {_LEAST_TOKEN} characters")
    return token


class Access:
    """Lets requests through that carry the token, or that no browser was tricked into.

    Without a token the API trusts everybody who can reach its address. A browser can, on
    behalf of any page that it shows; so requests of foreign pages are refused, and those
    whose Host is a name that somebody else's DNS may have pointed here. `/healthz` and
    `/readyz` are open to all.
    """

    def __init__(self, app: ASGIApp, token: str = "", names: Iterable[str] = ()) -> None:
        """Wrap an application.

        Args:
            app: What is guarded.
            token: Wanted as `Authorization: Bearer …`; empty for none.
            names: Host names that are ours, beside `localhost` and every IP address.
        """
        self._app = app
        self._token = f"Bearer {token}".encode() if token else b""
        self._names = {"localhost", "", *(name.lower() for name in names)}
        self._known: set[bytes] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or refuse."""
        if scope["type"] == "http" and scope["path"] not in _OPEN:
            headers: dict[bytes, bytes] = dict(scope["headers"])
            if self._token:
                given = headers.get(b"authorization", b"")
                if not hmac.compare_digest(given, self._token):
                    await _refuse(send, "a bearer token is needed", _UNAUTHORIZED)
                    return
            elif reason := self._foreign(headers):
                await _refuse(send, reason, AccessDeniedError.http_status)
                return
        await self._app(scope, receive, send)

    def _foreign(self, headers: dict[bytes, bytes]) -> str:
        host = headers.get(b"host", b"")
        if host not in self._known:
            if not self._is_ours(host.decode("latin-1")):
                return "Host is not an address of this API"
            if len(self._known) < _MOST_HOSTS:
                self._known.add(host)
        origin = headers.get(b"origin")
        if origin is not None and origin.partition(b"://")[2] != host:
            return "requests of other sites' pages need a token"
        return ""

    def _is_ours(self, host: str) -> bool:
        name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        if name.lower() in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


async def _refuse(send: Send, detail: str, status: int) -> None:
    problem = {**to_problem(AccessDeniedError(detail)), "status": status}
    headers = [(b"content-type", MEDIA_TYPE.encode())]
    if status == _UNAUTHORIZED:
        problem["title"] = "Unauthorized"
        headers.append((b"www-authenticate", b"Bearer"))
    body = orjson.dumps(problem)
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

"""Who may talk to the API: a bearer token, and no web pages of strangers."""

import hmac
import ipaddress
from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from device_manager.api.answers import problem

__all__ = ["Access"]

_OPEN = frozenset({"/healthz"})
_MOST_HOSTS = 256


class Access:
    """Lets requests through that carry the token, or that no browser was tricked into.

    Without a token the API trusts everybody who can reach its address. A browser can, on
    behalf of any page that it shows; so requests of foreign pages are refused, and those
    whose Host is a name that somebody else's DNS may have pointed here.
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
        if scope["type"] != "http" or scope["path"] in _OPEN:
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if self._token:
            given = headers.get(b"authorization", b"")
            if not hmac.compare_digest(given, self._token):
                answer = problem(401, "a bearer token is needed", "access_denied")
                answer.headers["WWW-Authenticate"] = "Bearer"
                await answer(scope, receive, send)
                return
        elif reason := self._foreign(headers):
            await problem(403, reason, "access_denied")(scope, receive, send)
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

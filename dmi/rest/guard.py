"""The door of a REST API: who comes in, what they may do, and how often.

Without clients of its own the API trusts everybody who can reach its address. A browser
can, on behalf of any page that it shows; so requests of foreign pages are refused, and
those whose Host is a name that somebody else's DNS may have pointed here. A browser shows
its certificate for any page too; only a token is shown on purpose.
"""

import asyncio
import hmac
import ipaddress
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dmi.clock import Clock, SystemClock
from dmi.errors import AccessDeniedError, OverloadedError
from dmi.rest.identity import LOCAL, Identity
from dmi.rest.identity import Scope as Right
from dmi.rest.limits import Limits, Rates
from dmi.rest.refusal import UNAUTHORIZED, refuse
from dmi.rest.staying import Stay
from dmi.rest.tokens import Clients

__all__ = [
    "IDENTITY",
    "OPEN",
    "PEER",
    "Demand",
    "Guard",
    "Judge",
    "Keys",
    "namespace_of",
    "reads_and_writes",
]

IDENTITY: Final = "dmi.identity"
"""Key in an ASGI scope: the `Identity` that was let in."""

PEER: Final = "peer"
"""Key in an ASGI scope's state: the name in the client's verified certificate."""

OPEN: Final = frozenset({"/healthz", "/readyz"})
"""A kubelet probes these; it has no token, and ends a program that does not answer."""
_NOWHERE: Final = frozenset({"/openapi.json", "/api/v1/version", "/api/v1/ping"})
_KINDS: Final = tuple(
    f"/api/v1/{kind}/"
    for kind in ("devices", "models", "device", "devicemethod", "database", "meta/model")
)
"""What stands before a namespace."""
_LISTS: Final = frozenset(
    f"/api/v1/{kind}"
    for kind in ("devices", "models", "twins", "changes", "commands", "gaps", "audit")
)
"""What `?namespace=` narrows."""
_BY_ID: Final = "/api/v1/commands/"
"""What stands before an id that says nothing of a namespace; the route asks `may_in` itself."""
_MOST_HOSTS: Final = 256
_TOO_SLOW: Final = 408
_CLOSE: Final = {"connection": "close"}


@dataclass(frozen=True, slots=True)
class Demand:
    """What a request wants.

    Attributes:
        right: To read, write or administer.
        namespace: Where; None when it concerns all of them, empty when none.
    """

    right: Right
    namespace: str | None = None


Judge = Callable[[str, str, bytes], Demand]
"""Gives the demand of a request by its method, path and query string."""


def namespace_of(path: str, query: bytes) -> str | None:
    """Say which namespace a request concerns.

    It stands in the path, behind the kind of object, or in a list's query, once.

    Returns:
        None when the request concerns all of them, empty when none.
    """
    if path in _NOWHERE or path.startswith(_BY_ID):
        return ""
    for kind in _KINDS:
        if path.startswith(kind):
            return path[len(kind) :].partition("/")[0]
    if path not in _LISTS:
        return None
    given = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    named = [value for name, value in given if name == "namespace"]
    # Of several a list takes the last, and an empty one is all of them to it.
    return (named[0] or None) if len(named) == 1 else None


def reads_and_writes(method: str, path: str, query: bytes) -> Demand:
    """Judge by the method, and by what path or query say of a namespace."""
    right = Right.READ if method in ("GET", "HEAD") else Right.WRITE
    return Demand(right, namespace_of(path, query))


@dataclass(frozen=True, slots=True)
class Keys:
    """What opens the door; with none of them it stands open to this machine.

    Attributes:
        token: One for everything and everybody; empty for none.
        clients: Those with tokens or certificates of their own.
        certificates: Whether the server verifies clients' certificates. Without `clients`
            every verified one may do everything.
    """

    token: str = field(default="", repr=False)
    clients: Clients | None = None
    certificates: bool = False

    @property
    def are_needed(self) -> bool:
        """Whether a client must show anything."""
        return bool(self.token) or self.clients is not None or self.certificates


class Guard:
    """Lets in, refuses, and says to the application who it is: `scope[IDENTITY]`."""

    def __init__(
        self,
        app: ASGIApp,
        keys: Keys | None = None,
        *,
        judge: Judge = reads_and_writes,
        limits: Limits | None = None,
        names: Iterable[str] = (),
        clock: Clock | None = None,
    ) -> None:
        """Wrap an application.

        Args:
            app: What is guarded.
            keys: What clients must show.
            judge: Says what a request wants.
            limits: How much one client may ask.
            names: Host names that are ours, beside `localhost` and every IP address.
            clock: Time for tests.
        """
        self._app = app
        self._keys = keys or Keys()
        self._judge = judge
        self._limits = limits or Limits()
        self._under_way: Counter[str] = Counter()
        self._rates = Rates(self._limits.rate, self._limits.burst)
        self._clock = clock or SystemClock()
        self._names = {"localhost", "", *(name.lower() for name in names)}
        self._known: set[bytes] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or refuse."""
        if scope["type"] not in ("http", "websocket") or scope["path"] in OPEN:
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        identity = self._identity(scope, headers)
        if identity is None:
            await refuse(scope, send, AccessDeniedError("a bearer token is needed"), UNAUTHORIZED)
            return
        now = self._clock.monotonic()
        who = identity.name if identity is not LOCAL else str((scope.get("client") or ("",))[0])
        if wait := self._rates.wait(who, now):
            error = OverloadedError("too many requests of one client")
            await refuse(scope, send, error, retry_after=math.ceil(wait))
            return
        if reason := self._unfit(scope, headers, identity):
            await refuse(scope, send, AccessDeniedError(reason))
            return
        scope[IDENTITY] = identity
        if not self._keys.are_needed:
            await self._app(scope, self._hasty(scope, headers, receive), send)
            return

        if self._under_way[who] >= self._limits.at_once:
            error = OverloadedError("too many answers to one client are under way")
            await refuse(scope, send, error, retry_after=1)
            return

        def may_stay() -> bool:
            known = self._identity(scope, headers)
            return known is not None and not self._unfit(scope, headers, known)

        stay = Stay(scope, receive, send, may_stay, self._clock)
        with self._counted(who):
            await self._app(scope, self._hasty(scope, headers, stay.receive), stay.send)
            await stay.finish()

    @contextmanager
    def _counted(self, who: str) -> Iterator[None]:
        self._under_way[who] += 1
        try:
            yield
        finally:
            self._under_way[who] -= 1
            if not self._under_way[who]:
                del self._under_way[who]

    def _hasty(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive) -> Receive:
        if scope["type"] != "http" or not _has_body(headers):
            return receive
        return _Hasty(receive, self._limits.body_seconds, self._clock)

    def _identity(self, scope: Scope, headers: dict[bytes, bytes]) -> Identity | None:
        if not self._keys.are_needed:
            return LOCAL
        kind, _, shown = headers.get(b"authorization", b"").partition(b" ")
        clients, now = self._keys.clients, self._clock.monotonic()
        if kind.lower() == b"bearer":
            token = shown.strip()
            if self._keys.token and hmac.compare_digest(token, self._keys.token.encode()):
                return Identity("token")
            if clients is not None:
                return clients.by_token(token.decode("latin-1"), self._clock.time(), now)
            return None
        if self._keys.certificates and (peer := scope.get("state", {}).get(PEER)):
            return clients.by_certificate(peer, now) if clients is not None else Identity(peer)
        return None

    def _unfit(self, scope: Scope, headers: dict[bytes, bytes], identity: Identity) -> str:
        """Say why this client must not do this; empty when it may."""
        strange = not _shows_token(headers) and _is_of_another_site(headers)
        if not self._keys.are_needed:
            if not self._is_known_host(headers.get(b"host", b"")):
                return "Host is not an address of this API"
            if not strange:
                return ""
        method = str(scope.get("method", "GET"))
        demand = self._judge(method, scope["path"], scope["query_string"])
        # A link that somebody follows may read.
        if strange and not (demand.right is Right.READ and _is_followed(headers)):
            return "requests of other sites' pages need a token"
        if not identity.may(demand.right):
            return f"{identity.name!r} has no right to {demand.right}"
        if not identity.may_in(demand.namespace):
            if demand.namespace is None:
                return f"{identity.name!r} must name one of its namespaces: ?namespace="
            return f"{identity.name!r} has no rights in namespace {demand.namespace!r}"
        return ""

    def _is_known_host(self, host: bytes) -> bool:
        if host in self._known:
            return True
        if not self._is_ours(host.decode("latin-1")):
            return False
        if len(self._known) < _MOST_HOSTS:
            self._known.add(host)
        return True

    def _is_ours(self, host: str) -> bool:
        name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        if name.lower() in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


class _Hasty:
    """Gives up a body that comes too slowly; the application words the refusal."""

    def __init__(self, receive: Receive, seconds: float, clock: Clock) -> None:
        self._receive = receive
        self._end = clock.monotonic() + seconds
        self._clock = clock
        self._whole = False

    async def __call__(self) -> Message:
        if self._whole:
            return await self._receive()
        left = self._end - self._clock.monotonic()
        try:
            async with asyncio.timeout(left):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(_TOO_SLOW, "the body did not come in time", _CLOSE) from None
        self._whole = not message.get("more_body", False)
        return message


def _shows_token(headers: dict[bytes, bytes]) -> bool:
    return headers.get(b"authorization", b"")[:7].lower() == b"bearer "


def _is_of_another_site(headers: dict[bytes, bytes]) -> bool:
    """Whether a browser asks for a page that is not ours, which it does with our certificate too.

    Images and the like come without `Origin`.

    Source:
        W3C Fetch Metadata Request Headers, section 2.3.
    """
    origin = headers.get(b"origin")
    if origin is not None and origin.partition(b"://")[2] != headers.get(b"host", b""):
        return True
    return headers.get(b"sec-fetch-site", b"none") not in (b"none", b"same-origin")


def _is_followed(headers: dict[bytes, bytes]) -> bool:
    return headers.get(b"sec-fetch-mode") == b"navigate"


def _has_body(headers: dict[bytes, bytes]) -> bool:
    return headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers

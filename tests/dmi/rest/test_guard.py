import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import yaml
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from dmi.rest.guard import IDENTITY, PEER, Demand, Guard, Keys, namespace_of
from dmi.rest.identity import LOCAL, Identity, Scope
from dmi.rest.limits import Limits
from dmi.rest.tokens import Clients, hash_token

TOKEN = "sixteen-letters!"  # noqa: S105 - opens nothing


async def ask(path="/", **headers):
    keys = Keys(headers.pop("token", ""))
    guard = Guard(PlainTextResponse("let in"), keys, names=["Plant.example"])
    transport = httpx.ASGITransport(app=guard)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:1") as http:
        return await http.get(path, headers=headers)


async def test_the_token_alone_decides_where_there_is_one():
    refused = await ask(token=TOKEN, authorization="Bearer other")
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert refused.json() == {
        "type": "about:blank",
        "title": "Unauthorized",
        "status": 401,
        "detail": "a bearer token is needed",
        "reason": "access_denied",
    }
    let_in = await ask(token=TOKEN, authorization=f"Bearer {TOKEN}", host="evil.example")
    assert let_in.text == "let in"


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_probes_need_nothing(path):
    assert (await ask(path, token=TOKEN, host="evil.example")).text == "let in"
    assert (await ask(path + "/x", token=TOKEN)).status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "plant.EXAMPLE:80"}, 200),
        ({"host": "[::1]:80"}, 200),
        ({"host": "evil.example"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "none"}, 200),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, 403),
        ({"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"}, 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, 200),
    ],
)
async def test_strangers_pages_are_refused_where_there_is_no_token(headers, status):
    answer = await ask(**headers)
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["reason"] == "access_denied"
        assert answer.headers["content-type"] == "application/problem+json"


async def test_a_link_of_another_site_cannot_write():
    guard = Guard(who, judge=lambda *_: Demand(Scope.WRITE))
    transport = httpx.ASGITransport(app=guard)
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        assert (await http.get("/", headers=link)).status_code == 403
        assert (await http.get("/")).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        [(b"origin", b"https://evil.example")],
        [(b"sec-fetch-site", b"cross-site"), (b"sec-fetch-mode", b"no-cors")],
    ],
)
async def test_a_browsers_certificate_does_not_serve_strangers_pages(headers):
    guard = Guard(who, Keys(TOKEN, certificates=True))
    asked = {"type": "http", "method": "POST", "state": {PEER: "operator"}}
    host = (b"host", b"plant.example")
    assert (await refused(guard, **asked, headers=[host, *headers]))[0]["status"] == 403
    ours = [(b"origin", b"https://plant.example"), (b"sec-fetch-site", b"same-origin")]
    assert (await refused(guard, **asked, headers=[host, *ours]))[0]["status"] == 200
    token = (b"authorization", b"bearer " + TOKEN.encode())
    assert (await refused(guard, **asked, headers=[host, token, *headers]))[0]["status"] == 200


async def test_many_hosts_are_all_judged():
    guard = Guard(PlainTextResponse("let in"))
    transport = httpx.ASGITransport(app=guard)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        for port in range(300):
            answer = await http.get("/", headers={"host": f"127.0.0.1:{port}"})
            assert answer.status_code == 200


# ---------------------------------------------------------------- clients ----


@pytest.fixture
def clients(tmp_path):
    file = tmp_path / "clients.yaml"
    rows = [
        {"name": "reader", "hash": hash_token("r"), "scopes": ["read"]},
        {"name": "writer", "hash": hash_token("w"), "scopes": ["write"], "namespaces": ["line-1"]},
        {"name": "admin", "hash": hash_token("a"), "scopes": ["admin"]},
        {
            "name": "gone",
            "hash": hash_token("g"),
            "expires": (datetime.now(UTC) - timedelta(seconds=1)).isoformat(),
        },
    ]
    certificates = [{"name": "historian", "scopes": ["read"]}]
    file.write_text(yaml.safe_dump({"tokens": rows, "certificates": certificates}))
    return Clients(file)


async def who(scope, receive, send):
    identity = scope[IDENTITY]
    await PlainTextResponse(identity.name)(scope, receive, send)


@pytest.fixture
async def http(clients):
    guard = Guard(who, Keys(TOKEN, clients))
    transport = httpx.ASGITransport(app=guard)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:1") as http:
        yield http


DEVICES = "/api/v1/devices"


@pytest.mark.parametrize(
    ("token", "method", "path", "status"),
    [
        ("r", "GET", DEVICES, 200),
        ("r", "GET", DEVICES + "/line-2/pump", 200),
        ("r", "PUT", DEVICES + "/line-2/pump", 403),
        ("w", "GET", DEVICES + "/line-1/pump", 200),
        ("w", "PUT", DEVICES + "/line-1/pump", 200),
        ("w", "PUT", DEVICES + "/line-2/pump", 403),
        ("w", "GET", DEVICES, 403),
        ("w", "GET", DEVICES + "?namespace=line-1", 200),
        ("w", "GET", DEVICES + "?namespace=line-2", 403),
        ("w", "GET", DEVICES + "?namespace=line-1&namespace=line-2", 403),
        ("w", "GET", DEVICES + "/line-2/pump?namespace=line-1", 403),
        ("w", "GET", "/openapi.json", 200),
        ("a", "PUT", DEVICES + "/line-2/pump", 200),
        ("g", "GET", DEVICES, 401),
        ("x" * 600, "GET", DEVICES, 401),
        (TOKEN, "PUT", DEVICES, 200),
    ],
)
async def test_a_client_does_what_it_was_given(http, token, method, path, status):
    answer = await http.request(method, path, headers={"authorization": f"bearer {token}"})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith(
        "text/plain" if status == 200 else "application/problem+json"
    )
    assert len(token) < 4 or token not in answer.text


async def test_the_application_is_told_who_asks(http):
    for token, name in (("r", "reader"), (TOKEN, "token")):
        answer = await http.get(DEVICES, headers={"authorization": f"Bearer {token}"})
        assert answer.text == name


async def test_a_missing_token_is_asked_for(http):
    answer = await http.get(DEVICES)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert (await http.get(DEVICES, headers={"authorization": "Basic cjpy"})).status_code == 401


async def test_local_users_are_known_as_such():
    transport = httpx.ASGITransport(app=Guard(who))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:1") as http:
        assert (await http.get("/")).text == LOCAL.name


async def refused(guard, **scope):
    """The messages that a request with nothing to show is answered by."""
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"path": "/", "query_string": b"", "headers": [], **scope}
    await guard(scope, asyncio.Queue().get, send)
    return sent


@pytest.mark.parametrize(
    ("known", "peer", "name"),
    [(True, "historian", "historian"), (True, "stranger", None), (False, "stranger", "stranger")],
)
async def test_a_verified_certificate_is_a_name(clients, known, peer, name):
    guard = Guard(who, Keys(clients=clients if known else None, certificates=True))
    sent = await refused(guard, type="http", method="GET", state={PEER: peer})
    assert sent[0]["status"] == (200 if name else 401)
    if name:
        assert sent[1]["body"] == name.encode()


async def test_a_name_from_a_certificate_counts_only_when_certificates_are_verified(clients):
    sent = await refused(
        Guard(who, Keys(clients=clients)), type="http", method="GET", state={PEER: "historian"}
    )
    assert sent[0]["status"] == 401


async def test_a_websocket_is_refused_before_its_handshake(clients):
    sent = await refused(Guard(who, Keys(clients=clients)), type="websocket")
    assert [message["type"] for message in sent] == ["websocket.close"]


async def test_lifespan_is_nobodys_business(clients):
    async def app(scope, receive, send):
        await send({"type": scope["type"]})

    sent = await refused(Guard(app, Keys(clients=clients)), type="lifespan")
    assert sent == [{"type": "lifespan"}]


@pytest.mark.parametrize(
    ("path", "query", "namespace"),
    [
        ("/api/v1/devices/a/b", b"", "a"),
        ("/api/v1/meta/model/a/b", b"", "a"),
        ("/api/v1/device/a/b/c", b"namespace=z", "a"),
        ("/api/v1/devices", b"namespace=a", "a"),
        ("/api/v1/devices", b"namespace=", None),
        ("/api/v1/devices", b"namespace=a&namespace=", None),
        ("/api/v1/devices", b"namespace=a&namespace", None),
        ("/api/v1/devices", b"n%61mespace=a&namespace=b", None),
        ("/api/v1/devices", b"", None),
        ("/metrics", b"", None),
        ("/metrics", b"namespace=a", None),
        ("/api/v1/targets", b"namespace=a", None),
        ("/api/v1/version", b"", ""),
        ("/api/v1/commands", b"", None),
        ("/api/v1/commands/0660", b"", ""),
    ],
)
def test_where_a_request_goes(path, query, namespace):
    assert namespace_of(path, query) == namespace


@pytest.mark.parametrize(
    ("scopes", "rights"),
    [
        ({Scope.READ}, {Scope.READ}),
        ({Scope.WRITE}, {Scope.READ, Scope.WRITE}),
        ({Scope.ADMIN}, set(Scope)),
        (set(), set()),
    ],
)
def test_rights_imply_lesser_ones(scopes, rights):
    identity = Identity("x", frozenset(scopes))
    assert {scope for scope in Scope if identity.may(scope)} == rights


# ----------------------------------------------------------------- limits ----


async def test_one_client_too_many_requests(fake_clock):
    limits = Limits(rate=1, burst=2)
    guard = Guard(PlainTextResponse("let in"), limits=limits, clock=fake_clock)
    transport = httpx.ASGITransport(app=guard)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        assert [(await http.get("/")).status_code for _ in range(3)] == [200, 200, 429]
        again = await http.get("/")
        assert (again.headers["retry-after"], again.json()["reason"]) == ("1", "overloaded")
        assert (await http.get("/healthz")).status_code == 200
        await fake_clock.advance(1)
        assert [(await http.get("/")).status_code for _ in range(2)] == [200, 429]


async def test_limits_are_for_each_client(fake_clock, clients):
    guard = Guard(who, Keys(clients=clients), limits=Limits(rate=1, burst=1), clock=fake_clock)
    transport = httpx.ASGITransport(app=guard)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        for token, status in (("r", 200), ("a", 200), ("r", 429), ("a", 429)):
            answer = await http.get("/", headers={"authorization": f"Bearer {token}"})
            assert answer.status_code == status


async def test_a_body_that_does_not_come_is_given_up():
    async def app(scope, receive, send):
        try:
            body = await Request(scope, receive).body()
            await PlainTextResponse(body)(scope, receive, send)
        except HTTPException as error:
            await PlainTextResponse(error.detail, error.status_code)(scope, receive, send)

    guard = Guard(app, limits=Limits(body_seconds=0.02))
    parts = asyncio.Queue()
    parts.put_nowait({"type": "http.request", "body": b"a", "more_body": True})
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "PUT", "path": "/", "query_string": b""}
    scope["headers"] = [(b"content-length", b"2")]
    await guard(dict(scope), parts.get, send)
    assert sent[0]["status"] == 408
    parts.put_nowait({"type": "http.request", "body": b"ab", "more_body": False})
    await guard(dict(scope), parts.get, send)
    assert (sent[2]["status"], sent[3]["body"]) == (200, b"ab")


async def test_what_a_request_wants_can_be_judged_otherwise(clients):
    guard = Guard(who, Keys(clients=clients), judge=lambda *_: Demand(Scope.ADMIN))
    transport = httpx.ASGITransport(app=guard)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        for token, status in (("r", 403), ("a", 200)):
            answer = await http.get("/", headers={"authorization": f"Bearer {token}"})
            assert answer.status_code == status

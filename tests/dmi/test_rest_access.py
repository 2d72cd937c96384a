import httpx
import pytest
from starlette.responses import PlainTextResponse

from dmi.errors import ConfigError
from dmi.rest_access import Access, is_loopback, read_token

TOKEN = "sixteen-letters!"  # noqa: S105 - opens nothing


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("localhost:80", True),
        ("127.0.0.2:0", True),
        ("[::1]:80", True),
        ("unix:/run/x", True),
        ("10.0.0.1:80", False),
        ("[::]:80", False),
        ("plant.example:80", False),
    ],
)
def test_which_addresses_only_this_machine_reaches(address, expected):
    assert is_loopback(address) is expected
    if expected:
        assert read_token(None, "aFile", address) == ""
    else:
        with pytest.raises(ConfigError, match="needs aFile"):
            read_token(None, "aFile", address)


def test_a_token_has_sixteen_characters(tmp_path):
    file = tmp_path / "token"
    file.write_text(f" {TOKEN}\n")
    assert read_token(file, "aFile", "0.0.0.0:80") == TOKEN
    file.write_text(TOKEN[1:])
    with pytest.raises(ConfigError, match="fewer than 16"):
        read_token(file, "aFile", "127.0.0.1:80")
    file.write_bytes(b"\xff" * 20)
    with pytest.raises(ConfigError, match="aFile: "):
        read_token(file, "aFile", "127.0.0.1:80")


async def ask(path="/", **headers):
    access = Access(PlainTextResponse("let in"), headers.pop("token", ""), names=["Plant.example"])
    transport = httpx.ASGITransport(app=access)
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
    ],
)
async def test_strangers_pages_are_refused_where_there_is_no_token(headers, status):
    answer = await ask(**headers)
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["reason"] == "access_denied"
        assert answer.headers["content-type"] == "application/problem+json"


async def test_many_hosts_are_all_judged():
    access = Access(PlainTextResponse("let in"))
    transport = httpx.ASGITransport(app=access)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        for port in range(300):
            answer = await http.get("/", headers={"host": f"127.0.0.1:{port}"})
            assert answer.status_code == 200

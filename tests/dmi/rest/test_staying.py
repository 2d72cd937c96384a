"""Streams of clients that are not let in any more, over a real server."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import websockets
import yaml
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route, WebSocketRoute

from dmi.rest import staying, tokens
from dmi.rest.guard import Guard, Keys
from dmi.rest.limits import Limits
from dmi.rest.serving import HttpServer
from dmi.rest.tokens import Clients, hash_token

PATH = "/api/v1/changes"
KEY = {"authorization": "Bearer r"}


async def stream(_request):
    async def lines():
        yield b"begun\n"
        await asyncio.Event().wait()

    return StreamingResponse(lines())


async def talk(socket):
    await socket.accept()
    await socket.send_text("begun")
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


async def echo(request):
    return StreamingResponse(iter([await request.body()]))


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(tokens, "_LOOK_AGAIN", 0.0)
    monkeypatch.setattr(staying, "_LOOK_AGAIN", 0.02)
    return tmp_path / "clients.yaml"


def write(file, name="reader", **more):
    rows = [{"name": name, "hash": hash_token("r"), "scopes": ["write"], **more}]
    file.write_text(yaml.safe_dump({"tokens": rows}))


@pytest.fixture
async def url(file):
    write(file)
    routes = [
        Route(PATH, stream),
        Route(PATH, echo, methods=["PUT"]),
        WebSocketRoute(PATH, talk),
    ]
    guard = Guard(Starlette(routes=routes), Keys(clients=Clients(file)), limits=Limits(at_once=2))
    server = HttpServer(guard, "127.0.0.1:0", websockets=True, grace=0.1)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(server.run())
        yield server.url
        running.cancel()


def revoke(file):
    write(file, "another", expires=(datetime.now(UTC) - timedelta(seconds=1)).isoformat())


def narrow(file):
    write(file, namespaces=["elsewhere"])


@pytest.mark.parametrize("change", [revoke, narrow])
async def test_a_stream_ends_with_the_right_to_it(url, file, change, caplog):
    async with (
        httpx.AsyncClient(base_url=url, headers=KEY) as http,
        http.stream("GET", PATH) as answer,
    ):
        lines = answer.aiter_lines()
        assert await anext(lines) == "begun"
        change(file)
        async with asyncio.timeout(5):
            assert [line async for line in lines] == []
        assert (await http.get(PATH)).status_code == (401 if change is revoke else 403)
    assert not caplog.records or all(record.name != "uvicorn.error" for record in caplog.records)


async def chatter(ws):
    async with asyncio.timeout(5):
        while True:
            await ws.send("still here")
            await asyncio.sleep(0)


async def test_a_websocket_ends_with_the_right_to_it(url, file):
    async with websockets.connect(url.replace("http", "ws") + PATH, additional_headers=KEY) as ws:
        assert await ws.recv() == "begun"
        revoke(file)
        # Who talks all the time is looked at as well.
        with pytest.raises(websockets.ConnectionClosedError) as caught:
            await chatter(ws)
        assert caught.value.rcvd.code == 1008


async def test_whoever_may_stay_notices_nothing(url, file):
    async with httpx.AsyncClient(base_url=url, headers=KEY) as http:
        write(file, scopes=["admin"])

        async def slowly():
            for part in (b"a", b"b", b"c"):
                yield part
                await asyncio.sleep(0.03)

        answer = await http.put(PATH, content=slowly())
        assert (answer.status_code, answer.text) == (200, "abc")


async def test_one_client_cannot_hold_all_connections(url):
    async with httpx.AsyncClient(base_url=url, headers=KEY) as http:
        async with http.stream("GET", PATH), http.stream("GET", PATH):
            refused = await http.put(PATH, content=b"x")
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        async with asyncio.timeout(5):
            while (await http.put(PATH, content=b"x")).status_code == 429:  # noqa: ASYNC110 - nothing rings
                await asyncio.sleep(0.01)

import asyncio
import contextlib
import os
import ssl
from contextlib import asynccontextmanager

import httpx
import pytest
import websockets
from starlette.responses import PlainTextResponse

from dmi.errors import ConfigError
from dmi.rest import connection
from dmi.rest import serving as module
from dmi.rest.guard import IDENTITY, Guard, Keys
from dmi.rest.serving import HttpServer, serve_http
from dmi.rest.tls import ServerTls, common_name


async def who(scope, receive, send):
    await PlainTextResponse(scope[IDENTITY].name)(scope, receive, send)


def trusting(authority, files=None):
    context = ssl.create_default_context(cafile=authority.file)
    if files is not None:
        context.load_cert_chain(*files)
    return context


async def get(url, context, path="/"):
    async with httpx.AsyncClient(verify=context) as http:
        return await http.get(url + path)


async def test_https_with_our_own_certificate(authority):
    tls = ServerTls(*authority.issue("mapper"))
    async with serve_http(Guard(who), "127.0.0.1:0", tls=tls) as url:
        assert url.startswith("https://127.0.0.1:")
        assert (await get(url, trusting(authority))).text == "local"
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await get(url, ssl.create_default_context())
        with pytest.raises(httpx.RemoteProtocolError):
            await get(url.replace("https", "http"), False)


async def test_clients_are_known_by_their_certificates(authority, stranger):
    tls = ServerTls(*authority.issue("mapper"), client_ca=authority.file)
    guard = Guard(who, Keys(certificates=True))
    async with serve_http(guard, "127.0.0.1:0", tls=tls) as url:
        assert (await get(url, trusting(authority, authority.issue("plc-7")))).text == "plc-7"
        only_dns = authority.issue("", file="plc-8")
        assert (await get(url, trusting(authority, only_dns))).text == "plc-8"
        for files in (None, stranger.issue("plc-7")):
            with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError, httpx.ConnectError)):
                await get(url, trusting(authority, files))


async def test_a_renewed_certificate_is_taken_up(authority, stranger, monkeypatch):
    monkeypatch.setattr(module, "_LOOK_AGAIN", 0.01)
    files = authority.issue("mapper")
    async with serve_http(Guard(who), "127.0.0.1:0", tls=ServerTls(*files)) as url:
        assert (await get(url, trusting(authority))).text == "local"
        stamp = files[0].stat().st_mtime_ns
        files[1].write_text("half written")
        stranger.issue("mapper")
        for file in files:
            os.utime(file, ns=(stamp, stamp + 10**9))
        async with asyncio.timeout(5):
            while True:
                try:
                    answer = await get(url, trusting(stranger))
                    break
                except httpx.ConnectError:
                    await asyncio.sleep(0.01)
        assert answer.text == "local"


def test_wrong_files_are_told(authority, stranger, tmp_path):
    certificate, key = authority.issue("mapper")
    _, other = stranger.issue("other")
    locked = authority.issue("locked", password=b"secret")
    nothing = tmp_path / "none"
    for tls, match in (
        (ServerTls(certificate, nothing), "No such file"),
        (ServerTls(certificate, other), "KEY_VALUES_MISMATCH"),
        (ServerTls(*locked), "wants a password"),
        (ServerTls(key, key), "NO_START_LINE|PEM"),
        (ServerTls(certificate, key, nothing), "No such file"),
        (ServerTls(certificate, key, key), "authority"),
    ):
        with pytest.raises(ConfigError, match=match):
            HttpServer(who, "127.0.0.1:0", tls=tls)
        assert tls.stamp() != () or match == "No such file"


@pytest.mark.parametrize(
    ("certificate", "name"),
    [
        (None, ""),
        ({}, ""),
        ({"subject": ((("organizationName", "o"),), (("commonName", "a"),))}, "a"),
        ({"subject": (), "subjectAltName": (("IP Address", "::1"), ("DNS", "b"))}, "b"),
    ],
)
def test_the_name_in_a_certificate(certificate, name):
    assert common_name(certificate) == name


@pytest.fixture
async def raw():
    async with serve_http(Guard(who), "127.0.0.1:0") as url:
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, port)
        yield reader, writer
        writer.close()


async def test_an_endless_head_is_cut_off(raw):
    reader, writer = raw
    writer.write(b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n")
    for _ in range(70):
        writer.write(b"x-filler: " + b"x" * 1000 + b"\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 431")
    await reader.read()
    assert reader.at_eof()


async def test_a_head_that_does_not_come_is_given_up(monkeypatch):
    monkeypatch.setattr(connection, "_HEAD_SECONDS", 0.05)
    async with serve_http(Guard(who), "127.0.0.1:0") as url:
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n")
        assert await reader.read() == b""
        writer.close()


async def test_a_large_body_is_no_large_head(raw):
    reader, writer = raw
    body = b"x" * 200_000
    head = b"PUT / HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: %d\r\n\r\n" % len(body)
    writer.write(head + body)
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")


@asynccontextmanager
async def serving(app, **more):
    server = HttpServer(app, "127.0.0.1:0", grace=0.1, **more)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(server.run())
        try:
            yield server.url
        finally:
            running.cancel()


async def connect(url):
    return await asyncio.open_connection(*url.removeprefix("http://").split(":"))


async def test_a_body_that_nobody_reads_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(connection, "_HEAD_SECONDS", 0.05)
    monkeypatch.setattr(connection, "_BODY_SECONDS", 0.05)
    async with serving(Guard(who, Keys("sixteen-letters!"))) as url:
        reader, writer = await connect(url)
        writer.write(b"PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 401")

        async def dribble():
            while True:
                writer.write(b"x")
                await asyncio.sleep(0.01)

        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            dribbling = group.create_task(dribble())
            await reader.read()
            dribbling.cancel()
        writer.close()


@pytest.mark.parametrize("piece", [b"x-trailer: " + b"x" * 1000 + b"\r\n", b"x" * 1000])
async def test_endless_headers_behind_a_body_are_cut_off(raw, piece):
    reader, writer = raw
    writer.write(b"PUT / HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n")
    writer.write(b"1\r\nx\r\n0\r\nx-first: ")
    for _ in range(70):
        writer.write(piece)
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionResetError):
            assert b"HTTP/1.1 431" in await reader.read()


async def test_a_body_in_tiny_chunks_is_taken(raw):
    reader, writer = raw
    writer.write(b"PUT / HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n")
    writer.write(b"1\r\nx\r\n" * 50_000)
    writer.write(b"0\r\nx-trailer: 1\r\n\r\nGET / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
    async with asyncio.timeout(5):
        for _ in range(2):
            assert b"200 OK" in await reader.readuntil(b"local")


async def hold(scope, receive, send):
    """Answer, and keep the connection in use."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] != "/healthz":
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
    await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def held(url, number):
    async with contextlib.AsyncExitStack() as stack:
        for turn in range(number):
            if turn % 2:
                await stack.enter_async_context(websockets.connect(url.replace("http", "ws")))
            else:
                http = await stack.enter_async_context(httpx.AsyncClient())
                await stack.enter_async_context(http.stream("GET", url))
        yield


async def test_more_connections_than_there_may_be_are_told_so():
    async with (
        serving(hold, connections=3, websockets=True) as url,
        held(url, 3),
        httpx.AsyncClient() as http,
    ):
        refused = await http.get(url)
        assert (refused.status_code, refused.json()["reason"]) == (503, "unavailable")
        with pytest.raises(websockets.InvalidStatus):
            await websockets.connect(url.replace("http", "ws"))
        # A mapper must not be ended because it has many clients.
        assert (await http.get(url + "/healthz")).status_code == 200


async def test_far_more_connections_are_not_even_kept(monkeypatch):
    monkeypatch.setattr(module, "_ROOM", 1)
    async with serving(hold, connections=1) as url, contextlib.AsyncExitStack() as stack:
        pairs = [await connect(url) for _ in range(3)]
        for _, writer in pairs:
            stack.callback(writer.close)
        async with asyncio.timeout(5):
            assert await pairs[2][0].read() == b""


UPGRADE = (
    b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n"
)


@pytest.mark.parametrize("more", [b"\r\n", b"content-length: 3\r\n\r\nabc"])
async def test_a_websocket_that_does_not_open_is_given_up(monkeypatch, more):
    monkeypatch.setattr(connection, "_HEAD_SECONDS", 0.05)
    async with serving(hold, websockets=True) as url:
        reader, writer = await connect(url)
        writer.write(UPGRADE + more)
        if more == b"\r\n":
            assert (await reader.readline()).startswith(b"HTTP/1.1 101")
            await reader.readuntil(b"\r\n\r\n")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await reader.read()
        else:
            async with asyncio.timeout(5):
                with contextlib.suppress(ConnectionResetError):
                    assert await reader.read() == b""
        writer.close()


async def test_nobody_says_for_others_who_asks():
    async def client(scope, receive, send):
        await PlainTextResponse(scope["client"][0])(scope, receive, send)

    async with serving(client) as url, httpx.AsyncClient() as http:
        answer = await http.get(url, headers={"x-forwarded-for": "192.0.2.1"})
        assert answer.text == "127.0.0.1"


async def test_what_strangers_send_does_not_fill_the_log(raw, caplog):
    reader, writer = raw
    writer.write(b"nonsense\r\n\r\n")
    assert b"400 Bad Request" in await reader.read()
    assert not caplog.records


async def test_a_server_that_never_ran_lets_go_of_its_socket(socket_dir):
    path = socket_dir / "api.sock"
    server = HttpServer(who, f"unix:{path}")
    assert path.exists()
    server.close()
    assert not path.exists()

"""Both clients against a real server, each test with both."""

import asyncio
import itertools
import socket
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from urllib.parse import parse_qs

import orjson
import pytest
from starlette.responses import JSONResponse, PlainTextResponse

from dmi.errors import (
    AccessDeniedError,
    ConfigError,
    ConflictError,
    ConversionError,
    DeadlineError,
    NotFoundError,
    OutOfRangeError,
    UnavailableError,
)
from dmi.rest.serving import serve_http
from dmi.rest.tokens import add_token
from mapper_sdk.client import AsyncClient, Client, connection
from mapper_sdk.client.calls import device_path, seconds
from mapper_sdk.client.events import EventParser
from mapper_sdk.config import MapperConfig
from mapper_sdk.rest.service import RestService

DEVICE = "default/dev"


@asynccontextmanager
async def serving(plant, **settings):
    service = RestService(plant.mapper, MapperConfig(**{"rest": "127.0.0.1:0", **settings}))
    task = asyncio.create_task(service.run())
    try:
        async with plant.running():
            yield service.url
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def url(plant, make):
    """A mapper with one device; its value of `t` is 20.5, `r` is ReadOnly, `mean` is derived."""
    plant.station().memory = {1: 205, 2: 3}
    model = make.model(
        t={"unit": "K", "maximum": "30"},
        r={"type": "INT", "accessMode": "ReadOnly"},
        mean={"type": "DOUBLE", "accessMode": "ReadOnly"},
    )
    device = make.device(t={"cell": 1, "scale": 0.1}, r={"cell": 2}, mean={"derived": True})
    data = device.to_json()
    data["metadata"]["labels"] = {"site": "hall-1"}
    data["spec"]["methods"] = [{"name": "set", "description": "Sets it.", "propertyNames": ["t"]}]
    async with serving(plant) as url:
        await plant.put(model, type(device).model_validate(data))
        yield url


class InThreads:
    """The blocking client, awaited: its server lives in this event loop."""

    def __init__(self, url, **more):
        self._client = Client(url, **more)

    async def __aenter__(self):
        self._client.__enter__()
        return self

    async def __aexit__(self, *error):
        self._client.__exit__(*error)

    def __getattr__(self, name):
        async def ask(*args, **more):
            def run():
                found = getattr(self._client, name)(*args, **more)
                return list(found) if name == "devices" else found

            return await asyncio.to_thread(run)

        return ask

    async def take(self, number, **more):
        stream = self._client.changes(**more)
        return await asyncio.to_thread(lambda: [next(stream) for _ in range(number)])


class Direct(AsyncClient):
    """The asynchronous client, with the same two conveniences."""

    async def devices(self, **more):
        return [found async for found in super().devices(**more)]

    async def take(self, number, **more):
        found = []
        async for change in self.changes(**more):
            found.append(change)
            if len(found) == number:
                break
        return found


@pytest.fixture(params=[InThreads, Direct], ids=["blocking", "asynchronous"])
def client_class(request):
    return request.param


@pytest.fixture
async def mapper(client_class, url):
    async with client_class(url) as client:
        yield client


async def test_reading(mapper, plant):
    found = await mapper.read(DEVICE, "t")
    assert (found.device, found.name, found.value, found.unit) == (DEVICE, "t", 20.5, "K")
    assert found.time == datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)
    assert (found.is_good, found.writable, found.type) == (True, True, "FLOAT")
    plant.station().memory[1] = 300
    assert (await mapper.read("dev", "t", live=True, patience=5)).value == 30.0
    several = await mapper.read_many(DEVICE, ["t", "r"])
    assert {name: value.value for name, value in several.items()} == {"t": 30.0, "r": 3}
    assert set(await mapper.read_many(DEVICE, live=True)) == {"t", "r", "mean"}


async def test_devices(mapper, plant, make, monkeypatch):
    device = await mapper.device(DEVICE)
    assert (device.name, device.state, device.model) == (DEVICE, "online", "model")
    assert device.properties["r"].value == 3
    await plant.put(make.device("other", t={"cell": 9}), make.device("third", t={"cell": 8}))
    monkeypatch.setattr("mapper_sdk.client.calls._PAGE", 2)
    names = [found.name for found in await mapper.devices()]
    assert names == ["default/dev", "default/other", "default/third"]
    found = await mapper.devices(namespace="default", labels="site=hall-1", properties=["t"])
    assert [(one.name, list(one.properties)) for one in found] == [(DEVICE, ["t"])]


async def test_writing(mapper, plant):
    before = await mapper.read(DEVICE, "t")
    assert (await mapper.write(DEVICE, "t", 25, dry_run=True)).value == 20.5
    assert plant.station().writes == []
    assert (await mapper.write(DEVICE, "t", 25, if_match=before.tag)).value == 25.0
    with pytest.raises(ConflictError):
        await mapper.write(DEVICE, "t", 26, if_match=before.tag)
    found = await mapper.write_many(DEVICE, {"t": 26}, readback=True)
    assert found["t"].value == 26.0
    assert plant.station().writes == [(1, 250), (1, 260)]
    await mapper.write(DEVICE, "t", 27, readback=False)


async def test_a_key_makes_a_write_one(mapper, plant):
    for _ in range(2):
        await mapper.write(DEVICE, "t", 25, key="one")
        await mapper.write(DEVICE, "t", 25)
    assert plant.station().writes == [(1, 250)] * 3


@pytest.mark.parametrize(
    ("prop", "value", "error"),
    [
        ("r", 1, AccessDeniedError),
        ("t", 31, OutOfRangeError),
        ("t", "warm", ConversionError),
        ("gone", 1, NotFoundError),
    ],
)
async def test_refusals_are_the_errors_that_caused_them(mapper, prop, value, error):
    with pytest.raises(error):
        await mapper.write(DEVICE, prop, value)
    with pytest.raises(NotFoundError):
        await mapper.read("default/gone", "t")


async def test_methods(mapper, plant):
    (method,) = await mapper.methods(DEVICE)
    assert (method.name, method.description, list(method.arguments)) == ("set", "Sets it.", ["t"])
    assert (await mapper.call(DEVICE, "set", t=22))["t"]["value"] == 22.0
    with pytest.raises(NotFoundError):
        await mapper.call(DEVICE, "explode")


async def test_derived_readings(mapper):
    when = datetime(2026, 9, 21, 14, 13, 19, tzinfo=UTC)
    await mapper.derive(DEVICE, "mean", 20.25, time=when, quality="uncertain")
    found = await mapper.read(DEVICE, "mean")
    assert (found.value, found.time, found.quality) == (20.25, when, "uncertain")
    await mapper.derive(DEVICE, "mean", 20.5, time=when.timestamp() + 1)
    assert (await mapper.read(DEVICE, "mean")).is_good


async def test_what_is_delivered_where(mapper):
    assert await mapper.targets() == []
    assert await mapper.gaps(target="cloud", device=DEVICE) == []


async def test_all_gaps_are_told_however_many(client_class, monkeypatch):
    monkeypatch.setattr("mapper_sdk.client.calls._PAGE", 1)
    asked = []

    async def app(scope, receive, send):
        query = parse_qs(scope["query_string"].decode())
        asked.append(query)
        place = int(query.get("continue", ["0"])[0])
        gap = dict.fromkeys(("target", "namespace", "device", "property", "reason"), "x")
        gap |= {"first": None, "last": None, "count": place}
        more = str(place + 1) if place < 2 else ""
        await JSONResponse({"items": [gap], "continue": more})(scope, receive, send)

    async with serve_http(app, "127.0.0.1:0") as url, client_class(url) as mapper:
        found = await mapper.gaps(target="cloud", namespace="x")
    assert [gap.count for gap in found] == [0, 1, 2]
    assert all(query["namespace"] == ["x"] and query["limit"] == ["1"] for query in asked)


async def test_a_client_of_one_namespace_names_it(client_class, plant, make, tmp_path):
    clients = tmp_path / "clients.yaml"
    token = add_token(clients, {"name": "reader", "namespaces": ["default"]})
    async with (
        serving(plant, rest_clients=clients) as url,
        client_class(url, token=token) as mapper,
    ):
        with pytest.raises(AccessDeniedError):
            await mapper.take(1)
        assert await mapper.gaps(namespace="default") == []

        assert await mapper.devices(namespace="default") == []


async def test_readiness(mapper, plant):
    with pytest.raises(UnavailableError):
        await mapper.ready()
    plant.link.connected = True
    await mapper.ready()


async def test_changes_go_on_where_a_connection_broke(mapper, plant, monkeypatch):
    monkeypatch.setattr(connection, "PAUSES", (0.0,))

    async def change():
        while True:
            plant.station().memory[1] += 1
            await plant.clock.advance(1)
            await asyncio.sleep(0.001)

    async with asyncio.TaskGroup() as group:
        changing = group.create_task(change())
        wanted = {"namespace": "default", "labels": "site", "properties": ["t"]}
        first = await mapper.take(2, device=DEVICE, kinds=["readings"], **wanted)
        second = await mapper.take(2, device=DEVICE, kinds=["readings"], after=first[-1].id)
        changing.cancel()
    values = [
        reading["value"]
        for found in (*first, *second)
        for reading in found.data["readings"]
        if reading["property"] == "t"
    ]
    steps = {round(after - before, 6) for before, after in itertools.pairwise(values)}
    assert steps == {0.1}
    assert {found.kind for found in first} == {"readings"}


async def test_a_stream_that_is_refused_says_why(mapper):
    with pytest.raises(ConfigError, match="kinds"):
        await mapper.take(1, kinds=["nonsense"])


# ------------------------------------------------------------- connecting ----


@pytest.mark.parametrize("how", ["token", "token_file"])
async def test_a_token_is_shown(client_class, plant, tmp_path, how):
    clients, file = tmp_path / "clients.yaml", tmp_path / "token"
    token = add_token(clients, {"name": "reader"})
    file.write_text(token + "\n")
    shown = {"token": token} if how == "token" else {"token_file": file}
    async with serving(plant, rest_clients=clients) as url:
        async with client_class(url, **shown) as mapper:
            assert await mapper.devices() == []
        async with client_class(url) as mapper:
            with pytest.raises(AccessDeniedError):
                await mapper.devices()


async def test_over_a_unix_socket(client_class, socket_dir):
    app = PlainTextResponse("{}", media_type="application/json")
    async with (
        serve_http(app, f"unix:{socket_dir}/api.sock") as url,
        client_class(url) as mapper,
    ):
        await mapper.ready()


async def test_nobody_there(client_class):
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    async with client_class(url) as mapper:
        with pytest.raises(UnavailableError):
            await mapper.read(DEVICE, "t")
        with pytest.raises(UnavailableError):
            await mapper.take(1)


async def test_somebody_else_answers(client_class):
    async with (
        serve_http(PlainTextResponse("hello"), "127.0.0.1:0") as url,
        client_class(url) as mapper,
    ):
        with pytest.raises(UnavailableError, match="not as a mapper"):
            await mapper.read(DEVICE, "t")
        with pytest.raises(UnavailableError, match="not as a mapper"):
            await mapper.take(1)


async def test_too_late(client_class):
    async def app(scope, receive, send):
        await asyncio.Event().wait()

    async with (
        serve_http(app, "127.0.0.1:0", grace=0.1) as url,
        client_class(url, timeout=0.05) as mapper,
    ):
        with pytest.raises(DeadlineError):
            await mapper.devices()


async def test_a_request_is_sent_again_only_where_that_does_no_harm(client_class, monkeypatch):
    for module in ("blocking", "asynchronous"):
        monkeypatch.setattr(f"mapper_sdk.client.{module}.PAUSES", (0.0, 0.0))
    seen = []

    async def hang_up(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        seen.append(head.decode())
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server, client_class(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as m:
        with pytest.raises(UnavailableError):
            await m.write(DEVICE, "t", 1)
        with pytest.raises(UnavailableError):
            await m.derive(DEVICE, "mean", 1)
        keys = [line for head in seen for line in head.splitlines() if "idempotency" in line]
        assert (len(seen), len(keys), len(set(keys))) == (6, 6, 2)
        seen.clear()
        with pytest.raises(UnavailableError):
            await m.call(DEVICE, "open")
        assert len(seen) == 1


@pytest.mark.parametrize(
    ("url", "more"),
    [
        ("ftp://somewhere", {}),
        ("https://somewhere", {"ca": "/nowhere.pem"}),
        ("http://somewhere", {"token_file": "none"}),
    ],
)
def test_what_cannot_be_used_is_told(tmp_path, url, more):
    if "token_file" in more:
        more = {"token_file": tmp_path / "none"}
    with pytest.raises(ConfigError):
        Client(url, **more)
    with pytest.raises(ConfigError):
        AsyncClient(url, **more)


# ---------------------------------------------------------------- details ----


def test_names_become_paths():
    assert device_path("kettle") == "/api/v1/devices/default/kettle"
    assert device_path("a/b", "x/y") == "/api/v1/devices/a/b/x%2Fy"


def test_a_time_needs_a_zone():
    assert seconds(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)) == 1
    with pytest.raises(ValueError, match="zone"):
        seconds(datetime(1970, 1, 1))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_pieces_become_changes(end):
    lines = ["retry: 1000", "id: 1", "", ": rest", "id:2", "event: state", "data: {}", "data:", ""]
    stream = "".join(line + end for line in lines).encode()
    for size in (1, 7, len(stream)):
        parser = EventParser()
        pieces = (stream[start : start + size] for start in range(0, len(stream), size))
        (change,) = (change for piece in pieces for change in parser.changes(piece))
        assert (change.kind, change.data, change.id, parser.last_id) == ("state", {}, "2", "2")


def test_a_text_may_hold_what_ends_lines_elsewhere():
    text = "a\u2028b\u2029c\x85d"
    data = orjson.dumps({"message": text})
    (change,) = EventParser().changes(b"id: 1\nevent: state\ndata: " + data + b"\n\n")
    assert change.data == {"message": text}


def test_half_a_change_is_asked_for_again():
    parser = EventParser("1")
    assert list(parser.changes(b'id: 2\nevent: state\ndata: {"half":')) == []
    assert parser.last_id == "1"
    parser.begin()
    (change,) = parser.changes(b'id: 2\nevent: state\ndata: {"half": 0}\n\n')
    assert (change.data, change.id) == ({"half": 0}, "2")

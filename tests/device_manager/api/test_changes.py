import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import orjson
import pytest

from device_manager.api.app import create_app
from device_manager.records import TwinReading
from dmi.errors import ConfigError, ConflictError
from dmi.readings import Reading
from dmi.rest.serving import serve_http
from tests.device_manager.api.conftest import services
from tests.device_manager.dmi_service.v1_mapper import socket_path
from tests.device_manager.plants import PUMP, device, model


@asynccontextmanager
async def serving(node, address="127.0.0.1:0", **settings):
    async with AsyncExitStack() as stack:
        app = create_app(node, services(node), **settings)
        shown = await stack.enter_async_context(serve_http(app, address))
        # The feed is closed first: streams never end by themselves.
        stack.callback(node.feed.close)
        path = shown.removeprefix("unix:")
        unix = httpx.AsyncHTTPTransport(uds=path) if path != shown else None
        base = "http://localhost" if unix else shown
        client = httpx.AsyncClient(base_url=base, transport=unix, trust_env=False)
        yield await stack.enter_async_context(client)


class Stream:
    def __init__(self, lines):
        self._lines = lines

    async def next(self):
        """The next event as a dictionary of its fields; comments are left out."""
        event = {}
        async with asyncio.timeout(5):
            async for line in self._lines:
                if not line and event:
                    return event
                name, _, value = line.partition(": ")
                if name:
                    event[name] = value
        return None


@asynccontextmanager
async def changes(http, last="", **params):
    headers = {"last-event-id": last} if last else {}
    async with http.stream("GET", "/api/v1/changes", params=params, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        stream = Stream(answer.aiter_lines())
        opening = await stream.next()
        assert opening["retry"] == "1000"
        yield stream


async def report(node, value, name="speed"):
    reading = TwinReading(PUMP, name, Reading(value, 1.0))
    await node.apply_report("", 0, [reading], [], [])


@pytest.fixture
async def plant(node):
    await node.apply(model(), device(), origin="api")
    return node


async def test_a_reading_is_an_event(plant):
    async with serving(plant) as http, changes(http) as stream:
        await report(plant, 7)
        event = await stream.next()
        assert event["event"] == "twin"
        data = orjson.loads(event["data"])
        assert (data["device"], data["property"], data["reported"]["value"]) == ("pump", "speed", 7)


async def test_resuming_gives_what_was_missed(plant):
    async with serving(plant) as http:
        async with changes(http) as stream:
            await report(plant, 1)
            last = (await stream.next())["id"]
        await report(plant, 2)
        await report(plant, 3)
        async with changes(http, last) as stream:
            seen = [orjson.loads((await stream.next())["data"])["reported"]["value"] for _ in "ab"]
        assert seen == [2, 3]


async def test_another_epoch_is_a_gap(plant):
    async with serving(plant) as http, changes(http, "made-up-5") as stream:
        gap = await stream.next()
        assert gap["event"] == "gap"
        assert orjson.loads(gap["data"]) == {"missed": None}


async def test_filters(plant):
    async with serving(plant) as http:
        only = changes(http, types="desired,device", namespace="default", device="pump")
        async with only as stream:
            await report(plant, 1)
            await plant.apply(device("two"), origin="api")
            await plant.set_desired(PUMP, "speed", 5)
            await plant.apply(device(speed=None, label="x"), origin="api")
            events = []
            while len(events) < 2:
                event = await stream.next()
                if "event" in event:
                    events.append(event["event"])
        assert events == ["desired", "device"]
        async with changes(http, namespace="elsewhere") as stream:
            await report(plant, 2)
            event = await stream.next()
            assert set(event) == {"id"}, "only the resume point moves"


async def test_unknown_types_are_refused(plant):
    async with serving(plant) as http:
        answer = await http.get("/api/v1/changes?types=twin,dance")
        assert answer.status_code == 422
        assert "dance" in answer.json()["detail"]


async def test_streams_end_when_the_manager_stops(plant):
    async with AsyncExitStack() as clients:
        async with serving(plant) as http:
            stream = await clients.enter_async_context(changes(http))
            loop = asyncio.get_running_loop()
            plant.feed.close()
            assert await stream.next() is None
            await clients.aclose()
            began = loop.time()
        assert loop.time() - began < 2.0


async def test_a_reader_that_goes_away_leaves_nothing_behind(plant):
    async with serving(plant) as http:
        async with changes(http):
            assert plant.feed.has_readers
        for _ in range(200):
            await report(plant, 1)
            if not plant.feed.has_readers:
                break
            await asyncio.sleep(0.01)
        assert not plant.feed.has_readers


async def test_over_a_unix_socket(plant):
    with socket_path() as path:
        async with serving(plant, f"unix:{path}") as http:
            assert (await http.get("/api/v1/devices/default/pump")).status_code == 200
            assert path.stat().st_mode & 0o777 == 0o660
        assert not path.exists()


async def test_over_ipv6(plant):
    async with serving(plant, "[::1]:0") as http:
        assert (await http.get("/healthz")).text == "ok\n"


@pytest.mark.parametrize(
    "address", ["", "nowhere", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:99999", "300.1.1.1:0"]
)
async def test_an_address_that_cannot_be(plant, address):
    with pytest.raises(ConfigError):
        async with serving(plant, address):
            pass


async def test_an_address_that_is_taken(plant):
    with socket_path() as path:
        async with serving(plant) as http, serving(plant, f"unix:{path}"):
            taken = str(http.base_url).removeprefix("http://").rstrip("/")
            with pytest.raises(ConfigError, match="in use"):
                async with serving(plant, taken):
                    pass
            with pytest.raises(ConflictError):
                async with serving(plant, f"unix:{path}"):
                    pass

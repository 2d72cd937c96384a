import asyncio
import re
import socket

import httpx
import orjson
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError

from dmi.feed import Feed
from dmi.resources import Key
from mapper_sdk.rest.streams import channels as channels_module
from mapper_sdk.rest.streams import sse as sse_module
from mapper_sdk.rest.streams import websocket as websocket_module
from mapper_sdk.rest.streams.channels import Channels
from mapper_sdk.rest.streams.filters import ChangesQuery, Filter, encoder
from mapper_sdk.rest.streams.sse import sse_message
from mapper_sdk.rest.streams.websocket import socket_message

CHANGES = "/api/v1/changes"


def filter_of(**query):
    return Filter.of(ChangesQuery.model_validate(query))


def address(api, query=""):
    return f"{str(api.base_url).replace('http', 'ws', 1)}{CHANGES}{query}"


@pytest.fixture
async def changes(plant, make):
    """Changes of every kind, of two devices, and a function that gives labels."""
    seen = []
    plant.mapper.add_listener(seen.append)
    plant.station("b")
    async with plant.running():
        await plant.put(make.model(t={}, u={}), make.device(t={"cell": 1}, u={"cell": 2}))
        await plant.put(make.device("other", address="b", t={"cell": 1}))
        await plant.put(make.wish("t", 22.0))
    labels = {Key("default", "dev"): {"site": "a"}}
    return seen, lambda key: labels.get(key, {})


def kinds_of(changes, **query):
    seen, labels_of = changes
    encode = encoder(filter_of(**query), labels_of)
    coded = [encode(change) for change in seen]
    return [
        (kind, data.get("device") or data["name"])
        for kind, data in ((kind, orjson.loads(data)) for kind, data in filter(None, coded))
    ]


def test_each_filter_lets_its_own_pass(changes):
    everything = kinds_of(changes)
    assert {kind for kind, _ in everything} == {"readings", "state", "outcome"}
    assert set(kinds_of(changes, kinds="state,outcome")) == {
        ("state", "dev"),
        ("state", "other"),
        ("outcome", "dev"),
    }
    for query in ({"device": "default/other"}, {"devices": "x/y, default/other"}):
        assert {device for _, device in kinds_of(changes, **query)} == {"other"}
    assert {device for _, device in kinds_of(changes, labels="site=a")} == {"dev"}
    assert {device for _, device in kinds_of(changes, labels="!site")} == {"other"}
    assert kinds_of(changes, namespace="south") == []
    assert kinds_of(changes, namespace="default") == everything


def test_of_a_batch_only_the_properties_that_are_wanted(changes):
    seen, labels_of = changes
    encode = encoder(filter_of(properties="u", kinds="readings,outcome"), labels_of)
    coded = [orjson.loads(data) for _, data in filter(None, map(encode, seen))]
    assert [[r["property"] for r in data["readings"]] for data in coded] == [["u"]]


def test_a_message_is_written_in_two_forms():
    events = [("e-1", "state", b'{"a":1}'), ("e-2", "gap", b'{"missed":3}')]
    assert sse_message(events, "e-2") == (
        b'id: e-1\nevent: state\ndata: {"a":1}\n\nid: e-2\nevent: gap\ndata: {"missed":3}\n\n'
    )
    assert sse_message(events[:1], "e-9").endswith(b"\n\nid: e-9\n\n")
    assert sse_message([], "") == b""
    assert orjson.loads(socket_message(events, "e-2")) == [
        {"id": "e-1", "event": "state", "data": {"a": 1}},
        {"id": "e-2", "event": "gap", "data": {"missed": 3}},
    ]
    assert socket_message([], "e-9") == b""


# ---------------------------------------------------------------- sharing ----


class Counting:
    """Encodes whatever it is given, and counts."""

    def __init__(self):
        self.count = 0

    def __call__(self, change):
        self.count += 1
        return "state", b"%d" % change


async def test_readers_that_keep_up_share_their_bytes():
    feed, encode = Feed(8, epoch="e"), Counting()
    channel = channels_module.Channel(feed, encode, sse_message)
    streams = [channel.follow(feed.last_id) for _ in range(3)]
    waiting = [asyncio.ensure_future(anext(stream)) for stream in streams]
    await asyncio.sleep(0)
    feed.publish(1)
    feed.publish(2)
    chunks = await asyncio.gather(*waiting)
    assert chunks[0] is chunks[1] is chunks[2]
    assert chunks[0].count(b"event: state") == 2
    assert encode.count == 2
    for stream in streams:
        await stream.aclose()
    assert not feed.has_readers


async def test_who_comes_later_gets_what_is_written_already():
    feed, encode = Feed(8, epoch="e"), Counting()
    channel = channels_module.Channel(feed, encode, sse_message)
    for number in range(4):
        feed.publish(number)
    early, late = channel.follow("e-0"), channel.follow("e-2")
    assert (await anext(early)).count(b"data") == 4
    assert (await anext(late)).count(b"data") == 2
    assert encode.count == 4


async def test_a_slow_reader_misses_what_is_gone_and_is_told():
    feed = Feed(4, epoch="e")
    channel = channels_module.Channel(feed, Counting(), sse_message)
    for number in range(10):
        feed.publish(number)
    chunk = await anext(channel.follow("e-2"))
    assert chunk.startswith(b'id: e-6\nevent: gap\ndata: {"missed":4}\n\n')
    assert chunk.count(b"event: state") == 4
    chunk = await anext(channel.follow("other-2"))
    assert chunk.startswith(b'id: e-6\nevent: gap\ndata: {"missed":null}\n\n')


async def test_what_is_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(channels_module, "_MOST_FRAMES", 3)
    monkeypatch.setattr(channels_module, "_LARGEST_CHUNK", 2)
    monkeypatch.setattr(channels_module, "_PIECE", 1)
    feed, encode = Feed(16, epoch="e"), Counting()
    channel = channels_module.Channel(feed, encode, sse_message)
    for number in range(8):
        feed.publish(number)
    stream = channel.follow("e-0")
    assert (await anext(stream)).count(b"data") == 2
    assert (await anext(stream)).count(b"data") == 2
    assert len(channel._frames) == 3


async def test_silence_is_broken_and_a_closed_feed_ends_it(monkeypatch):
    monkeypatch.setattr(channels_module, "KEEP_ALIVE", 0.01)
    feed = Feed(4)
    stream = channels_module.Channel(feed, Counting(), sse_message).follow(None)
    assert await anext(stream) == b""
    feed.close()
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


def test_equal_filters_share_a_channel_while_somebody_reads():
    channels = Channels(Feed(4), lambda key: {})
    with channels.joined(filter_of(kinds="state,event"), sse_message) as one:
        with channels.joined(filter_of(kinds="event, state"), sse_message) as two:
            assert one is two
            assert channels.readers == 2
        with channels.joined(filter_of(kinds="state"), sse_message) as three:
            assert three is not one
    assert channels.readers == 0
    with channels.joined(filter_of(kinds="state,event"), sse_message) as four:
        assert four is not one


# -------------------------------------------------------------- over HTTP ----


async def test_a_stream_of_some_kinds_and_properties(api, plant, make):
    url = f"{CHANGES}?kinds=readings&properties=r"
    async with asyncio.timeout(5), api.stream("GET", url) as response:
        assert response.headers["cache-control"] == "no-store"
        lines = response.aiter_lines()
        assert await anext(lines) == "retry: 1000"
        assert (await anext(lines)).startswith("id: ")
        await plant.clock.advance(1)
        found = [line async for line in _data(lines, 1)]
    assert [reading["property"] for reading in found[0]["readings"]] == ["r"]


async def _data(lines, count):
    async for line in lines:
        if line.startswith("data: "):
            yield orjson.loads(line.removeprefix("data: "))
            count -= 1
            if not count:
                return


async def test_a_wrong_filter_is_a_problem(api):
    for query in ("kinds=twin", "labels=a>b"):
        answer = await api.get(f"{CHANGES}?{query}")
        assert (answer.status_code, answer.json()["reason"]) == (422, "config")


async def test_a_reader_that_goes_leaves_nothing_behind(api, plant, until):
    async def readers():
        text = (await api.get("/metrics")).text
        return float(text.partition("\ndmi_mapper_rest_streams ")[2].partition("\n")[0])

    async with asyncio.timeout(5):
        async with api.stream("GET", CHANGES):
            assert await readers() == 1
        while await readers():  # noqa: ASYNC110 - nothing rings when it becomes so
            await asyncio.sleep(0)


async def test_a_reader_that_does_not_read_holds_up_nobody(api, plant):
    (feed,) = [listen.__self__ for listen in plant.mapper._listeners]
    state = plant.state()
    lazy = socket.socket()
    lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    lazy.connect((api.base_url.host, api.base_url.port))
    reader, writer = await asyncio.open_connection(sock=lazy)
    writer.write(f"GET {CHANGES}?kinds=state HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    async with asyncio.timeout(15):
        await reader.readuntil(b"retry: 1000")
        writer.transport.pause_reading()
        # More than the sockets' buffers and the feed hold together.
        for _ in range(50):
            for _ in range(1000):
                feed.publish(state)
            assert (await api.get("/healthz")).status_code == 200
        writer.transport.resume_reading()
        told = b""
        while b"event: state" not in told.partition(b"event: gap")[2]:
            told = told[-200:] + await reader.read(65536)
    writer.close()
    assert re.search(rb'event: gap\ndata: {"missed":\d+}\n', told)


async def test_a_stream_ends_when_the_mapper_does(plant, serving, caplog):
    async with asyncio.timeout(5), httpx.AsyncClient() as client:
        async with serving(plant) as api:
            request = client.build_request("GET", f"{api.base_url}{CHANGES}")
            response = await client.send(request, stream=True)
            ws = await connect(address(api))
        lines = [line async for line in response.aiter_lines()]
        assert lines[0] == "retry: 1000"
        await ws.wait_closed()
    assert ws.close_code in (1001, 1012)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


# --------------------------------------------------------- over WebSocket ----


async def test_changes_over_a_websocket_and_resumed(api, plant, make):
    async with asyncio.timeout(5):
        async with connect(address(api, "?kinds=outcome")) as ws:
            await plant.put(make.wish("t", 22.0))
            events = orjson.loads(await ws.recv())
        assert [event["event"] for event in events] == ["outcome", "outcome"]
        assert events[0]["data"]["status"] == "written"
        query = f"?kinds=outcome&lastEventId={events[0]['id']}"
        async with connect(address(api, query)) as ws:
            assert orjson.loads(await ws.recv()) == events[1:]


async def test_what_a_websockets_client_says_is_ignored(api, plant, make):
    async with asyncio.timeout(5), connect(address(api)) as ws:
        for _ in range(5):
            await ws.send("hello")
        await plant.put(make.wish("t", 22.0))
        assert orjson.loads(await ws.recv())


async def test_a_message_that_is_too_long_ends_a_websocket(api):
    async with asyncio.timeout(5), connect(address(api)) as ws:
        await ws.send("x" * 1024 * 1024)
        with pytest.raises(ConnectionClosedError) as caught:
            await ws.recv()
    assert caught.value.rcvd.code == 1009


async def test_a_wrong_filter_closes_a_websocket_with_its_reason(api):
    for query, reason in (("?kinds=twin", "twin unknown"), ("?labels=a>b", "label selector")):
        async with asyncio.timeout(5), connect(address(api, query)) as ws:
            with pytest.raises(ConnectionClosedError) as caught:
                await ws.recv()
        assert caught.value.rcvd.code == 1008
        assert reason in caught.value.rcvd.reason


async def test_silence_on_a_websocket_is_an_empty_array(api, monkeypatch):
    monkeypatch.setattr(channels_module, "KEEP_ALIVE", 0.01)
    async with asyncio.timeout(5), connect(address(api)) as ws:
        assert orjson.loads(await ws.recv()) == []


# ------------------------------------------------------- readers that stop ----


class Stuck:
    """A client that takes the first messages and then no more."""

    def __init__(self, takes):
        self.sent = []
        self._takes = takes

    async def send(self, message):
        if len(self.sent) >= self._takes:
            await asyncio.Event().wait()
        self.sent.append(message)

    async def receive(self):
        await asyncio.Event().wait()


async def test_who_takes_nothing_is_cut_off(monkeypatch, caplog):
    monkeypatch.setattr(sse_module, "PATIENCE", 0.02)
    monkeypatch.setattr(channels_module, "KEEP_ALIVE", 0.001)
    feed, stuck = Feed(4), Stuck(2)
    stream = sse_module.EventStream(Channels(feed, lambda key: {}), Filter(), "")
    async with asyncio.timeout(5):
        await stream({"type": "http"}, stuck.receive, stuck.send)
    assert "cut off" in caplog.text
    assert not feed.has_readers


async def test_who_takes_nothing_from_a_websocket_is_cut_off(monkeypatch, caplog):
    monkeypatch.setattr(websocket_module, "PATIENCE", 0.02)
    monkeypatch.setattr(websocket_module, "_FAREWELL", 0.02)
    monkeypatch.setattr(channels_module, "KEEP_ALIVE", 0.001)
    feed = Feed(4)

    class Socket(Stuck):
        async def accept(self):
            pass

        async def close(self, code, reason):
            await self.send((code, reason))

    async with asyncio.timeout(5):
        channels = Channels(feed, lambda key: {})
        await websocket_module.serve_socket(Socket(1), channels, Filter(), "")
    assert "cut off" in caplog.text
    assert not feed.has_readers

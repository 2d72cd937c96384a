"""The HTTP sink against a real server."""

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import parse_qs

import pytest
from aiohttp import web
from pydantic import ValidationError

from dmi.errors import (
    ConfigError,
    ConversionError,
    DeadlineError,
    OverloadedError,
    RefusedError,
    UnavailableError,
    UnsupportedError,
)
from dmi.readings import QUALITIES, Quality, Reading
from dmi.resources import DataType, PushHttp, PushMqtt
from mapper_sdk.delivery.contract import SinkContract, make_route, opened
from mapper_sdk.sinks.http.settings import HttpPlace, HttpTarget
from mapper_sdk.sinks.http.sink import HttpSink
from tests.servers.certificates import make_certificates
from tests.servers.http_receiver import Receiver

START = 1_790_000_000.0


@pytest.fixture
async def server():
    async with Receiver() as receiver:
        yield receiver


@pytest.fixture
def sink(server):
    return HttpSink(HttpTarget(url=server.url))


def make_items(route, count):
    return [(route, Reading(float(n), START + n)) for n in range(count)]


def readings_in(request):
    """Every reading of a request, with the names of its source."""
    if request.headers["Content-Type"] == "application/x-ndjson":
        return [json.loads(line) for line in request.body.splitlines()]
    found = json.loads(request.body)
    if isinstance(found, list):
        return found
    if "readings" in found:
        names = {name: found[name] for name in ("namespace", "device")}
        return [names | one for one in found["readings"]]
    return [found]


class HttpContract(SinkContract):
    body = "array"

    @pytest.fixture
    def sink(self, server):
        return HttpSink(HttpTarget(url=server.url))

    @pytest.fixture
    def place(self):
        return HttpPlace(body=self.body, path="/in/{device}/{property}")

    async def arrived(self, server, route):
        source = route.source
        return [
            _reading(one)
            for request in server.requests
            for one in readings_in(request)
            if (one["device"], one["property"]) == (source.device.name, source.property)
        ]


def _reading(found):
    value = found["value"]
    if found["type"] == DataType.BYTES and value is not None:
        value = base64.b64decode(value)
    time = datetime.fromisoformat(found["time"]).timestamp()
    return Reading(value, time, Quality(QUALITIES.index(found["quality"])), found["reason"])


class TestArray(HttpContract):
    pass


class TestLines(HttpContract):
    body = "ndjson"


class TestDevice(HttpContract):
    body = "device"


class TestOneByOne(HttpContract):
    body = "json"
    many = 60


# ------------------------------------------------------------------- requests ----


async def test_a_batch_is_one_request_on_a_kept_connection(server, sink):
    routes = [make_route(HttpPlace(), f"p{n}", device=f"d{n}") for n in range(3)]
    async with opened(sink):
        for round_ in range(3):
            items = [(route, Reading(float(round_), START + round_)) for route in routes]
            assert not await sink.send(items)
    assert [len(readings_in(request)) for request in server.requests] == [3, 3, 3]
    assert len({id(request.connection) for request in server.requests}) == 1
    assert {request.method for request in server.requests} == {"POST"}


async def test_names_and_methods_divide_requests(server, sink):
    one = make_route(HttpPlace(path="/a/{device}?p={property}", method="PUT"), "x/../y")
    two = make_route(HttpPlace(path="/a/{device}?p={property}"), "x/../y")
    async with opened(sink):
        assert not await sink.send([(one, Reading(1.0, START)), (two, Reading(1.0, START))])
    path = "/a/dev-1?p=x%2F..%2Fy"
    assert [(r.method, r.path) for r in server.requests] == [("PUT", path), ("POST", path)]


async def test_the_same_content_has_the_same_key(server, sink):
    route = make_route(HttpPlace())
    keys = []
    server.answer = lambda request, _: keys.append(request.headers["Idempotency-Key"])
    async with opened(sink):
        await sink.send(make_items(route, 3))
        await sink.send(make_items(route, 3))
        await sink.send(make_items(route, 2))
    assert keys[0] == keys[1] != keys[2]
    assert len(server.requests) == 2


async def test_the_target_says_the_form_where_the_place_does_not(server):
    async with opened(sink := HttpSink(HttpTarget(url=server.url, body="ndjson"))):
        assert not await sink.send(make_items(make_route(HttpPlace()), 2))
        assert not await sink.send(make_items(make_route(HttpPlace(body="array")), 1))
    types = [request.headers["Content-Type"] for request in server.requests]
    assert types == ["application/x-ndjson", "application/json"]


async def test_kubeedges_form(server, sink):
    route = make_route(HttpPlace(body="kubeedge", path="/push"), "t&p", DataType.STRING)
    readings = [Reading("a=b c", START), Reading(None, START, Quality.BAD, "deadline")]
    bad_text = make_route(HttpPlace(body="kubeedge"), "b", DataType.BYTES)
    async with opened(sink):
        failed = await sink.send([*((route, r) for r in readings), (bad_text, Reading(b"\xff", 0))])
    assert {index: type(error) for index, error in failed.items()} == {2: ConversionError}
    (request,) = server.requests
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert parse_qs(request.body.decode()) == {"t&p": ["a=b c"], "time": ["2026-09-21 14:13:20"]}


async def test_what_json_cannot_hold_is_refused_alone(server, sink):
    route = make_route(HttpPlace())
    items = [(route, Reading(value, START)) for value in (1.0, float("nan"), 2.0)]
    async with opened(sink):
        failed = await sink.send(items)
    assert {index: type(error) for index, error in failed.items()} == {1: ConversionError}
    assert [one["value"] for one in readings_in(server.requests[0])] == [1.0, 2.0]


# -------------------------------------------------------------------- answers ----


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RefusedError),
        (404, RefusedError),
        (422, RefusedError),
        (405, RefusedError),
        (401, ConfigError),
        (403, ConfigError),
        (307, ConfigError),
        (408, DeadlineError),
        (425, OverloadedError),
        (429, OverloadedError),
        (500, UnavailableError),
        (503, UnavailableError),
    ],
)
async def test_statuses(server, sink, status, kind):
    server.answer = lambda *_: web.Response(
        status=status, text="that is why", headers={"Location": "http://192.0.2.1/"}
    )
    items = make_items(make_route(HttpPlace()), 1)
    async with opened(sink):
        if kind is ConfigError:
            with pytest.raises(ConfigError) as caught:
                await sink.send(items)
            error = caught.value
        else:
            error = (await sink.send(items))[0]
    assert type(error) is kind
    assert f"{status}" in str(error)
    assert "that is why" in str(error)
    assert server.seen == 1


async def test_only_what_is_refused_is_lost(server, sink):
    def answer(_, body):
        return web.Response(status=400) if b'"value":13.0' in body else None

    server.answer = answer
    async with opened(sink):
        failed = await sink.send(make_items(make_route(HttpPlace()), 100))
    assert list(failed) == [13]
    assert isinstance(failed[13], RefusedError)
    taken = [one["value"] for request in server.requests for one in readings_in(request)]
    assert sorted(taken) == [float(n) for n in range(100) if n != 13]


async def test_what_follows_a_failure_is_kept_and_what_came_before_is_not(server, sink):
    def answer(request, _):
        return web.Response(status=503) if request.path == "/p1" else None

    server.answer = answer
    routes = [make_route(HttpPlace(path="/{property}"), f"p{n}") for n in range(3)]
    async with opened(sink):
        failed = await sink.send([(route, Reading(1.0, START)) for route in routes])
    assert sorted(failed) == [1, 2]
    assert [request.path for request in server.requests] == ["/p0"]


def losing_answers(receiver, which):
    """The receiver takes the requests of these numbers, but its answers are lost."""

    def answer(request, _body):
        if receiver.seen in which:
            request.transport.abort()

    receiver.answer = answer


async def test_what_comes_again_among_others_arrives_once(server, sink):
    """A backlog is cut into other batches than those that failed."""
    items = make_items(make_route(HttpPlace(path="/in")), 10)
    losing_answers(server, {1, 3})
    async with opened(sink):
        assert set(await sink.send(items[:4])) == {0, 1, 2, 3}
        assert not await sink.send(items[:2])
        assert set(await sink.send(items[2:7])) == {2, 3, 4}
        await server.kill()
        assert len(await sink.send(items[4:])) == 6
        await server.start()
        assert not await sink.send(items[4:])
    found = [one["value"] for request in server.requests for one in readings_in(request)]
    assert found == [float(n) for n in range(10)]


async def test_a_request_is_not_repeated_for_readings_that_were_given_up(server, sink):
    items = make_items(make_route(HttpPlace(path="/in")), 4)
    losing_answers(server, {1})
    async with opened(sink):
        assert set(await sink.send(items[:2])) == {0, 1}
        assert not await sink.send(items[2:])
    assert server.seen == 2


async def test_a_repetition_that_is_refused_is_taken_apart(server, sink):
    def answer(request, body):
        if server.seen == 1:
            return web.Response(status=503)
        return web.Response(status=400) if b'"value":1.0' in body else None

    server.answer = answer
    items = make_items(make_route(HttpPlace(path="/in")), 3)
    async with opened(sink):
        assert set(await sink.send(items)) == {0, 1, 2}
        failed = await sink.send(items)
    assert list(failed) == [1]
    assert isinstance(failed[1], RefusedError)
    found = [one["value"] for request in server.requests for one in readings_in(request)]
    assert sorted(found) == [0.0, 2.0]


async def test_what_was_taken_before_a_wrong_password_arrives_once(server, sink):
    items = [
        item
        for path in ("/open", "/closed")
        for item in make_items(make_route(HttpPlace(path=path)), 2)
    ]
    async with opened(sink):
        server.answer = lambda request, _: (
            web.Response(status=401) if request.path == "/closed" else None
        )
        with pytest.raises(ConfigError):
            await sink.send(items)
        with pytest.raises(ConfigError):
            await sink.send([items[0], items[2]])
        server.answer = None
        assert not await sink.send(items[:1])
        assert not await sink.send(items[1:])
    assert [request.path for request in server.requests] == ["/open", "/closed"]


async def test_what_was_taken_before_a_deadline_arrives_once(server, sink):
    items = [
        item for path in ("/a", "/b") for item in make_items(make_route(HttpPlace(path=path)), 1)
    ]
    slow = asyncio.Event()

    async def wait(request):
        if request.path == "/b" and not slow.is_set():
            slow.set()
            await asyncio.Event().wait()

    server.answer = lambda request, _: wait(request)
    async with opened(sink):
        sending = asyncio.create_task(sink.send(items))
        await slow.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert not await sink.send(items)
    assert [request.path for request in server.requests] == ["/a", "/b"]


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_silence_that_is_asked_for_is_kept(server, sink, form):
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    value = {"seconds": "60", "date": later}[form]
    server.answer = lambda *_: web.Response(status=429, headers={"Retry-After": value})
    async with opened(sink):
        await sink.send(make_items(make_route(HttpPlace()), 1))
        with pytest.raises(OverloadedError, match=r"silence for [56]"):
            await sink.send(make_items(make_route(HttpPlace()), 1))
    assert server.seen == 1


async def test_a_retry_after_that_is_none_is_ignored(server, sink):
    server.answer = lambda *_: web.Response(status=503, headers={"Retry-After": "soon"})
    async with opened(sink):
        await sink.send(make_items(make_route(HttpPlace()), 1))
        await sink.send(make_items(make_route(HttpPlace()), 1))
    assert server.seen == 2


async def test_an_endless_answer_is_not_read_to_its_end(server, sink):
    server.answer = lambda *_: web.Response(status=500, body=b"x" * 5_000_000)
    async with opened(sink):
        failed = await sink.send(make_items(make_route(HttpPlace()), 1))
    assert len(str(failed[0])) < 1000


async def test_a_late_answer_is_a_missed_deadline(server):
    async def never(*_):
        await asyncio.sleep(30)

    server.answer = never
    sink = HttpSink(HttpTarget(url=server.url, timeout=0.1))
    async with opened(sink):
        failed = await sink.send(make_items(make_route(HttpPlace()), 2))
        assert isinstance(failed[1], DeadlineError)
        await server.kill()


async def test_a_sink_that_is_not_open_is_unavailable(sink):
    failed = await sink.send(make_items(make_route(HttpPlace()), 1))
    assert isinstance(failed[0], UnavailableError)


# ------------------------------------------------------------------- security ----


async def test_credentials_are_read_where_they_are(server, monkeypatch, tmp_path):
    monkeypatch.setenv("APP_KEY", "s3cret")
    (tmp_path / "token").write_text("t0ken\n")
    target = HttpTarget.model_validate(
        {
            "url": server.url,
            "headers": {"X-Site": "north"},
            "secretHeaders": {"X-Api-Key": "env:APP_KEY"},
            "token": f"file:{tmp_path}/token",
        }
    )
    async with opened(sink := HttpSink(target)):
        await sink.send(make_items(make_route(HttpPlace()), 1))
    headers = server.requests[0].headers
    assert headers["X-Site"] == "north"
    assert headers["X-Api-Key"] == "s3cret"
    assert headers["Authorization"] == "Bearer t0ken"
    assert "s3cret" not in repr(target)
    monkeypatch.delenv("APP_KEY")
    with pytest.raises(ConfigError, match="env:APP_KEY"):
        await HttpSink(target).open()


async def test_a_server_that_repeats_credentials_does_not_bring_them_into_errors(
    server, monkeypatch
):
    monkeypatch.setenv("DMI_TEST_TOKEN", "s3cret token")
    monkeypatch.setenv("DMI_TEST_KEY", "k3y")
    settings = {"token": "env:DMI_TEST_TOKEN", "secretHeaders": {"X-Key": "env:DMI_TEST_KEY"}}
    sink = HttpSink(HttpTarget(url=server.url, **settings))
    server.answer = lambda request, _: web.Response(
        status=400, text=f"{request.headers['Authorization']} {request.headers['X-Key']} no"
    )
    async with opened(sink):
        failed = await sink.send(make_items(make_route(HttpPlace()), 1))
    assert str(failed[0]) == "answered 400: Bearer *** *** no"


async def test_basic_authentication(server, monkeypatch):
    monkeypatch.setenv("APP_PASSWORD", "pä:ss")
    settings = {"url": server.url, "username": "mapper", "password": "env:APP_PASSWORD"}
    target = HttpTarget.model_validate(settings)
    async with opened(sink := HttpSink(target)):
        await sink.send(make_items(make_route(HttpPlace()), 1))
    scheme, _, rest = server.requests[0].headers["Authorization"].partition(" ")
    assert scheme == "Basic"
    assert base64.b64decode(rest).decode() == "mapper:pä:ss"


async def test_tls_with_a_clients_certificate(tmp_path):
    files = make_certificates(tmp_path)
    async with Receiver(files) as server:
        tls = {"ca": files.authority, "certificate": files.client, "key": files.client_key}
        async with opened(sink := HttpSink(HttpTarget(url=server.url, tls=tls))):
            assert not await sink.send(make_items(make_route(HttpPlace()), 1))
        assert len(server.requests) == 1
        for settings in ({}, {"tls": {"ca": files.authority, "serverName": "elsewhere"}}):
            target = HttpTarget.model_validate({"url": server.url, **settings})
            async with opened(sink := HttpSink(target)):
                with pytest.raises(ConfigError, match="CERTIFICATE_VERIFY_FAILED"):
                    await sink.send(make_items(make_route(HttpPlace()), 1))
        assert len(server.requests) == 1


# ------------------------------------------------------------------- settings ----


@pytest.mark.parametrize(
    ("declared", "url", "path", "timeout"),
    [
        (
            {"hostName": "http://127.0.0.1", "port": 8080, "requestPath": "/in", "timeout": 5000},
            "http://127.0.0.1:8080",
            "/in",
            5.0,
        ),
        ({"hostName": "app", "port": 8080, "timeout": 10}, "http://app:8080", "/", 1.0),
        ({"hostName": "https://app/", "requestPath": "in?x=1"}, "https://app:443", "/in?x=1", 10.0),
    ],
)
def test_a_devices_push_method(declared, url, path, timeout):
    settings, place = HttpSink.pushed(PushHttp.model_validate(declared))
    target = HttpTarget.model_validate(settings)
    assert (target.url, target.timeout) == (url, timeout)
    assert HttpPlace.model_validate(place).path == path
    with pytest.raises(UnsupportedError):
        HttpSink.pushed(PushMqtt())


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"url": ""}, "http://HOST"),
        ({"url": "ftp://h"}, "http://HOST"),
        ({"url": "http://u:hidden@h"}, "does not belong"),
        ({"url": "http://h/?a=b"}, "after the path"),
        ({"url": "http://h:port"}, "[Pp]ort"),
        ({"url": "http://h", "headers": {"Host": "x"}}, "'Host'"),
        ({"url": "http://h", "headers": {"X": "a\r\nY: b"}}, "control"),
        ({"url": "http://h", "username": "x"}, "belong together"),
        (
            {"url": "http://h", "username": "x", "password": "env:A", "token": "env:B"},
            "one of the two",
        ),
        ({"url": "http://h", "tls": {}}, "is http"),
    ],
)
def test_wrong_targets_are_refused(settings, problem):
    with pytest.raises(ValidationError, match=problem) as refused:
        HttpTarget.model_validate(settings)
    assert not any("hidden" in error["msg"] for error in refused.value.errors())


@pytest.mark.parametrize("path", ["in", "/a b", "/ä", "/{x}", "/a#b", "/" + "a" * 2048])
def test_wrong_paths_are_refused(path):
    with pytest.raises(ValidationError):
        HttpPlace(path=path)


def test_one_server_has_one_spelling():
    assert HttpTarget(url="HTTP://App").url == HttpTarget(url="http://app:80/").url
    assert HttpTarget(url="http://[::1]:8080/x/").url == "http://[::1]:8080/x"

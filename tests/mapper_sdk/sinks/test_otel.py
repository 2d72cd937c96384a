"""The OpenTelemetry sink against a receiver that decodes by the official messages."""

from typing import ClassVar

import pytest
from aiohttp import web
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics

from dmi.errors import (
    ConfigError,
    DeadlineError,
    OverloadedError,
    RefusedError,
    TooLargeError,
    UnavailableError,
    UnsupportedError,
)
from dmi.readings import Quality, Reading
from dmi.resources import DataType, DbRedis, PushOtel
from mapper_sdk.delivery.contract import make_route, opened
from mapper_sdk.sinks.otel import OtelPlace, OtelSink, OtelTarget
from mapper_sdk.testing import SinkContract
from tests.servers.otlp import FakeReceiver, answer, any_value, attributes

T0 = 1_790_000_000.0
QUALITIES = {"good": Quality.GOOD, "uncertain": Quality.UNCERTAIN, "bad": Quality.BAD}
PLACE = OtelPlace()


@pytest.fixture
async def receiver():
    fake = FakeReceiver()
    await fake.start()
    yield fake
    await fake.kill()


@pytest.fixture
async def sink(receiver):
    one = OtelSink(OtelTarget(url=receiver.url, timeout=3))
    yield one
    await one.close()


def reading_of(said, value):
    quality = QUALITIES[said.get("quality", "good")]
    return Reading(value, said["time"] / 1e9, quality, said.get("reason", ""))


def of_route(receiver, route):
    """What arrived of one route, oldest first."""
    found = []
    for who, _, point in receiver.points:
        said = {**attributes(point.attributes), "time": point.time_unix_nano, **who}
        found.append((said, getattr(point, point.WhichOneof("value"))))
    for who, record in receiver.records:
        said = {**attributes(record.attributes), "time": record.time_unix_nano, **who}
        found.append((said, any_value(record.body)))
    device, name = str(route.source.device), route.source.property
    mine = [f for f in found if (f[0]["device.id"], f[0]["property"]) == (device, name)]
    return [reading_of(*pair) for pair in sorted(mine, key=lambda pair: pair[0]["time"])]


class TestContractOfMetrics(SinkContract):
    tells_apart: ClassVar[bool] = False
    time_step: ClassVar[float] = 1e-6

    @pytest.fixture
    def server(self, receiver):
        return receiver

    async def arrived(self, server, route):
        return of_route(server, route)

    def expected(self, route, reading):
        if isinstance(reading.value, bool):
            return Reading(int(reading.value), reading.time)
        return reading


class TestContractOfLogs(SinkContract):
    tells_apart: ClassVar[bool] = False
    time_step: ClassVar[float] = 1e-6

    @pytest.fixture
    def server(self, receiver):
        return receiver

    @pytest.fixture
    def place(self):
        return OtelPlace(form="log")

    async def arrived(self, server, route):
        return of_route(server, route)


# ----------------------------------------------------------------- points ----


async def test_a_gauge_has_name_unit_and_the_time_of_the_reading(receiver):
    target = OtelTarget(url=f"{receiver.url}/v1/metrics", resource={"site": "north"})
    sink = OtelSink(target)
    route = make_route(
        OtelPlace(name="plant.{property}", attributes={"line": "{label:line}"}), "a b"
    )
    async with opened(sink):
        assert not await sink.send([(route, Reading(1.5, T0 + 0.000123))])
    [(who, metric, point)] = receiver.points
    assert who == {"service.name": "dmi-mapper", "device.id": "default/dev-1", "site": "north"}
    assert (metric.name, metric.unit) == ("plant.a_b", "kWh")
    assert (point.as_double, point.time_unix_nano) == (1.5, 1_790_000_000_000_123_000)
    assert attributes(point.attributes) == {
        "namespace": "default",
        "device": "dev-1",
        "property": "a b",
        "model": "meter",
        "line": "7",
    }


async def test_one_request_of_each_kind_for_a_batch(sink, receiver):
    routes = [make_route(PLACE, f"p{n}", device=f"dev-{n % 2}") for n in range(4)]
    text = make_route(PLACE, "text", DataType.STRING)
    items = [(route, Reading(float(t), T0 + t)) for t in range(10) for route in routes]
    async with opened(sink):
        assert not await sink.send([*items, (text, Reading("on", T0))])
    assert [request.path for request in receiver.requests] == ["/v1/metrics", "/v1/logs"]
    assert len(receiver.points) == 40
    assert len({(metric.name, who["device.id"]) for who, metric, _ in receiver.points}) == 4


async def test_a_bad_reading_is_a_record_of_its_own(sink, receiver):
    async with opened(sink):
        bad = Reading(None, T0, Quality.BAD, "unavailable")
        assert not await sink.send([(make_route(PLACE), bad)])
    [(_, record)] = receiver.records
    assert record.event_name == "p"
    assert record.severity_number == 13  # WARN
    assert any_value(record.body) is None
    assert attributes(record.attributes)["reason"] == "unavailable"


async def test_headers_and_compression_are_settings(receiver, monkeypatch):
    monkeypatch.setenv("OTLP_KEY", "s3cret")
    target = OtelTarget(
        url=receiver.url,
        headers={"X-Scope-OrgID": "plant"},
        secretHeaders={"Authorization": "env:OTLP_KEY"},
        compression="gzip",
    )
    sink = OtelSink(target)
    async with opened(sink):
        assert not await sink.send([(make_route(PLACE), Reading(1.5, T0))])
    headers = receiver.requests[0].headers
    assert (headers["X-Scope-OrgID"], headers["Authorization"]) == ("plant", "s3cret")
    assert headers["Content-Encoding"] == "gzip"
    assert len(receiver.points) == 1


async def test_a_secret_that_no_header_can_carry_is_for_a_human(receiver, monkeypatch):
    monkeypatch.setenv("OTLP_KEY", "s3cret\nX: y")
    target = OtelTarget(url=receiver.url, secretHeaders={"Authorization": "env:OTLP_KEY"})
    with pytest.raises(ConfigError, match=r"env:OTLP_KEY.* line break"):
        await OtelSink(target).open()


# ---------------------------------------------------------------- answers ----


async def test_a_partial_success_is_told_and_not_sent_again(sink, receiver):
    said = metrics.ExportMetricsServiceResponse()
    said.partial_success.rejected_data_points = 2
    said.partial_success.error_message = "too old"
    receiver.answers.append(answer(said))
    items = [(make_route(PLACE), Reading(float(n), T0 + n)) for n in range(5)]
    async with opened(sink):
        failed = await sink.send(items)
    assert {n: type(error) for n, error in failed.items()} == {3: RefusedError, 4: RefusedError}
    assert "2 of 5: too old" in str(failed[4])
    assert len(receiver.requests) == 1


async def test_a_partial_success_of_records(sink, receiver):
    said = logs.ExportLogsServiceResponse()
    said.partial_success.rejected_log_records = 9
    receiver.answers.append(answer(said))
    async with opened(sink):
        failed = await sink.send([(make_route(OtelPlace(form="log")), Reading(1.0, T0))])
    assert list(failed) == [0]


async def test_a_warning_is_no_failure(sink, receiver):
    said = metrics.ExportMetricsServiceResponse()
    said.partial_success.error_message = "deprecated"
    receiver.answers += [answer(said), web.Response(body=b"\xff\xff not OTLP")]
    async with opened(sink):
        for n in range(2):
            assert not await sink.send([(make_route(PLACE), Reading(1.0, T0 + n))])


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, RefusedError),
        (401, ConfigError),
        (404, ConfigError),
        (413, TooLargeError),
        (429, OverloadedError),
        (500, UnavailableError),
        (503, UnavailableError),
        (504, DeadlineError),
    ],
)
async def test_a_status_says_whose_fault_it_is(sink, receiver, status, error):
    receiver.answers.append(web.Response(status=status, text="because"))
    async with opened(sink):
        with pytest.raises(error, match="because") as caught:
            await sink.send([(make_route(PLACE), Reading(1.5, T0))])
    assert caught.type is error


@pytest.mark.parametrize("status", [400, 503])
async def test_gauges_that_arrived_are_not_sent_again_for_records_that_did_not(
    sink, receiver, status
):
    good = answer(metrics.ExportMetricsServiceResponse())
    receiver.answers += [good, web.Response(status=status)]
    text = make_route(PLACE, "text", DataType.STRING)
    async with opened(sink):
        failed = await sink.send([(make_route(PLACE), Reading(1.5, T0)), (text, Reading("on", T0))])
    assert list(failed) == [1]
    assert failed[1].retryable


async def test_sending_before_opening_is_unavailable(sink):
    with pytest.raises(UnavailableError):
        await sink.send([(make_route(PLACE), Reading(1.5, T0))])


# --------------------------------------------------------------- settings ----


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://c:4318", "http://c:4318"),
        ("http://c:4318/", "http://c:4318"),
        ("http://c:4318/v1/metrics", "http://c:4318"),
        ("https://c/otlp/v1/metrics", "https://c/otlp"),
        ("c:4318", "http://c:4318"),
    ],
)
def test_reads_the_pushmethod_of_a_device(endpoint, url):
    target, place = OtelSink.pushed(PushOtel.model_validate({"endpointURL": endpoint}))
    assert OtelTarget.model_validate(target).url == url
    assert OtelPlace.model_validate(place) == PLACE


def test_other_blocks_are_not_its_own():
    with pytest.raises(UnsupportedError):
        OtelSink.pushed(DbRedis())

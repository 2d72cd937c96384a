"""The InfluxDB sink against VictoriaMetrics and against a strict fake of the v2 API."""

import json
from typing import ClassVar

import pytest
from aiohttp import web

from dmi.errors import (
    ConfigError,
    ConversionError,
    DeadlineError,
    OverloadedError,
    RefusedError,
    TooLargeError,
    UnavailableError,
    UnsupportedError,
)
from dmi.readings import Quality, Reading
from dmi.resources import DataType, DbInfluxdb2, DbRedis
from mapper_sdk.delivery.contract import make_route, opened
from mapper_sdk.sinks.influxdb2 import (
    Influxdb2Place,
    Influxdb2Sink,
    Influxdb2Target,
)
from mapper_sdk.testing import SinkContract
from tests.servers.influxdb2 import FakeInflux
from tests.servers.victoria import Victoria

T0 = 1_790_000_000.0
PLACE = Influxdb2Place()


@pytest.fixture
async def influx():
    fake = FakeInflux()
    await fake.start()
    yield fake
    await fake.kill()


@pytest.fixture
def target(influx, monkeypatch):
    monkeypatch.setenv("INFLUX_TOKEN", "t0ken")
    return Influxdb2Target(
        url=influx.url,
        org="plant",
        bucket="readings",
        token="env:INFLUX_TOKEN",  # noqa: S106 - only where it is
        timeout=5,
    )


@pytest.fixture
async def sink(target):
    one = Influxdb2Sink(target)
    yield one
    await one.close()


def joined(values, qualities, reasons):
    """Readings of one property, from the three fields that hold them."""
    return [
        Reading(values.get(t), t, Quality(int(qualities[t])), reasons.get(t, ""))
        for t in sorted(qualities)
    ]


class TestContractWithTheFake(SinkContract):
    time_step: ClassVar[float] = 1e-6

    @pytest.fixture
    def server(self, influx):
        return influx

    async def arrived(self, server, route):
        name, device = route.source.property, route.source.device
        tags = {"namespace": device.namespace, "device": device.name}
        keys = (name, f"{name}_quality", f"{name}_reason")
        return joined(*(server.bucket.of("meter", key, **tags) for key in keys))

    def expected(self, route, reading):
        if isinstance(reading.value, bytes):
            text = {b"": "", b"\x00\xff\xfe": "AP/+"}[reading.value]
            return Reading(text, reading.time)
        return reading


@pytest.fixture(scope="module")
def victoria():
    with Victoria() as server:
        yield server


@pytest.mark.process
class TestContractWithVictoriaMetrics(SinkContract):
    """Numbers only, and in milliseconds: it is a database of such."""

    values: ClassVar = {
        DataType.INT: (0, -1, 2**53 - 1),
        DataType.FLOAT: (0.0, -2.5, 1e-3, 3.0),
        DataType.DOUBLE: (0.1, -250.5, 4.0),
    }
    # It takes a quote in a name for the beginning of a string, which the reference does not.
    test_names_of_any_characters_do_no_harm = None

    @pytest.fixture
    async def server(self, victoria):
        await victoria.start()
        return victoria

    @pytest.fixture
    async def sink(self, victoria, request):
        one = Influxdb2Sink(Influxdb2Target(url=victoria.url, bucket="b", timeout=5))
        yield one
        await one.close()

    @pytest.fixture
    def place(self, request):
        return Influxdb2Place(tags={"test": request.node.name})

    async def arrived(self, server, route):
        device, test = route.source.device, route.place.tags["test"]
        tags = {"namespace": device.namespace, "device": device.name, "test": test}
        name = f"meter_{route.source.property}"
        values = await server.samples(name, **tags)
        return joined(values, await server.samples(f"{name}_quality", **tags), {})

    def expected(self, route, reading):
        value = None if reading.value is None else float(reading.value)
        return Reading(value, reading.time, reading.quality)


# ------------------------------------------------------------------ lines ----


async def body_of(sink, influx, *items):
    async with opened(sink):
        assert not await sink.send(items)
    return influx.bodies[-1].split("\n") if influx.bodies else []


async def test_properties_of_one_device_and_time_are_one_line(sink, influx):
    routes = [make_route(PLACE, name) for name in ("a", "b")]
    other = make_route(PLACE, "a", device="dev-2")
    lines = await body_of(
        sink,
        influx,
        (routes[0], Reading(1.5, T0)),
        (routes[1], Reading(2, T0)),
        (other, Reading(3.5, T0)),
        (routes[0], Reading(4.5, T0 + 1)),
    )
    head = "meter,device=dev-1,namespace=default"
    assert lines == [
        f"{head} a=1.5,a_quality=0i,b=2i,b_quality=0i 1790000000000000",
        "meter,device=dev-2,namespace=default a=3.5,a_quality=0i 1790000000000000",
        f"{head} a=4.5,a_quality=0i 1790000001000000",
    ]


async def test_two_readings_within_one_unit_of_time_are_two_lines(target, influx):
    coarse = Influxdb2Sink(
        Influxdb2Target.model_validate({**target.model_dump(), "precision": "ms"})
    )
    one, other = make_route(PLACE, "a"), make_route(PLACE, "b")
    items = [(r, Reading(v, T0 + v / 1e6)) for v in (1.0, 2.0) for r in (one, other)]
    lines = await body_of(coarse, influx, *items, (one, Reading(3.0, T0)), (one, Reading(4.0, T0)))
    assert [line.count("=") - 2 for line in lines] == [4, 4, 2, 2]
    tags = {"device": "dev-1", "namespace": "default"}
    assert influx.bucket.of("meter", "a", **tags) == {T0: 4.0}
    assert influx.bucket.of("meter", "b", **tags) == {T0: 2.0}


async def test_a_fixed_field_makes_the_property_a_tag(sink, influx):
    place = Influxdb2Place(measurement="readings", field="value", quality="none")
    lines = await body_of(sink, influx, (make_route(place, "a b"), Reading(1.5, T0)))
    assert lines == [
        r"readings,device=dev-1,namespace=default,property=a\ b value=1.5 1790000000000000"
    ]


async def test_quality_as_a_tag_also_tells_why_a_reading_is_bad(sink, influx):
    route = make_route(Influxdb2Place(quality="tag", tags={"site": "{label:site}"}))
    lines = await body_of(
        sink,
        influx,
        (route, Reading(1.5, T0)),
        (route, Reading(None, T0 + 1, Quality.BAD, "unavailable")),
    )
    head = r"meter,device=dev-1,namespace=default,quality={},site=a\ b"
    assert lines == [
        head.format("good") + " p=1.5 1790000000000000",
        head.format("bad") + ' p_reason="unavailable" 1790000001000000',
    ]


async def test_bad_readings_are_left_out_without_quality(sink, influx):
    route = make_route(Influxdb2Place(quality="none"))
    assert not await body_of(sink, influx, (route, Reading(None, T0, Quality.BAD, "unavailable")))


async def test_a_number_that_is_none_is_refused_alone(sink, influx):
    route = make_route(PLACE)
    async with opened(sink):
        failed = await sink.send([(route, Reading(float("nan"), T0)), (route, Reading(1.5, T0))])
    assert list(failed) == [0]
    assert isinstance(failed[0], ConversionError)
    assert influx.bucket.of("meter", "p", device="dev-1", namespace="default") == {T0: 1.5}


async def test_gzip_and_precision_are_settings(target, influx):
    changed = {**target.model_dump(), "gzip": True, "precision": "ms"}
    packed = Influxdb2Sink(Influxdb2Target.model_validate(changed))
    lines = await body_of(packed, influx, (make_route(PLACE), Reading(1.5, T0 + 0.1234)))
    assert lines[0].endswith(" 1790000000123")
    assert influx.requests[-1].headers["Content-Encoding"] == "gzip"
    assert influx.requests[-1].query["precision"] == "ms"


# ---------------------------------------------------------------- answers ----


async def test_a_line_that_the_server_names_is_refused_alone(sink, influx):
    routes = [make_route(PLACE, name) for name in ("a", "b", "c")]
    # What it will say of the second line; then it takes the rest.
    line = "meter,device=dev-1,namespace=default b=1.5,b_quality=0i 1790000001000000"
    text = f"unable to parse '{line}': bad luck"
    async with opened(sink):
        influx.answers.append(web.json_response({"code": "invalid", "message": text}, status=400))
        failed = await sink.send([(r, Reading(1.5, T0 + n)) for n, r in enumerate(routes)])
    assert {n: str(error) for n, error in failed.items()} == {1: "bad luck"}
    assert len(influx.bodies[-1].split("\n")) == 2


async def test_lines_that_a_version_3_lists_are_refused(sink, influx):
    routes = [make_route(PLACE, name) for name in ("a", "b")]
    entry = {"line_number": 1, "original_line": "meter,device=dev-1,n", "error_message": "no"}
    stranger = {"line_number": 2, "original_line": "another", "error_message": "no"}
    answer = {
        "error": "partial write of line protocol occurred",
        "data": [entry, stranger, {}, "x"],
    }
    async with opened(sink):
        influx.answers.append(web.json_response(answer, status=400))
        failed = await sink.send([(r, Reading(1.5, T0 + n)) for n, r in enumerate(routes)])
    assert {n: type(error) for n, error in failed.items()} == {0: RefusedError}


async def test_a_field_of_two_types_is_refused_as_a_whole_for_the_worker_to_halve(sink, influx):
    async with opened(sink):
        assert not await sink.send([(make_route(PLACE), Reading(1.5, T0))])
        with pytest.raises(RefusedError, match="field type conflict"):
            await sink.send([(make_route(PLACE), Reading("text", T0))])


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, RefusedError),
        (401, ConfigError),
        (403, ConfigError),
        (404, ConfigError),
        (307, ConfigError),
        (408, DeadlineError),
        (413, TooLargeError),
        (429, OverloadedError),
        (500, UnavailableError),
        (503, UnavailableError),
        (504, DeadlineError),
    ],
)
async def test_a_status_says_whose_fault_it_is(sink, influx, status, error):
    async with opened(sink):
        headers = {"Location": influx.url} if status == 307 else {}
        influx.answers.append(web.Response(status=status, text="because", headers=headers))
        with pytest.raises(error, match=str(status)) as caught:
            await sink.send([(make_route(PLACE), Reading(1.5, T0))])
    assert caught.type is error


async def test_an_endless_row_of_bad_lines_ends(sink, influx):
    routes = [make_route(PLACE, f"p{n}") for n in range(20)]
    async with opened(sink):
        for n in range(20):
            line = f"meter,device=dev-1,namespace=default p{n}=1.5,p{n}_quality=0i {1790000000 + n}"
            answer = {"message": f"unable to parse '{line}000000': no"}
            influx.answers.append(web.json_response(answer, status=400))
        with pytest.raises(RefusedError):
            await sink.send([(r, Reading(1.5, T0 + n)) for n, r in enumerate(routes)])


async def test_a_wrong_token_is_for_a_human(target, influx, monkeypatch):
    monkeypatch.setenv("INFLUX_TOKEN", "wrong")
    sink = Influxdb2Sink(target)
    async with opened(sink):
        with pytest.raises(ConfigError):
            await sink.send([(make_route(PLACE), Reading(1.5, T0))])


async def test_a_missing_token_is_for_a_human(target, monkeypatch):
    monkeypatch.delenv("INFLUX_TOKEN")
    with pytest.raises(ConfigError, match="INFLUX_TOKEN"):
        await Influxdb2Sink(target).open()


async def test_open_tells_why_there_is_no_answer(sink, influx):
    influx.answers.append(web.Response(status=503, text="starting"))
    with pytest.raises(UnavailableError, match="starting"):
        await sink.open()


@pytest.mark.parametrize("status", [400, 404, 405])
async def test_a_server_without_ping_is_as_good(sink, influx, status):
    influx.answers.append(web.Response(status=status, text="what?"))
    async with opened(sink):
        assert not await sink.send([(make_route(PLACE), Reading(1.5, T0))])


async def test_an_answer_that_is_no_json_is_shown_as_text(sink, influx):
    async with opened(sink):
        influx.answers.append(web.Response(status=500, text='no "room"'))
        with pytest.raises(UnavailableError, match=r'^answered 500: no "room"$'):
            await sink.send([(make_route(PLACE), Reading(1.5, T0))])


async def test_a_token_that_no_header_can_carry_is_for_a_human(sink, monkeypatch):
    monkeypatch.setenv("INFLUX_TOKEN", "s3cret\nX: y")
    with pytest.raises(ConfigError, match=r"env:INFLUX_TOKEN.* line break") as caught:
        await sink.open()
    assert "s3cret" not in str(caught.value)


async def test_sending_before_opening_is_unavailable(sink):
    with pytest.raises(UnavailableError):
        await sink.send([(make_route(PLACE), Reading(1.5, T0))])


# --------------------------------------------------------------- settings ----


def test_reads_the_pushmethod_of_a_device():
    declared = DbInfluxdb2.model_validate(
        {
            "influxdb2ClientConfig": {"url": "http://db:8086", "org": "o", "bucket": "b"},
            "influxdb2DataConfig": {
                "measurement": "m{x}",
                "tag": {"unit": "C", "empty": ""},
                "fieldKey": "f",
            },
        }
    )
    target, place = Influxdb2Sink.pushed(declared)
    assert Influxdb2Target.model_validate(target).bucket == "b"
    read = Influxdb2Place.model_validate(place)
    assert (read.measurement, read.field, read.tags) == ("m{{x}}", "f", {"unit": "C"})


def test_what_a_device_leaves_open_has_our_default():
    _, place = Influxdb2Sink.pushed(DbInfluxdb2())
    assert Influxdb2Place.model_validate(place) == Influxdb2Place()


def test_other_blocks_are_not_its_own():
    with pytest.raises(UnsupportedError):
        Influxdb2Sink.pushed(DbRedis())


def test_settings_hold_no_secret():
    with pytest.raises(ValueError, match="env:NAME"):
        Influxdb2Target(url="http://x", bucket="b", token="t0ken")  # noqa: S106 - refused
    assert "t0ken" not in json.dumps(Influxdb2Target.model_json_schema())

"""The Redis sink against redis-server."""

import asyncio
import json
from typing import ClassVar

import pytest
import redis.asyncio as aioredis

from dmi.errors import (
    ConfigError,
    ConversionError,
    DeadlineError,
    OverloadedError,
    RefusedError,
    UnavailableError,
    UnsupportedError,
)
from dmi.readings import Quality, Reading
from dmi.resources import DbMySQL, DbRedis
from mapper_sdk.delivery.contract import make_route, opened
from mapper_sdk.sinks.redis import RedisPlace, RedisSink, RedisTarget
from mapper_sdk.testing import SinkContract
from tests.servers.redis import Redis

pytestmark = pytest.mark.process

T0 = 1_790_000_000.0
QUALITIES = {"good": Quality.GOOD, "uncertain": Quality.UNCERTAIN, "bad": Quality.BAD}
READERS = {
    "INT": int,
    "FLOAT": float,
    "DOUBLE": float,
    "BOOLEAN": {b"true": True, b"false": False}.get,
    "STRING": bytes.decode,
    "BYTES": bytes,
}


@pytest.fixture(scope="module")
def process():
    with Redis() as server:
        yield server


@pytest.fixture
async def server(process):
    await process.start()
    async with aioredis.Redis(port=process.port) as client:
        await client.flushall()
    return process


@pytest.fixture
async def client(server):
    async with aioredis.Redis(port=server.port) as one:
        yield one


@pytest.fixture
async def sink(server):
    one = RedisSink(RedisTarget(address=server.address, timeout=3))
    yield one
    await one.close()


def parse(fields):
    """One reading from the fields of an entry."""
    value = fields.get(b"value")
    if value is not None:
        value = READERS[fields[b"type"].decode()](value)
    quality = QUALITIES[fields[b"quality"].decode()]
    return Reading(value, float(fields[b"time"]), quality, fields.get(b"reason", b"").decode())


class TestContract(SinkContract):
    time_step: ClassVar[float] = 1e-6

    async def arrived(self, server, route):
        source = route.source
        name = source.property.replace("%", "%25").replace(":", "%3A")
        async with aioredis.Redis(port=server.port) as one:
            entries = await one.xrange(f"dmi:{source.device.namespace}:{source.device.name}:{name}")
        return [parse(fields) for _, fields in entries]


def stream(**settings):
    return make_route(RedisPlace(**settings))


# ---------------------------------------------------------------- streams ----


async def test_an_entry_has_the_time_of_the_reading_as_its_id(sink, client):
    async with opened(sink):
        assert not await sink.send([(stream(), Reading(1.5, T0 + 0.000123))])
    [(identity, fields)] = await client.xrange("dmi:default:dev-1:p")
    assert identity == b"1790000000000-123000"
    assert fields == {
        b"type": b"DOUBLE",
        b"time": b"1790000000.000123",
        b"value": b"1.5",
        b"quality": b"good",
    }


async def test_readings_of_one_moment_in_one_stream_are_all_kept(sink, client):
    place = RedisPlace(key="all")
    items = [(make_route(place, f"p{n}"), Reading(1.5, T0)) for n in range(3)]
    async with opened(sink):
        for _ in range(2):
            assert not await sink.send(items)
    entries = await client.xrange("all")
    assert [(i, f[b"property"]) for i, f in entries] == [
        (b"1790000000000-%d" % n, b"p%d" % n) for n in range(3)
    ]


async def test_readings_that_come_late_go_behind_and_come_once(sink, client):
    route = stream()
    late = [(route, Reading(float(n), T0 + n)) for n in range(3)]
    live = [(route, Reading(9.0, T0 + 9))]
    async with opened(sink):
        for batch in (live, late, late, live, late):
            assert not await sink.send(batch)
        assert not await sink.send([(route, Reading(10.0, T0 + 10))])
    entries = [fields for _, fields in await client.xrange("dmi:default:dev-1:p")]
    assert [fields[b"value"] for fields in entries] == [b"9.0", b"0.0", b"1.0", b"2.0", b"10.0"]
    assert await client.zcard("dmi:default:dev-1:p:late") == 3
    assert 0 < await client.ttl("dmi:default:dev-1:p:late") <= 86_400


async def test_what_is_remembered_of_late_readings_is_as_bounded_as_the_stream(sink, client):
    """A long outage brings millions of them."""
    route = stream(length=100)
    last = [(route, Reading(float(n), T0 + n)) for n in range(300, 400)]
    async with opened(sink):
        assert not await sink.send([(route, Reading(0.0, T0 + 1000))])
        assert not await sink.send([(route, Reading(float(n), T0 + n)) for n in range(300)])
        for _ in range(2):
            assert not await sink.send(last)
    assert await client.dbsize() == 2
    assert await client.zcard("dmi:default:dev-1:p:late") == 100
    newest = await client.xrevrange("dmi:default:dev-1:p", count=100)
    assert [float(fields[b"value"]) for _, fields in reversed(newest)] == [
        reading.value for _, reading in last
    ]


async def test_a_stream_keeps_about_as_many_as_it_should(sink, client):
    route = stream(length=100)
    async with opened(sink):
        for n in range(3):
            batch = [(route, Reading(1.0, T0 + n * 200 + i)) for i in range(200)]
            assert not await sink.send(batch)
    assert 100 <= await client.xlen("dmi:default:dev-1:p") < 300


async def test_names_that_would_be_one_key_are_kept_apart(sink, client):
    place = RedisPlace(key="{property}:{device}")
    routes = [make_route(place, "a:b", device="c"), make_route(place, "a", device="b:c")]
    async with opened(sink):
        assert not await sink.send([(route, Reading(1.0, T0)) for route in routes])
    assert sorted(await client.keys()) == [b"a%3Ab:c", b"a:b%3Ac"]


# ---------------------------------------------------------- other layouts ----


async def test_the_latest_never_goes_back(sink, client):
    route = stream(layout="latest")
    async with opened(sink):
        assert not await sink.send([(route, Reading(2.0, T0 + 2)), (route, Reading(1.0, T0 + 1))])
        key = "dmi:latest:default:dev-1:p"
        assert parse(await client.hgetall(key)) == Reading(2.0, T0 + 2)
        bad = Reading(None, T0 + 3, Quality.BAD, "unavailable")
        assert not await sink.send([(route, bad)])
        assert parse(await client.hgetall(key)) == bad
        assert not await sink.send([(route, Reading(4.0, T0 + 4))])
        assert parse(await client.hgetall(key)) == Reading(4.0, T0 + 4)


async def test_publishes_what_rest_would_say(sink, client):
    async with client.pubsub() as listener:
        await listener.subscribe("plant/dev-1")
        await listener.get_message(timeout=3)
        async with opened(sink):
            route = stream(layout="publish", key="plant/{device}")
            assert not await sink.send([(route, Reading(1.5, T0))])
        message = await listener.get_message(timeout=3)
    said = json.loads(message["data"])
    assert (said["property"], said["value"], said["quality"]) == ("p", 1.5, "good")


async def test_kubeedges_sorted_set(sink, client):
    route = stream(layout="zset", length=3)
    readings = [Reading(float(n), T0 + n) for n in range(5)]
    async with opened(sink):
        for _ in range(2):
            assert not await sink.send([(route, reading) for reading in readings])
        assert not await sink.send([(route, Reading(None, T0 + 9, Quality.BAD, "x"))])
    members = await client.zrange("dev-1", 0, -1, withscores=True)
    assert [score for _, score in members] == [(T0 + n) * 1000 for n in (2, 3, 4)]
    assert json.loads(members[0][0]) == {
        "DeviceName": "dev-1",
        "PropertyName": "p",
        "Namespace": "default",
        "Value": "2",
        "Type": "double",
        "TimeStamp": 1790000002000,
    }


async def test_what_json_cannot_say_is_refused_alone(sink, client):
    async with opened(sink):
        route = stream(layout="publish")
        failed = await sink.send([(route, Reading(float("nan"), T0)), (stream(), Reading(1.0, T0))])
    assert {n: type(error) for n, error in failed.items()} == {0: ConversionError}
    assert await client.xlen("dmi:default:dev-1:p") == 1


async def test_infinity_is_text_like_any_number(sink, client):
    async with opened(sink):
        assert not await sink.send([(stream(), Reading(float("inf"), T0))])
    [(_, fields)] = await client.xrange("dmi:default:dev-1:p")
    assert fields[b"value"] == b"inf"


# ----------------------------------------------------------------- errors ----


async def test_a_key_of_another_kind_refuses_its_readings_only(sink, client):
    await client.set("dmi:default:dev-1:p", "mine")
    other = make_route(RedisPlace(), "q")
    async with opened(sink):
        failed = await sink.send([(stream(), Reading(1.0, T0)), (other, Reading(1.0, T0))])
    assert {n: type(error) for n, error in failed.items()} == {0: RefusedError}
    assert await client.xlen("dmi:default:dev-1:q") == 1


async def test_a_full_server_is_tried_again(sink, client):
    await client.config_set("maxmemory", "1")
    try:
        async with opened(sink):
            with pytest.raises(OverloadedError):
                await sink.send([(stream(), Reading(1.0, T0))])
    finally:
        await client.config_set("maxmemory", "0")


async def test_a_replica_is_tried_again(sink, client):
    await client.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        async with opened(sink):
            with pytest.raises(UnavailableError, match="replica"):
                await sink.send([(stream(), Reading(1.0, T0))])
    finally:
        await client.execute_command("REPLICAOF", "NO", "ONE")


async def test_forgotten_scripts_are_loaded_again_by_opening(sink, client):
    async with opened(sink):
        await client.script_flush()
        with pytest.raises(UnavailableError):
            await sink.send([(stream(), Reading(1.0, T0))])
        await sink.close()
        await sink.open()
        assert not await sink.send([(stream(), Reading(1.0, T0))])


async def test_a_server_that_hangs_is_given_up(server):
    sink = RedisSink(RedisTarget(address=server.address, timeout=0.1))
    server.freeze()
    try:
        with pytest.raises(DeadlineError):
            await sink.open()
    finally:
        server.thaw()


async def test_sending_before_opening_is_unavailable(sink):
    with pytest.raises(UnavailableError):
        await sink.send([(stream(), Reading(1.0, T0))])


async def test_a_wrong_number_of_a_database_is_for_a_human(server):
    with pytest.raises(ConfigError):
        await RedisSink(RedisTarget(address=server.address, db=99)).open()


# ----------------------------------------------------------- who is asked ----


@pytest.fixture(scope="module")
def guarded():
    with Redis("requirepass s3cret", "user writer on >w0rd ~dmi:* +@all -config") as server:
        yield server


@pytest.mark.parametrize(
    ("settings", "password", "works"),
    [
        ({"password": "env:REDIS_PASSWORD"}, "s3cret", True),
        ({"password": "env:REDIS_PASSWORD", "username": "writer"}, "w0rd", True),
        ({"password": "env:REDIS_PASSWORD"}, "wrong", False),
        ({}, "", False),
    ],
)
async def test_passwords_come_by_reference(guarded, monkeypatch, settings, password, works):
    monkeypatch.setenv("REDIS_PASSWORD", password)
    sink = RedisSink(RedisTarget(address=guarded.address, **settings))
    if not works:
        with pytest.raises(ConfigError):
            await sink.open()
        return
    async with opened(sink):
        assert not await sink.send([(stream(), Reading(1.0, T0))])


async def test_a_key_that_the_user_may_not_write_is_for_a_human(guarded, monkeypatch):
    monkeypatch.setenv("REDIS_PASSWORD", "w0rd")
    target = RedisTarget(
        address=guarded.address,
        username="writer",
        password="env:REDIS_PASSWORD",  # noqa: S106
    )
    sink = RedisSink(target)
    async with opened(sink):
        with pytest.raises(ConfigError):
            await sink.send([(stream(key="other"), Reading(1.0, T0))])


# ----------------------------------------------------- kill -9 in mid-flow ----


async def test_nothing_is_lost_or_doubled_over_kill_and_restart(sink, server, client):
    route = stream()
    readings = [Reading(float(n), T0 + n) for n in range(3000)]
    batches = [readings[n : n + 100] for n in range(0, 3000, 100)]
    halfway, back = asyncio.Event(), asyncio.Event()

    async def deliver():
        """What a worker does: the same batch again until it was taken."""
        for number, batch in enumerate(batches):
            if number == 10:
                halfway.set()
            while True:
                try:
                    await sink.send([(route, reading) for reading in batch])
                    break
                except UnavailableError:
                    await sink.close()
                    await back.wait()
                    await sink.open()

    await sink.open()
    async with asyncio.TaskGroup() as group:
        group.create_task(deliver())
        await halfway.wait()
        await server.kill()
        await server.start()
        back.set()
    entries = await client.xrange("dmi:default:dev-1:p")
    assert [float(fields[b"value"]) for _, fields in entries] == [r.value for r in readings]


# --------------------------------------------------------------- settings ----


def test_reads_the_pushmethod_of_a_device():
    declared = DbRedis.model_validate(
        {"redisClientConfig": {"addr": "db", "db": 2, "poolsize": 9, "minIdleConns": 3}}
    )
    target, place = RedisSink.pushed(declared)
    assert RedisTarget.model_validate(target) == RedisTarget(address="db:6379", db=2)
    assert RedisPlace.model_validate(place) == RedisPlace()


def test_other_blocks_are_not_its_own():
    with pytest.raises(UnsupportedError):
        RedisSink.pushed(DbMySQL())


@pytest.mark.parametrize("address", ["", "a:b", "redis://a", "user@a", "a b", "a/1", ":6379"])
def test_an_address_is_host_and_port(address):
    with pytest.raises(ValueError, match="address"):
        RedisTarget(address=address)


def test_spellings_of_one_place_are_one_target():
    assert RedisTarget(address="[::1]") == RedisTarget(address="[::1]:6379")


def test_a_name_that_the_client_cannot_check_is_refused():
    with pytest.raises(ValueError, match="another name"):
        RedisTarget(address="a", tls={"serverName": "b"})

"""The Kafka sink against a broker of our own, and against librdkafka's."""

import asyncio
import json
from base64 import b64decode
from typing import ClassVar

import pytest

from dmi.errors import (
    ConfigError,
    ConversionError,
    DeadlineError,
    RefusedError,
    TooLargeError,
    UnavailableError,
    UnsupportedError,
)
from dmi.readings import Quality, Reading
from dmi.resources import DbRedis
from mapper_sdk.delivery.contract import make_route, opened
from mapper_sdk.sinks.kafka import KafkaPlace, KafkaSink, KafkaTarget
from mapper_sdk.testing import SinkContract
from tests.servers.kafka import FakeKafka
from tests.servers.process import missing

T0 = 1_790_000_000.0
QUALITIES = {"good": Quality.GOOD, "uncertain": Quality.UNCERTAIN, "bad": Quality.BAD}
PLACE = KafkaPlace()


@pytest.fixture
async def broker():
    fake = FakeKafka()
    await fake.start()
    yield fake
    await fake.kill()


@pytest.fixture
async def sink(broker):
    one = KafkaSink(KafkaTarget(servers=(broker.address,), timeout=3))
    yield one
    await one.close()


def parse(message):
    said = json.loads(message.value)
    value = said["value"]
    if value is not None and said["type"] == "BYTES":
        value = b64decode(value)
    if value is not None and said["type"] in ("FLOAT", "DOUBLE"):
        value = float(value)
    quality = QUALITIES[said["quality"]]
    return Reading(value, message.timestamp / 1000, quality, said["reason"])


class TestContract(SinkContract):
    tells_apart: ClassVar[bool] = False

    @pytest.fixture
    def server(self, broker):
        return broker

    async def arrived(self, server, route):
        source = route.source
        key = f"{source.device.namespace}/{source.device.name}/{source.property}".encode()
        return [parse(m) for m in server.messages("dmi-readings") if m.key == key]


# --------------------------------------------------------------- messages ----


async def test_a_message_has_key_time_and_what_rest_would_say(sink, broker):
    route = make_route(KafkaPlace(topic="plant.{model}", key="{label:line}/{device}"))
    async with opened(sink):
        assert not await sink.send([(route, Reading(1.5, T0))])
    [message] = broker.messages("plant.meter")
    assert message.key == b"7/dev-1"
    assert message.timestamp == T0 * 1000
    assert json.loads(message.value)["value"] == 1.5


async def test_messages_of_one_key_keep_their_order(sink, broker):
    routes = [make_route(PLACE, f"p{n}") for n in range(5)]
    readings = [Reading(float(n), T0 + n) for n in range(300)]
    async with opened(sink):
        for start in range(0, 300, 50):
            batch = [(r, reading) for reading in readings[start : start + 50] for r in routes]
            assert not await sink.send(batch)
    for n in range(5):
        key = f"default/dev-1/p{n}".encode()
        found = [parse(m) for m in broker.messages("dmi-readings") if m.key == key]
        assert found == readings
    assert broker.batches < 60


async def test_a_topic_that_cannot_be_is_refused_alone(sink, broker):
    bad = make_route(KafkaPlace(topic="{property}"), "a b")
    async with opened(sink):
        failed = await sink.send([(bad, Reading(1.0, T0)), (make_route(PLACE), Reading(1.0, T0))])
    assert {n: type(error) for n, error in failed.items()} == {0: ConversionError}
    assert len(broker.messages("dmi-readings")) == 1


async def test_a_message_that_is_too_large_is_refused_alone(sink, broker):
    route = make_route(PLACE)
    async with opened(sink):
        failed = await sink.send([(route, Reading("x" * 2_000_000, T0)), (route, Reading(1.0, T0))])
    assert {n: type(error) for n, error in failed.items()} == {0: TooLargeError}
    assert len(broker.messages("dmi-readings")) == 1


async def test_packs_batches_where_it_should(broker):
    sink = KafkaSink(KafkaTarget(servers=(broker.address,), compression="gzip", timeout=3))
    async with opened(sink):
        assert not await sink.send([(make_route(PLACE), Reading("x" * 9000, T0))])
    assert len(broker.messages("dmi-readings")) == 1


# ------------------------------------------------------------ idempotence ----


async def test_a_batch_whose_answer_was_lost_arrives_once(sink, broker):
    route = make_route(PLACE)
    async with opened(sink):
        assert not await sink.send([(route, Reading(0.0, T0))])
        broker.no_answers = 2
        assert not await sink.send([(route, Reading(1.0, T0 + 1))])
        assert not await sink.send([(route, Reading(2.0, T0 + 2))])
    assert broker.batches > 3
    assert [parse(m).value for m in broker.messages("dmi-readings")] == [0.0, 1.0, 2.0]


async def test_nothing_is_lost_or_doubled_over_kill_and_restart(sink, broker):
    route = make_route(PLACE)
    async with opened(sink), asyncio.TaskGroup() as group:
        assert not await sink.send([(route, Reading(0.0, T0))])
        broker.no_answers = 1
        broker.came.clear()
        sending = group.create_task(sink.send([(route, Reading(1.0, T0 + 1))]))
        await broker.came.wait()
        await broker.kill()
        await broker.start()
        assert not await sending
    assert [parse(m).value for m in broker.messages("dmi-readings")] == [0.0, 1.0]


@pytest.mark.parametrize("code", [5, 6, 7, 19])
async def test_what_passes_is_repeated_by_the_client(sink, broker, code):
    async with opened(sink):
        broker.errors.append(code)
        assert not await sink.send([(make_route(PLACE), Reading(1.0, T0))])
    assert len(broker.messages("dmi-readings")) == 1


# ----------------------------------------------------------------- errors ----


@pytest.mark.parametrize(
    ("code", "error"),
    [(44, RefusedError), (10, TooLargeError), (45, UnavailableError), (-1, UnavailableError)],
)
async def test_a_code_says_whose_fault_it_is(sink, broker, code, error):
    async with opened(sink):
        broker.errors.append(code)
        failed = await sink.send([(make_route(PLACE), Reading(1.0, T0))])
    assert {n: type(e) for n, e in failed.items()} == {0: error}


async def test_a_topic_that_the_user_may_not_write_is_for_a_human(sink, broker):
    async with opened(sink):
        broker.errors.append(29)
        with pytest.raises(ConfigError):
            await sink.send([(make_route(PLACE), Reading(1.0, T0))])


async def test_a_topic_that_nobody_made_is_tried_again(broker):
    broker.missing.add("dmi-readings")
    sink = KafkaSink(KafkaTarget(servers=(broker.address,), timeout=0.3))
    async with opened(sink):
        with pytest.raises(UnavailableError):
            await sink.send([(make_route(PLACE), Reading(1.0, T0))])


async def test_a_broker_that_is_gone_is_given_up_in_time(broker):
    sink = KafkaSink(KafkaTarget(servers=(broker.address,), timeout=0.3))
    async with opened(sink):
        await broker.kill()
        with pytest.raises(DeadlineError):
            await sink.send([(make_route(PLACE), Reading(1.0, T0))])


async def test_a_send_that_fails_at_once_lets_go_without_being_cancelled(sink):
    """The producer's own task has not begun then; its end must not look like that of ours."""
    await sink.open()
    with pytest.raises(OverflowError):
        await sink.send([(make_route(KafkaPlace()), Reading(1.5, float("inf")))])
    await sink.close()


async def test_sending_before_opening_is_unavailable(sink):
    with pytest.raises(UnavailableError):
        await sink.send([(make_route(PLACE), Reading(1.0, T0))])


async def test_the_second_broker_is_asked_when_the_first_is_away(broker):
    sink = KafkaSink(KafkaTarget(servers=("127.0.0.1:1", broker.address), timeout=3))
    async with opened(sink):
        assert not await sink.send([(make_route(PLACE), Reading(1.0, T0))])


# ----------------------------------------------------------- who is asked ----


@pytest.mark.parametrize(
    ("password", "mechanism", "works"),
    [("s3cret", "PLAIN", True), ("wrong", "PLAIN", False), ("s3cret", "SCRAM-SHA-256", False)],
)
async def test_passwords_come_by_reference(monkeypatch, password, mechanism, works):
    monkeypatch.setenv("KAFKA_PASSWORD", password)
    broker = FakeKafka(users={"mapper": "s3cret"})
    await broker.start()
    target = KafkaTarget(
        servers=(broker.address,),
        username="mapper",
        password="env:KAFKA_PASSWORD",  # noqa: S106 - only where it is
        mechanism=mechanism,
        timeout=3,
    )
    sink = KafkaSink(target)
    try:
        if works:
            async with opened(sink):
                assert not await sink.send([(make_route(PLACE), Reading(1.0, T0))])
        else:
            with pytest.raises(ConfigError):
                await sink.open()
    finally:
        await broker.kill()


# ----------------------------------------------- another implementation ----


@pytest.fixture
def librdkafka():
    """The mock cluster inside librdkafka: its own code on the other side of the wire."""
    try:
        import confluent_kafka
    except ImportError:
        missing("confluent-kafka is not installed")
    settings = {"bootstrap.servers": "mock", "test.mock.num.brokers": "1", "log_level": 0}
    producer = confluent_kafka.Producer(settings)
    brokers = producer.list_topics(timeout=10).brokers.values()
    yield ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
    producer.flush(1)


async def test_librdkafka_reads_what_it_was_sent(librdkafka):
    from confluent_kafka import Consumer, TopicPartition

    sink = KafkaSink(KafkaTarget(servers=tuple(librdkafka.split(",")), timeout=10))
    readings = [Reading(float(n), T0 + n) for n in range(50)]
    async with opened(sink):
        for start in range(0, 50, 10):
            batch = [(make_route(PLACE), reading) for reading in readings[start : start + 10]]
            assert not await sink.send(batch)

    def consume():
        consumer = Consumer({"bootstrap.servers": librdkafka, "group.id": "g", "log_level": 0})
        topic = consumer.list_topics("dmi-readings", timeout=10).topics["dmi-readings"]
        consumer.assign([TopicPartition("dmi-readings", n, 0) for n in topic.partitions])
        found = consumer.consume(50, timeout=10)
        consumer.close()
        return [(m.key(), m.timestamp()[1], json.loads(m.value())["value"]) for m in found]

    found = await asyncio.to_thread(consume)
    assert found == [(b"default/dev-1/p", (T0 + n) * 1000, float(n)) for n in range(50)]


# --------------------------------------------------------------- settings ----


def test_no_device_pushes_to_it():
    with pytest.raises(UnsupportedError):
        KafkaSink.pushed(DbRedis())


def test_a_user_needs_a_password():
    with pytest.raises(ValueError, match="belong together"):
        KafkaTarget(servers=("a",), username="u")


def test_spellings_of_one_place_are_one_target():
    assert KafkaTarget(servers=["a", "b"]) == KafkaTarget(servers=("a:9092", "b:9092"))

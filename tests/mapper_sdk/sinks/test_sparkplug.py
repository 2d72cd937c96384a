"""Sparkplug B: what a node publishes, and that a host application can make sense of it."""

import struct

import pytest

from dmi.errors import ConfigError
from dmi.readings import Quality, Reading
from dmi.resources import DataType, Key
from mapper_sdk.delivery.contract import make_route, opened, until
from mapper_sdk.delivery.sink import Source
from mapper_sdk.sinks.mqtt.settings import MqttPlace, MqttTarget
from mapper_sdk.sinks.mqtt.sink import MqttSink
from mapper_sdk.sinks.mqtt.sparkplug import payload_pb2 as pb
from mapper_sdk.sinks.mqtt.sparkplug.node import Node, is_rebirth
from tests.servers.cuttable import Cuttable
from tests.servers.mosquitto import Mosquitto

START = 1_790_000_000.0
NODE = {"group": "plant", "node": "edge-1"}
VALUE = {
    4: "long_value",
    8: "long_value",
    9: "float_value",
    10: "double_value",
    11: "boolean_value",
    12: "string_value",
    17: "bytes_value",
}


def source(name="t", device="kiln", data_type=DataType.DOUBLE, unit="°C"):
    return Source(Key("default", device), name, data_type, unit)


def parsed(message):
    return pb.Payload.FromString(message.payload)


def kinds(messages):
    return [message.topic.split("/")[2] for message in messages]


@pytest.fixture
def node():
    node = Node("plant", "edge-1")
    node.death(START)
    node.birth(START)
    return node


def send(node, *readings, start=0):
    messages, refused = node.data(
        [(start + n, one, reading) for n, (one, reading) in enumerate(readings)], START
    )
    assert not refused
    return messages


def quality_of(metric):
    values = dict(zip(metric.properties.keys, metric.properties.values, strict=True))
    return values["Quality"].int_value


def test_a_payload_has_the_published_numbers_and_types_of_fields():
    """Bytes written by hand from the specification's table."""
    metric = (
        b"\x0a\x01t"  # 1 name
        b"\x10\x05"  # 2 alias
        b"\x18\x07"  # 3 timestamp
        b"\x20\x0a"  # 4 datatype
        b"\x28\x01"  # 5 is_historical
        b"\x69" + struct.pack("<d", 1.5)  # 13 double_value
    )
    by_hand = b"\x08\x07" + b"\x12" + bytes([len(metric)]) + metric + b"\x18\x03"
    payload = pb.Payload(timestamp=7, seq=3)
    payload.metrics.add(
        name="t", alias=5, timestamp=7, datatype=10, is_historical=True, double_value=1.5
    )
    assert payload.SerializeToString() == by_hand
    rest = pb.Metric(is_null=True, int_value=1).SerializeToString()
    assert rest == b"\x38\x01\x50\x01"  # 7 and 10
    assert pb.Metric(long_value=1).SerializeToString() == b"\x58\x01"  # 11
    assert pb.Metric(float_value=0.5).SerializeToString() == b"\x65\x00\x00\x00\x3f"  # 12
    assert pb.Metric(boolean_value=True).SerializeToString() == b"\x70\x01"  # 14
    assert pb.Metric(string_value="a").SerializeToString() == b"\x7a\x01a"  # 15
    assert pb.Metric(bytes_value=b"a").SerializeToString() == b"\x82\x01\x01a"  # 16
    values = pb.PropertyValue(type=3, int_value=192)
    properties = pb.PropertySet(keys=["Q"], values=[values])
    # 9 properties: keys 1, values 2; in those type 1, int_value 3.
    by_hand = b"\x4a\x0a\x0a\x01Q\x12\x05\x08\x03\x18\xc0\x01"
    assert pb.Metric(properties=properties).SerializeToString() == by_hand


def test_a_node_is_born_before_its_devices_and_those_before_their_data():
    node = Node("plant", "edge-1")
    will = node.death(START)
    assert will.topic == "spBv1.0/plant/NDEATH/edge-1"
    (birth,) = node.birth(START)
    assert birth.topic == "spBv1.0/plant/NBIRTH/edge-1"
    payload = parsed(birth)
    assert payload.seq == 0
    metrics = {metric.name: metric for metric in payload.metrics}
    assert metrics["bdSeq"].long_value == parsed(will).metrics[0].long_value == 0
    assert metrics["bdSeq"].datatype == 8
    assert not metrics["Node Control/Rebirth"].boolean_value
    messages = send(node, (source(), Reading(1.5, START)))
    assert [m.topic for m in messages] == [
        "spBv1.0/plant/DBIRTH/edge-1/default.kiln",
        "spBv1.0/plant/DDATA/edge-1/default.kiln",
    ]
    assert [m.of for m in messages] == [(), (0,)]
    assert [parsed(m).seq for m in messages] == [1, 2]
    assert kinds(send(node, (source(), Reading(2.5, START + 1)))) == ["DDATA"]


def test_data_names_by_alias_what_the_birth_has_declared(node):
    one, two = source("a"), source("b", data_type=DataType.INT)
    birth, data = map(parsed, send(node, (one, Reading(1.5, START)), (two, Reading(-2, START))))
    declared = {metric.alias: metric for metric in birth.metrics}
    assert [(m.name, m.datatype, m.is_null) for m in birth.metrics] == [
        ("a", 10, True),
        ("b", 4, True),
    ]
    assert [declared[m.alias].name for m in data.metrics] == ["a", "b"]
    assert not any(m.name or m.datatype for m in data.metrics)
    assert data.metrics[0].double_value == 1.5
    assert data.metrics[1].long_value == 2**64 - 2
    assert data.metrics[0].timestamp == START * 1000
    units = dict(zip(birth.metrics[0].properties.keys, birth.metrics[0].properties.values))  # noqa: B905 - lengths are the protocol's
    assert units["engUnit"].string_value == "°C"


def test_a_new_property_or_type_is_a_new_birth_with_what_is_known(node):
    send(node, (source("a"), Reading(1.5, START)))
    birth, data = map(parsed, send(node, (source("b"), Reading(2.5, START))))
    assert [(m.name, m.double_value, m.is_null) for m in birth.metrics] == [
        ("a", 1.5, False),
        ("b", 0.0, True),
    ]
    assert len(data.metrics) == 1
    changed = source("a", data_type=DataType.STRING)
    assert kinds(send(node, (changed, Reading("x", START)))) == ["DBIRTH", "DDATA"]
    # The same declaration in another object is no change.
    same = source("a", data_type=DataType.STRING)
    assert kinds(send(node, (same, Reading("y", START)))) == ["DDATA"]


def test_devices_have_messages_of_their_own_with_their_readings(node):
    messages = send(
        node,
        (source(device="a"), Reading(1.0, START)),
        (source(device="b"), Reading(2.0, START)),
        (source(device="a"), Reading(3.0, START + 1)),
    )
    assert kinds(messages) == ["DBIRTH", "DDATA", "DBIRTH", "DDATA"]
    assert [m.of for m in messages] == [(), (0, 2), (), (1,)]


@pytest.mark.parametrize(
    ("data_type", "value"),
    [
        (DataType.INT, 2**63 - 1),
        (DataType.FLOAT, 0.5),
        (DataType.DOUBLE, float("inf")),
        (DataType.BOOLEAN, True),
        (DataType.STRING, "žluť"),
        (DataType.STREAM, "rtsp://x"),
        (DataType.BYTES, b"\x00\xff"),
    ],
)
def test_types(node, data_type, value):
    birth, data = map(parsed, send(node, (source(data_type=data_type), Reading(value, START))))
    field = VALUE[birth.metrics[0].datatype]
    assert data.metrics[0].WhichOneof("value") == field
    assert getattr(data.metrics[0], field) == value


def test_what_does_not_fit_its_type_is_refused_alone(node):
    one = source()
    messages, refused = node.data([(0, one, Reading("x", START)), (1, one, Reading(1.0, START))], 0)
    assert list(refused) == [0]
    assert messages[-1].of == (1,)
    messages, refused = node.data([(0, one, Reading("x", START))], 0)
    assert not messages


def test_qualities_and_late_readings(node):
    one = source()
    messages = send(
        node,
        (one, Reading(1.0, START + 5)),
        (one, Reading(2.0, START + 1, Quality.UNCERTAIN, "stale")),
        (one, Reading(None, START + 6, Quality.BAD, "deadline")),
    )
    metrics = parsed(messages[-1]).metrics
    assert [quality_of(metric) for metric in metrics] == [192, 500, 0]
    assert [metric.is_historical for metric in metrics] == [False, True, False]
    assert [metric.is_null for metric in metrics] == [False, False, True]


def test_after_a_reconnect_all_are_born_again(node):
    send(node, (source(device="a"), Reading(1.0, START)))
    will = parsed(node.death(START + 9))
    messages = node.birth(START + 9)
    assert kinds(messages) == ["NBIRTH", "DBIRTH"]
    assert will.metrics[0].long_value == 1
    assert [parsed(m).seq for m in messages] == [0, 1]
    assert kinds(send(node, (source(device="a"), Reading(2.0, START)))) == ["DDATA"]


def test_the_sequence_begins_again_after_255(node):
    one = source()
    found = [parsed(send(node, (one, Reading(1.0, START)))[-1]).seq for _ in range(300)]
    assert found[:2] == [2, 3]
    assert found[252:256] == [254, 255, 0, 1]


def test_commands_that_are_none():
    assert not is_rebirth(b"\xff\xff")
    assert not is_rebirth(b"")
    payload = pb.Payload()
    payload.metrics.add(name="Node Control/Rebirth", boolean_value=False)
    assert not is_rebirth(payload.SerializeToString())


# ----------------------------------------------------------- at a real broker ----


class Host:
    """A host application that trusts nothing it was not told in order."""

    def __init__(self, messages):
        self.values = {}
        self.births = 0
        self.dead = False
        aliases, types = {}, {}
        expected = None
        for message in messages:
            _, _, kind, *rest = message.topic.split("/")
            payload = pb.Payload.FromString(message.payload)
            if kind == "NCMD":
                continue
            if kind == "NDEATH":
                self.dead = True
                continue
            if kind == "NBIRTH":
                self.births, self.dead, expected = self.births + 1, False, 0
                aliases.clear()
            assert payload.seq == expected, f"{kind} {payload.seq}"
            expected = (payload.seq + 1) % 256
            for metric in payload.metrics:
                if kind == "DBIRTH":
                    aliases[metric.alias] = (rest[1], metric.name)
                    types[metric.alias] = metric.datatype
                if kind in ("DBIRTH", "DDATA") and not metric.is_null:
                    value = getattr(metric, VALUE[types[metric.alias]])
                    self.values.setdefault(aliases[metric.alias], []).append(value)


@pytest.fixture(scope="module")
def server():
    with Mosquitto() as broker:
        yield broker


@pytest.mark.process
class TestAtABroker:
    @pytest.fixture
    def group(self, request):
        return request.node.name.replace("[", "-").replace("]", "")

    def sink(self, server, group, port=None):
        return MqttSink(
            MqttTarget.model_validate(
                {
                    "address": f"127.0.0.1:{port or server.port}",
                    "sparkplug": {"group": group, "node": "n"},
                }
            )
        )

    def heard(self, server, group):
        return [m for m in list(server.watcher.messages) if f"/{group}/" in m.topic]

    async def test_birth_data_and_death(self, server, group):
        routes = [make_route(MqttPlace(payload="sparkplug"), f"p{n}") for n in range(2)]
        async with opened(sink := self.sink(server, group)):
            for n in range(300):
                items = [(route, Reading(float(n), START + n)) for route in routes]
                assert not await sink.send(items)

        def done():
            return Host(self.heard(server, group))

        async def dead():
            return done().dead

        assert await until(dead, 10)
        assert done().values[("default.dev-1", "p1")] == [float(n) for n in range(300)]
        assert {message.qos for message in self.heard(server, group)} == {0}

    async def test_the_last_will_is_the_death_of_that_birth(self, server, group):
        def heard(kind):
            async def twice():
                return len([m for m in self.heard(server, group) if kind in m.topic]) == 2

            return twice

        async with Cuttable(server.port) as line:
            sink = self.sink(server, group, line.own_port)
            await sink.open()
            await sink.close()
            await sink.open()
            assert await until(heard("NBIRTH"), 10)
            line.cut_after = 0
            await sink.send([(make_route(MqttPlace(qos=1)), Reading(1.0, START))])
            assert await until(heard("NDEATH"), 10)
            await sink.close()
        births = [
            pb.Payload.FromString(m.payload).metrics[0].long_value
            for m in self.heard(server, group)
        ]
        assert births == [0, 0, 1, 1]
        assert Host(self.heard(server, group)).births == 2

    @pytest.mark.parametrize("busy", [False, True])
    async def test_a_host_that_asks_for_it_sees_another_birth(self, server, group, busy):
        """The count of messages is kept, whether or not a batch is on its way just then."""
        command = pb.Payload()
        command.metrics.add(name="Node Control/Rebirth", boolean_value=True)
        route = make_route(MqttPlace(payload="sparkplug"))
        plain = make_route(MqttPlace(topic=f"{group}/x", qos=1))
        async with opened(sink := self.sink(server, group)):
            for asked in range(1, 4):
                server.watcher.publish(f"spBv1.0/{group}/NCMD/n", command.SerializeToString())
                items = [(plain, Reading(float(n), START + n)) for n in range(500 * busy)]
                items += [(route, Reading(float(asked), START + asked))] * 20
                assert not await sink.send(items)

                async def born(asked=asked):
                    return Host(self.heard(server, group)).births == asked + 1

                assert await until(born, 10), Host(self.heard(server, group)).births

    async def test_without_a_name_for_the_node_nothing_is_sent_or_lost(self, server):
        target, place = (
            MqttTarget(address=f"127.0.0.1:{server.port}"),
            MqttPlace(payload="sparkplug"),
        )
        with pytest.raises(ConfigError, match="needs the target's setting"):
            MqttSink.check(target, place)
        async with opened(sink := MqttSink(target)):
            with pytest.raises(ConfigError, match="needs the target's setting"):
                await sink.send([(make_route(place), Reading(1.0, START))])

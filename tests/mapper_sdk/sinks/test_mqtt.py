"""The MQTT sink against a real mosquitto."""

import asyncio
import base64
import itertools
import json
import socket
import subprocess
from datetime import datetime
from typing import ClassVar

import pytest

from dmi.errors import (
    AccessDeniedError,
    ConfigError,
    ConversionError,
    DeadlineError,
    TooLargeError,
    UnavailableError,
)
from dmi.readings import QUALITIES, Quality, Reading
from dmi.resources import DataType
from mapper_sdk.delivery.contract import SinkContract, make_route, opened, until
from mapper_sdk.sinks.mqtt.settings import MqttPlace, MqttTarget
from mapper_sdk.sinks.mqtt.sink import MqttSink
from tests.servers.cuttable import Cuttable
from tests.servers.mosquitto import PASSWORD, USER, Mosquitto

pytestmark = pytest.mark.process

NUMBERS = itertools.count()
START = 1_790_000_000.0


@pytest.fixture(scope="module")
def server():
    with Mosquitto() as broker:
        yield broker


@pytest.fixture
def prefix():
    return f"t{next(NUMBERS)}"


def target(server, **settings):
    return MqttTarget.model_validate({"address": f"127.0.0.1:{server.port}", **settings})


def reading_of(payload, source_type=None):
    found = json.loads(payload)
    value = found["value"]
    if found["type"] == DataType.BYTES and value is not None:
        value = base64.b64decode(value)
    time = datetime.fromisoformat(found["time"]).timestamp()
    return Reading(value, time, Quality(QUALITIES.index(found["quality"])), found["reason"])


def make_items(route, count, start=0):
    return [(route, Reading(float(n), START + n)) for n in range(start, start + count)]


async def values(server, topic, count):
    async def enough():
        return len(server.watcher.of(topic)) >= count

    await until(enough, 10)
    return [json.loads(message.payload)["value"] for message in server.watcher.of(topic)]


class MqttContract(SinkContract):
    tells_apart = False
    settings: ClassVar = {}
    qos = 1

    @pytest.fixture
    def sink(self, server):
        return MqttSink(target(server, **self.settings))

    @pytest.fixture
    def place(self, prefix):
        return MqttPlace(topic=f"{prefix}/{{device}}/{{property}}", qos=self.qos)

    async def arrived(self, server, route):
        topic = route.cache.topic
        return [reading_of(message.payload) for message in server.watcher.of(topic)]


class TestVersion5(MqttContract):
    settings: ClassVar = {"version": "5"}


class TestVersion311(MqttContract):
    settings: ClassVar = {"version": "3.1.1"}
    qos = 2


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_qos_2_arrives_once_though_the_connection_breaks(server, prefix, version):
    """Again and again in mid-flow, at each stage of the handshake."""
    route = make_route(MqttPlace(topic=f"{prefix}/x", qos=2))
    left = make_items(route, 300)
    async with Cuttable(server.port) as line:
        sink = MqttSink(
            target(
                server,
                address=f"127.0.0.1:{line.own_port}",
                version=version,
                clientId=f"once-{version}",
            )
        )
        for cut_after in (2000, 3333, 4100, 5007, 8000, None):
            line.cut_after = cut_after
            await sink.open()
            failed = await sink.send(left)
            assert all(isinstance(error, UnavailableError) for error in failed.values())
            left = [left[index] for index in sorted(failed)]
            await sink.close()
        assert line.cuts >= 5
    assert not left
    found = await values(server, f"{prefix}/x", 300)
    assert sorted(found) == [float(n) for n in range(300)]


@pytest.mark.parametrize("qos", [1, 2])
async def test_nothing_is_lost_when_the_broker_is_killed_in_mid_flow(prefix, qos):
    with Mosquitto() as server:
        async with Cuttable(server.port) as line:
            line.hold_after = 100_000  # however slow this test is, the sink cannot have finished
            await kill_in_mid_flow(server, line, f"{prefix}/x", qos)


async def kill_in_mid_flow(server, line, topic, qos):
    route = make_route(MqttPlace(topic=topic, qos=qos))
    sink = MqttSink(target(server, address=f"127.0.0.1:{line.own_port}"))
    left = make_items(route, 2000)
    async with opened(sink):
        send = asyncio.create_task(sink.send(left))
        await values(server, topic, 50)
        await server.kill()
        line.hold_after = None
        line.released.set()
        failed = await send
        assert 0 < len(failed) < 2000
        left = [left[index] for index in sorted(failed)]
        await sink.close()
        with pytest.raises(UnavailableError):
            await sink.open()
        await server.start()
        await sink.open()
        assert not await sink.send(left)
    await until_all_came(server, topic, 2000)
    found = [json.loads(message.payload)["value"] for message in server.watcher.of(topic)]
    assert set(found) == {float(n) for n in range(2000)}
    # The broker that was killed has forgotten what it had taken and not answered for.
    assert len(found) - 2000 <= 20


async def until_all_came(server, topic, count):
    async def all_came():
        return len({message.payload for message in server.watcher.of(topic)}) >= count

    assert await until(all_came, 10)


async def test_a_frozen_broker_is_given_up_and_taken_up_again(prefix):
    with Mosquitto() as server:
        route = make_route(MqttPlace(topic=f"{prefix}/x", qos=2))
        sink = MqttSink(target(server, timeout=0.3, connectTimeout=0.5))
        items = make_items(route, 100)
        async with opened(sink):
            server.freeze()
            failed = await sink.send(items)
            assert set(failed) == set(range(100))
            assert isinstance(failed[0], DeadlineError)
            with pytest.raises(UnavailableError, match="acknowledges nothing"):
                await sink.send(items)
            await sink.close()
            with pytest.raises(DeadlineError):
                await sink.open()
            server.thaw()
            await sink.open()
            assert not await sink.send(items)
        found = await values(server, f"{prefix}/x", 100)
        assert found == [float(n) for n in range(100)]


async def test_qos_0_and_retained(server, prefix):
    route = make_route(MqttPlace(topic=f"{prefix}/x", qos=0, retained=True))
    async with opened(sink := MqttSink(target(server))):
        assert not await sink.send(make_items(route, 100))
    assert await values(server, f"{prefix}/x", 100) == [float(n) for n in range(100)]
    latest = subscribe("-p", str(server.port), "-t", f"{prefix}/x", "-C", "1", "-F", "%r %p")
    assert latest.startswith("1 {")
    assert json.loads(latest[2:])["value"] == 99.0


def subscribe(*arguments):
    """What mosquitto_sub, which is not of our making, hears."""
    return subprocess.run(
        ["mosquitto_sub", "-W", "5", *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()


async def test_subscription_over_another_interface(prefix):
    """From outside the node: by an address that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing
        outside = probe.getsockname()[0]

    class Open(Mosquitto):
        listens_on = "0.0.0.0"  # noqa: S104 - that is what is tried

    with Open() as server:
        route = make_route(MqttPlace(topic=f"{prefix}/x", retained=True))
        async with opened(sink := MqttSink(target(server))):
            assert not await sink.send(make_items(route, 1))
            heard = subscribe("-h", outside, "-p", str(server.port), "-t", f"{prefix}/#", "-C", "1")
        assert '"value":0.0' in heard


@pytest.mark.parametrize("way", ["websockets", "unix"])
async def test_other_transports(server, prefix, way):
    address = {
        "websockets": f"ws://127.0.0.1:{server.websocket_port}",
        "unix": f"unix:{server.unix_socket}",
    }[way]
    route = make_route(MqttPlace(topic=f"{prefix}/x"))
    async with opened(sink := MqttSink(target(server, address=address))):
        assert not await sink.send(make_items(route, 3))
    assert await values(server, f"{prefix}/x", 3) == [0.0, 1.0, 2.0]


# -------------------------------------------------------------------- security ----


async def test_tls_with_a_clients_certificate(server, prefix):
    files = server.certificates
    tls = {"ca": str(files.authority), "certificate": str(files.client)}
    address = f"ssl://localhost:{server.tls_port}"
    sink = MqttSink(target(server, address=address, tls=tls | {"key": str(files.client_key)}))
    async with opened(sink):
        assert not await sink.send(make_items(make_route(MqttPlace(topic=f"{prefix}/x")), 1))
    assert await values(server, f"{prefix}/x", 1) == [0.0]
    # Not the key of that certificate.
    sink = MqttSink(target(server, address=address, tls=tls | {"key": str(files.server_key)}))
    with pytest.raises(ConfigError, match=r"client\.pem"):
        await sink.open()


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_tls_without_a_certificate_is_refused(server, version):
    tls = {"ca": str(server.certificates.authority)}
    address = f"mqtts://127.0.0.1:{server.tls_port}"
    with pytest.raises(UnavailableError, match=r"hung up|reached"):
        await MqttSink(target(server, address=address, tls=tls, version=version)).open()


async def test_a_broker_that_cannot_prove_its_name_is_not_trusted(server):
    address = f"mqtts://127.0.0.1:{server.tls_port}"
    with pytest.raises(ConfigError, match="does not prove"):
        await MqttSink(target(server, address=address)).open()
    tls = {"ca": str(server.certificates.authority), "serverName": "elsewhere"}
    with pytest.raises(ConfigError, match="elsewhere"):
        await MqttSink(target(server, address=address, tls=tls)).open()


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_user_and_password(server, prefix, version, monkeypatch):
    settings = {
        "address": f"localhost:{server.user_port}",
        "username": USER,
        "password": "env:BROKER_PASSWORD",
        "version": version,
    }
    with pytest.raises(ConfigError, match="BROKER_PASSWORD"):
        await MqttSink(target(server, **settings)).open()
    monkeypatch.setenv("BROKER_PASSWORD", "wrong")
    sink = MqttSink(target(server, **settings))
    with pytest.raises(ConfigError, match="refuses the connection") as refused:
        await sink.open()
    assert "wrong" not in str(refused.value)
    monkeypatch.setenv("BROKER_PASSWORD", PASSWORD)
    async with opened(sink):
        assert not await sink.send(make_items(make_route(MqttPlace(topic=f"dmi/{prefix}")), 1))
        forbidden = await sink.send(make_items(make_route(MqttPlace(topic=f"other/{prefix}")), 1))
        # Version 3.1.1 has no way to say so.
        assert [type(error) for error in forbidden.values()] == (
            [AccessDeniedError] if version == "5" else []
        )


# -------------------------------------------------------------------- payloads ----


async def test_one_message_per_device_and_batch(server, prefix):
    place = MqttPlace(topic=f"{prefix}/{{device}}", payload="device")
    one, two, other = (
        make_route(place, "a"),
        make_route(place, "b"),
        make_route(place, "a", device="dev-2"),
    )
    items = [
        (one, Reading(1.0, START)),
        (other, Reading(2.0, START)),
        (two, Reading(float("nan"), START)),
        (two, Reading(3.0, START)),
    ]
    async with opened(sink := MqttSink(target(server))):
        failed = await sink.send(items)
        assert list(failed) == [2]
        assert isinstance(failed[2], ConversionError)
        await values_of_devices(server, prefix)
    (message,) = server.watcher.of(f"{prefix}/dev-1")
    found = json.loads(message.payload)
    assert [(r["property"], r["value"]) for r in found["readings"]] == [("a", 1.0), ("b", 3.0)]
    assert message.properties.ContentType == "application/json"


async def values_of_devices(server, prefix):
    async def both():
        return all(server.watcher.of(f"{prefix}/{device}") for device in ("dev-1", "dev-2"))

    assert await until(both, 10)


@pytest.mark.parametrize("said_by", ["place", "target"])
async def test_kubeedges_text_leaves_out_what_has_no_value(server, prefix, said_by):
    said = {"payload": "kubeedge"}
    route = make_route(MqttPlace(topic=f"{prefix}/x", **(said if said_by == "place" else {})))
    readings = [Reading(21.5, START), Reading(None, START, Quality.BAD, "deadline")]
    settings = said if said_by == "target" else {}
    async with opened(sink := MqttSink(target(server, **settings))):
        assert not await sink.send([(route, reading) for reading in readings])
        text = f"time is 2026-09-21 14:13:20  {prefix}/x: 21.5"

        async def came():
            return bool(server.watcher.of(f"{prefix}/x"))

        assert await until(came, 10)
    assert [m.payload.decode() for m in server.watcher.of(f"{prefix}/x")] == [text]


async def test_properties_of_version_5(server, prefix):
    place = MqttPlace(topic=f"{prefix}/x", expiry=60, user_properties={"site": "Žďár"})
    async with opened(sink := MqttSink(target(server))):
        assert not await sink.send(make_items(make_route(place), 1))
    await values(server, f"{prefix}/x", 1)
    properties = server.watcher.of(f"{prefix}/x")[0].properties
    assert properties.UserProperty == [("site", "Žďár")]
    assert 50 < properties.MessageExpiryInterval <= 60


async def test_status_is_told_at_birth_farewell_and_death(server, prefix):
    status = {"topic": f"{prefix}/status"}

    async def told(*texts):
        async def so():
            return [m.payload.decode() for m in server.watcher.of(f"{prefix}/status")] == list(
                texts
            )

        return await until(so, 10)

    sink = MqttSink(target(server, status=status))
    async with opened(sink):
        assert await told("online")
    assert await told("online", "offline")
    async with Cuttable(server.port) as line:
        sink = MqttSink(target(server, address=f"127.0.0.1:{line.own_port}", status=status))
        await sink.open()
        line.cut_after = 0
        await sink.send(make_items(make_route(MqttPlace(topic=f"{prefix}/x")), 1))
        assert await told("online", "offline", "online", "offline")
        await sink.close()


async def test_a_message_that_is_too_long_for_the_broker_is_refused(prefix):
    class Small(Mosquitto):
        def prepare(self):
            super().prepare()
            file = self.folder / "mosquitto.conf"
            file.write_text("max_packet_size 1000\n" + file.read_text())

    with Small() as server:
        route = make_route(MqttPlace(topic=f"{prefix}/x"), type_=DataType.STRING)
        async with opened(sink := MqttSink(target(server))):
            items = [(route, Reading(text, START)) for text in ("short", "x" * 2000)]
            failed = await sink.send(items)
            assert [type(failed[index]) for index in failed] == [TooLargeError]
            assert 1 in failed


async def test_messages_go_out_in_the_order_of_the_batch(server, prefix):
    """Two threads publish; the order is kept all the same, and over batches too."""
    route = make_route(MqttPlace(topic=f"{prefix}/x"))
    async with opened(sink := MqttSink(target(server, inFlight=5))):
        for start in range(0, 3000, 300):
            assert not await sink.send(make_items(route, 300, start))
    assert await values(server, f"{prefix}/x", 3000) == [float(n) for n in range(3000)]

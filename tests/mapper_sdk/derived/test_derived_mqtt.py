"""Apps publish derived readings at a real broker, and the mapper takes them like any others."""

import asyncio
import json
import logging
import sys
import time
from contextlib import asynccontextmanager
from random import Random

import httpx
import pytest
from pydantic import ValidationError

from dmi.errors import ConfigError
from dmi.readings import Quality
from mapper_sdk.config import load_config, parse_options
from mapper_sdk.delivery.contract import until
from mapper_sdk.derived.config import DerivedMqttConfig
from mapper_sdk.derived.mqtt import DerivedMqtt
from mapper_sdk.sessions.backoff import Backoff
from tests.servers.cuttable import Cuttable
from tests.servers.mosquitto import Mosquitto

PROGRAM = (
    "import sys; from mapper_sdk.program import run_mapper;"
    "from mapper_sdk.virtual import VirtualDriver;"
    "sys.exit(run_mapper(VirtualDriver, sys.argv[1:]))"
)
DEVICES = """
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: model}
spec:
  protocol: virtual
  properties: [{name: mean, type: INT, accessMode: ReadOnly}]
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: dev}
spec:
  deviceModelRef: {name: model}
  protocol: {protocolName: virtual, configData: {}}
  properties:
  - {name: mean, visitors: {protocolName: virtual, configData: {derived: true}}}
"""
MEAN = "dmi/derived/default/dev/mean"


@pytest.fixture(scope="module")
def server():
    with Mosquitto() as broker:
        yield broker


@pytest.fixture
async def mixed(plant, make):
    """A device with a property that is read and two derived ones."""
    plant.station().memory = {1: 20.0}
    model = make.model(
        temp={}, mean={"minimum": "0", "maximum": "100"}, **{"a/b %": {"type": "BYTES"}}
    )
    async with plant.running():
        await plant.put(
            model,
            make.device(temp={"cell": 1}, mean={"derived": True}, **{"a/b %": {"derived": True}}),
        )
        yield plant


@asynccontextmanager
async def taking(plant, port, **settings):
    config = DerivedMqttConfig.model_validate({"address": f"127.0.0.1:{port}", **settings})
    backoff = Backoff(Random(7), first=0.01, longest=0.01)  # noqa: S311 - a test
    derived = DerivedMqtt(plant.mapper, config, backoff)
    task = asyncio.create_task(derived.run())
    try:
        yield derived
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def connected(derived):
    async def so():
        return derived.connected

    assert await until(so, 10)


async def came(derived, count):
    async def so():
        return derived.published >= count

    assert await until(so, 10)


@pytest.mark.process
async def test_a_message_becomes_a_reading_like_any_other(mixed, server):
    now = mixed.clock.time()
    async with taking(mixed, server.port) as derived:
        await connected(derived)
        server.watcher.publish(MEAN, b'{"value": 21}')
        message = {"value": 22.5, "time": now - 1, "quality": "uncertain", "reason": "few"}
        server.watcher.publish(MEAN.replace("mean", "a%2Fb %25"), b'{"value": "AP8="}')
        await came(derived, 2)
        server.watcher.publish(MEAN, json.dumps([message | {"time": now + 1}]), qos=1)
        server.watcher.publish(MEAN, json.dumps([{"value": None, "time": now + 2}]), qos=1)
        await came(derived, 4)
    assert mixed.values("mean") == [21.0, 22.5, None]
    assert mixed.values("a/b %") == [b"\x00\xff"]
    readings = [reading for name, reading in mixed.link.readings if name == "mean"]
    assert readings[0].time == now
    assert [reading.quality for reading in readings] == list(Quality)
    assert readings[1].reason == "few"
    assert not derived.refused


@pytest.mark.process
async def test_wrong_messages_are_counted_and_logged_once(mixed, server, caplog):
    async with taking(mixed, server.port) as derived:
        await connected(derived)
        for topic, payload in (
            (MEAN, b"21.5"),
            (MEAN, b"{"),
            (MEAN, b"}"),
            (MEAN, b'{"value": true}'),
            (MEAN, b'{"value": 1000}'),
            (MEAN, b'{"value": 1, "unit": "K"}'),
            (MEAN, b'{"value": 1, "time": 9e99}'),
            (MEAN, b" " * 300_000),
            ("dmi/derived/default/dev/temp", b'{"value": 1}'),
            ("dmi/derived/default/dev/none", b'{"value": 1}'),
            ("dmi/derived/default/other/mean", b'{"value": 1}'),
            (MEAN, b'{"value": 1}'),
        ):
            server.watcher.publish(topic, payload, qos=1)
        await came(derived, 1)
    assert derived.refused == {
        "config": 2,
        "malformed": 2,
        "conversion": 2,
        "out_of_range": 1,
        "too_large": 1,
        "access_denied": 1,
        "not_found": 2,
    }
    assert mixed.values("mean") == [1.0]
    said = [r for r in caplog.records if "is refused" in r.message and r.levelno > logging.DEBUG]
    assert len(said) == len(derived.refused) - 1  # other mappers' devices are no news


@pytest.mark.process
async def test_what_is_published_while_the_line_is_cut_still_comes(mixed, server):
    async with Cuttable(server.port) as line, taking(mixed, line.own_port) as derived:
        await connected(derived)
        line.cut_after = 0
        server.watcher.publish(MEAN, b'{"value": 1}', qos=1)

        async def gone():
            return not derived.connected

        assert await until(gone, 10)
        server.watcher.publish(MEAN, b'{"value": 2}', qos=1)
        line.cut_after = None
        await mixed.clock.advance(1)
        await came(derived, 2)
    assert mixed.values("mean")[-1] == 2.0


@pytest.mark.process
async def test_a_broker_that_is_away_is_tried_again(mixed, caplog):
    with Mosquitto() as server:
        await server.kill()
        async with taking(mixed, server.port) as derived:

            async def warned():
                return "no derived readings" in caplog.text

            assert await until(warned, 10)
            await server.start()

            async def reached():
                await mixed.clock.advance(0.1)
                return derived.connected

            assert await until(reached, 10)
            server.watcher.publish(MEAN, b'{"value": 3}', qos=1)
            await came(derived, 1)


@pytest.mark.process
async def test_a_flood_is_cut_off_and_counted(mixed, server):
    async with taking(mixed, server.port, topic="flood/{namespace}/{device}/{property}") as derived:
        await connected(derived)
        for _ in range(12_000):
            server.watcher.publish("flood/default/dev/mean", b"{")
        deadline = time.monotonic() + 10
        # The event loop is kept from running: nobody takes what has come.
        while derived.dropped < 2000 and time.monotonic() < deadline:
            time.sleep(0.01)  # noqa: ASYNC251 - on purpose
        assert derived.dropped == 2000

        async def worked_off():
            return derived.refused["malformed"] == 10_000

        assert await until(worked_off, 10)


@pytest.mark.parametrize(
    "topic",
    [
        "a",
        "{namespace}/{device}",
        "x{device}/{namespace}/{property}",
        "#/{namespace}/{device}/{property}",
    ],
)
def test_a_topic_that_does_not_name_a_property_is_refused(topic):
    with pytest.raises(ValidationError):
        DerivedMqttConfig(address="h", topic=topic)


def test_the_block_of_a_mappers_file(tmp_path):
    file = tmp_path / "mapper.yaml"
    file.write_text(
        "derived: {mqtt: {address: tcp://broker, topic: '{device}/{property}/{namespace}'}}"
    )
    config = load_config(parse_options(["--config", str(file)], "virtual"), {})
    assert config.derived.mqtt.address == "mqtt://broker:1883"
    in_json = {"DMI_MAPPER_DERIVED": '{"mqtt": {"address": "other"}}'}
    config = load_config(parse_options(["--config", str(file)], "virtual"), in_json)
    assert config.derived.mqtt.address == "mqtt://other:1883"
    for wrong in ("{", '{"mqtt": {"address": "h", "topic": "x"}}'):
        with pytest.raises(ConfigError, match="DMI_MAPPER_DERIVED"):
            load_config(parse_options([], "virtual"), {"DMI_MAPPER_DERIVED": wrong})


@pytest.mark.process
async def test_a_mapper_process_takes_them(server, tmp_path):
    """The whole way: an app publishes at the broker, another asks the mapper by REST."""
    devices = tmp_path / "devices.yaml"
    devices.write_text(DEVICES)
    derived = json.dumps({"mqtt": {"address": f"127.0.0.1:{server.port}"}})
    flags = ("--devices", str(devices), "--rest", "127.0.0.1:0", "--derived", derived)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, "--ready-json", *flags),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        rest = json.loads(await process.stdout.readline())["rest"]
        async with httpx.AsyncClient(base_url=rest, trust_env=False) as client:

            async def there():
                server.watcher.publish(MEAN, b'{"value": 4}', qos=1)
                answer = await client.get("/api/v1/devices/default/dev/properties/mean")
                return answer.status_code == 200 and answer.json()["value"] == 4

            assert await until(there, 15)
    finally:
        process.terminate()
        await process.communicate()
    assert process.returncode == 0

"""Connecting to brokers that are old, frozen or just starting."""

import asyncio

import pytest

from dmi.errors import ConfigError, UnavailableError
from dmi.readings import Reading
from mapper_sdk.delivery.contract import make_route, opened, until
from mapper_sdk.sinks.mqtt.settings import MqttPlace, MqttTarget
from mapper_sdk.sinks.mqtt.sink import MqttSink
from tests.servers.cuttable import Cuttable
from tests.servers.mosquitto import Mosquitto

pytestmark = pytest.mark.process

START = 1_790_000_000.0


@pytest.fixture
def server():
    with Mosquitto() as broker:
        yield broker


def target(server, **settings):
    return MqttTarget.model_validate({"address": f"127.0.0.1:{server.port}", **settings})


def make_items(count, **place):
    route = make_route(MqttPlace(topic="x", **place))
    return [(route, Reading(float(n), START + n)) for n in range(count)]


async def messages(server, count):
    async def enough():
        return len(server.watcher.of("x")) >= count

    assert await until(enough, 10)
    return server.watcher.of("x")


class Old:
    """A broker that knows no version but 3.1.1, and says so or hangs up."""

    def __init__(self, *, says_so):
        self.says_so = says_so
        self.versions = []

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()
        await self.server.wait_closed()

    async def _serve(self, reader, writer):
        version = (await reader.read(1024))[8]  # after fixed header and the name MQTT
        self.versions.append(version)
        if version == 4:
            writer.write(b"\x20\x02\x00\x00")
            await reader.read()
        elif self.says_so:
            writer.write(b"\x20\x02\x00\x01")
        writer.close()


@pytest.mark.parametrize("says_so", [True, False])
async def test_an_old_broker_is_spoken_to_in_its_version(says_so):
    async with Old(says_so=says_so) as server:
        sink = MqttSink(target(server))
        for _ in range(2):
            async with opened(sink):
                pass
        assert server.versions == [5, 4, 4]
        with pytest.raises((ConfigError, UnavailableError)):
            await MqttSink(target(server, version="5")).open()


async def test_an_open_that_was_given_up_does_no_lasting_harm(server):
    sink = MqttSink(target(server))
    for steps in (1, 2, 5, 50):
        server.freeze()
        opening = asyncio.create_task(sink.open())
        for _ in range(steps):
            await asyncio.sleep(0.002)  # from before to after connecting
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        await sink.close()
        server.thaw()

    async def delivered():
        try:
            async with opened(sink):
                return not await sink.send(make_items(10))
        except UnavailableError:
            # What the broker finds of the old attempts has the same client id, and takes over.
            return False

    assert await until(delivered, 10)
    assert len({message.payload for message in await messages(server, 10)}) == 10


async def test_a_hang_up_does_not_make_a_broker_an_old_one(server):
    """It was just starting, say: version 5 is tried again."""
    async with Cuttable(server.port) as line:
        sink = MqttSink(target(server, address=f"127.0.0.1:{line.own_port}"))
        line.cut_after = -1
        with pytest.raises(UnavailableError, match="hung up"):
            await sink.open()
        line.cut_after = None
        async with opened(sink):
            assert not await sink.send(make_items(1, user_properties={"a": "b"}))
    (message,) = await messages(server, 1)
    assert message.properties.UserProperty == [("a", "b")]

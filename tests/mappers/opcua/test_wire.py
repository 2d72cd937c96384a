"""What is asked of a server: how items are watched, and where it is connected to."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from asyncua import ua
from asyncua.server.monitored_item_service import MonitoredItemService

from dmi.errors import ConfigError, UnavailableError
from mapper_sdk.sessions.bus import Bus
from mappers.opcua.config import OpcuaLink
from mappers.opcua.driver import OpcuaDriver
from mappers.opcua.simulator import OpcuaSimulator
from mappers.opcua.visit import OpcuaVisit

# asyncua takes its time to build an address space, most of all on a busy machine.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]
at = OpcuaVisit.model_validate
PLANT = "nsu=urn:dmi-toolkit:plant;s="
RACK = {"nodeID": PLANT + "Rack.0"}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def plant():
    async with OpcuaSimulator(items=1) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def join(plant):
    drivers = []

    async def make(**settings):
        driver = OpcuaDriver(OpcuaLink.model_validate({"url": plant.url} | settings))
        driver.bus = Bus()
        drivers.append(driver)
        await driver.connect()
        return driver

    yield make
    for driver in drivers:
        await driver.close()


class Ears:
    def __init__(self):
        self.heard = []
        self.bell = asyncio.Event()

    def publish(self, index, answer):
        self.heard.append(answer)
        self.bell.set()

    async def until(self, held):
        async with asyncio.timeout(8):
            while not held(self.heard):
                self.bell.clear()
                await self.bell.wait()


class Rack:
    """A variable that only the test changes."""

    def __init__(self, plant):
        self.server = plant._server
        self.node = plant._racks[0].nodeid
        self.turns = plant._racks
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    async def set(self, value, status=0, *, later=True):
        self.time += timedelta(seconds=later)
        data = ua.DataValue(ua.Variant(value), ua.StatusCode(status), SourceTimestamp=self.time)
        await self.server.write_attribute_value(self.node, data)


@pytest_asyncio.fixture(loop_scope="module")
async def rack(plant):
    one = Rack(plant)
    held = list(plant._racks)
    plant._racks.clear()  # the simulator leaves it alone
    await one.set(0.0)
    yield one
    plant._racks.extend(held)


@pytest.mark.parametrize(
    ("settings", "sampling", "queue", "filtered"),
    [
        ({}, -1, 10, None),
        ({"samplingInterval": 0}, 0, 10, None),
        ({"samplingInterval": 125.5, "queueSize": 3}, 125.5, 3, None),
        ({"serverDeadband": 2.5}, -1, 10, (1, 1, 2.5)),
        ({"serverDeadband": 5, "deadbandType": "percent"}, -1, 10, (1, 2, 5.0)),
        ({"trigger": "status"}, -1, 10, (0, 0, 0.0)),
        ({"trigger": "statusValueTimestamp"}, -1, 10, (2, 0, 0.0)),
        ({"trigger": "statusValueTimestamp", "serverDeadband": 1}, -1, 10, (2, 1, 1.0)),
    ],
)
async def test_how_an_item_is_watched(join, monkeypatch, settings, sampling, queue, filtered):
    make, asked = MonitoredItemService._create_data_change_monitored_item, []

    async def noting(self, request):
        asked.append(request.RequestedParameters)
        return await make(self, request)

    monkeypatch.setattr(MonitoredItemService, "_create_data_change_monitored_item", noting)
    driver = await join()
    await driver.subscribe([at(RACK | settings)], Ears().publish)
    (one,) = asked
    assert (one.SamplingInterval, one.QueueSize, one.DiscardOldest) == (sampling, queue, True)
    given = one.Filter
    if filtered is None:
        assert not given  # an empty one: some servers know no filters
    else:
        assert (given.Trigger, given.DeadbandType, given.DeadbandValue) == filtered


async def test_a_queue_keeps_the_newest(join, rack):
    driver, ears = await join(publishingInterval=200), Ears()
    await driver.subscribe([at(RACK | {"queueSize": 3})], ears.publish)
    await ears.until(lambda heard: heard)
    for number in range(1, 7):
        await rack.set(float(number))
    await ears.until(lambda heard: heard[-1].value == 6.0)
    assert [answer.value for answer in ears.heard] == [0.0, 4.0, 5.0, 6.0]


@pytest.mark.parametrize(
    ("settings", "come"),
    [
        ({"trigger": "status"}, ["bad", 2.0, "last"]),
        ({}, [1.0, "bad", 2.0, 5.0, "last"]),
        ({"trigger": "statusValueTimestamp"}, [1.0, 1.0, "bad", 2.0, 5.0, "last"]),
        ({"serverDeadband": 2}, [5.0, "last"]),
    ],
)
async def test_what_counts_as_a_change(join, rack, settings, come):
    driver, ears = await join(publishingInterval=20), Ears()
    await driver.subscribe([at(RACK | settings)], ears.publish)
    await ears.until(lambda heard: heard)
    await rack.set(1.0)
    await rack.set(1.0)
    await rack.set(1.0, later=False)
    if "serverDeadband" not in settings:
        await rack.set(1.0, ua.StatusCodes.BadSensorFailure)
    await rack.set(2.0)
    await rack.set(5.0)
    await rack.set(99.0, ua.StatusCodes.UncertainLastUsableValue)
    await ears.until(lambda heard: heard[-1].value == 99.0)
    shown = [{None: "bad", 99.0: "last"}.get(one.value, one.value) for one in ears.heard[1:]]
    assert shown == come


async def test_the_host_and_port_of_the_settings_are_kept(plant, join):
    """A server behind NAT calls itself by names that nobody outside can reach."""
    server = plant._server.iserver
    server.match_discovery_endpoint_url = server.match_discovery_source_ip = False
    try:
        for endpoint in server.endpoints:
            endpoint.EndpointUrl = "opc.tcp://inside.invalid:4840"
        driver = await join(timeout=2)
        assert len(await driver.read([at(RACK)])) == 1
        with pytest.raises(UnavailableError):
            await join(followEndpoint=True, timeout=2)
        for endpoint in server.endpoints:
            endpoint.EndpointUrl = "opc.tcp://inside.invalid"
        with pytest.raises(ConfigError, match="has no port"):
            await join(followEndpoint=True, timeout=2)
    finally:
        for endpoint in server.endpoints:
            endpoint.EndpointUrl = plant.url


async def test_the_endpoint_is_followed_where_that_is_wanted(plant, join):
    """By way of a front door that knows where the server really is."""
    connections = []

    async def relay(reader, writer):
        connections.append(writer)
        there, back = await asyncio.open_connection("127.0.0.1", plant.port)

        async def pump(source, sink):
            while data := await source.read(65536):
                sink.write(data)
            sink.close()

        await asyncio.gather(pump(reader, back), pump(there, writer), return_exceptions=True)

    plant._server.iserver.match_discovery_endpoint_url = False
    async with await asyncio.start_server(relay, "127.0.0.1", 0) as door:
        port = door.sockets[0].getsockname()[1]
        stays = await join(url=f"opc.tcp://127.0.0.1:{port}")
        follows = await join(url=f"opc.tcp://127.0.0.1:{port}", followEndpoint=True)
        assert stays._peer.channel.client.server_url.port == port
        assert follows._peer.channel.client.server_url.port == plant.port
        assert len(await follows.read([at(RACK)])) == 1
        await stays.close()

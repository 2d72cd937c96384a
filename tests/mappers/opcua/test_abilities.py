"""Reading and writing in every type, methods, events, history and discovery."""

import asyncio
import json
import time
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from asyncua import ua

from dmi.errors import (
    AccessDeniedError,
    ConfigError,
    ConversionError,
    NotFoundError,
    OutOfRangeError,
    UnavailableError,
)
from dmi.readings import Quality
from dmi.resources import Device, DeviceModel
from mapper_sdk.devices.planning import build_plan
from mapper_sdk.sessions.bus import Bus
from mappers.opcua.config import OpcuaLink
from mappers.opcua.driver import OpcuaDriver
from mappers.opcua.simulator import OpcuaSimulator
from mappers.opcua.visit import OpcuaVisit

# asyncua takes its time to build an address space, most of all on a busy machine.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]
at = OpcuaVisit.model_validate
PLANT = "nsu=urn:dmi-toolkit:plant;s="


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def plant():
    async with OpcuaSimulator() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def join(plant):
    drivers = []

    async def make(**settings):
        data = {"url": plant.url, "publishingInterval": 20, "namespaceUri": "urn:dmi-toolkit:plant"}
        driver = OpcuaDriver(OpcuaLink.model_validate(data | settings))
        driver.bus = Bus()
        drivers.append(driver)
        await driver.connect()
        return driver

    yield make
    for driver in drivers:
        await driver.close()


@pytest.mark.parametrize(
    ("kind", "start", "written", "read"),
    [
        ("Boolean", False, True, True),
        ("SByte", 0, -128, -128),
        ("Byte", 0, 255, 255),
        ("Int16", 0, 12.6, 13),
        ("UInt32", 0, 2**32 - 1, 2**32 - 1),
        ("Int64", 0, -(2**63), -(2**63)),
        ("Float", 0.0, 1.5, 1.5),
        ("Double", 0.0, 7, 7.0),
        ("String", "", "grün", "grün"),
        ("ByteString", b"", b"\x00\xff", b"\x00\xff"),
        ("ByteString", b"", "AP8=", b"\x00\xff"),
        ("DateTime", datetime(2020, 1, 1), "2026-05-04T03:02:01Z", "2026-05-04T03:02:01Z"),
        (
            "Guid",
            ua.uuid.UUID(int=0),
            "09087e75-8e5e-499b-954f-f2a9603db28a",
            "09087e75-8e5e-499b-954f-f2a9603db28a",
        ),
        ("LocalizedText", ua.LocalizedText(""), "Kessel", "Kessel"),
        ("QualifiedName", ua.QualifiedName("a", 0), "2:b", "2:b"),
        ("NodeId", ua.NodeId(1), "ns=2;s=x", "ns=2;s=x"),
        ("Double", [1.0], "[1, 2.5]", "[1.0,2.5]"),
        ("Int32", [[1, 2], [3, 4]], "[[5,6],[7,8]]", "[[5,6],[7,8]]"),
    ],
)
async def test_every_type_is_written_as_its_own(plant, join, kind, start, written, read):
    objects = plant._server.get_objects_node()
    variant = ua.Variant(start, ua.VariantType[kind])
    name = f"T{time.monotonic_ns()}"
    node = await objects.add_variable(f"ns=2;s={name}", f"2:{name}", variant)
    await node.set_writable()
    driver = await join()
    visit = at({"nodeID": PLANT + name})
    await driver.write(visit, written)
    (answer,) = await driver.read([visit])
    assert answer.value == read
    assert type(answer.value) is type(read)
    assert (await node.read_data_value()).Value.VariantType is ua.VariantType[kind]


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("Pump.Speed", 70000, OutOfRangeError),
        ("Pump.Speed", "fast", ConversionError),
        ("Boiler.Burner", 7, ConversionError),
        ("Meter.Phases", "230", ConversionError),
        ("Meter.Phases", "[", ConversionError),
        ("Nowhere", 1, NotFoundError),
        ("Meter.Energy", 1, AccessDeniedError),
    ],
)
async def test_what_cannot_be_written(plant, join, name, value, error):
    driver = await join()
    with pytest.raises(error):
        await driver.write(at({"nodeID": PLANT + name}), value)


async def test_structures_are_json(plant, join):
    struct = await plant._server.get_node(ua.ObjectIds.Server_ServerStatus).read_value()
    assert struct.BuildInfo is not None
    driver = await join()
    (answer,) = await driver.read([at({"nodeID": "i=2256"})])
    status = json.loads(answer.value)
    assert status["BuildInfo"]["ProductName"] == "DMI plant simulator" or status["BuildInfo"]
    objects = plant._server.get_objects_node()
    node = await objects.add_variable(
        "ns=2;s=Range", "2:Range", ua.Variant(ua.Range(1.0, 5.0), ua.VariantType.ExtensionObject)
    )
    await node.set_writable()
    visit = at({"nodeID": PLANT + "Range"})
    assert json.loads((await driver.read([visit]))[0].value) == {"Low": 1.0, "High": 5.0}
    await driver.write(visit, '{"High": 9}')
    assert await node.read_value() == ua.Range(1.0, 9.0)
    with pytest.raises(ConversionError, match="Middle"):
        await driver.write(visit, '{"Middle": 9}')


async def test_quality_and_time_are_the_servers(plant, join):
    node = plant._server.get_node("ns=2;s=Pump.Flow").nodeid
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    status = ua.StatusCode(ua.StatusCodes.UncertainSensorNotAccurate)
    data = ua.DataValue(ua.Variant(3.5), status, SourceTimestamp=moment)
    driver = await join()
    await plant._server.write_attribute_value(node, data)
    (answer,) = await driver.read([at({"nodeID": PLANT + "Pump.Flow"})])
    if answer.quality is Quality.UNCERTAIN:  # the plant may have moved on meanwhile
        assert (answer.value, answer.time) == (3.5, moment.timestamp())
        assert answer.reason == "UncertainSensorNotAccurate"


async def test_methods_with_typed_arguments(plant, join):
    driver = await join(objectID="s=Pump")
    (method,) = await driver.methods()
    assert method.name == "Run"
    assert {name: schema["type"] for name, schema in method.arguments.items()} == {
        "speed": "integer",
        "seconds": "number",
    }
    assert list(method.results) == ["volume"]
    results = await driver.call("Run", {"speed": 1000, "seconds": 3600})
    assert results == {"volume": pytest.approx(8.0)}
    with pytest.raises(OutOfRangeError):
        await driver.call("Run", {"speed": 3001, "seconds": 1})
    with pytest.raises(ConversionError, match="speed, seconds"):
        await driver.call("Run", {"speed": 1})
    with pytest.raises(NotFoundError):
        await driver.call("Stop", {})
    assert await (await join()).methods() == []


async def test_events_with_their_own_fields(plant, join):
    kinds = plant._server.get_node(ua.ObjectIds.BaseEventType)
    (burner,) = [n for n in await kinds.get_children() if n.nodeid.NamespaceIndex == 2]
    driver = await join(eventSource="s=Boiler", eventType=burner.nodeid.to_string())
    heard, bell = [], asyncio.Event()

    def tell(event):
        heard.append(event)
        bell.set()

    await driver.listen(tell)
    await plant.ring()
    async with asyncio.timeout(5):
        await bell.wait()
    event = heard[0]
    assert (event.kind, event.source, event.severity) == ("BurnerEvent", "Boiler", 300)
    assert event.message.startswith("burner o")
    assert event.time == pytest.approx(time.time(), abs=5)
    assert isinstance(event.fields["Temperature"], float)


async def test_history(plant, join):
    driver = await join()
    visit = at({"nodeID": PLANT + "Boiler.Temperature"})
    async with asyncio.timeout(5):
        while len(past := await driver.history(visit, time.time() - 60, time.time(), 100)) < 3:
            await plant._server.get_node("ns=2;s=Boiler.Temperature").write_value(1.0)
    times = [reading.time for reading in past]
    assert times == sorted(times)
    assert len(await driver.history(visit, times[0] - 1, time.time(), 2)) == 2


async def test_discovery_proposes_what_can_be_served(plant):
    found = OpcuaDriver.discover({"url": plant.url, "root": "2:Plant"})
    (proposal,) = [one async for one in found]
    model = DeviceModel.model_validate(proposal.model)
    device = Device.model_validate(proposal.device)
    plan = build_plan(device, model, OpcuaDriver, iter(range(999)))
    assert plan.problems == {}
    assert str(plan.points["boiler-temperature"].visit.address) == PLANT + "Boiler.Temperature"
    types = {prop.name: (prop.type, prop.access_mode) for prop in model.spec.properties}
    assert types["pump-speed"] == ("INT", "ReadWrite")
    assert types["boiler-flame"] == ("BOOLEAN", "ReadOnly")
    assert types["meter-phases"][0] == "STRING"
    everything = [one async for one in OpcuaDriver.discover({"url": plant.url})]
    assert "plant" in {one.device["metadata"]["name"] for one in everything}


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"url": "http://x"}, ConfigError),
        ({"url": "opc.tcp://127.0.0.1:1"}, UnavailableError),
    ],
)
async def test_discovery_that_cannot_be(settings, error):
    with pytest.raises(error):
        async for _ in OpcuaDriver.discover(settings):
            pass


async def test_operation_limits_are_honoured(plant, join):
    limit = plant._server.get_node(
        ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead
    )
    before = await limit.read_value()
    await limit.write_value(2, ua.VariantType.UInt32)
    asked = []
    session = plant._server.iserver.attribute_service
    read = session.read

    def counting(params):
        asked.append(len(params.NodesToRead))
        return read(params)

    try:
        driver = await join()
        assert driver._peer.channel.limits.read == 2
        session.read = counting
        visits = [at({"nodeID": PLANT + f"Pump.{n}"}) for n in ("Speed", "Flow", "Overheated")]
        assert len(await driver.read([*visits, *visits])) == 6
        assert [size for size in asked if size > 1] == [2, 2, 2]
    finally:
        session.read = read
        await limit.write_value(before, ua.VariantType.UInt32)

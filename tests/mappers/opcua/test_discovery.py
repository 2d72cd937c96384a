"""Looking through address spaces: in few requests, and saying what is left out."""

import logging

import pytest
import pytest_asyncio
from asyncua import ua

from dmi.resources import Device, DeviceModel
from mapper_sdk.devices.planning import build_plan
from mappers.opcua import discovery
from mappers.opcua.driver import OpcuaDriver
from mappers.opcua.simulator import OpcuaSimulator

# asyncua takes its time to build an address space, most of all on a busy machine.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def plant():
    async with OpcuaSimulator(items=300) as running:
        yield running


async def found(plant, **settings):
    settings = {"url": plant.url, "root": "2:Plant"} | settings
    (proposal,) = [one async for one in OpcuaDriver.discover(settings)]
    properties = proposal.model["spec"]["properties"]
    return {one["name"]: (one["type"], one["accessMode"]) for one in properties}


@pytest_asyncio.fixture(loop_scope="module")
async def asked(plant, monkeypatch):
    """The sizes of the requests that the server got."""
    sizes = {"read": [], "browse": []}
    service, view = plant._server.iserver.attribute_service, plant._server.iserver.view_service
    read, browse = service.read, view.browse

    def reading(parameters):
        sizes["read"].append(len(parameters.NodesToRead))
        return read(parameters)

    def browsing(parameters):
        sizes["browse"].append(len(parameters.NodesToBrowse))
        return browse(parameters)

    monkeypatch.setattr(service, "read", reading)
    monkeypatch.setattr(view, "browse", browsing)
    return sizes


async def test_thousands_of_nodes_take_few_requests(plant, asked):
    names = await found(plant)
    assert len(names) == 300 + 14
    assert names["rack0-7"] == ("DOUBLE", "ReadOnly")
    assert names["boiler-recipe"] == ("STRING", "ReadWrite")
    assert names["boiler-setpoint"] == ("FLOAT", "ReadWrite")
    assert len(asked["browse"]) < 30
    assert len(asked["read"]) < 30


async def test_the_limits_of_the_server_hold(plant, asked):
    prefix = "Server_ServerCapabilities_OperationLimits_"
    limits = [
        plant._server.get_node(getattr(ua.ObjectIds, f"{prefix}MaxNodesPer{name}"))
        for name in ("Read", "Browse")
    ]
    before = [await node.read_value() for node in limits]
    for node, limit in zip(limits, (50, 2), strict=True):
        await node.write_value(limit, ua.VariantType.UInt32)
    try:
        assert len(await found(plant)) == 300 + 14
    finally:
        for node, limit in zip(limits, before, strict=True):
            await node.write_value(limit, ua.VariantType.UInt32)
    assert max(asked["read"]) == 50
    assert max(asked["browse"]) == 2


async def test_what_is_left_out_is_said(plant, monkeypatch, caplog):
    objects = plant._server.get_node("ns=2;s=Meter")
    secret = await objects.add_variable("ns=2;s=Secret", "2:Secret", 1)
    await secret.set_attr_bit(ua.AttributeIds.UserAccessLevel, ua.AccessLevel.CurrentRead)
    await secret.unset_attr_bit(ua.AttributeIds.UserAccessLevel, ua.AccessLevel.CurrentRead)
    caplog.set_level(logging.INFO, "mappers")
    assert "meter-secret" not in await found(plant)
    assert caplog.messages == ["Plant: left out 1 variables that we may not read"]
    monkeypatch.setattr(discovery, "_MOST", 100)
    caplog.clear()
    assert len(await found(plant)) == 99
    assert "Plant: left out 215 variables beyond the first 100" in caplog.messages
    monkeypatch.setattr(discovery, "_DEPTH", 1)
    monkeypatch.setattr(discovery, "_STEP", 5)
    caplog.clear()
    assert [one async for one in OpcuaDriver.discover({"url": plant.url, "root": "2:Plant"})] == []
    assert caplog.messages == [
        "Plant: found 6 nodes",
        "Plant: left out 6 objects more than 1 levels down",
        "Plant: no variables below it",
    ]
    await secret.delete()


async def test_types_that_are_declared_as_anything(plant):
    """They are gone by what they hold; names are made words, and told apart."""
    parent = plant._server.get_node("ns=2;s=Meter")
    given = {
        "Any": (ua.Variant(5, ua.VariantType.Int32), ua.ObjectIds.BaseDataType),
        "any!": (ua.Variant([1.5]), ua.ObjectIds.BaseDataType),
        "Empty": (ua.Variant(None), ua.ObjectIds.BaseDataType),
        "Lost": (ua.Variant(5, ua.VariantType.Int32), 99_999_999),
    }
    for name, (value, kind) in given.items():
        node = await parent.add_variable(f"ns=2;s={name}", f"2:{name}", value)
        await plant._server.iserver.isession.write(
            ua.WriteParameters(
                NodesToWrite=[
                    ua.WriteValue(
                        node.nodeid,
                        ua.AttributeIds.DataType,
                        Value=ua.DataValue(ua.Variant(ua.NodeId(kind))),
                    )
                ]
            )
        )
    names = await found(plant)
    assert names["meter-any"][0] == "INT"
    assert names["meter-any-2"][0] == "STRING"
    assert names["meter-empty"][0] == "STRING"
    assert names["meter-lost"][0] == "INT"


async def test_a_proposal_is_a_device_that_can_be_served(plant):
    (proposal,) = [
        one async for one in OpcuaDriver.discover({"url": plant.url, "root": "2:Plant/2:Boiler"})
    ]
    model = DeviceModel.model_validate(proposal.model)
    device = Device.model_validate(proposal.device)
    assert build_plan(device, model, OpcuaDriver, iter(range(999))).problems == {}


async def test_a_list_that_comes_in_parts(plant, monkeypatch):
    """As from a server with more below a node than fits into one message."""
    whole = await found(plant)
    view, points = plant._server.iserver.view_service, {}
    browse = view.browse

    def partly(parameters):
        results = browse(parameters)
        for number, result in enumerate(results):
            references = result.References
            if len(references) <= 7:
                continue
            if number > 1:  # it remembers two unfinished lists
                result.StatusCode = ua.StatusCode(ua.StatusCodes.BadNoContinuationPoints)
                result.References = []
                continue
            result.References = references[:7]
            result.ContinuationPoint = b"%d" % len(points)
            points[result.ContinuationPoint] = references[7:]
        return results

    async def next_part(self, parameters):
        (point,) = parameters.ContinuationPoints
        rest = points.pop(point)
        answer = ua.BrowseResult(References=rest[:50])
        if rest[50:]:
            answer.ContinuationPoint = point
            points[point] = rest[50:]
        return [answer]

    monkeypatch.setattr(view, "browse", partly)
    monkeypatch.setattr("mappers.opcua.session.endpoints._Session.browse_next", next_part)
    assert await found(plant) == whole
    assert points == {}

"""Structures that the server has defined itself: read, pushed, kept, written, called with."""

import asyncio
import dataclasses
import json
import time
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from asyncua import ua
from asyncua.common.structures104 import new_struct, new_struct_field

from dmi.errors import ConversionError, OutOfRangeError
from dmi.readings import Reading
from mapper_sdk.sessions.bus import Bus
from mappers.opcua.config import OpcuaLink
from mappers.opcua.driver import OpcuaDriver
from mappers.opcua.simulator import OpcuaSimulator
from mappers.opcua.visit import OpcuaVisit

# asyncua takes its time to build an address space, most of all on a busy machine.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]
at = OpcuaVisit.model_validate
PLANT = "nsu=urn:dmi-toolkit:plant;s="
RECIPE = at({"nodeID": PLANT + "Boiler.Recipe"})
BANDS = at({"nodeID": PLANT + "Boiler.Bands"})
START = {
    "Name": "overnight",
    "Mode": 1,
    "Band": {"Low": 55.0, "High": 65.0},
    "Steps": [{"Low": 20.0, "High": 40.0}, {"Low": 40.0, "High": 60.0}],
    "Start": {"At": "2026-01-01T22:00:00Z"},
    "Note": None,
}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def _plant():
    async with OpcuaSimulator() as running:
        names = ("Boiler.Recipe", "Boiler.Bands")
        running.first = [(name, await running._nodes[name].read_data_value()) for name in names]
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def plant(_plant):
    for name, data in _plant.first:
        await _plant._nodes[name].write_value(data.Value)
    return _plant


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


async def read(driver, visit):
    (answer,) = await driver.read([visit])
    assert isinstance(answer, Reading), answer
    return json.loads(answer.value)


async def test_they_are_read_as_json(join):
    driver = await join()
    recipe, bands = await driver.read([RECIPE, BANDS])
    assert json.loads(recipe.value) == START
    assert json.loads(bands.value) == START["Steps"]


@pytest.mark.parametrize(
    ("written", "changed"),
    [
        ({"Name": "day"}, {"Name": "day"}),
        ({"Mode": 2, "Note": "mild"}, {"Mode": 2, "Note": "mild"}),
        ({"Band": {"High": 70}}, {"Band": {"Low": 55.0, "High": 70.0}}),
        ({"Start": {"Hours": 9}}, {"Start": {"Hours": 9}}),
        ({"Start": {}}, {"Start": {}}),
        ({"Steps": []}, {"Steps": []}),
        (
            {"Steps": [{"High": 1}, {"Low": 0, "High": 2}, {"Low": 5, "High": 6}]},
            {
                "Steps": [
                    {"Low": 20.0, "High": 1.0},
                    {"Low": 0.0, "High": 2.0},
                    {"Low": 5.0, "High": 6.0},
                ]
            },
        ),
        ({"Name": None}, {"Name": None}),
    ],
    ids=str,
)
async def test_what_is_not_written_stays(join, written, changed):
    driver = await join()
    await driver.write(RECIPE, json.dumps(written))
    assert await read(driver, RECIPE) == START | changed


async def test_an_optional_field_comes_and_goes(join):
    driver = await join()
    for note in ("a", "b", None):
        await driver.write(RECIPE, json.dumps({"Note": note}))
        assert await read(driver, RECIPE) == START | {"Note": note}


async def test_arrays_of_them(join):
    driver = await join()
    await driver.write(BANDS, '[{"Low": 1}, {"High": 2}, {"Low": 3, "High": 4}]')
    assert await read(driver, BANDS) == [
        {"Low": 1.0, "High": 40.0},
        {"Low": 40.0, "High": 2.0},
        {"Low": 3.0, "High": 4.0},
    ]
    with pytest.raises(ConversionError, match="PlantBand needs High"):
        await driver.write(BANDS, '[{}, {}, {}, {"Low": 1}]')
    # An empty array shows nothing: the type is that which the node is declared to have.
    await driver.write(BANDS, "[]")
    assert await read(driver, BANDS) == []
    await driver.write(BANDS, '[{"Low": 7, "High": 8}]')
    assert await read(driver, BANDS) == [{"Low": 7.0, "High": 8.0}]


@pytest.mark.parametrize(
    ("written", "error", "said"),
    [
        ("7", ConversionError, "write a JSON object"),
        ('{"Nmae": "x"}', ConversionError, "PlantRecipe has no Nmae: Name, Mode, Band"),
        ('{"Band": {"Mid": 1}}', ConversionError, "PlantBand has no Mid"),
        ('{"Band": 5}', ConversionError, "is a JSON object"),
        ('{"Band": {"Low": "cold"}}', ConversionError, "cold"),
        ('{"Steps": {}}', ConversionError, "Steps is an array"),
        ('{"Steps": [{"Low": 1}, {}, {}]}', ConversionError, "PlantBand needs Low"),
        ('{"Start": {"Hours": 1, "At": "2026-01-01"}}', ConversionError, "one of its fields"),
        ('{"Start": {"Hours": -1}}', OutOfRangeError, "UInt32"),
        ('{"Mode": 1e99}', OutOfRangeError, "Int32"),
    ],
)
async def test_what_cannot_be_written(join, written, error, said):
    driver = await join()
    with pytest.raises(error, match=said):
        await driver.write(RECIPE, written)
    assert await read(driver, RECIPE) == START


async def test_they_are_pushed(plant, join):
    driver, heard, bell = await join(), {}, asyncio.Event()

    def publish(index, answer):
        heard.setdefault(index, []).append(json.loads(answer.value))
        bell.set()

    async def until(held):
        async with asyncio.timeout(5):
            while not held():
                bell.clear()
                await bell.wait()

    assert await driver.subscribe([RECIPE, BANDS], publish) == [None, None]
    await until(lambda: len(heard) == 2)
    assert heard == {0: [START], 1: [START["Steps"]]}
    other = await join()
    for number in range(3):
        await other.write(RECIPE, json.dumps({"Name": str(number)}))
    await until(lambda: len(heard[0]) == 4)
    assert [one["Name"] for one in heard[0]] == ["overnight", "0", "1", "2"]


async def test_they_are_known_anew_when_the_indexes_have_moved(plant, join):
    driver = await join()
    assert await read(driver, RECIPE) == START
    await plant.restart(padding=2)
    await driver.close()
    await driver.connect()
    assert await read(driver, RECIPE) == START
    await plant.restart(padding=0)


async def test_the_past_of_them(plant, join):
    node = plant._nodes["Boiler.Recipe"]
    first = (await node.read_data_value()).Value.Value
    kept = dataclasses.replace(first, Name="kept")
    values = [ua.Variant(one, ua.VariantType.ExtensionObject) for one in (first, kept)]
    await node.write_value(ua.DataValue(values[0], SourceTimestamp=datetime.now(UTC)))
    await plant._server.historize_node_data_change(node, None, 100)
    await node.write_value(ua.DataValue(values[1], SourceTimestamp=datetime.now(UTC)))
    driver, names = await join(), []
    async with asyncio.timeout(5):
        while names != ["overnight", "kept"]:
            past = await driver.history(RECIPE, time.time() - 60, time.time() + 1, 10)
            names = [json.loads(one.value)["Name"] for one in past]


async def test_methods_take_and_give_them(plant, join):
    band = await plant._nodes["Boiler.Bands"].read_data_type()

    async def widen(parent, given):
        structures = driver._peer.channel.structures
        values = structures.decoded(given.Value)
        definition = structures.of(given.Value)
        wider = structures.encoded(definition, values | {"High": values["High"] + 1})
        return [ua.Variant(wider, ua.VariantType.ExtensionObject)]

    argument = ua.Argument(Name="band", DataType=band, ValueRank=-1)
    owner = plant._server.get_node("ns=2;s=Meter")
    await owner.add_method(ua.NodeId("Meter.Widen", 2), "2:Widen", widen, [argument], [argument])
    driver = await join(objectID="s=Meter")
    (method,) = await driver.methods()
    assert method.arguments["band"]["type"] == "object"
    given = {"band": '{"Low": 1, "High": 2}'}
    assert json.loads((await driver.call("Widen", given))["band"]) == {"Low": 1.0, "High": 3.0}
    with pytest.raises(ConversionError, match="needs High"):
        await driver.call("Widen", {"band": '{"Low": 1}'})


async def test_what_a_server_does_not_tell_is_shown_as_it_is(plant, join):
    raw = ua.ExtensionObject(TypeId=ua.NodeId("nobody knows", 2), Body=b"\x01\x02")
    objects = plant._server.get_objects_node()
    node = await objects.add_variable(
        "ns=2;s=Odd",
        "2:Odd",
        ua.Variant(raw, ua.VariantType.ExtensionObject),
        datatype=ua.NodeId(22),
    )
    await node.set_writable()
    driver, visit = await join(), at({"nodeID": PLANT + "Odd"})
    assert await read(driver, visit) == {"TypeId": "ns=2;s=nobody knows", "Body": "AQI="}
    with pytest.raises(ConversionError, match="does not tell"):
        await driver.write(visit, "{}")


async def test_types_that_rest_on_others(plant, join):
    """Inherited fields, structures of the standard, any structure, a value of any type."""
    server, number = plant._server, ua.VariantType.Double
    base, _ = await new_struct(server, 2, "OddBase", [new_struct_field("First", number)])
    fields = [
        new_struct_field("Range", ua.NodeId(ua.ObjectIds.Range)),
        new_struct_field("Ranges", ua.NodeId(ua.ObjectIds.Range), array=True),
        new_struct_field("Any", ua.NodeId(ua.ObjectIds.BaseDataType)),
        new_struct_field("Some", ua.NodeId(ua.ObjectIds.Structure)),
        new_struct_field("For", ua.NodeId(ua.ObjectIds.Duration)),
        new_struct_field("Bytes", ua.VariantType.Byte, array=True),
    ]
    derived, (encoding,) = await new_struct(server, 2, "OddDerived", fields)
    definition = await derived.read_data_type_definition()
    definition.BaseDataType = base.nodeid
    await derived.write_data_type_definition(definition)
    parts = [
        ua.ua_binary.pack_uatype(number, 1.5),
        ua.ua_binary.struct_to_binary(ua.Range(1.0, 2.0)),
        b"\x01\x00\x00\x00" + ua.ua_binary.struct_to_binary(ua.Range(3.0, 4.0)),
        ua.ua_binary.variant_to_binary(ua.Variant("any")),
        ua.ua_binary.extensionobject_to_binary(ua.Range(5.0, 6.0)),
        ua.ua_binary.pack_uatype(number, 9.0),
        b"\x02\x00\x00\x00\x07\x08",
    ]
    raw = ua.ExtensionObject(TypeId=encoding.nodeid, Body=b"".join(parts))
    value = ua.Variant(raw, ua.VariantType.ExtensionObject)
    node = await server.get_objects_node().add_variable(
        "ns=2;s=Derived", "2:Derived", value, datatype=ua.NodeId(22)
    )
    await node.set_writable()
    driver, visit = await join(), at({"nodeID": PLANT + "Derived"})
    told = {
        "First": 1.5,
        "Range": {"Low": 1.0, "High": 2.0},
        "Ranges": [{"Low": 3.0, "High": 4.0}],
        "Any": "any",
        "Some": {"Low": 5.0, "High": 6.0},
        "For": 9.0,
        "Bytes": [7, 8],
    }
    assert await read(driver, visit) == told
    await driver.write(visit, '{"First": 2, "Range": {"High": 9}, "Ranges": [{"Low": 0}]}')
    assert await read(driver, visit) == told | {
        "First": 2.0,
        "Range": {"Low": 1.0, "High": 9.0},
        "Ranges": [{"Low": 0.0, "High": 4.0}],
    }


async def test_bytes_that_do_not_fit_their_definition(plant, join):
    node = plant._nodes["Boiler.Recipe"]
    raw = (await node.read_data_value()).Value.Value
    encoding = ua.typeid_by_extension_objects[type(raw)]
    short = ua.ExtensionObject(TypeId=encoding, Body=b"\x00")
    await node.write_value(ua.Variant(short, ua.VariantType.ExtensionObject))
    driver = await join()
    recipe, bands = await driver.read([RECIPE, BANDS])
    assert isinstance(recipe, ConversionError)
    assert "PlantRecipe" in str(recipe)
    assert isinstance(bands, Reading)


async def put(plant, name, definition, body):
    """Define a type on the server, and a variable that holds one of it."""
    kind, (encoding,) = await new_struct(plant._server, 2, f"{name}Type", definition.Fields)
    definition.DefaultEncodingId = encoding.nodeid
    definition.BaseDataType = definition.BaseDataType or ua.NodeId(ua.ObjectIds.Structure)
    await kind.write_data_type_definition(definition)
    raw = ua.ExtensionObject(TypeId=encoding.nodeid, Body=body)
    value = ua.Variant(raw, ua.VariantType.ExtensionObject)
    objects = plant._server.get_objects_node()
    node = await objects.add_variable(f"ns=2;s={name}", f"2:{name}", value, datatype=kind.nodeid)
    await node.set_writable()
    return kind.nodeid


async def test_values_whose_types_may_be_those_below(plant, join):
    fields = [
        new_struct_field("Any", ua.NodeId(ua.ObjectIds.Range), optional=True),
        new_struct_field("Number", ua.NodeId(ua.ObjectIds.Double), optional=True),
        new_struct_field("Plain", ua.VariantType.Byte),
    ]
    definition = ua.StructureDefinition(
        StructureType=ua.StructureType.StructureWithSubtypedValues, Fields=fields
    )
    body = ua.ua_binary.extensionobject_to_binary(ua.Range(1.0, 2.0))
    body += ua.ua_binary.variant_to_binary(ua.Variant(1.5)) + b"\x07"
    await put(plant, "Subtyped", definition, body)
    told = {"Any": {"Low": 1.0, "High": 2.0}, "Number": 1.5, "Plain": 7}
    assert await read(await join(), at({"nodeID": PLANT + "Subtyped"})) == told


@pytest.mark.parametrize("name", ["Grid", "Alien", "Endless"])
async def test_what_cannot_be_told_is_shown_as_it_is(plant, join, name):
    """Fields with dimensions, of no type that there is, or of types in a circle."""
    number = ua.NodeId(ua.ObjectIds.Double)
    field = new_struct_field("Odd", number if name == "Grid" else ua.NodeId(99_999, 2))
    if name == "Grid":
        field.ValueRank = 2
    definition = ua.StructureDefinition(Fields=[field])
    kind = await put(plant, name, definition, b"\x01")
    if name == "Endless":
        definition.BaseDataType = kind
        definition.Fields = [new_struct_field("Odd", number)]
        await plant._server.get_node(kind).write_data_type_definition(definition)
    driver, visit = await join(), at({"nodeID": PLANT + name})
    assert (await read(driver, visit))["Body"] == "AQ=="
    with pytest.raises(ConversionError, match="does not tell"):
        await driver.write(visit, '{"Odd": 1}')


async def test_a_method_that_nobody_can_call_hinders_no_other(plant, join):
    async def nothing(parent, *given):
        return []

    odd = ua.Argument(Name="odd", DataType=ua.NodeId(99_999, 2), ValueRank=-1)
    owner = plant._server.get_node("ns=2;s=Boiler")
    await owner.add_method(ua.NodeId("Boiler.Odd", 2), "2:Odd", nothing, [odd], [])
    await owner.add_method(ua.NodeId("Boiler.Nap", 2), "2:Nap", nothing, [], [])
    driver = await join(objectID="s=Boiler")
    assert [method.name for method in await driver.methods()] == ["Odd", "Nap"]
    with pytest.raises(ConversionError, match="does not tell"):
        await driver.call("Odd", {"odd": "{}"})
    assert await driver.call("Nap", {}) == {}

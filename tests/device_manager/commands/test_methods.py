import pytest

from device_manager.commands.methods import Methods
from dmi.errors import AccessDeniedError, ConversionError, NotFoundError, OutOfRangeError
from dmi.methods import Method
from dmi.resources import Device, Key
from tests.device_manager.plants import PUMP, device, model

RUN = Method("run", "Runs.", {"seconds": {"type": "number"}}, {"volume": {"type": "number"}})


@pytest.fixture
async def methods(plant):
    data = device(speed=None, label=None, state=None).to_json()
    data["spec"]["methods"] = [
        {"name": "set", "description": "Sets.", "propertyNames": ["speed", "state", "gone"]}
    ]
    declared = model(
        speed={"type": "INT", "minimum": "0", "maximum": "9", "unit": "1/min"},
        label="STRING",
        state={"type": "STRING", "accessMode": "ReadOnly"},
    )
    await plant.apply(declared, Device.model_validate(data), origin="api")
    return Methods(plant)


async def test_declared_methods_have_the_types_of_their_properties(methods, plant):
    (declared,) = methods.declared(plant.devices[PUMP])
    assert (declared.name, declared.description) == ("set", "Sets.")
    assert declared.arguments == {
        "speed": {
            "type": "integer",
            "x-dmi-type": "INT",
            "minimum": 0,
            "maximum": 9,
            "description": "1/min",
        },
        "state": {"type": "string", "x-dmi-type": "STRING"},
    }


async def test_declared_methods_check_what_would_be_written(methods, plant):
    pump = plant.devices[PUMP]
    assert methods.check(pump, "set", {"speed": 5.0}) == {"speed": 5}
    for given, error in (
        ({}, ConversionError),
        ({"speed": "fast"}, ConversionError),
        ({"speed": 10}, OutOfRangeError),
        ({"state": "x"}, AccessDeniedError),
        ({"label": "x"}, ConversionError),
    ):
        with pytest.raises(error):
            methods.check(pump, "set", given)


async def test_own_methods_are_checked_once_they_are_told(methods, plant):
    pump = plant.devices[PUMP]
    assert not methods.knows(PUMP)
    assert methods.check(pump, "run", {"seconds": 5}) == {"seconds": 5}
    with pytest.raises(NotFoundError, match="there is: set"):
        methods.check(pump, "run", {}, complete=True)
    with pytest.raises(NotFoundError, match="no method ''"):
        methods.check(pump, "", {})
    methods.tell(PUMP, [RUN, Method("set")])
    assert methods.own(pump) == [RUN]
    assert methods.check(pump, "run", {"seconds": 5}) == {"seconds": 5.0}
    with pytest.raises(NotFoundError, match="there is: run, set"):
        methods.check(pump, "walk", {})
    with pytest.raises(ConversionError, match="needs the argument 'seconds'"):
        methods.check(pump, "run", {})


async def test_methods_of_devices_that_are_gone_are_forgotten(methods, plant):
    methods.tell(Key("default", "nothing"), [RUN])
    assert not methods.knows(Key("default", "nothing"))
    methods.tell(PUMP, [RUN])
    await plant.delete("Device", PUMP, "api")
    await plant.apply(device("other"), origin="api")
    methods.tell(Key("default", "other"), [])
    assert not methods.knows(PUMP)


async def test_a_model_that_is_not_there_declares_no_arguments(methods, plant):
    await plant.delete("DeviceModel", plant.devices[PUMP].model_key, "api")
    (declared,) = methods.declared(plant.devices[PUMP])
    assert declared.arguments == {}

import pytest

from dmi.manifests import path_text
from dmi.manifests.checks import check_alone, check_device, check_model
from dmi.resources import Device, DeviceModel


def model_of(*properties, protocol="modbus"):
    spec = {"protocol": protocol, "properties": list(properties)}
    return DeviceModel.model_validate({"metadata": {"name": "kiln"}, "spec": spec})


def device_of(*properties, protocol="modbus", reference="kiln", **spec):
    body = {
        "deviceModelRef": {"name": reference},
        "protocol": {"protocolName": protocol},
        "properties": list(properties),
        **spec,
    }
    return Device.model_validate({"metadata": {"name": "kiln-1"}, "spec": body})


HEAT = {
    "name": "heat",
    "type": "FLOAT",
    "accessMode": "ReadWrite",
    "minimum": "0",
    "maximum": "900",
}


def faults_of(device, model):
    return [(path_text(f.path), f.problem, f.hint) for f in check_device(device, model)]


def test_nothing_is_wrong_with_a_right_device():
    device = device_of({"name": "heat", "desired": {"value": "17.5"}})
    assert faults_of(device, model_of(HEAT)) == []


def test_empty_desired_text_desires_nothing():
    device = device_of({"name": "heat", "desired": {"value": ""}})
    assert faults_of(device, model_of({**HEAT, "accessMode": "ReadOnly"})) == []


@pytest.mark.parametrize(
    ("value", "words"),
    [("hot", "does not fit type FLOAT"), ("901", "above the maximum"), ("-1", "below the minimum")],
)
def test_desired_values_must_be_possible(value, words):
    device = device_of({"name": "heat", "desired": {"value": value}})
    ((path, problem, _),) = faults_of(device, model_of(HEAT))
    assert path == "spec.properties[0].desired.value"
    assert words in problem


def test_desired_of_read_only_is_a_fault():
    device = device_of({"name": "heat", "desired": {"value": "1"}})
    ((_, problem, hint),) = faults_of(device, model_of({**HEAT, "accessMode": "ReadOnly"}))
    assert "ReadOnly" in problem
    assert hint == "remove desired"


def test_a_bad_bound_is_told_of_the_model_only():
    bad = model_of({**HEAT, "minimum": "low"})
    assert faults_of(device_of({"name": "heat", "desired": {"value": "1"}}), bad) == []
    (fault,) = check_model(bad)
    assert path_text(fault.path) == "spec.properties[0].minimum"


def test_a_property_must_be_in_the_model():
    ((path, problem, hint),) = faults_of(device_of({"name": "heet"}), model_of(HEAT))
    assert path == "spec.properties[0].name"
    assert problem == "'heet' is not in model default/kiln"
    assert hint == "did you mean 'heat'?"
    ((_, _, hint),) = faults_of(device_of({"name": "xyz"}), model_of(HEAT))
    assert hint == "it has heat"
    ((_, _, hint),) = faults_of(device_of({"name": "xyz"}), model_of())
    assert hint == "it has none"


def test_the_model_must_be_there():
    ((path, problem, _),) = faults_of(device_of({"name": "heat"}), None)
    assert path == "spec.deviceModelRef.name"
    assert problem == "there is no model default/kiln"
    ((_, problem, _),) = faults_of(device_of(reference=""), None)
    assert "needs a model" in problem


def test_protocols_must_agree():
    ((path, problem, _),) = faults_of(device_of(protocol="Modbus"), model_of())
    assert path == "spec.protocol.protocolName"
    assert "'Modbus' is not 'modbus'" in problem
    assert faults_of(device_of(protocol="opcua"), model_of(protocol="")) == []
    ((_, problem, _),) = faults_of(device_of(protocol=""), model_of())
    assert "is missing" in problem
    prop = {"name": "heat", "visitors": {"protocolName": "opcua"}}
    ((path, _, _),) = faults_of(device_of(prop), model_of(HEAT))
    assert path == "spec.properties[0].visitors.protocolName"


def test_names_must_not_repeat():
    device = device_of(
        {"name": "heat"},
        {"name": "heat"},
        methods=[{"name": "m", "propertyNames": ["heat"]}, {"name": "m"}],
    )
    assert [path_text(fault.path) for fault in check_alone(device)] == [
        "spec.properties[1].name",
        "spec.methods[1].name",
    ]


def test_methods_write_what_the_device_has():
    device = device_of({"name": "heat"}, methods=[{"name": "m", "propertyNames": ["heat", "x"]}])
    (fault,) = check_alone(device)
    assert path_text(fault.path) == "spec.methods[0].propertyNames[1]"


def test_several_faults_are_all_told():
    device = device_of(
        {"name": "heat", "desired": {"value": "x"}}, {"name": "heet"}, protocol="opcua"
    )
    assert len(faults_of(device, model_of(HEAT))) == 3

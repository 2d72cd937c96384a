import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmi.edgecore import (
    CALLS_BURST,
    CALLS_PER_SECOND,
    device_faults,
    model_faults,
    name_fault,
    namespace_fault,
    state_fault,
    value_fault,
)
from dmi.manifests import path_text
from dmi.resources import Device, DeviceModel


def device_of(namespace="plant", config=None, **spec):
    body = {
        "deviceModelRef": {"name": "kiln"},
        "nodeName": "edge",
        "protocol": {"protocolName": "modbus", "configData": config or {}},
        **spec,
    }
    return Device.model_validate({"metadata": {"name": "k", "namespace": namespace}, "spec": body})


def faults_of(device):
    return [(path_text(fault.path), fault.problem) for fault in device_faults(device)]


@given(st.text(max_size=600))
def test_values_pass_exactly_when_they_match_the_pattern(text):
    passes = text == "" or re.fullmatch(r"[a-zA-Z0-9\-_.,:/@#]{1,512}", text) is not None
    assert (value_fault(text) is None) is passes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a b", "' '"),
        ('{"a":1}', "'{'"),
        ("50%", "'%'"),
        ("grün", "'ü'"),
        ("AQ==", "'='"),
        ("1+1", "'+'"),
        ("x" * 513, "longer than 512"),
    ],
)
def test_why_a_value_is_dropped(text, words):
    assert words in value_fault(text)


def test_names_have_a_charset_and_a_length():
    assert name_fault("voltage-l1") is None
    assert name_fault("x" * 128) is None
    assert "longer than 128" in name_fault("x" * 129)
    assert "empty" in name_fault("")
    assert "' '" in name_fault("water heat")


@pytest.mark.parametrize("state", ["online", "OFFLINE", "ok", "Unknown", "unhealthy"])
def test_known_state_words_pass(state):
    assert state_fault(state) is None


@pytest.mark.parametrize("state", ["disconnected", "", "on line"])
def test_other_state_words_vanish(state):
    assert "not one of ok, offline" in state_fault(state).replace("offline, ok", "ok, offline")


@pytest.mark.parametrize("namespace", ["dev", "device", "event", "e", "hw", "s"])
def test_namespaces_inside_the_topic_are_traps(namespace):
    assert namespace_fault(namespace) is not None
    assert faults_of(device_of(namespace))[0][0] == "metadata.namespace"


@pytest.mark.parametrize("namespace", ["default", "plant", "devices", "ns1"])
def test_other_namespaces_are_fine(namespace):
    assert namespace_fault(namespace) is None
    assert faults_of(device_of(namespace)) == []


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        (16777217, "16777216"),
        (2**53, None),
        (0, None),
        (-16777217, "-16777216"),
        (16777216, None),
        (0.1, None),
        (3.141592653589793, "3.1415927"),
        (1e39, "infinity"),
        (-(10**400), "infinity"),
        (True, None),
        ("16777217", None),
    ],
)
def test_numbers_arrive_as_32_bit_floats(value, arrives):
    faults = faults_of(device_of(config={"port": value}))
    if arrives is None:
        assert faults == []
    else:
        ((path, problem),) = faults
        assert path == "spec.protocol.configData.port"
        assert problem.startswith(f"the mapper gets {arrives}:")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"a": None}, "nothing cannot be converted"),
        ({"a": [1]}, "a list cannot be converted"),
        ({"a": {"b": 1}}, "a block of fields cannot be converted"),
        ({"data": 5}, "uses the key `data` itself"),
        ({"Data": "x"}, "uses the key `data` itself"),
    ],
)
def test_what_is_never_delivered(config, words):
    prop = {"name": "p", "visitors": {"configData": config}}
    ((path, problem),) = faults_of(device_of(properties=[prop]))
    assert path.startswith("spec.properties[0].visitors.configData.")
    assert "never delivered" in problem
    assert words in problem


def test_desired_values_and_names_of_properties():
    prop = {"name": "water heat", "desired": {"value": "two words"}}
    assert [path for path, _ in faults_of(device_of(properties=[prop]))] == [
        "spec.properties[0].name",
        "spec.properties[0].desired.value",
    ]


def test_old_nanoseconds_are_noticed():
    prop = {"name": "p", "collectCycle": 10_000_000_000, "reportCycle": 999_999_999}
    ((path, problem),) = faults_of(device_of(properties=[prop]))
    assert path == "spec.properties[0].collectCycle"
    assert "115.7 days" in problem


def test_reporting_faster_than_the_node_may_call():
    assert (CALLS_PER_SECOND, CALLS_BURST) == (1.0, 100)
    fast = {"name": "p", "collectCycle": 200, "reportToCloud": True}
    ((path, problem),) = faults_of(device_of(properties=[fast]))
    assert path == "spec.properties"
    assert "every 200 ms" in problem
    assert faults_of(device_of(properties=[{**fast, "reportToCloud": False}])) == []
    assert faults_of(device_of(properties=[{**fast, "collectCycle": 0}])) == []


def test_devices_without_node_or_model():
    assert faults_of(device_of(nodeName="")) == [
        ("spec.nodeName", "is empty: the device is sent to no node")
    ]
    ((path, _),) = faults_of(device_of(deviceModelRef={}))
    assert path == "spec.deviceModelRef"


def test_models():
    model = DeviceModel.model_validate(
        {
            "metadata": {"name": "m"},
            "spec": {
                "protocolConfigData": {"a": []},
                "properties": [
                    {"name": "a b", "visitors": {"configData": {"x": 16777217}}},
                    {"name": "c"},
                ],
            },
        }
    )
    assert [path_text(fault.path) for fault in model_faults(model)] == [
        "spec.protocol",
        "spec.protocolConfigData.a",
        "spec.properties[0].name",
        "spec.properties[0].visitors.configData.x",
    ]

"""Messages of dmi.v1: what goes in comes out, and what is wrong is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmi.convert.resource_json import resource_from_json
from dmi.convert.v1 import (
    desired_from_v1,
    desired_to_v1,
    device_from_v1,
    device_to_v1,
    key_from_v1,
    key_to_v1,
    microseconds,
    model_from_v1,
    model_to_v1,
    outcome_from_v1,
    outcome_to_v1,
    registration_from_v1,
    registration_to_v1,
    seconds,
    state_from_v1,
    state_to_v1,
    value_from_v1,
    value_to_v1,
)
from dmi.errors import ConfigError, ConversionError
from dmi.proto.v1 import api_pb2 as pb
from dmi.reports import Desired, DeviceState, Outcome, OutcomeStatus, Registration
from dmi.resources import Device, DeviceModel, Key
from dmi.values import INT_MAX, INT_MIN

KILN = Key("plant", "kiln-7")
DEVICE = Device.model_validate(
    {
        "metadata": {"name": "kiln-7", "namespace": "plant", "labels": {"hall": "3"}},
        "spec": {
            "deviceModelRef": {"name": "kiln"},
            "protocol": {"protocolName": "modbus", "configData": {"nested": {"a": [1, 2.5, None]}}},
            "properties": [
                {"name": "setpoint", "desired": {"value": "740"}, "collectCycle": 500},
                {"name": "temperature", "visitors": {"configData": {"register": "InputRegister"}}},
            ],
        },
        "status": {"reportToCloud": True, "twins": [{"propertyName": "setpoint"}]},
    }
)
MODEL = DeviceModel.model_validate(
    {
        "metadata": {"name": "kiln", "namespace": "plant"},
        "spec": {"protocol": "modbus", "properties": [{"name": "setpoint", "type": "INT"}]},
    }
)


def sent(message):
    """What the other side gets."""
    return type(message).FromString(message.SerializeToString())


@pytest.mark.parametrize(
    "value", [0, -1, INT_MIN, INT_MAX, 0.0, -0.5, 1e300, True, False, "", "Grüße", b"", b"\x00\xff"]
)
def test_values_keep_value_and_type(value):
    back = value_from_v1(sent(value_to_v1(value)))
    assert back == value
    assert type(back) is type(value)


@given(st.one_of(st.integers(INT_MIN, INT_MAX), st.floats(), st.booleans(), st.text(), st.binary()))
def test_any_value_there_and_back(value):
    back = value_from_v1(sent(value_to_v1(value)))
    assert back == value or (value != value and back != back)


@pytest.mark.parametrize("value", [INT_MAX + 1, INT_MIN - 1, "\ud800"])
def test_values_that_cannot_travel(value):
    with pytest.raises(ConversionError, match="cannot be sent"):
        value_to_v1(value)


def test_no_value():
    assert value_from_v1(pb.Value()) is None


def test_times_are_exact_to_the_microsecond():
    assert microseconds(1_790_000_000.123456) == 1_790_000_000_123_456
    assert seconds(1_790_000_000_123_456) == 1_790_000_000.123456


def test_keys():
    assert key_from_v1(sent(key_to_v1(KILN))) == KILN
    for incomplete in (pb.Key(), pb.Key(namespace="plant"), pb.Key(name="kiln-7")):
        with pytest.raises(ConfigError, match="namespace and name are needed"):
            key_from_v1(incomplete)


def test_a_device_travels_without_desired_values_and_status():
    back = device_from_v1(sent(device_to_v1(DEVICE)))
    assert back.key == KILN
    assert [prop.desired for prop in back.spec.properties] == [None, None]
    assert back.status == {}
    assert back.spec.protocol == DEVICE.spec.protocol
    assert back.spec.properties[0].collect_cycle == 500
    assert back.spec.properties[1] == DEVICE.spec.properties[1]
    assert back.spec.state_report == DEVICE.spec.state_report
    assert back.spec.state_report.report_to_cloud
    assert back.metadata == DEVICE.metadata


def test_converting_leaves_the_device_as_it_was():
    device_to_v1(DEVICE)
    assert DEVICE.spec.properties[0].desired.value == "740"
    assert DEVICE.status["reportToCloud"]


def test_a_device_without_a_spec():
    bare = Device.model_validate({"metadata": {"name": "bare"}})
    assert device_from_v1(sent(device_to_v1(bare))).key == Key("default", "bare")


def test_a_model():
    assert model_from_v1(sent(model_to_v1(MODEL))) == MODEL


@pytest.mark.parametrize(
    ("json", "words"),
    [
        (b"", "device plant/kiln-7 is not valid JSON"),
        (b"[]", "device plant/kiln-7: "),
        (b'{"metadata": {"name": "NO"}}', "metadata.name: "),
        (b'{"metadata": {"name": "other", "namespace": "plant"}}', "was sent as plant/kiln-7"),
    ],
)
def test_wrong_devices_are_named(json, words):
    with pytest.raises(ConfigError, match=words):
        device_from_v1(pb.DevicePut(key=key_to_v1(KILN), json=json))


def test_wrong_models_are_named():
    with pytest.raises(ConfigError, match="model plant/kiln was sent as plant/oven"):
        model_from_v1(
            pb.ModelPut(key=pb.Key(namespace="plant", name="oven"), json=model_to_v1(MODEL).json)
        )


def test_many_mistakes_are_summed_up():
    text = b'{"metadata": {"name": "x"}, "spec": {"properties": [{}, {}, {}, {}, {}]}}'
    with pytest.raises(ConfigError, match=r"spec.properties.0.name: .*; and 2 more"):
        resource_from_json(Device, text, "device x")


@pytest.mark.parametrize(
    "desired",
    [
        Desired(KILN, "setpoint", 740.5, 3),
        Desired(KILN, "setpoint", None, 4, settled=True),
        Desired(KILN, "name", "", 5),
    ],
)
def test_wishes(desired):
    assert desired_from_v1(sent(desired_to_v1(desired))) == desired


@pytest.mark.parametrize("status", OutcomeStatus)
def test_outcomes(status):
    outcome = Outcome(KILN, "setpoint", 3, status, 1_790_000_000.25, "refused", "not now")
    assert outcome_from_v1(sent(outcome_to_v1(outcome))) == outcome


@pytest.mark.parametrize("word", ["online", "offline", "unhealthy", "unknown"])
def test_states(word):
    state = DeviceState(KILN, word, 1_790_000_000.5, "deadline", "no answer")
    assert state_from_v1(sent(state_to_v1(state))) == state


@pytest.mark.parametrize(
    ("read", "message", "words"),
    [
        (desired_from_v1, pb.DesiredPut(property="p"), "namespace and name are needed"),
        (desired_from_v1, pb.DesiredPut(device=key_to_v1(KILN)), "name of the property is missing"),
        (
            outcome_from_v1,
            pb.DesiredOutcome(device=key_to_v1(KILN)),
            "name of the property is missing",
        ),
        (
            outcome_from_v1,
            pb.DesiredOutcome(device=key_to_v1(KILN), property="p", status=99),
            "outcome status 99 is not known",
        ),
        (state_from_v1, pb.DeviceState(state="online"), "namespace and name are needed"),
        (
            state_from_v1,
            pb.DeviceState(device=key_to_v1(KILN), state="fine"),
            "'fine' is not one of online",
        ),
        (registration_from_v1, pb.Registration(name="m"), "name and its protocol"),
        (registration_from_v1, pb.Registration(protocol="modbus"), "name and its protocol"),
        (device_from_v1, pb.DevicePut(json=b"{}"), "namespace and name are needed"),
    ],
)
def test_missing_parts_are_named(read, message, words):
    with pytest.raises(ConfigError, match=words):
        read(message)


def test_registration():
    registration = Registration(
        "modbus-mapper", "modbus", "node-1", "0.1.0", ("read", "write"), '{"a": 1}', '{"b": 2}'
    )
    assert registration_from_v1(sent(registration_to_v1(registration))) == registration


def test_abilities_of_a_newer_mapper_are_left_out():
    message = pb.Registration(name="m", protocol="p", abilities=[pb.READ, 99, 0])
    assert registration_from_v1(sent(message)).abilities == ("read",)


def test_abilities_that_nobody_knows_are_refused():
    with pytest.raises(ConfigError, match="cannot register m"):
        registration_to_v1(Registration("m", "p", abilities=("fly",)))

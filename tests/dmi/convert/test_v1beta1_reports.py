"""Twins, states and registrations over v1beta1: both halves always set, nil parts named."""

import pytest

from dmi.convert.v1beta1_reports import (
    ReportedTwin,
    reading_from_twin,
    registration_from_v1beta1,
    registration_to_v1beta1,
    state_from_v1beta1,
    state_to_v1beta1,
    text_twin_to_v1beta1,
    twin_to_v1beta1,
    twins_from_v1beta1,
    twins_to_v1beta1,
)
from dmi.errors import ConfigError, ConversionError
from dmi.proto.v1beta1 import api_pb2 as pb
from dmi.readings import Quality, Reading
from dmi.reports import DeviceState, Registration
from dmi.resources import DataType, Key

KILN = Key("plant", "kiln-7")
NOW = 1_790_000_000.25


def sent(message):
    """What the other side gets."""
    return type(message).FromString(message.SerializeToString())


def test_a_twin_has_both_halves_type_and_time():
    twin = sent(twin_to_v1beta1("temperature", DataType.FLOAT, Reading(731.5, NOW)))
    assert twin.propertyName == "temperature"
    assert twin.HasField("observedDesired")
    assert twin.observedDesired.value == ""
    assert twin.reported.value == "731.5"
    assert twin.reported.metadata == {"type": "float", "timestamp": "1790000000250"}


def test_halves_are_there_even_when_empty():
    twin = sent(text_twin_to_v1beta1("name", ""))
    assert twin.HasField("observedDesired")
    assert twin.HasField("reported")


@pytest.mark.parametrize(
    ("data_type", "value"),
    [
        (DataType.INT, -5),
        (DataType.FLOAT, 0.1),
        (DataType.DOUBLE, 1e-9),
        (DataType.BOOLEAN, True),
        (DataType.STRING, "a b"),
        (DataType.BYTES, b"raw"),
    ],
)
def test_readings_there_and_back(data_type, value):
    request = sent(
        twins_to_v1beta1(KILN, [twin_to_v1beta1("p", data_type, Reading(value, NOW), "7")])
    )
    key, [twin] = twins_from_v1beta1(request)
    assert key == KILN
    assert twin.desired == "7"
    assert reading_from_twin(twin, data_type, now=0.0) == Reading(value, NOW)


def test_a_reading_without_a_value_has_no_text():
    with pytest.raises(ConversionError, match="property p has no value to report: deadline"):
        twin_to_v1beta1("p", DataType.INT, Reading(None, NOW, Quality.BAD, "deadline"))


def test_an_empty_report_is_not_sent():
    with pytest.raises(ConversionError, match="plant/kiln-7: a report needs at least one twin"):
        twins_to_v1beta1(KILN, [])


@pytest.mark.parametrize(
    "timestamp", ["", "now", "1790000000", "-790000000250", "٣" * 13, "9" * 30]
)
def test_without_a_usable_time_the_present_stands_in(timestamp):
    message = text_twin_to_v1beta1("p", "5", metadata={"timestamp": timestamp})
    _, [twin] = twins_from_v1beta1(twins_to_v1beta1(KILN, [message]))
    assert twin == ReportedTwin("p", "5", "", None)
    assert reading_from_twin(twin, DataType.INT, now=NOW) == Reading(5, NOW)


def test_text_that_does_not_fit_the_type():
    with pytest.raises(ConversionError, match="does not fit type INT"):
        reading_from_twin(ReportedTwin("p", "", "", None), DataType.INT, NOW)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (pb.ReportDeviceStatusRequest(), "name of the device or model is missing"),
        (pb.ReportDeviceStatusRequest(deviceName="k"), "default/k: the report has no twin"),
        (
            pb.ReportDeviceStatusRequest(
                deviceName="k", reportedDevice=pb.DeviceStatus(twins=[pb.Twin()])
            ),
            "default/k: a twin has no propertyName",
        ),
        (
            pb.ReportDeviceStatusRequest(
                deviceName="k",
                reportedDevice=pb.DeviceStatus(
                    twins=[pb.Twin(propertyName="p", observedDesired=pb.TwinProperty())]
                ),
            ),
            "twin p has no reported",
        ),
        (
            pb.ReportDeviceStatusRequest(
                deviceName="k",
                reportedDevice=pb.DeviceStatus(
                    twins=[pb.Twin(propertyName="p", reported=pb.TwinProperty())]
                ),
            ),
            "twin p has no observedDesired",
        ),
    ],
)
def test_missing_parts_of_a_report_are_named(request_, words):
    with pytest.raises(ConfigError, match=words):
        twins_from_v1beta1(sent(request_))


@pytest.mark.parametrize("word", ["online", "offline", "unhealthy", "unknown"])
def test_states_there_and_back(word):
    request = sent(state_to_v1beta1(DeviceState(KILN, word, 5.0, "deadline", "no answer")))
    assert state_from_v1beta1(request, NOW) == DeviceState(KILN, word, NOW)


@pytest.mark.parametrize(
    ("word", "state"), [("OK", "online"), ("DISCONNECTED", "offline"), ("Online", "online")]
)
def test_words_of_go_mappers(word, state):
    request = pb.ReportDeviceStatesRequest(deviceName="k", deviceNamespace="plant", state=word)
    assert state_from_v1beta1(request, NOW).state == state


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (pb.ReportDeviceStatesRequest(state="ok"), "name of the device or model is missing"),
        (pb.ReportDeviceStatesRequest(deviceName="k"), "state '' is not one of online, ok"),
        (pb.ReportDeviceStatesRequest(deviceName="k", state="fine"), "default/k: state 'fine'"),
    ],
)
def test_wrong_states_are_named(request_, words):
    with pytest.raises(ConfigError, match=words):
        state_from_v1beta1(request_, NOW)


def test_registrations():
    registration = Registration(
        "modbus-mapper", "modbus", version="0.1.0", address="/run/dmi/modbus.sock"
    )
    request = sent(registration_to_v1beta1(registration))
    assert request.withData
    assert request.mapper.address == b"/run/dmi/modbus.sock"
    assert request.mapper.api_version == "v1beta1"
    assert request.mapper.state == "ok"
    assert registration_from_v1beta1(request) == registration


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (pb.MapperRegisterRequest(withData=True), "mapper is missing"),
        (pb.MapperRegisterRequest(mapper=pb.MapperInfo()), "mapper.name is missing"),
        (pb.MapperRegisterRequest(mapper=pb.MapperInfo(name="m")), "mapper.protocol is missing"),
        (
            pb.MapperRegisterRequest(mapper=pb.MapperInfo(name="m", protocol="p")),
            "mapper.address is missing",
        ),
        (
            pb.MapperRegisterRequest(
                mapper=pb.MapperInfo(name="m", protocol="p", address=b"unix:///run/m.sock")
            ),
            "must be an absolute path without a scheme",
        ),
        (
            pb.MapperRegisterRequest(
                mapper=pb.MapperInfo(name="m", protocol="p", address=b"/\xff")
            ),
            "not UTF-8",
        ),
    ],
)
def test_missing_parts_of_a_registration_are_named(request_, words):
    with pytest.raises(ConfigError, match=words):
        registration_from_v1beta1(sent(request_))


def test_an_incomplete_registration_is_not_sent():
    with pytest.raises(ConfigError, match=r"mapper.address is missing"):
        registration_to_v1beta1(Registration("m", "p"))

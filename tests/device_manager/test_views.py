import pytest

from device_manager.records import StateRecord, TwinRecord, Wish
from device_manager.views import device_view, state_view, time_text, twin_view
from dmi.readings import Quality, Reading
from dmi.reports import OutcomeStatus
from dmi.resources import Device, Key, ModelProperty

KILN = Key("ns1", "kiln-7")
FLOAT = ModelProperty.model_validate(
    {"name": "temperature", "type": "FLOAT", "accessMode": "ReadWrite", "unit": "°C"}
)


def test_times_are_utc_with_milliseconds():
    assert time_text(1790000000.1234) == "2026-09-21T14:13:20.123Z"


@pytest.mark.parametrize("never", [0.0, -5.0, 1e18, float("inf"), float("nan")])
def test_never_and_nonsense_have_no_time(never):
    assert time_text(never) is None


def test_both_sides_of_a_twin():
    twin = TwinRecord(
        KILN,
        "temperature",
        Reading(0.10000000149011612, 1790000000.0, Quality.UNCERTAIN, "stale"),
        Wish(7.5, 3, 1790000001.0, OutcomeStatus.WRITTEN, reason="r", message="m"),
    )
    assert twin_view(twin, FLOAT, 1790000002.5) == {
        "namespace": "ns1",
        "device": "kiln-7",
        "property": "temperature",
        "type": "FLOAT",
        "unit": "°C",
        "access": "ReadWrite",
        "desired": {
            "value": 7.5,
            "version": 3,
            "time": "2026-09-21T14:13:21.000Z",
            "status": "written",
            "reason": "r",
            "message": "m",
        },
        "reported": {
            "value": 0.1,
            "time": "2026-09-21T14:13:20.000Z",
            "quality": "uncertain",
            "reason": "stale",
        },
        "age_s": 2.5,
    }


def test_an_unread_twin_of_an_unknown_property():
    view = twin_view(TwinRecord(KILN, "x"), None, 5.0)
    assert {view[k] for k in ("type", "unit", "access", "desired", "reported", "age_s")} == {None}


def test_bytes_are_base64_a_fault_has_no_value_and_age_is_never_negative():
    blob = twin_view(TwinRecord(KILN, "x", Reading(b"\x00\xff", 9.0)), None, 5.0)
    fault = twin_view(TwinRecord(KILN, "x", Reading(None, 9.0, Quality.BAD, "deadline")), None, 5.0)
    assert blob["reported"]["value"] == "AP8="
    assert blob["age_s"] == 0.0
    assert fault["reported"]["value"] is None
    assert fault["reported"]["quality"] == "bad"


def test_a_devices_status_is_ours():
    device = Device.model_validate(
        {"metadata": {"name": "kiln-7", "namespace": "ns1"}, "status": {"reportToCloud": True}}
    )
    status = state_view(
        StateRecord("offline", 1790000000.0, "unavailable", "no answer", 1780000000.0),
        mapper="modbus/0",
        problem="model missing",
    )
    assert device_view(device, status)["status"] == {
        "state": "offline",
        "reason": "unavailable",
        "message": "no answer",
        "since": "2026-09-21T14:13:20.000Z",
        "lastOnlineTime": "2026-05-28T20:26:40.000Z",
        "mapper": "modbus/0",
        "problem": "model missing",
    }


def test_a_value_from_before_its_type_became_float_is_shown_as_it_is():
    twin = TwinRecord(KILN, "temperature", Reading(1e300, 1.0), Wish(-1e300, 1, 1.0))
    view = twin_view(twin, FLOAT, 2.0)
    assert view["reported"]["value"] == 1e300
    assert view["desired"]["value"] == -1e300

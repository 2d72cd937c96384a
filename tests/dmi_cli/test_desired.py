import json

import pytest

from dmi_cli.exits import Exit


def test_text_is_sent_as_the_models_type(dmi, boiler):
    result = dmi("set", "boiler", "setpoint", "72.5")
    assert (result.code, result.out) == (0, "boiler setpoint = 72.5: pending\n")
    assert boiler.asked[-1] == (
        "PUT",
        "/api/v1/devices/default/boiler/twins/setpoint/desired",
        {"value": 72.5},
    )
    dmi("set", "default/boiler", "burner", "true")
    assert boiler.asked[-1][2] == {"value": True}


def test_negative_numbers_are_values(dmi, boiler):
    dmi("set", "boiler", "setpoint", "-5")
    assert boiler.asked[-1][2] == {"value": -5.0}


def test_a_property_without_a_model_gets_the_text(dmi, boiler):
    boiler.twins[1]["type"] = None
    dmi("set", "boiler", "setpoint", "7")
    assert boiler.asked[-1][2] == {"value": "7"}


def test_waiting_for_the_device(dmi, boiler):
    boiler.outcome = {"status": "confirmed"}
    assert dmi("set", "boiler", "setpoint", "72.5", "--wait").code == 0
    assert boiler.asked[-1][1].endswith("/desired?wait=10.0")
    boiler.outcome = {"status": "written"}
    result = dmi("set", "boiler", "setpoint", "72.5", "--wait", "0.5")
    assert result.code == Exit.UNAVAILABLE
    assert "not confirmed by the device within 0.5 s (it is written)" in result.err


def test_waiting_longer_than_the_manager_does(dmi, boiler):
    pending = {"value": 5, "version": 7, "status": "pending"}
    boiler.twins[1]["desired"] = None
    boiler.later = [pending, {**pending, "status": "confirmed"}]
    assert dmi("set", "boiler", "setpoint", "5", "--wait", "60").out.endswith("confirmed\n")
    assert boiler.asked[1][1].endswith("?wait=30.0")
    boiler.twins[1]["desired"] = None
    boiler.later = [{**pending, "version": 8}]
    result = dmi("set", "boiler", "setpoint", "5", "--wait", "60")
    assert result.code == Exit.REFUSED
    assert "somebody else has set" in result.err


@pytest.mark.parametrize("status", ["rejected", "failed"])
def test_a_device_that_says_no(dmi, boiler, status):
    boiler.outcome = {"status": status, "reason": "refused", "message": "too hot"}
    result = dmi("set", "boiler", "setpoint", "72.5", "--wait", "1")
    assert result.code == Exit.REFUSED
    assert result.err == f"dmi: boiler setpoint: {status}, refused: too hot\n"


def test_what_cannot_be_set(dmi, boiler):
    result = dmi("set", "boiler", "setpoint", "hot")
    assert result.code == Exit.REFUSED
    assert "does not fit type FLOAT" in result.err
    result = dmi("set", "boiler", "temperature", "1")
    assert result.code == Exit.DENIED
    assert "ReadOnly" in result.err


def test_clearing(dmi, boiler):
    result = dmi("set", "boiler", "setpoint", "--clear")
    assert (result.code, result.out) == (0, "boiler setpoint: nothing is desired any more\n")
    assert boiler.asked[-1][0] == "DELETE"


@pytest.mark.parametrize("words", [(), ("5", "--clear")])
def test_a_value_or_clear(dmi, boiler, words):
    assert dmi("set", "boiler", "setpoint", *words).code == Exit.REFUSED


def test_the_twin_as_json(dmi, boiler):
    result = dmi("set", "boiler", "setpoint", "5", "-o", "json")
    assert json.loads(result.out)["desired"]["value"] == 5.0
    result = dmi("set", "boiler", "setpoint", "--clear", "-o", "json")
    assert json.loads(result.out)["desired"] is None

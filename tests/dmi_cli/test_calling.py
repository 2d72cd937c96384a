import json

import pytest

from dmi_cli.exits import Exit

MIX = {
    "name": "mix",
    "description": "Mixes.",
    "source": "device",
    "arguments": {
        "speed": {"type": "integer"},
        "parts": {"type": "array", "default": []},
        "name": {"type": "string", "default": ""},
    },
    "results": {"volume": {"type": "number"}},
}
FIRE = {
    "name": "fire",
    "description": "",
    "source": "declared",
    "arguments": {"setpoint": {"type": "number", "x-dmi-type": "FLOAT"}},
    "results": {},
}


@pytest.fixture
def kitchen(boiler):
    boiler.methods["items"] = [MIX, FIRE]
    boiler.progress = [{"phase": "succeeded", "results": {"volume": 1.5}}]
    return boiler


def asked(manager):
    """The path and body of the last call."""
    _, path, body = next(one for one in reversed(manager.asked) if one[0] == "POST")
    return path, body["arguments"]


def test_methods_are_listed_with_their_types(dmi, kitchen):
    result = dmi("call", "boiler")
    assert result.code == 0
    lines = [line.split() for line in result.out.splitlines()]
    assert lines[1][:5] == [
        "mix",
        "speed:integer",
        "[parts:array]",
        "[name:string]",
        "volume:number",
    ]
    assert lines[2] == ["fire", "setpoint:FLOAT", "-", "declared", "-"]
    assert len(lines) == 3
    assert json.loads(dmi("call", "boiler", "-o", "json").out) == kitchen.methods


def test_a_list_that_may_not_be_all_says_so(dmi, kitchen):
    kitchen.methods = {"items": [], "complete": False}
    result = dmi("call", "boiler")
    assert "boiler has no methods" in result.err
    assert "not known" in result.out


def test_arguments_have_the_types_of_the_method(dmi, kitchen):
    words = ("speed=1e3", "parts=[1, 2]", "name=12", "--wait", "3", "--deadline", "7")
    result = dmi("call", "other/boiler", "mix", *words)
    assert (result.code, result.out) == (0, "volume:  1.5\n"), result.err
    path, arguments = asked(kitchen)
    assert path == "/api/v1/devices/other/boiler/methods/mix?wait=3.0&deadline=7.0"
    assert arguments == {"speed": 1000, "parts": [1, 2], "name": "12"}
    assert [type(value) for value in arguments.values()] == [int, list, str]


def test_a_method_that_nobody_has_told_of_takes_what_is_given(dmi, kitchen):
    kitchen.methods = {"items": [], "complete": False}
    assert dmi("call", "boiler", "spin", "fast=true", "name=x").code == 0
    assert asked(kitchen)[1] == {"fast": True, "name": "x"}


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("spin",), Exit.NOT_FOUND, "there is no method 'spin'; there is: mix, fire"),
        (("mix", "speed"), Exit.REFUSED, "write NAME=VALUE"),
        (("mix", "=1"), Exit.REFUSED, "write NAME=VALUE"),
        (("mix", "speed=1", "speed=2"), Exit.REFUSED, "given twice"),
        (("mix", "speed=fast"), Exit.REFUSED, "argument 'speed': 'fast'"),
        (("mix", "parts=1"), Exit.OK, ""),
        (("mix", "parts=[1"), Exit.REFUSED, "no JSON array"),
    ],
)
def test_a_wrong_call_is_not_made(dmi, kitchen, words, code, told):
    result = dmi("call", "boiler", *words)
    assert result.code == code
    assert told in result.err
    assert any(one[0] == "POST" for one in kitchen.asked) is (code == Exit.OK)


@pytest.mark.parametrize(
    ("phase", "reason", "code"),
    [
        ("unsuccessful", "refused", Exit.REFUSED),
        ("unsuccessful", "unavailable", Exit.UNAVAILABLE),
        ("unsuccessful", "outcome_unknown", Exit.UNAVAILABLE),
        ("unsuccessful", "access_denied", Exit.DENIED),
        ("unsuccessful", "not_found", Exit.NOT_FOUND),
        ("unsuccessful", "a_word_of_its_own", Exit.REFUSED),
        ("expired", "deadline", Exit.UNAVAILABLE),
        ("cancelled", "cancelled", Exit.REFUSED),
    ],
)
def test_the_end_decides_the_exit_code(dmi, kitchen, phase, reason, code):
    kitchen.progress = [{"phase": phase, "reason": reason, "message": "So it is."}]
    result = dmi("call", "boiler", "mix", "speed=1", "-o", "yaml")
    assert result.code == code
    assert result.err == f"dmi: boiler mix: {phase}, {reason}: So it is.\n"
    assert f"phase: {phase}" in result.out


def test_results_that_were_lost_on_the_way_are_told(dmi, kitchen):
    lost = {"phase": "succeeded", "message": "its results are too long"}
    kitchen.progress = [lost, {"phase": "succeeded"}]
    assert dmi("call", "boiler", "mix", "speed=1").out == (
        "boiler mix: succeeded; its results are too long\n"
    )
    kitchen.commands.clear()
    assert dmi("call", "boiler", "mix", "speed=1").out == "boiler mix: succeeded\n"


def test_waiting_goes_on_beyond_what_the_manager_waits(dmi, kitchen):
    kitchen.progress = [{}, {"phase": "running"}, {"phase": "succeeded"}]
    result = dmi("call", "boiler", "mix", "speed=1", "--wait", "40")
    assert result.code == 0
    assert asked(kitchen)[0].endswith("?wait=30.0")
    assert [one[1] for one in kitchen.asked[-2:]] == ["/api/v1/commands/c1"] * 2


def test_a_manager_that_starts_anew_is_waited_for(dmi, kitchen):
    kitchen.progress = [{}, {"phase": "succeeded", "results": {"volume": 1.5}}]
    kitchen.outages = 2
    result = dmi("call", "boiler", "mix", "speed=1")
    assert (result.code, result.out) == (0, "volume:  1.5\n"), result.err
    assert len(kitchen.keys) == 3
    assert len(set(kitchen.keys)) == 1
    kitchen.outages = 100
    for patience in (("--wait", "0.1"), ("--no-wait",)):
        assert dmi("call", "boiler", "mix", "speed=1", *patience).code == Exit.UNAVAILABLE


def test_not_waiting_long_enough_and_not_at_all(dmi, kitchen):
    kitchen.progress = []
    result = dmi("call", "boiler", "mix", "speed=1", "--wait", "0.1")
    assert result.code == Exit.UNAVAILABLE
    assert "not ended within 0.1 s (it is accepted); it goes on as command c1" in result.err
    result = dmi("call", "boiler", "mix", "speed=1", "--no-wait")
    assert (result.code, result.out) == (0, "boiler mix: accepted as command c1\n")
    assert asked(kitchen)[0].endswith("?wait=0.0")
    result = dmi("call", "boiler", "mix", "speed=1", "--no-wait", "-o", "json")
    assert json.loads(result.out)["phase"] == "accepted"


@pytest.fixture
def called(dmi, kitchen):
    assert dmi("call", "boiler", "mix", "speed=1").code == 0
    return kitchen


def test_commands_are_listed(dmi, called):
    rows = dmi("get", "commands", "boiler").out.splitlines()
    assert rows[1].split()[:5] == ["c1", "default", "boiler", "mix", "succeeded"]
    wide = dmi("get", "commands", "-n", "default", "-o", "wide").out
    assert "speed=1" in wide
    assert "volume=1.5" in wide
    assert dmi("get", "commands", "-n", "other").err == "no commands in namespace other\n"
    assert json.loads(dmi("get", "commands", "boiler", "-o", "json").out)["items"][0]["id"] == "c1"


def test_one_command_by_its_id(dmi, called):
    assert json.loads(dmi("get", "command", "c1", "-o", "json").out)["id"] == "c1"
    out = dmi("describe", "command", "c1").out
    assert "Method:" in out
    assert "volume:" in out


def test_commands_of_nothing(dmi, called):
    assert dmi("get", "commands", "kettle").code == Exit.NOT_FOUND
    called.commands.clear()
    assert dmi("get", "commands", "default/boiler").err == "no commands\n"
    result = dmi("get", "commands", "boiler", "-o", "json")
    assert (result.code, json.loads(result.out)) == (0, {"items": []})


def test_a_command_is_taken_back(dmi, called):
    assert dmi("delete", "command", "c1").out == "command c1 cancelled\n"
    result = dmi("delete", "commands", "c2")
    assert (result.code, "command c2" in result.err) == (Exit.NOT_FOUND, True)

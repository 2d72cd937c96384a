import json

import pytest

from device_manager.api.changes import TYPES
from dmi.errors import UnavailableError
from dmi_cli.exits import Exit
from dmi_cli.watch import Change, parse_events


def frame(number, event, data):
    return f"id: {number}\nevent: {event}\ndata: {json.dumps(data)}\n\n"


TWIN = {
    "namespace": "default",
    "device": "boiler",
    "property": "setpoint",
    "unit": "°C",
    "reported": {"value": 71.5, "quality": "good"},
    "desired": {"value": 80, "status": "pending"},
}
STATE = {
    "namespace": "default",
    "device": "boiler",
    "state": "offline",
    "reason": "unavailable",
    "message": "no route",
}


PROPOSAL = {
    "namespace": "default",
    "name": "oven",
    "object": {"kind": "Device"},
    "mapper": "kiln-mapper/0",
}


def test_every_type_of_the_api_can_be_asked_for(dmi):
    assert "{" + ",".join(TYPES) + "}" in "".join(dmi("watch", "--help").out.split())


COMMAND = {"namespace": "default", "device": "boiler", "method": "mix", "reason": "deadline"}


def test_lines_for_people(dmi, manager):
    bad = {**TWIN, "reported": {"value": None, "quality": "bad", "reason": "deadline"}}
    device = {"namespace": "ns", "name": "kiln", "deleted": True}
    manager.streams = [
        [
            ": a comment\n\n",
            frame(1, "twin", TWIN),
            frame(2, "twin", {**bad, "desired": None}),
            frame(3, "state", STATE),
            frame(4, "device", device),
            frame(5, "gap", {"missed": 3}),
            frame(6, "gap", {"missed": None}),
            frame(6, "gap", {"missed": 1}),
            frame(7, "mapper", {"name": "modbus-mapper", "instance": "0", "alive": True}),
            frame(8, "device", {**device, "deleted": False, "problem": "no model"}),
            frame(9, "model", {"namespace": "ns", "name": "m", "deleted": False}),
            frame(10, "upstream", {"origin": "file:a.yaml", "errors": ["line 3: x"]}),
            frame(11, "upstream", {"origin": "file:a.yaml", "errors": []}),
            frame(11, "command", {**COMMAND, "phase": "running", "reason": ""}),
            frame(11, "command", {**COMMAND, "phase": "expired", "message": "Late."}),
            frame(12, "proposal", PROPOSAL),
            frame(13, "other", {}),
        ]
    ]
    result = dmi("watch", "--count", "16")
    assert [line.partition(" ")[2] for line in result.out.splitlines()] == [
        "twin     default/boiler setpoint = 71.5 °C desired 80 pending",
        "twin     default/boiler setpoint = ? °C (bad: deadline)",
        "state    default/boiler offline (unavailable: no route)",
        "device   ns/kiln deleted",
        "gap      3 changes are missing here",
        "gap      an unknown number of changes is missing here",
        "gap      1 change is missing here",
        "mapper   modbus-mapper 0 is there",
        "device   ns/kiln applied: no model",
        "model    ns/m applied",
        "upstream file:a.yaml line 3: x",
        "upstream file:a.yaml has no mistakes any more",
        "command  default/boiler mix running",
        "command  default/boiler mix expired (deadline: Late.)",
        "proposal default/oven Device found by kiln-mapper/0",
        "other",
    ]
    assert (result.code, result.err) == (0, "")


def test_json_lines_and_filters(dmi, manager):
    events = [
        frame(1, "twin", TWIN),
        frame(2, "state", {**STATE, "device": "pump"}),
        frame(3, "state", STATE),
        frame(4, "gap", {"missed": 1}),
    ]
    manager.streams = [events, events, events]
    result = dmi("watch", "boiler", "--kind", "state", "-o", "json", "--count", "2")
    assert [json.loads(line)["id"] for line in result.out.splitlines()] == ["3", "4"]
    assert manager.asked[-1][1] == "/api/v1/changes?types=state&namespace=default"
    result = dmi("watch", "-n", "other", "-o", "json", "--count", "1")
    assert json.loads(result.out) == {"id": "4", "event": "gap", "data": {"missed": 1}}
    assert manager.asked[-1][1] == "/api/v1/changes?namespace=other"
    result = dmi("watch", "-n", "default", "-o", "json", "--count", "1")
    assert json.loads(result.out)["id"] == "1"


def test_a_value_may_hold_what_ends_lines_elsewhere(dmi, manager):
    data = {**TWIN, "reported": {"value": "a\u2028b\x85c", "quality": "good"}}
    text = json.dumps(data, ensure_ascii=False)
    manager.streams = [[f"id: 1\nevent: twin\ndata: {text}\n\n"]]
    result = dmi("watch", "--count", "1", "-o", "json")
    assert json.loads(result.out)["data"] == data


def test_a_broken_stream_is_resumed_after_the_last_event(dmi, manager):
    manager.streams = [[frame(1, "twin", TWIN)], [frame(2, "twin", TWIN)], ["id: 3\n"]]
    result = dmi("watch", "--count", "2", "--since", "0")
    assert len(result.out.splitlines()) == 2
    assert manager.resumed == ["0", "1"]


def test_time_ends_a_quiet_watch(dmi, manager):
    result = dmi("watch", "--for", "0.3")
    assert (result.code, result.out, result.err) == (0, "", "")
    assert manager.resumed == [""]


def test_a_manager_that_never_answered_is_unavailable(dmi, unused_tcp_port):
    result = dmi("watch", "--server", f"http://127.0.0.1:{unused_tcp_port}", "--for", "5")
    assert result.code == Exit.UNAVAILABLE


def test_a_refusal_ends_the_watch(dmi, manager, tmp_path):
    manager.password = str(tmp_path)
    assert dmi("watch").code == Exit.DENIED


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("data: {}\n\n", [Change("", "message", {})]),
        ("id:5\nevent:x\ndata:{}\n\n", [Change("5", "x", {})]),
        ('data: {"a":\ndata: 1}\n\n', [Change("", "message", {"a": 1})]),
        ("data: [1]\n\n", [Change("", "message", {"value": [1]})]),
        ("event: x\n\ndata: {}\n\n", [Change("", "message", {})]),
        ("data: {}\n", []),
        (": ping\n\n", []),
    ],
)
def test_the_format_of_events(text, changes):
    assert list(parse_events(iter(text.split("\n")[:-1]))) == changes


def test_events_that_are_not_json():
    with pytest.raises(UnavailableError):
        list(parse_events(iter(["data: {", ""])))

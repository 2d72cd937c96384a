import io
import json
from pathlib import Path

import pytest

from dmi_cli.exits import Exit

PLANT = Path(__file__).parents[2] / "examples" / "plant"
DEVICE = """\
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: kiln}
spec: {deviceModelRef: {name: kiln}, protocol: {protocolName: modbus}}
"""


def test_a_directory_is_applied_models_first(dmi, manager):
    result = dmi("apply", "-f", PLANT)
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines()[0] == "DeviceModel default/boiler created"
    assert result.out.splitlines()[-1] == "Device default/pump created"
    assert set(manager.objects["devices"]) == {"default/boiler", "default/pump", "default/meter"}
    kinds = [item["kind"] for item in manager.asked[0][2]["items"]]
    assert kinds == ["DeviceModel"] * 3 + ["Device"] * 3


def test_stdin_is_a_file_too(dmi, manager, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(DEVICE.encode())))
    assert dmi("apply", "-f", "-").out == "Device default/kiln created\n"


def test_mistakes_are_told_and_the_rest_is_applied(dmi, manager, tmp_path):
    file = tmp_path / "d.yaml"
    file.write_text(f"{DEVICE}---\n{DEVICE.replace('spec', 'spek').replace('kiln', 'oven')}")
    result = dmi("apply", "-f", file)
    assert result.code == Exit.REFUSED
    assert result.out == "Device default/kiln created\n"
    assert f"{file}: document 2, line 9, spek: unknown field" in result.err
    assert "default/oven" not in manager.objects["devices"]


def test_what_the_manager_refuses_is_told_with_our_place(dmi, manager, tmp_path):
    file = tmp_path / "d.yaml"
    file.write_text(f"\n\n{DEVICE}")
    manager.mistakes = [
        {"path": "items[0].spec.protocol", "problem": "no", "hint": "yes"},
        {"path": "items[0]", "problem": "belongs to another file"},
        {"path": "items[7]", "problem": "odd"},
        {"path": "", "problem": "nowhere"},
        "just words",
    ]
    assert dmi("apply", "-f", file).err.splitlines() == [
        f"{file}: document 1, line 3, spec.protocol: no (yes)",
        f"{file}: document 1, line 3: belongs to another file",
        "items[7]: odd",
        "nowhere",
        "just words",
    ]


def test_a_body_that_is_refused_as_a_whole(dmi, manager):
    manager.broken = True
    result = dmi("apply", "-f", PLANT)
    assert result.code == Exit.REFUSED
    assert result.err == "dmi: the body is no good\n"


def test_many_objects_go_in_portions(dmi, manager, tmp_path):
    file = tmp_path / "many.yaml"
    file.write_text("---\n".join(DEVICE.replace("kiln}", f"kiln-{n}}}", 1) for n in range(1001)))
    result = dmi("apply", "-f", file)
    assert result.code == 0
    assert len(result.out.splitlines()) == len(manager.objects["devices"]) == 1001
    assert [len(body["items"]) for _, _, body in manager.asked] == [500, 500, 1]


def test_states_are_reported_not_applied(dmi, manager, tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text(
        "{apiVersion: devices.kubeedge.io/v1beta1, kind: DeviceStatus, metadata: {name: kiln}}"
    )
    result = dmi("apply", "-f", file)
    assert result.code == Exit.REFUSED
    assert "a DeviceStatus cannot be applied" in result.err
    assert manager.asked == []


def test_nothing_to_apply(dmi, manager, tmp_path):
    assert dmi("apply", "-f", tmp_path).code == Exit.REFUSED
    assert dmi("apply", "-f", tmp_path / "nothing").code == Exit.NOT_FOUND
    assert manager.asked == []


def test_answers_for_programs(dmi, manager):
    answer = json.loads(dmi("apply", "-f", PLANT, "-o", "json").out)
    assert len(answer["applied"]) == 6
    assert answer["mistakes"] == []


def test_one_name_in_two_files(dmi, manager, tmp_path):
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(DEVICE)
    result = dmi("apply", "-f", tmp_path)
    assert result.code == Exit.REFUSED
    assert f"Device default/kiln is already in {tmp_path / 'a.yaml'}" in result.err
    assert result.out == "Device default/kiln created\n"


@pytest.mark.parametrize("server", ["127.0.0.1:5", "ftp://x", "http://["])
def test_bad_addresses(dmi, server):
    result = dmi("apply", "-f", PLANT, "--server", server)
    assert result.code in {Exit.REFUSED, Exit.UNAVAILABLE}
    assert result.err.startswith("dmi: ")

import json

import pytest
import yaml

from dmi_cli.exits import Exit


def test_devices_as_a_table(dmi, boiler):
    result = dmi("get", "devices")
    head, row = result.out.splitlines()
    assert (
        head == "NAMESPACE  NAME    MODEL         PROTOCOL  STATE   SINCE  MAPPER           PROBLEM"
    )
    assert row.split()[:5] == ["default", "boiler", "boiler-model", "modbus", "online"]
    assert row.split()[-2:] == ["modbus-mapper/0", "-"]
    assert (result.code, result.err) == (0, "")


def test_wide_has_more_columns(dmi, boiler):
    assert "NODE" in dmi("get", "device", "-o", "wide").out
    assert "edge-node" in dmi("get", "device", "-o", "wide").out
    assert "temperature,setpoint" in dmi("get", "models", "-o", "wide").out


def test_one_device_as_json_and_yaml(dmi, boiler):
    known = boiler.objects["devices"]["default/boiler"]
    assert json.loads(dmi("get", "device", "boiler", "-o", "json").out) == known
    assert yaml.safe_load(dmi("get", "device", "default/boiler", "-o", "yaml").out) == known


def test_lists_as_json_are_lists(dmi, boiler):
    assert len(json.loads(dmi("get", "devices", "-o", "json").out)["items"]) == 1
    assert len(json.loads(dmi("get", "twins", "boiler", "-o", "json").out)["items"]) == 3


def test_models_and_mappers(dmi, boiler):
    assert dmi("get", "models").out.splitlines()[1].split() == [
        "default",
        "boiler-model",
        "modbus",
        "2",
    ]
    row = dmi("get", "mappers").out.splitlines()[1].split()
    assert row[:5] == ["modbus-mapper", "0", "modbus", "v1", "yes"]
    assert dmi("get", "mapper", "modbus-mapper/0").out == dmi("get", "mappers").out
    boiler.mappers[0]["alive"] = False
    assert "gone" in dmi("get", "mappers").out


def test_twins_come_page_by_page(dmi, boiler):
    result = dmi("get", "twins")
    assert len(result.out.splitlines()) == 5
    pages = [path for _, path, _ in boiler.asked]
    assert pages == [
        "/api/v1/twins?limit=1000&continue=",
        "/api/v1/twins?limit=1000&continue=2",
    ]


def test_twins_of_a_namespace_a_device_and_one_alone(dmi, boiler):
    assert "kiln" in dmi("get", "twins", "-n", "other").out
    assert "kiln" not in dmi("get", "twins", "boiler").out
    row = dmi("get", "twin", "boiler", "temperature").out.splitlines()[1]
    assert row.split()[2:6] == ["temperature", "71.5", "°C", "good"]
    twin = json.loads(dmi("get", "twin", "boiler", "setpoint", "-o", "json").out)
    assert twin["desired"]["value"] == 80.0


def test_nothing_found_is_said_on_stderr(dmi, boiler):
    result = dmi("get", "devices", "-n", "nowhere")
    assert (result.code, result.out, result.err) == (0, "", "no devices in namespace nowhere\n")


@pytest.mark.parametrize(
    "words",
    [
        ("get", "device", "kiln"),
        ("get", "model", "kiln"),
        ("get", "mapper", "kiln"),
        ("get", "twins", "pump"),
        ("get", "twin", "boiler", "nothing"),
        ("describe", "device", "kiln"),
        ("describe", "mapper", "kiln"),
        ("delete", "device", "kiln"),
        ("set", "boiler", "nothing", "1"),
    ],
)
def test_what_is_not_there(dmi, boiler, words):
    result = dmi(*words)
    assert result.code == Exit.NOT_FOUND
    assert result.err.startswith("dmi: ")
    assert result.out == ""


def test_a_property_belongs_to_twins(dmi, boiler):
    assert dmi("get", "devices", "boiler", "temperature").code == Exit.REFUSED
    assert dmi("describe", "device", "boiler", "temperature").code == Exit.REFUSED
    assert dmi("describe", "twin", "boiler").code == Exit.REFUSED


def test_two_namespaces_for_one_name(dmi, boiler):
    result = dmi("get", "device", "other/boiler", "-n", "default")
    assert result.code == Exit.REFUSED
    assert "another namespace" in result.err


def test_describe_device(dmi, boiler):
    out = dmi("describe", "device", "boiler").out
    for words in (
        "Name:",
        "boiler-model",
        "ip:    10.0.0.1",
        "online (for ",
        "hall:  2",
        "500 ms",
        "register=InputRegister",
        "Method fire: writes setpoint",
    ):
        assert words in out


def test_describe_model_mapper_and_twin(dmi, boiler):
    out = dmi("describe", "model", "boiler-model").out
    assert "setpoint     FLOAT  ReadWrite   -     -        95" in out
    assert "timeout:  2" in out
    assert "Alive:      true" in dmi("describe", "mapper", "modbus-mapper").out
    out = dmi("describe", "twin", "boiler", "temperature").out
    assert "value:    71.5" in out
    assert "Desired:" in out


def test_a_token_is_sent(dmi, boiler, tmp_path, monkeypatch):
    boiler.password = str(tmp_path)
    assert dmi("get", "devices").code == Exit.DENIED
    file = tmp_path / "token"
    file.write_text(f"{tmp_path}\n")
    monkeypatch.setenv("DMI_TOKEN_FILE", str(file))
    assert dmi("get", "devices").code == Exit.OK
    monkeypatch.setenv("DMI_TOKEN_FILE", str(tmp_path / "nothing"))
    result = dmi("get", "devices")
    assert result.code == Exit.REFUSED
    assert "DMI_TOKEN_FILE" in result.err


def test_delete(dmi, boiler, tmp_path):
    result = dmi("delete", "device", "boiler")
    assert (result.code, result.out) == (0, "device default/boiler deleted\n")
    assert boiler.objects["devices"] == {}
    assert dmi("delete", "device", "boiler", "--ignore-missing").code == 0


def test_delete_what_a_file_describes_devices_first(dmi, boiler, tmp_path):
    file = tmp_path / "f.yaml"
    version = "apiVersion: devices.kubeedge.io/v1beta1"
    file.write_text(
        f"{{{version}, kind: DeviceModel, metadata: {{name: boiler-model}}}}\n---\n"
        f"{{{version}, kind: Device, metadata: {{name: boiler}}}}\n---\n{{kind: Pod}}\n"
    )
    result = dmi("delete", "-f", file)
    assert result.out.splitlines() == [
        "device default/boiler deleted",
        "model default/boiler-model deleted",
    ]
    assert "kind 'Pod'" in result.err


@pytest.mark.parametrize(
    "words",
    [("delete",), ("delete", "devices"), ("delete", "mappers", "x"), ("delete", "twin", "x")],
)
def test_what_cannot_be_deleted(dmi, manager, words):
    assert dmi(*words).code == Exit.REFUSED
    assert manager.asked == []

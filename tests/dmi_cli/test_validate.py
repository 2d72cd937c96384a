import json
import subprocess
import sys
from pathlib import Path

import pytest

from dmi_cli.exits import Exit

PLANT = Path(__file__).parents[2] / "examples" / "plant"


@pytest.fixture
def plant(tmp_path):
    """A copy of the example that a test may spoil."""
    for file in PLANT.glob("*.yaml"):
        (tmp_path / file.name).write_text(file.read_text())

    def spoil(name, old, new):
        file = tmp_path / name
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, 1))
        return tmp_path

    return spoil


def test_the_example_is_right(dmi):
    result = dmi("validate", "-f", PLANT)
    assert result.code == 0
    assert result.out == "3 devices and 3 models read, 0 mistakes, 0 warnings\n"


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        (
            "boiler.yaml",
            "- name: temperature",
            "- name: temprature",
            "line 20, spec.properties[0].name: 'temprature' is not in model default/boiler"
            " (did you mean 'temperature'?)",
        ),
        (
            "boiler.yaml",
            'value: "65"',
            'value: "650"',
            "spec.properties[2].desired.value: 650.0 is above the maximum 95.0",
        ),
        ("boiler.yaml", 'value: "65"', "value: 65", 'put it in quotes: "65"'),
        (
            "boiler.yaml",
            "register: InputRegister",
            "register: InputRegistr",
            "line 26, spec.properties[0].visitors.configData.register: must be one of",
        ),
        (
            "pump.yaml",
            "scale: 0.1",
            "scal: 0.1",
            "visitors.configData.scal: unknown field (did you mean 'scale'?)",
        ),
        ("pump.yaml", "scale: 0.1", "scale: 0", "configData.scale: must not be 0"),
        ("pump.yaml", "scale: 0.1", "scale: ten", "configData.scale: "),
        ("meter.yaml", "onChange", "decimals: 1\n          onChange", "means nothing for STRING"),
        ("pump.yaml", "port: 1502", "port: 150200", "spec.protocol.configData.port: must be 65535"),
        ("pump.yaml", "name: pump", "name: pump\n  nam: x", "metadata.nam: unknown field"),
        (
            "meter.yaml",
            "deviceModelRef:\n    name: meter",
            "deviceModelRef:\n    name: metre",
            "there is no model default/metre",
        ),
        ("models.yaml", 'maximum: "95"', 'maximum: "9"', "minimum 20 is above maximum 9"),
    ],
)
def test_each_mistake_is_told(dmi, plant, name, old, new, words):
    directory = plant(name, old, new)
    result = dmi("validate", "-f", directory)
    assert result.code == Exit.REFUSED
    assert any(
        line.startswith(f"mistake: {directory / name}: ") and words in line
        for line in result.out.splitlines()
    ), result.out


def test_the_summary_counts_one_as_one(dmi, tmp_path):
    kettle = PLANT.parent / "kettle.yaml"
    result = dmi("validate", "-f", kettle)
    assert result.out == "1 device and 1 model read, 0 mistakes, 0 warnings\n"
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(kettle.read_text().replace("type: DOUBLE", "type: DUOBLE", 1))
    last = dmi("validate", "-f", wrong).out.splitlines()[-1]
    assert last == "1 device and 0 models read, 1 mistake, 0 warnings"


def test_what_edgecore_would_do_is_a_warning(dmi, plant):
    directory = plant("boiler.yaml", "collectCycle: 1000", "collectCycle: 100")
    result = dmi("validate", "-f", directory)
    assert result.code == 0
    assert f"on a stock EdgeCore: {directory / 'boiler.yaml'}: document 1, line 19" in result.out
    assert dmi("validate", "-f", directory, "--strict").code == Exit.REFUSED


def test_models_are_warned_of_too(dmi, plant):
    directory = plant("models.yaml", "- name: temperature", "- name: water heat")
    assert "every value of this property is dropped" in dmi("validate", "-f", directory).out


def test_json_for_programs(dmi, plant):
    directory = plant("boiler.yaml", 'value: "65"', "value: 65")
    result = dmi("validate", "-f", directory, "-o", "json")
    assert result.code == Exit.REFUSED
    report = json.loads(result.out)
    assert report["objects"] == 5
    assert report["warnings"] == []
    (mistake,) = report["mistakes"]
    assert mistake["path"] == "spec.properties[2].desired.value"
    assert mistake["line"] == 43


def test_several_sources_together(dmi):
    files = [word for file in sorted(PLANT.glob("*.yaml")) for word in ("-f", file)]
    assert dmi("validate", *files).code == 0
    assert dmi("validate", "-f", PLANT / "boiler.yaml").code == Exit.REFUSED
    assert dmi("validate", "-f", PLANT / "nothing.yaml").code == Exit.NOT_FOUND


def test_protocols_without_a_driver_are_not_judged(dmi, tmp_path):
    text = (PLANT / "models.yaml").read_text() + "---\n" + (PLANT / "pump.yaml").read_text()
    file = tmp_path / "f.yaml"
    file.write_text(text.replace("modbus", "acme").replace("register:", "anything:"))
    assert dmi("validate", "-f", file).code == 0


@pytest.mark.process
def test_a_driver_that_is_not_installed_does_not_judge(plant):
    directory = plant("pump.yaml", "port: 1502", "port: 150200")
    code = (
        "import sys; sys.modules['pymodbus'] = None; from dmi_cli.main import main;"
        "sys.exit(main(['validate', '-f', sys.argv[1]]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, directory],
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 mistakes" in result.stdout


def test_a_new_mapper_judges_by_its_own_driver(dmi, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert dmi("new", "mapper", "oven-one").code == 0
    monkeypatch.chdir(tmp_path / "oven-one")
    monkeypatch.setattr(sys, "path", [*sys.path])
    file = Path("oven-one.yaml")
    driver = "oven_one_driver:OvenOneDriver"
    assert dmi("validate", "-f", file, "--driver", driver).code == 0
    file.write_text(file.read_text().replace("item: setpoint", "itm: setpoint"))
    result = dmi("validate", "-f", file, "--driver", driver)
    assert result.code == Exit.REFUSED
    assert "configData.itm: unknown field (did you mean 'item'?)" in result.out
    assert dmi("validate", "-f", file, "--driver", "oven_one_driver:Nothing").code == 3


def test_a_mistake_hides_no_other(dmi, plant):
    plant("boiler.yaml", "nodeName: edge-node", "nodNam: edge-node")
    plant("boiler.yaml", "register: InputRegister", "register: InputRegistr")
    folder = plant("boiler.yaml", 'value: "65"', "value: 65")
    result = dmi("validate", "-f", folder)
    assert result.code == Exit.REFUSED
    for words in ("nodNam: unknown field", "register: must be one of", "put it in quotes"):
        assert words in result.out
    assert "3 mistakes" in result.out


def test_what_a_model_has_wrong_is_not_held_against_its_devices(dmi, plant):
    plant("models.yaml", "type: FLOAT", "type: FLOT")
    folder = plant("pump.yaml", "scale: 0.1", "scal: 0.1")
    result = dmi("validate", "-f", folder)
    assert result.code == Exit.REFUSED
    assert "did you mean 'FLOAT'" in result.out
    assert "scal: unknown field" in result.out
    assert "2 mistakes" in result.out


HALL = """
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: hall}
spec: {protocol: modbus, properties: [{name: mean, type: DOUBLE}]}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: hall}
spec:
  deviceModelRef: {name: hall}
  nodeName: edge
  protocol: {protocolName: modbus}
  properties: [{name: mean, visitors: {protocolName: modbus, configData: {derived: true%s}}}]
"""


@pytest.mark.parametrize(
    ("settings", "mistake"),
    [
        (", maxAge: 5000", ""),
        (", scale: 2", "configData.scale: means nothing for a derived property"),
        (", register: 5", "configData.register: unknown field"),
    ],
)
def test_a_derived_property_needs_no_settings_of_the_protocol(dmi, tmp_path, settings, mistake):
    file = tmp_path / "hall.yaml"
    file.write_text(HALL % settings)
    result = dmi("validate", "-f", file)
    assert result.code == (Exit.REFUSED if mistake else Exit.OK), result.out
    assert mistake in result.out
    assert result.out.count("mistake: ") == bool(mistake)

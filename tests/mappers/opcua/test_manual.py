import sys
from pathlib import Path

import pytest
import yaml

from dmi.resources import Device, DeviceModel
from mapper_sdk.devices.planning import build_plan
from mappers.opcua import __main__ as program
from mappers.opcua import simulator
from mappers.opcua.config import render_tables
from mappers.opcua.driver import OpcuaDriver
from mappers.opcua.session.ladder import Rung
from mappers.opcua.simulation.plant import ROWS

ROOT = Path(__file__).parents[3]
MANUAL = ROOT / "docs" / "opcua.md"


def test_the_tables_of_settings_are_those_of_the_models():
    """After changing a setting: python -m mappers.opcua.config docs/opcua.md."""
    text = MANUAL.read_text()
    assert render_tables(text) == text
    assert "| `securityPolicy` |" in text
    assert "| `nodeID` |" in text


def test_the_map_of_the_plant_is_that_of_the_simulator():
    lines = MANUAL.read_text().splitlines()
    for row in ROWS:
        written = "yes" if row.writable else "no"
        assert f"| `s={row.node}` | {row.type.name} | {written} | {row.meaning} |" in lines


def test_every_rung_is_explained():
    text = MANUAL.read_text()
    assert [rung for rung in Rung if f"| `{rung.value}` |" not in text] == []


def _plans(documents):
    models = {d["metadata"]["name"]: d for d in documents if d["kind"] == "DeviceModel"}
    for document in documents:
        if document["kind"] == "Device":
            device = Device.model_validate(document)
            model = DeviceModel.model_validate(models[device.spec.device_model_ref.name])
            yield build_plan(device, model, OpcuaDriver, iter(range(99)))


def test_the_example_device_is_served_as_it_stands():
    (block,) = [b for b in MANUAL.read_text().split("```") if b.startswith("yaml\n")]
    (plan,) = _plans(list(yaml.safe_load_all(block.removeprefix("yaml\n"))))
    assert plan.problems == {}
    assert plan.link.mode.value == "SignAndEncrypt"


def test_the_plant_of_the_examples_is_that_of_the_simulator():
    files = sorted((ROOT / "examples" / "plant_opcua").glob("*.yaml"))
    documents = [d for file in files for d in yaml.safe_load_all(file.read_text())]
    nodes = {row.node for row in ROWS} | {"Meter.Phases", "Meter/Power"}
    plans = list(_plans(documents))
    assert len(plans) == 3
    for plan in plans:
        assert plan.problems == {}
        for point in plan.points.values():
            assert any(
                str(point.visit.address).replace("urn:dmi-toolkit:plant:", "").endswith(n)
                for n in nodes
            )


@pytest.mark.parametrize("argv", [["--help"], None])
def test_the_programs_explain_themselves(argv, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["opcua", "--help"])
    for main in (program.main, simulator.main):
        with pytest.raises(SystemExit) as end:
            main(argv)
        assert end.value.code == 0
        assert "opcua" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "code", "told"),
    [
        (["--fault", "fire"], 2, "drop, silent, bad, slow"),
        (["--user", "operator"], 2, "NAME:PASSWORD"),
        (["--cert-file", "a.der"], 2, "--key-file"),
        (["--host", "192.0.2.1", "--port", "0"], 1, "cannot listen"),
    ],
)
def test_options_that_make_no_sense(argv, code, told, capsys):
    assert simulator.main(argv) == code
    assert told in capsys.readouterr().err

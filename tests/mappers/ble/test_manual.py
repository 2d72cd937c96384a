from pathlib import Path

import yaml

from dmi.resources import Device, DeviceModel
from mapper_sdk.devices.planning import build_plan
from mappers.ble.config import render_tables
from mappers.ble.driver import BleDriver
from mappers.ble.formats import FORMATS

ROOT = Path(__file__).parents[3]
MANUAL = ROOT / "docs" / "ble.md"


def plan_of(model, device):
    parts = DeviceModel.model_validate(model), Device.model_validate(device)
    return build_plan(parts[1], parts[0], BleDriver, iter(range(9)))


def test_the_tables_of_settings_are_those_of_the_models():
    """After changing a setting: python -m mappers.ble.config docs/ble.md."""
    text = MANUAL.read_text()
    assert render_tables(text) == text
    assert text.count("| `freshness` |") == 2
    assert all(f"| `{name}`" in text for name in FORMATS)


def test_the_examples_are_served_as_they_stand():
    passive, connected = (
        list(yaml.safe_load_all(block.removeprefix("yaml\n")))
        for block in MANUAL.read_text().split("```")
        if block.startswith("yaml\n")
    )
    plan = plan_of(*passive)
    assert plan.problems == {}
    assert plan.bus_key == "ble:hci0"
    assert not plan.link.connects
    heater = {
        "metadata": {"name": "heater"},
        "spec": {
            "protocol": "ble",
            "properties": [
                {"name": "battery", "type": "INT"},
                {"name": "setpoint", "type": "FLOAT", "accessMode": "ReadWrite"},
                {"name": "valve", "type": "INT"},
            ],
        },
    }
    plan = plan_of(heater, connected[0])
    assert plan.problems == {}
    assert plan.link.connects


def test_the_plant_of_the_demo_is_served():
    documents = [
        document
        for file in sorted((ROOT / "examples" / "plant_ble").glob("*.yaml"))
        for document in yaml.safe_load_all(file.read_text())
    ]
    models = {one["metadata"]["name"]: one for one in documents if one["kind"] == "DeviceModel"}
    devices = [one for one in documents if one["kind"] == "Device"]
    assert devices
    for device in devices:
        plan = plan_of(models[device["spec"]["deviceModelRef"]["name"]], device)
        assert plan.problems == {}

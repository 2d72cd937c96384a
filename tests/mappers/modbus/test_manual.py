from pathlib import Path

import yaml

from dmi.resources import Device, DeviceModel
from mapper_sdk.devices.planning import build_plan
from mappers.modbus.config import render_tables
from mappers.modbus.driver import ModbusDriver
from mappers.modbus.simulation.plant import ROWS

ROOT = Path(__file__).parents[3]
MANUAL = ROOT / "docs" / "modbus.md"


def test_the_tables_of_settings_are_those_of_the_models():
    """After changing a setting: python -m mappers.modbus.config docs/modbus.md."""
    text = MANUAL.read_text()
    assert render_tables(text) == text
    assert "| `slaveID`" not in text
    assert text.count("| `byteOrder` |") == 2


def test_the_map_of_the_plant_is_that_of_the_simulator():
    lines = MANUAL.read_text().splitlines()
    for row in ROWS:
        written = "yes" if row.writable else "no"
        cells = (*row[:6], written, row.meaning)
        assert "| " + " | ".join(map(str, cells)) + " |" in lines


def test_the_example_device_is_served_as_it_stands():
    (block,) = [b for b in MANUAL.read_text().split("```") if b.startswith("yaml\n")]
    model, device = yaml.safe_load_all(block.removeprefix("yaml\n"))
    plan = build_plan(
        Device.model_validate(device),
        DeviceModel.model_validate(model),
        ModbusDriver,
        iter(range(9)),
    )
    assert plan.problems == {}
    assert plan.bus_key == "modbus:tcp://192.168.10.20:502"
    assert {name: point.visit.type for name, point in plan.points.items()} == {
        "outdoor": "int16",
        "heat": "uint32",
        "silent": "bool",
        "hours": "uint16",
    }

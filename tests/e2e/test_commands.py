"""Commands through real processes that are killed: each runs once, or nobody claims to know."""

import contextlib
import json

import httpx
import pytest
import yaml

from tests.e2e.node import BOILER_MODEL, boiler, model, tank
from tests.e2e.programs import ROOT, until

pytestmark = [pytest.mark.process, pytest.mark.timeout(90)]

DRIVER = '''
import asyncio
from pathlib import Path

from mapper_sdk.driver import Calling, Method
from mapper_sdk.virtual import VirtualDriver

RUNS = Path("runs")


class LoggingDriver(VirtualDriver, Calling):
    """Writes a line for each run, so that runs outlive the process."""

    async def methods(self):
        takes = {"text": {"type": "string"}, "seconds": {"type": "number", "default": 0}}
        return [Method("log", "Writes a line.", takes, {"lines": {"type": "integer"}})]

    async def call(self, name, arguments):
        with RUNS.open("a") as runs:
            runs.write(arguments["text"] + "\\n")
        await asyncio.sleep(arguments.get("seconds", 0))
        Path("ended").touch()
        return {"lines": len(RUNS.read_text().splitlines())}
'''
LOG = "/api/v1/devices/default/tank/methods/log"
TANK = model(setpoint={"type": "FLOAT", "minimum": "0", "maximum": "100"})


class Plant:
    """A manager, and a mapper whose device writes down each call."""

    def __init__(self, stage):
        self.stage = stage
        self.rest = None

    async def start(self):
        (self.stage.folder / "logging_driver.py").write_text(DRIVER)
        device = tank(level={"shape": "counter"}, setpoint={}, label={})
        device["spec"]["properties"] = [
            one for one in device["spec"]["properties"] if one["name"] == "setpoint"
        ]
        device["spec"]["methods"] = [{"name": "fill", "propertyNames": ["setpoint"]}]
        self.stage.write("tank.yaml", TANK, device)
        self.manager, self.rest = await self.stage.manager()
        self.mapper = await self.stage.mapper(driver="logging_driver:LoggingDriver")
        await self.rest.until_state("tank", "online", seconds=20)
        return self

    async def call(self, text, seconds=0.0, wait=0, **params):
        arguments = {"text": text, "seconds": seconds}
        params = {"wait": wait, **params}
        answer = await self.rest.ask("POST", LOG, params=params, json={"arguments": arguments})
        assert answer.status_code in (200, 202), answer.text
        return answer.json()

    async def until_phase(self, command, *phases, seconds=15.0):
        async def look():
            with contextlib.suppress(httpx.HTTPError):
                found = await self.rest.get(f"/api/v1/commands/{command['id']}")
                return found if found["phase"] in phases else None
            return None

        return await until(f"{command['id']} is {phases}", look, seconds)

    @property
    def runs(self):
        file = self.stage.folder / "runs"
        return file.read_text().split() if file.exists() else []


@pytest.fixture
async def plant(stage):
    return await Plant(stage).start()


async def test_methods_from_the_command_line(plant):
    dmi = plant.stage.dmi
    code, out, _ = await dmi("call", "tank")
    assert code == 0
    assert "text:string [seconds:number]" in out
    assert "setpoint:FLOAT" in out
    code, out, err = await dmi("call", "tank", "log", "text=one", "-o", "json")
    assert code == 0, err
    assert json.loads(out)["results"] == {"lines": 1}
    code, out, err = await dmi("call", "tank", "fill", "setpoint=42.5")
    assert (code, out.split()) == (0, ["setpoint:", "42.5"]), err
    code, out, _ = await dmi("get", "commands", "tank", "-o", "json")
    assert [item["phase"] for item in json.loads(out)["items"]] == ["succeeded"] * 2
    for words, expected, told in (
        (("call", "tank", "log"), 1, "needs the argument 'text'"),
        (("call", "tank", "log", "text=x", "seconds=soon"), 1, "'seconds'"),
        (("call", "tank", "log", "colour=red"), 1, "no argument 'colour'"),
        (("call", "tank", "sing"), 3, "there is: fill, log"),
        (("call", "tank", "fill", "setpoint=400"), 1, "above the maximum"),
        (("call", "kettle", "log"), 3, "kettle"),
        (("call", "tank", "log", "text=x", "seconds=3", "--wait", "0.2"), 4, "goes on as command"),
    ):
        code, _, err = await dmi(*words)
        assert (code, told in err) == (expected, True), err


async def test_a_mapper_killed_in_the_middle_of_a_command(plant):
    command = await plant.call("once", seconds=3)
    await plant.until_phase(command, "running")
    waiting = await plant.call("never", deadline=60)
    await plant.mapper.restart()
    lost = await plant.until_phase(command, "unsuccessful")
    assert lost["reason"] == "outcome_unknown"
    # That one was given to the dead process too, so nobody can know of it either.
    lost = await plant.until_phase(waiting, "unsuccessful")
    assert lost["reason"] == "outcome_unknown"
    await plant.rest.until_state("tank", "online")
    assert (await plant.call("after", wait=10))["phase"] == "succeeded"
    assert plant.runs == ["once", "after"]


async def test_a_manager_killed_in_the_middle_of_a_command(plant):
    command = await plant.call("once", seconds=1.5)
    await plant.until_phase(command, "running")
    await plant.manager.restart()
    ended = await plant.until_phase(command, "succeeded")
    assert ended["results"] == {"lines": 1}
    assert plant.runs == ["once"]


async def test_a_manager_that_is_away_when_a_command_ends(plant):
    command = await plant.call("once", seconds=0.5)
    await plant.until_phase(command, "running")
    plant.manager.kill()
    await until("it has ended", (plant.stage.folder / "ended").exists)
    await plant.manager.start()
    assert (await plant.until_phase(command, "succeeded"))["results"] == {"lines": 1}
    assert plant.runs == ["once"]


async def test_a_mapper_that_is_stopped_tells_how_its_command_ended(plant):
    command = await plant.call("once", seconds=1)
    await plant.until_phase(command, "running")
    assert await plant.mapper.stop() == 0
    assert (await plant.until_phase(command, "succeeded"))["results"] == {"lines": 1}


async def test_commands_wait_for_a_mapper_until_their_deadline(plant):
    await plant.mapper.stop()
    late = await plant.call("late", wait=5, deadline=0.5)
    assert (late["phase"], late["reason"]) == ("expired", "deadline")
    early = await plant.call("early", deadline=60)
    again = await plant.call("early", deadline=60)
    gone = await plant.call("gone", deadline=60)
    answer = await plant.rest.ask("DELETE", f"/api/v1/commands/{gone['id']}")
    assert answer.json()["phase"] == "cancelled"
    await plant.mapper.start()
    assert (await plant.until_phase(early, "succeeded"))["results"] == {"lines": 1}
    assert (await plant.until_phase(again, "succeeded"))["results"] == {"lines": 2}
    assert plant.runs == ["early", "early"]


async def test_methods_of_an_opcua_server(stage):
    simulator = await stage.simulator(kind="opcua")
    plant = ROOT / "examples" / "plant_opcua"
    models = (plant / "models.yaml").read_text()
    pump = yaml.safe_load((plant / "pump.yaml").read_text())
    pump["spec"]["protocol"]["configData"]["url"] = simulator.ready["url"]
    stage.write("plant.yaml", models, pump)
    _, rest = await stage.manager()
    await stage.mapper(driver="opcua")
    name = pump["metadata"]["name"]
    await rest.until_state(name, "online", seconds=20)
    code, out, err = await stage.dmi("call", name)
    assert code == 0, err
    assert "Run" in out
    code, out, err = await stage.dmi("call", name, "Run", "speed=1000", "seconds=1.5")
    assert code == 0, err
    code, _, err = await stage.dmi("call", name, "Run", "speed=9000", "seconds=1.5")
    assert code == 1
    assert "OutOfRange" in err


async def test_declared_methods_of_modbus_and_ble_devices(stage):
    """Where the protocol itself has no methods, a declared one writes properties."""
    modbus = await stage.simulator(kind="modbus")
    kettle = boiler(modbus.ready["port"])
    kettle["spec"]["methods"] = [{"name": "tune", "propertyNames": ["setpoint", "burner"]}]
    stage.write("modbus.yaml", BOILER_MODEL, kettle)
    ble = await stage.simulator("--interval", "0.2", kind="ble")
    plant = ROOT / "examples" / "plant_ble"
    text = (plant / "heater.yaml").read_text().replace(":9545", f":{ble.ready['port']}")
    heater = yaml.safe_load(text)
    heater["spec"]["methods"] = [{"name": "warm", "propertyNames": ["setpoint"]}]
    stage.write("ble.yaml", (plant / "models.yaml").read_text(), heater)
    _, rest = await stage.manager()
    await stage.mapper(driver="modbus", name="modbus")
    await stage.mapper(driver="ble", name="ble")
    await rest.until_state("boiler", "online", seconds=20)
    await rest.until_state("heater", "online", seconds=20)
    code, out, err = await stage.dmi("call", "boiler", "tune", "setpoint=70.5", "burner=true")
    assert (code, out.split()) == (0, ["burner:", "true", "setpoint:", "70.5"]), err
    code, out, err = await stage.dmi("call", "heater", "warm", "setpoint=23.5", "--wait", "20")
    assert (code, out.split()) == (0, ["setpoint:", "23.5"]), err
    code, _, err = await stage.dmi("call", "boiler", "tune", "setpoint=400")
    assert (code, "above the maximum 95" in err) == (1, True)

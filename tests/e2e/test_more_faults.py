"""Faults that meet: kills in a row, lost stores, silent devices, clients that wait meanwhile."""

import asyncio
import json
import shutil
import time

import pytest

from tests.e2e.node import BOILER_MODEL, TANK_MODEL, boiler, tank
from tests.e2e.programs import until

pytestmark = [
    pytest.mark.process,
    # Several interpreters start, some of them several times.
    pytest.mark.timeout(60),
]

HEALS = 5.0


async def test_kills_while_it_is_still_starting(stage):
    stage.write("tank.yaml", TANK_MODEL, tank())
    program, manager = await stage.manager()
    mapper = await stage.mapper()
    await manager.until_reported("tank", "level")
    answer = await manager.put_desired("tank", "setpoint", 17, wait=5)
    version = answer.json()["desired"]["version"]
    for wait in (0.2, 0.4, 0.5, 0.6, 0.7, 0.8):
        program.kill()
        program.launch()
        await asyncio.sleep(wait)  # not for synchronisation: at each moment of its start once
    program.kill()
    level = (await stage.rest_of(mapper).get(COUNTER))["value"]
    await program.start()
    await manager.until_reported("tank", "level", lambda value: value > level, HEALS)
    twin = await manager.twin("tank", "setpoint")
    assert (twin["desired"]["version"], twin["desired"]["status"]) == (version, "confirmed")
    counts = await stage.rest_of(mapper).counts()
    assert counts.get("dmi_mapper_dropped_readings_total", 0) == 0


COUNTER = "/api/v1/devices/default/tank/properties/level"


async def test_a_manager_that_has_lost_its_store_gets_everything_again(stage):
    quiet = tank(label={"initial": "a", "onChange": True})
    stage.write("tank.yaml", TANK_MODEL, quiet)
    program, manager = await stage.manager()
    await stage.mapper()
    await manager.until_reported("tank", "label")
    program.kill()
    shutil.rmtree(stage.data)
    await program.start()
    # The label never changes, so nothing but the lost store makes the mapper tell it.
    twin = await manager.until_reported("tank", "label", seconds=HEALS)
    assert twin["reported"]["value"] == "a"
    await manager.until_state("tank", "online", seconds=HEALS)
    answer = await manager.put_desired("tank", "setpoint", 17, wait=5)
    assert answer.json()["desired"]["status"] == "confirmed"


async def test_a_device_that_hangs(stage):
    simulator = await stage.simulator()
    stage.write("boiler.yaml", BOILER_MODEL, boiler(simulator.ready["port"]))
    _, manager = await stage.manager()
    mapper = await stage.mapper(driver="modbus")
    await manager.until_state("boiler", "online")
    simulator.pause()
    status = await manager.until_state("boiler", "offline", seconds=12)
    assert status["reason"] in ("deadline", "unavailable")
    began = time.monotonic()
    answer = await manager.put_desired("boiler", "setpoint", 30, wait=0.2)
    assert answer.status_code == 202
    answer = await stage.rest_of(mapper).ask(
        "GET", "/api/v1/devices/default/boiler/properties/setpoint", params={"live": "true"}
    )
    assert answer.status_code in (503, 504)
    assert time.monotonic() - began < 2
    # Nobody has to wait for a hanging device, not even the end.
    assert await mapper.stop(8) == 0
    simulator.resume()
    await mapper.start()
    twin = await manager.until_settled("boiler", "setpoint", seconds=10)
    assert twin["reported"]["value"] == 30.0


async def test_a_device_deleted_while_somebody_waits_for_it(stage):
    stage.write("model.yaml", TANK_MODEL)
    file = stage.write("tank.yaml", tank())
    _, manager = await stage.manager()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(wait_for_wish(manager))
        await until("the wish is there", lambda: wished(manager))
        file.unlink()
    answer, seconds = waiting.result()
    assert (answer.status_code, answer.json()["reason"]) == (404, "not_found")
    assert seconds < 10


async def wait_for_wish(manager):
    await until("the device is there", lambda: known(manager))
    began = time.monotonic()
    answer = await manager.put_desired("tank", "setpoint", 5, wait=15)
    return answer, time.monotonic() - began


async def known(manager):
    return (await manager.ask("GET", "/api/v1/devices/default/tank")).is_success


async def wished(manager):
    return await known(manager) and (await manager.twin("tank", "setpoint"))["desired"]


async def test_watching_goes_on_over_a_managers_death(stage):
    stage.write("tank.yaml", TANK_MODEL, tank())
    program, manager = await stage.manager()
    await stage.mapper()
    await manager.until_reported("tank", "level")
    words = ("watch", "tank", "--kind", "twin", "-o", "json", "--server", stage.api)
    watching = stage.program("watch", *words)
    watching.launch()
    await until("it sees something", lambda: seen(watching))
    program.kill()
    died = len(seen(watching))
    await program.start()
    await until("it sees more", lambda: len(seen(watching)) > died + 5, 10)
    assert watching.running
    levels = [one["reported"]["value"] for one in seen(watching) if one["property"] == "level"]
    assert levels == sorted(levels)


def seen(watching):
    """The twins that `dmi watch` has printed so far."""
    lines = watching.output.read_text().splitlines(keepends=True)
    found = [json.loads(line) for line in lines if line.endswith("\n")]
    return [each.get("data", each) for each in found if "reported" in str(each)]


async def test_a_folder_that_is_swapped_as_kubernetes_does(stage):
    """A ConfigMap's files are links into a folder that is replaced by another one at once."""
    stage.devices.rmdir()
    stage.devices.mkdir()
    put_version(stage.devices, "..one", TANK_MODEL, tank())
    (stage.devices / "plant.yaml").symlink_to("..data/plant.yaml")
    _, manager = await stage.manager()
    await stage.mapper()
    await manager.until_reported("tank", "level")
    put_version(stage.devices, "..two", TANK_MODEL, tank(), tank("second"))
    shutil.rmtree(stage.devices / "..one")
    await manager.until_reported("second", "level")
    await manager.until_state("tank", "online")
    assert len(await manager.twins()) == 6


def put_version(folder, name, *objects):
    (folder / name).mkdir()
    (folder / name / "plant.yaml").write_text("\n---\n".join(map(json.dumps, objects)))
    aside = folder / "..tmp"
    aside.symlink_to(name)
    aside.rename(folder / "..data")


async def test_a_model_that_changes_under_its_devices(stage):
    stage.write("model.yaml", TANK_MODEL)
    stage.write("tank.yaml", tank())
    _, manager = await stage.manager()
    await stage.mapper()
    await manager.until_reported("tank", "level")
    answer = await manager.put_desired("tank", "setpoint", 200)
    assert answer.json()["reason"] == "out_of_range"
    wider = json.loads(json.dumps(TANK_MODEL))
    wider["spec"]["properties"][0]["type"] = "DOUBLE"
    wider["spec"]["properties"][1]["maximum"] = "500"
    stage.write("model.yaml", wider)

    async def is_double():
        twin = await manager.twin("tank", "level")
        return twin["type"] == "DOUBLE" and isinstance(twin["reported"]["value"], float)

    await until("the counter is a DOUBLE", is_double)
    answer = await manager.put_desired("tank", "setpoint", 200, wait=5)
    assert answer.json()["desired"]["status"] == "confirmed"
    (stage.devices / "model.yaml").unlink()

    async def problem():
        return (await manager.status("tank"))["problem"]

    assert "tank" in await until("the model is missed", problem)
    stage.write("model.yaml", wider)
    await manager.until_state("tank", "online")
    answer = await manager.put_desired("tank", "setpoint", 201, wait=5)
    assert answer.json()["desired"]["status"] == "confirmed"

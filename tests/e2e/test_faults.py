"""Processes that die, hang and return: what heals by itself, how fast, and what is never lost."""

import asyncio
import contextlib
import time
from datetime import datetime

import httpx
import pytest

from tests.e2e.node import BOILER_MODEL, TANK_MODEL, boiler, tank
from tests.e2e.programs import until

pytestmark = [
    pytest.mark.process,
    # Several interpreters start, some more than once.
    pytest.mark.timeout(60),
]

HEALS = 5.0
"""Seconds in which a restart of either side heals."""


async def fresh(manager, *devices, seconds=HEALS):
    """Wait until each device's counter was read after this call."""
    since = time.time()

    async def look():
        with contextlib.suppress(httpx.HTTPError):
            for name in devices:
                reported = (await manager.twin(name, "level"))["reported"]
                if not reported or reported["quality"] != "good":
                    return False
                if moment(reported["time"]) < since:
                    return False
            return True
        return False

    await until(f"{', '.join(devices)} are live", look, seconds)


def moment(text):
    """RFC 3339 as seconds."""
    return datetime.fromisoformat(text).timestamp()


async def settled_counts(rest):
    """The mapper's counts once all that it has made so far is acknowledged."""
    made = (await rest.counts())["dmi_mapper_reported_readings_total"]

    async def look():
        counts = await rest.counts()
        return counts if counts["dmi_mapper_acknowledged_readings_total"] >= made else None

    return await until(f"{made:.0f} readings are acknowledged", look, HEALS)


async def test_a_killed_mapper_is_told_and_heals(stage):
    stage.write("tank.yaml", TANK_MODEL, tank(), tank("other"))
    _, manager = await stage.manager()
    mapper = await stage.mapper()
    await fresh(manager, "tank", "other")

    mapper.kill()
    status = await manager.until_state("tank", "unknown", "mapper_gone", seconds=2)
    assert status["mapper"] == ""
    assert "no mapper" in status["message"]
    (record,) = (await manager.get("/api/v1/mappers"))["items"]
    assert (record["alive"], record["devices"]) == (False, 0)

    began = time.monotonic()
    await mapper.start()
    await fresh(manager, "tank", "other")
    await manager.until_state("tank", "online", seconds=1)
    assert time.monotonic() - began < HEALS
    (record,) = (await manager.get("/api/v1/mappers"))["items"]
    assert (record["alive"], record["devices"]) == (True, 2)


async def test_nothing_acknowledged_is_lost_by_a_manager_that_dies_again_and_again(stage):
    # Values that only grow: a twin that went back would show it.
    stage.write("tank.yaml", TANK_MODEL, *(tank(f"tank-{n}", cycle=20) for n in range(10)))
    program, manager = await stage.manager()
    mapper = await stage.mapper()
    rest = stage.rest_of(mapper)
    names = [f"tank-{n}" for n in range(10)]
    await fresh(manager, *names)
    wishes = {}
    for round_ in range(4):
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(wish_on(manager, name, round_, wishes, stop))
            await until("wishes are on their way", lambda: len(wishes) == len(names))
            before = await manager.twins()
            program.kill()
            stop.set()
        began = time.monotonic()
        await program.start()
        after = await manager.twins()
        for name, was in before.items():
            now = after[name]
            if was["reported"]:
                assert moment(now["reported"]["time"]) >= moment(was["reported"]["time"])
            if name.endswith("level"):
                assert now["reported"]["value"] >= was["reported"]["value"]
        for name, version in wishes.items():
            # Asked at the same time as the kill, one may be there that was never answered.
            assert after[f"{name}/setpoint"]["desired"]["version"] >= version
        await fresh(manager, *names)
        assert time.monotonic() - began < HEALS
    counts = await settled_counts(rest)
    assert counts.get("dmi_mapper_dropped_readings_total", 0) == 0
    for name, version in wishes.items():
        twin = await manager.until_settled(name, "setpoint")
        assert twin["desired"]["version"] >= version
        assert twin["reported"]["value"] == twin["desired"]["value"]


async def wish_on(manager, name, round_, wishes, stop):
    """Set one desired value after the other; note the version of each that was acknowledged."""
    value = 0
    while not stop.is_set():
        value = (value + 1) % 100
        try:
            answer = await manager.put_desired(name, "setpoint", value)
        except httpx.HTTPError:
            return
        assert answer.status_code in (200, 202)
        wishes[name] = answer.json()["desired"]["version"]


async def test_the_last_level_before_a_crash_is_the_mappers_own(stage):
    """What the mapper has seen acknowledged is what the manager has after kill -9."""
    stage.write("tank.yaml", TANK_MODEL, tank(cycle=20))
    program, manager = await stage.manager()
    mapper = await stage.mapper()
    rest = stage.rest_of(mapper)
    await fresh(manager, "tank")
    mapper.pause()
    # Nothing comes any more; what was acknowledged is committed.
    level = (await manager.twin("tank", "level"))["reported"]
    program.kill()
    await program.start()
    assert (await manager.twin("tank", "level"))["reported"] == level
    mapper.resume()
    await fresh(manager, "tank")
    counts = await settled_counts(rest)
    assert counts.get("dmi_mapper_dropped_readings_total", 0) == 0


async def test_a_killed_simulator_takes_its_devices_offline_until_it_returns(stage):
    simulator = await stage.simulator()
    stage.write("boiler.yaml", BOILER_MODEL, boiler(simulator.ready["port"]))
    stage.write("tank.yaml", TANK_MODEL, tank())
    _, manager = await stage.manager()
    await stage.mapper(driver="modbus", name="modbus-mapper")
    await stage.mapper()
    await manager.until_state("boiler", "online")
    await fresh(manager, "tank")

    simulator.kill()
    status = await manager.until_state("boiler", "offline", "unavailable", seconds=5)
    assert status["message"]
    assert status["lastOnlineTime"]

    async def bad():
        reported = (await manager.twin("boiler", "temperature"))["reported"]
        return reported["quality"] == "bad" and reported

    reported = await until("the twin is bad", bad)
    assert (reported["value"], reported["reason"]) == (None, "unavailable")
    answer = await manager.put_desired("boiler", "setpoint", 30)
    assert answer.status_code == 202
    await fresh(manager, "tank")

    await simulator.start()
    status = await manager.until_state("boiler", "online", seconds=HEALS)
    assert status["reason"] == ""
    twin = await manager.until_settled("boiler", "setpoint")
    assert twin["reported"]["value"] == 30.0


async def test_a_mapper_that_hangs_loses_its_lease_and_disturbs_nobody(stage):
    simulator = await stage.simulator()
    stage.write("boiler.yaml", BOILER_MODEL, boiler(simulator.ready["port"]))
    stage.write("tank.yaml", TANK_MODEL, tank())
    _, manager = await stage.manager("--lease", "1")
    mapper = await stage.mapper(driver="modbus", name="modbus-mapper")
    await stage.mapper()
    await manager.until_state("boiler", "online")
    await fresh(manager, "tank")

    mapper.pause()
    status = await manager.until_state("boiler", "unknown", "mapper_gone", seconds=4)
    assert status["mapper"] == ""
    mappers = {each["protocol"]: each for each in (await manager.get("/api/v1/mappers"))["items"]}
    assert {name: each["alive"] for name, each in mappers.items()} == {
        "modbus": False,
        "virtual": True,
    }
    began = time.monotonic()
    answer = await manager.put_desired("tank", "setpoint", 5, wait=5)
    assert answer.json()["desired"]["status"] == "confirmed"
    assert time.monotonic() - began < 1
    await fresh(manager, "tank", seconds=1)

    mapper.resume()
    await manager.until_state("boiler", "online", seconds=HEALS)
    rest = stage.rest_of(mapper)
    counts = await settled_counts(rest)
    assert counts.get("dmi_mapper_dropped_readings_total", 0) == 0


async def test_a_manager_that_hangs_is_noticed_and_loses_nothing(stage):
    stage.write("tank.yaml", TANK_MODEL, tank())
    program, manager = await stage.manager("--lease", "1")
    mapper = await stage.mapper()
    rest = stage.rest_of(mapper)
    await fresh(manager, "tank")
    program.pause()

    async def noticed():
        return (await rest.ask("GET", "/readyz")).status_code == 503

    await until("the mapper says that it has no manager", noticed)
    program.resume()
    await fresh(manager, "tank")
    counts = await settled_counts(rest)
    assert counts.get("dmi_mapper_dropped_readings_total", 0) == 0


async def test_two_mappers_of_one_protocol_share_and_take_over(stage):
    names = [f"tank-{n}" for n in range(8)]
    stage.write("tank.yaml", TANK_MODEL, *map(tank, names))
    _, manager = await stage.manager()
    first = await stage.mapper("--instance", "1", name="first")
    await stage.mapper("--instance", "2", name="second")

    async def shares():
        items = (await manager.get("/api/v1/mappers"))["items"]
        return {each["instance"]: each["devices"] for each in items}

    async def both():
        found = await shares()
        return len(found) == 2 and min(found.values()) > 0 and sum(found.values()) == 8

    await until("both serve", both)
    await fresh(manager, *names)
    first.kill()
    await fresh(manager, *names)
    assert await shares() == {"1": 0, "2": 8}
    await first.start()
    await until("both serve", both)
    await fresh(manager, *names)


async def test_everything_dies_and_everything_returns(stage):
    simulator = await stage.simulator()
    stage.write("boiler.yaml", BOILER_MODEL, boiler(simulator.ready["port"]))
    manager_program, manager = await stage.manager()
    mapper = await stage.mapper(driver="modbus")
    await manager.until_state("boiler", "online")
    answer = await manager.put_desired("boiler", "setpoint", 33, wait=5)
    wish = answer.json()["desired"]
    for program in (simulator, mapper, manager_program):
        program.kill()
    async with asyncio.TaskGroup() as group:
        for program in (mapper, manager_program, simulator):
            group.create_task(program.start())
    await manager.until_reported("boiler", "temperature", seconds=HEALS)
    await manager.until_state("boiler", "online", seconds=HEALS)
    twin = await manager.twin("boiler", "setpoint")
    # A wish that was settled is not written again, although the device has lost its memory.
    assert (twin["desired"]["version"], twin["desired"]["status"]) == (wish["version"], "confirmed")


async def test_a_mapper_killed_in_the_middle_of_its_reports(stage):
    """Whatever the manager is about to say to it then: that is no bug, and is not logged as one."""
    names = [f"tank-{n}" for n in range(50)]
    stage.write("tank.yaml", TANK_MODEL, *(tank(name, cycle=10) for name in names))
    _, manager = await stage.manager()
    mapper = await stage.mapper()
    for _ in range(4):
        await fresh(manager, *names)
        await mapper.restart()
    await fresh(manager, *names)

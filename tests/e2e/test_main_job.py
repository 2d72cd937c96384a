"""The main job with real processes: device files become live twins, and wishes come true."""

import asyncio
import contextlib
import itertools
import json
import struct

import httpx
import pytest

from mappers.modbus.simulator import ModbusSimulator
from tests.e2e.node import BOILER_MODEL, TANK_MODEL, VIRTUAL, Manager, boiler, tank
from tests.e2e.programs import until

pytestmark = [
    pytest.mark.process,
    # Several interpreters start, each for a second or more where tests run side by side.
    pytest.mark.timeout(60),
]


async def holding_float(port, unit, address):
    """Ask the Modbus server itself, by hand: function 3, two registers, high word first."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(struct.pack(">HHHBBHH", 1, 0, 6, unit, 3, address, 2))
    answer = await reader.readexactly(13)
    writer.close()
    await writer.wait_closed()
    return struct.unpack(">f", answer[9:13])[0]


async def test_device_files_become_live_twins_and_a_wish_comes_true(stage):
    simulator = await stage.simulator()
    port = simulator.ready["port"]
    stage.write("boiler.yaml", BOILER_MODEL, boiler(port))
    _, manager = await stage.manager()
    mapper = await stage.mapper(driver="modbus")

    twin = await manager.until_reported("boiler", "temperature")
    assert (twin["type"], twin["access"]) == ("FLOAT", "ReadOnly")
    assert (await manager.until_state("boiler", "online"))["mapper"] == "modbus-mapper/0"

    answer = await manager.put_desired("boiler", "setpoint", 62.5, wait=5)
    assert answer.status_code == 200
    twin = answer.json()
    assert twin["desired"]["status"] == "confirmed"
    assert twin["reported"]["value"] == 62.5
    assert await holding_float(port, 1, 0) == 62.5
    live = await stage.rest_of(mapper).get(
        "/api/v1/devices/default/boiler/properties/setpoint", live="true"
    )
    assert live["value"] == 62.5

    code, out, err = await stage.dmi("set", "boiler", "setpoint", "58", "--wait", "5")
    assert (code, out, err) == (0, "boiler setpoint = 58.0: confirmed\n", "")
    assert await holding_float(port, 1, 0) == 58.0


async def test_a_changed_and_a_deleted_file(stage):
    stage.write("model.yaml", TANK_MODEL)
    file = stage.write("tank.yaml", tank())
    _, manager = await stage.manager()
    mapper = await stage.mapper()
    await manager.until_reported("tank", "level")

    # Only the counter stays; it goes on counting, so the device was not connected again.
    before = (await manager.twin("tank", "level"))["reported"]["value"]
    smaller = tank()
    smaller["spec"]["properties"] = smaller["spec"]["properties"][:1]
    stage.write("tank.yaml", smaller)
    await until("two twins are gone", lambda: _count_is(manager, 1))
    await manager.until_reported("tank", "level", lambda value: value > before)

    file.unlink()
    await until("the device is gone", lambda: _count_is(manager, 0))
    rest = stage.rest_of(mapper)
    await until("the mapper has let go", lambda: _serves(rest, []))


async def _count_is(manager, number):
    return len(await manager.twins()) == number


async def _serves(rest, names):
    items = (await rest.get("/api/v1/devices"))["items"]
    return sorted(item["name"] for item in items) == names


async def sse(manager, last="", types=""):
    """The events of the manager as they come: id, name, data."""
    headers = {"Last-Event-ID": last} if last else {}
    url = "/api/v1/changes"
    async with manager.http.stream("GET", url, params={"types": types}, headers=headers) as answer:
        assert answer.status_code == 200
        event = {}
        async for line in answer.aiter_lines():
            field, _, text = line.partition(": ")
            if line:
                event[field] = text
                continue
            if "data" in event:
                yield event["id"], event["event"], json.loads(event["data"])
            event = {}


async def test_changes_are_streamed_and_resumed_without_a_gap(stage):
    stage.write("tank.yaml", TANK_MODEL, tank())
    _, manager = await stage.manager()
    await stage.mapper()
    await manager.until_reported("tank", "level")

    async def levels(events, count):
        found = []
        while len(found) < count:
            event_id, name, data = await anext(events)
            assert name == "twin"
            if data["property"] == "level":
                found.append(data["reported"]["value"])
        await events.aclose()
        return found, event_id

    first, last = await levels(sse(manager, types="twin"), 3)
    # What happens while nobody listens comes when somebody resumes.
    await manager.until_reported("tank", "level", lambda value: value > first[-1] + 2)
    second, _ = await levels(sse(manager, last, "twin"), 5)
    counted = first + second
    assert counted == list(range(counted[0], counted[0] + 8))


async def test_resuming_at_a_manager_that_started_anew_tells_the_gap(stage):
    stage.write("tank.yaml", TANK_MODEL, tank())
    program, manager = await stage.manager()
    await stage.mapper()
    await manager.until_reported("tank", "level")
    events = sse(manager, types="twin")
    last, _, _ = await anext(events)
    program.kill()
    with contextlib.suppress(httpx.HTTPError):
        async for event in events:
            last = event[0]
    await program.start()
    again = sse(manager, last, "twin")
    _, name, data = await anext(again)
    assert (name, data) == ("gap", {"missed": None})
    _, name, _ = await anext(again)
    assert name == "twin"
    await again.aclose()


async def test_a_wish_for_an_absent_mapper_is_written_once_when_it_returns(stage):
    async with ModbusSimulator() as simulator:
        stage.write("boiler.yaml", BOILER_MODEL, boiler(simulator.port))
        _, manager = await stage.manager()
        mapper = await stage.mapper(driver="modbus")
        await manager.until_reported("boiler", "setpoint")
        assert (await manager.put_desired("boiler", "setpoint", 40, wait=5)).status_code == 200
        assert simulator.writes == 1
        mapper.kill()

        for value in (41, 42, 43):
            answer = await manager.put_desired("boiler", "setpoint", value, wait=0.1)
            assert answer.status_code == 202
            assert answer.json()["desired"]["status"] == "pending"
        await mapper.start()
        twin = await manager.until_settled("boiler", "setpoint")
        assert twin["desired"]["value"] == 43.0
        await manager.until_reported("boiler", "setpoint", lambda value: value == 43.0)
        assert simulator.writes == 2

        # Neither a further start of the mapper writes it again, nor one of the reads.
        await mapper.restart()
        before = simulator.counted
        await until("it reads again", lambda: simulator.counted > before + 10)
        assert simulator.writes == 2


async def test_a_mapper_waits_for_its_manager(stage):
    mapper = await stage.mapper()
    rest = stage.rest_of(mapper)
    answer = await rest.ask("GET", "/readyz")
    assert answer.status_code == 503
    assert "manager" in answer.json()["detail"]
    stage.write("tank.yaml", TANK_MODEL, tank())
    _, manager = await stage.manager()
    await manager.until_reported("tank", "level", seconds=5)
    assert (await rest.ask("GET", "/readyz")).status_code == 200


async def test_a_mapper_of_nothing_but_files(stage):
    stage.write("tank.yaml", TANK_MODEL, tank())
    words = ("mapper", VIRTUAL, "--ready-json", "--devices", stage.devices, "--rest", "127.0.0.1:0")
    mapper = stage.program("mapper", *words)
    await mapper.start()
    rest = stage.rest_of(mapper)
    await until("the device is served", lambda: _serves(rest, ["tank"]))
    path = "/api/v1/devices/default/tank/properties/setpoint"
    answer = await rest.ask("PUT", path, json={"value": 12.5})
    assert answer.json()["value"] == 12.5
    assert (await rest.get(path, live="true"))["value"] == 12.5
    stage.write("other.yaml", tank("other"))
    await until("the other one too", lambda: _serves(rest, ["other", "tank"]))
    assert await mapper.stop() == 0


STEPS = ("mapper", "model", "device")


@pytest.mark.parametrize("order", list(itertools.permutations(STEPS)), ids="-".join)
async def test_every_order_ends_in_the_same_state(stage, order):
    _, manager = await stage.manager()
    for step in order:
        if step == "mapper":
            await stage.mapper()
        elif step == "model":
            stage.write("a-model.yaml", TANK_MODEL)
            await until("the model is there", lambda: _has(manager, "models", "tank"))
        else:
            stage.write("b-tank.yaml", tank())
            await until("the device is there", lambda: _has(manager, "devices", "tank"))
    for prop in ("level", "setpoint", "label"):
        await manager.until_reported("tank", prop, lambda value: value is not None)
    status = await manager.until_state("tank", "online")
    assert (status["problem"], status["reason"]) == ("", "")
    answer = await manager.put_desired("tank", "setpoint", 7, wait=5)
    assert answer.json()["desired"]["status"] == "confirmed"


async def _has(manager, kind, name):
    items = (await manager.get(f"/api/v1/{kind}"))["items"]
    return name in [item["metadata"]["name"] for item in items]


async def test_the_api_listens_on_a_free_port(stage):
    stage.api = "127.0.0.1:0"
    program, _ = await stage.manager()
    url = program.ready["api"]
    assert url.startswith("http://127.0.0.1:")
    assert not url.endswith(":0")
    assert (await stage.client(Manager, url).get("/api/v1/status"))["ready"] is True

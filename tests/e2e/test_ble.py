"""Bluetooth LE with real processes: the devices of the example, their radio by TCP, and kills."""

import json
import struct

import pytest
import yaml
from bleak import BleakClient

from mappers.ble.radio import open_radio
from mappers.ble.simulation.broadcasters import BIND_KEY
from mappers.ble.simulation.peripherals import HEATER as UUIDS
from tests.e2e.node import device, model
from tests.e2e.programs import ROOT, until

pytestmark = [
    pytest.mark.process,
    # Several interpreters start, each for a second or more where tests run side by side.
    pytest.mark.timeout(90),
]
HEATER = "F0:00:00:00:00:02"
# What a mapper needs after its radio is back: to notice, to open it, to scan and to connect.
HEAL = 20


def example(file, port, **settings):
    """The documents of an example's file, at the simulator's port."""
    text = (ROOT / "examples" / "plant_ble" / file).read_text()
    documents = list(yaml.safe_load_all(text.replace(":9545", f":{port}")))
    for document in documents:
        if document["kind"] == "Device":
            document["spec"]["protocol"]["configData"] |= settings
            for prop in document["spec"]["properties"]:
                prop["collectCycle"] = min(prop["collectCycle"], 500)
    return documents


@pytest.fixture
async def plant(stage):
    """The simulator, a manager, a mapper, and the example's devices."""
    simulator = await stage.simulator("--interval", "0.2", kind="ble")
    port = simulator.ready["port"]
    stage.write("models.yaml", *example("models.yaml", port))
    quick = {"findTimeout": 4, "connectTimeout": 6, "timeout": 2, "attempts": 1}
    for name in ("heater", "thermometer"):
        stage.write(f"{name}.yaml", *example(f"{name}.yaml", port, **quick))
    for name in ("room", "beacon"):
        stage.write(f"{name}.yaml", *example(f"{name}.yaml", port, freshness=3))
    _, manager = await stage.manager()
    mapper = await stage.mapper(driver="ble")
    for name in ("heater", "thermometer", "room", "beacon"):
        await manager.until_state(name, "online", seconds=HEAL)
    return simulator, manager, mapper


async def asked_by_hand(port, value=None):
    """Read the heater's set-point past the mapper, by a radio of our own."""
    async with (
        open_radio(f"tcp-client:127.0.0.1:{port}") as radio,
        BleakClient(HEATER, backend=radio.client, **radio.kwargs) as client,
    ):
        if value is not None:
            await client.write_gatt_char(UUIDS["setpoint"], struct.pack("<f", value), True)
        return struct.unpack("<f", await client.read_gatt_char(UUIDS["setpoint"]))[0]


async def test_the_examples_devices_become_live_twins_and_a_wish_comes_true(stage, plant):
    simulator, manager, mapper = plant
    await manager.until_reported("room", "humidity", lambda value: 35 < value < 55)
    await manager.until_reported("beacon", "minor", lambda value: value == 7)
    await manager.until_reported("thermometer", "temperature", lambda value: 36 < value < 38)
    await manager.until_reported("thermometer", "maker", lambda value: value == "DMI works")
    await manager.until_reported("thermometer", "signal", lambda value: value == -50)

    answer = await manager.put_desired("heater", "setpoint", 33.5, wait=8)
    assert answer.status_code == 200
    assert answer.json()["desired"]["status"] == "confirmed"
    await manager.until_reported("heater", "temperature", lambda value: value > 22)
    live = await stage.rest_of(mapper).get(
        "/api/v1/devices/default/heater/properties/setpoint", live="true"
    )
    assert live["value"] == 33.5

    answer = await manager.put_desired("heater", "label", "boiler room", wait=8)
    assert answer.json()["desired"]["status"] == "confirmed"

    # The device takes one link at a time: it is free once the mapper has gone.
    assert await mapper.stop() == 0
    assert await asked_by_hand(simulator.ready["port"]) == 33.5
    assert await simulator.stop() == 0


async def test_a_killed_simulator_is_offline_with_a_reason_and_heals(plant):
    simulator, manager, mapper = plant
    simulator.kill()
    status = await manager.until_state("heater", "offline", seconds=HEAL)
    assert status["message"]
    await manager.until_state("thermometer", "offline", seconds=HEAL)
    await simulator.start()
    for name in ("heater", "thermometer", "room"):
        await manager.until_state(name, "online", seconds=HEAL)
    before = (await manager.twin("room", "temperature"))["reported"]["time"]

    async def is_newer():
        return (await manager.twin("room", "temperature"))["reported"]["time"] > before

    await until("the room is heard again", is_newer, HEAL)
    await manager.until_reported("heater", "setpoint", lambda value: value == 20)
    assert mapper.running


async def test_a_killed_mapper_leaves_no_link_behind_and_fulfils_the_wish(plant):
    simulator, manager, mapper = plant
    mapper.kill()
    await manager.put_desired("heater", "setpoint", 41)
    # Its link has ended with it: others may connect.
    assert await asked_by_hand(simulator.ready["port"]) == 20
    await mapper.start()
    await manager.until_settled("heater", "setpoint", seconds=HEAL)
    await manager.until_reported("heater", "setpoint", lambda value: value == 41)


async def test_encrypted_and_wrong_keys(stage):
    simulator = await stage.simulator("--interval", "0.2", kind="ble")
    radio = f"tcp-client:127.0.0.1:{simulator.ready['port']}"
    kind = model("cellar", "ble", temperature={"type": "FLOAT", "accessMode": "ReadOnly"})

    def cellar(name, key):
        settings = {"radio": radio, "address": "F1:00:00:00:00:02", "bindKey": f"env:{key}"}
        return device(name, "cellar", "ble", settings, temperature={"field": "temperature"})

    stage.write("cellar.yaml", kind, cellar("right", "RIGHT"), cellar("wrong", "WRONG"))
    _, manager = await stage.manager()
    mapper = stage.program(
        "mapper", *stage.mapper_words("ble"), RIGHT=BIND_KEY.hex(), WRONG="00" * 16
    )
    await mapper.start()
    await manager.until_reported("right", "temperature", lambda value: 18 < value < 24, HEAL)
    await manager.until_state("right", "online")
    twins = await manager.twins()
    reported = twins["wrong/temperature"]["reported"]
    assert reported is None or reported["quality"] != "good"
    assert BIND_KEY.hex() not in mapper.tail(1000)


async def test_faults_of_the_devices_stay_theirs(stage):
    # The heater is slow and drops its link now and then; the others do not notice.
    faults = ("--fault", "drop:heater:3", "--fault", "slow:thermometer:0.3")
    simulator = await stage.simulator("--interval", "0.2", *faults, kind="ble")
    port = simulator.ready["port"]
    stage.write("models.yaml", *example("models.yaml", port))
    for name in ("heater", "thermometer", "room"):
        stage.write(f"{name}.yaml", *example(f"{name}.yaml", port))
    _, manager = await stage.manager()
    await stage.mapper(driver="ble")
    for name in ("heater", "thermometer", "room"):
        await manager.until_state(name, "online", seconds=40)
    await manager.until_reported("heater", "setpoint", lambda value: value == 20, 40)
    await manager.until_reported("thermometer", "battery", lambda value: value == 88, 40)


async def test_what_discovery_proposes_can_be_applied_as_it_is(stage, dmi):
    simulator = await stage.simulator("--interval", "0.2", kind="ble")
    radio = f"radio=tcp-client:127.0.0.1:{simulator.ready['port']}"
    code, out, err = await dmi("discover", "ble", radio, "--for", "2", "--node", "edge-7")
    assert code == 0, err
    devices = [each for each in yaml.safe_load_all(out) if each["kind"] == "Device"]
    assert {each["spec"]["nodeName"] for each in devices} == {"edge-7"}
    settings = [each["spec"]["protocol"]["configData"] for each in devices]
    assert {each.get("address") for each in settings} >= {
        f"F1:00:00:00:00:{number:02X}" for number in (1, 2)
    }
    assert {each.get("format") for each in settings} >= {"bthome", "ibeacon", "eddystone"}

    stage.write("found.yaml", out)
    _, manager = await stage.manager()
    await stage.mapper(driver="ble")
    (room,) = (
        each["metadata"]["name"]
        for each, link in zip(devices, settings, strict=True)
        if link.get("address") == "F1:00:00:00:00:01"
    )
    await manager.until_reported(room, "temperature", lambda value: 18 < value < 24, HEAL)


@pytest.mark.parametrize("protocol", ["ble", "all"])
async def test_the_demo_holds(dmi, protocol):
    code, out, err = await dmi("demo", "--protocol", protocol, "--for", "1", "--json")
    summary = json.loads(out)
    assert (code, summary["held"], summary["errors"]) == (0, True, []), err
    assert summary["twins"] >= (13 if protocol == "ble" else 28)
    assert summary["readings"]["dropped"] == 0


async def test_two_mappers_on_one_air(stage, plant):
    simulator, _, _ = plant
    radio = f"tcp-client:127.0.0.1:{simulator.ready['port']}"
    alone = stage.folder / "alone"
    alone.mkdir()
    for name in ("models", "room"):
        (alone / f"{name}.yaml").write_text(
            yaml.safe_dump_all(example(f"{name}.yaml", simulator.ready["port"]))
        )
    second = stage.program(
        "second", "mapper", "ble", "--ready-json", "--devices", alone, "--rest", "127.0.0.1:0"
    )
    await second.start()
    rest = stage.rest_of(second)

    async def heard():
        answer = await rest.ask("GET", "/api/v1/devices/default/room/properties/humidity")
        return answer.status_code == 200 and answer.json().get("quality") == "good"

    await until(f"the second mapper hears the room by {radio}", heard, HEAL)

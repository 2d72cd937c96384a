"""The verbs against the real device manager's API."""

import asyncio
import json
from pathlib import Path

import pytest

from device_manager.api.app import create_app
from device_manager.dmi_service.server import serve
from device_manager.node import Node
from device_manager.records import TwinReading
from dmi.readings import Reading
from dmi.reports import DeviceState, Outcome, OutcomeStatus
from dmi.resources import Key
from dmi.rest.serving import serve_http
from dmi_cli.exits import Exit
from dmi_cli.main import main

PLANT = Path(__file__).parents[2] / "examples" / "plant"
BOILER = Key("default", "boiler")


@pytest.fixture
async def node(tmp_path, socket_dir, monkeypatch):
    """A running manager, reached by `dmi` over a Unix socket."""
    node = await Node.open(tmp_path / "node.db")
    async with serve(node, socket_dir / "dmi.sock") as services:
        app = create_app(node, services)
        async with serve_http(app, f"unix:{socket_dir}/api.sock") as address:
            monkeypatch.setenv("DMI_SERVER", address)
            monkeypatch.delenv("DMI_TOKEN_FILE", raising=False)
            yield node
            node.feed.close()
    await node.close()


@pytest.fixture
def dmi(capsys):
    """Run one command line in a thread: code, what it printed, what it complained of."""

    async def run(*words):
        capsys.readouterr()
        code = await asyncio.to_thread(main, [str(word) for word in words])
        captured = capsys.readouterr()
        return int(code), captured.out, captured.err

    return run


async def test_apply_get_describe_delete(node, dmi):
    code, out, err = await dmi("apply", "-f", PLANT)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "Device default/pump created"
    _, out, _ = await dmi("apply", "-f", PLANT)
    assert {line.rpartition(" ")[2] for line in out.splitlines()} == {"unchanged"}
    _, out, _ = await dmi("get", "devices")
    assert [line.split()[1] for line in out.splitlines()[1:]] == ["boiler", "meter", "pump"]
    _, out, _ = await dmi("get", "twins", "-o", "json")
    assert len(json.loads(out)["items"]) == 15
    _, out, _ = await dmi("get", "models", "-o", "yaml")
    assert "overheated" in out
    code, out, _ = await dmi("describe", "device", "boiler")
    assert code == 0
    assert "unknown" in out
    code, out, _ = await dmi("delete", "-f", PLANT)
    assert code == 0
    assert not node.devices
    assert not node.models


async def test_mistakes_and_conflicts(node, dmi, tmp_path):
    await node.apply(*[], origin="file:x")
    file = tmp_path / "bad.yaml"
    file.write_text((PLANT / "pump.yaml").read_text().replace("nodeName", "nodename"))
    code, _, err = await dmi("apply", "-f", file)
    assert code == Exit.REFUSED
    assert "did you mean 'nodeName'?" in err
    await dmi("apply", "-f", PLANT)
    for item in [*node.devices.values()]:
        await node.delete("Device", item.key, "api")
        await node.apply(item, origin="file:plant.yaml")
    code, out, err = await dmi("apply", "-f", PLANT / "boiler.yaml")
    assert code == Exit.REFUSED
    assert out == ""
    assert f"{PLANT / 'boiler.yaml'}: document 1, line 2: Device default/boiler belongs to" in err
    code, _, err = await dmi("delete", "device", "boiler")
    assert code == Exit.REFUSED


async def test_set_until_confirmed(node, dmi):
    await dmi("apply", "-f", PLANT)
    setting = asyncio.create_task(dmi("set", "boiler", "setpoint", "72.5", "--wait", "10"))
    async with asyncio.timeout(10):
        while (wish := node.twin(BOILER, "setpoint").desired) is None or wish.value != 72.5:
            await node.wait_change(node.version)
    outcome = Outcome(BOILER, "setpoint", wish.version, OutcomeStatus.CONFIRMED, 1.8e9)
    await node.apply_report("", 0, [], [], [outcome])
    assert await setting == (0, "boiler setpoint = 72.5: confirmed\n", "")
    code, _, err = await dmi("set", "boiler", "setpoint", "500")
    assert code == Exit.REFUSED
    assert "above the maximum" in err
    code, _, err = await dmi("set", "boiler", "temperature", "5")
    assert code == Exit.DENIED
    code, _, _ = await dmi("set", "boiler", "nothing", "5")
    assert code == Exit.NOT_FOUND
    code, _, err = await dmi("set", "boiler", "burner", "true", "--wait", "0.1")
    assert code == Exit.UNAVAILABLE
    code, _, _ = await dmi("set", "boiler", "setpoint", "--clear")
    assert code == 0
    assert node.twin(BOILER, "setpoint").desired is None


async def test_watch_sees_what_happens(node, dmi):
    await dmi("apply", "-f", PLANT)
    watching = asyncio.create_task(
        dmi("watch", "boiler", "--kind", "state", "--kind", "desired", "--count", "2", "--for", "9")
    )
    async with asyncio.timeout(10):
        while not node.feed.has_readers:  # noqa: ASYNC110 - nothing announces a reader
            await asyncio.sleep(0.005)
    await node.apply_report("", 0, [], [DeviceState(BOILER, "online", 1.8e9)], [])
    await node.set_desired(BOILER, "burner", True)
    code, out, err = await watching
    assert (code, err) == (0, "")
    first, second = (line.partition(" ")[2] for line in out.splitlines())
    assert first == "state    default/boiler online"
    assert second == "desired  default/boiler burner desired true pending"


async def test_watch_sees_readings_with_their_type(node, dmi):
    await dmi("apply", "-f", PLANT)
    watching = asyncio.create_task(
        dmi("watch", "-o", "json", "--kind", "twin", "--count", "1", "--for", "9")
    )
    async with asyncio.timeout(10):
        while not node.feed.has_readers:  # noqa: ASYNC110 - nothing announces a reader
            await asyncio.sleep(0.005)
    reading = TwinReading(BOILER, "temperature", Reading(71.5, 1.8e9))
    await node.apply_report("", 0, [reading], [], [])
    _, out, _ = await watching
    change = json.loads(out)
    assert change["event"] == "twin"
    assert (change["data"]["type"], change["data"]["reported"]["value"]) == ("FLOAT", 71.5)


async def test_doctor_and_an_absent_mapper(node, dmi, socket_dir, tmp_path):
    words = ("--manager-socket", socket_dir / "dmi.sock", "--data-dir", tmp_path)
    code, out, _ = await dmi("doctor", *words)
    assert code == 0, out
    assert "somebody listens" in out
    assert (await dmi("get", "mappers"))[2] == "no mappers\n"
    assert (await dmi("describe", "mapper", "x"))[0] == Exit.NOT_FOUND

"""`dmi demo --protocol opcua` and `dmi discover opcua`, as people run them."""

import asyncio
import json
import subprocess
import sys

import pytest
import yaml

from mappers.opcua.simulator import OpcuaSimulator

pytestmark = [pytest.mark.process, pytest.mark.timeout(90)]


def dmi(*arguments):
    command = [sys.executable, "-m", "dmi_cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=80)


def test_the_demo_tells_its_story_with_opcua():
    ended = dmi("demo", "--protocol", "opcua", "--for", "1", "--json")
    summary = json.loads(ended.stdout.splitlines()[-1])
    assert summary["errors"] == []
    assert summary["held"] is True
    assert summary["twins"] == 12
    assert ended.returncode == 0


async def test_discovery_writes_what_can_be_applied(tmp_path):
    file = tmp_path / "found.yaml"
    async with OpcuaSimulator() as running:
        words = ("discover", "opcua", f"url={running.url}", "root=2:Plant", "--out", str(file))
        ended = await asyncio.to_thread(dmi, *words)
        nothing = await asyncio.to_thread(dmi, *words[:3], "root=2:Plant/2:Pump/2:Overheating")
    assert ended.returncode == 0, ended.stderr
    assert "1 device proposed" in ended.stderr
    assert "Overheating: no variables below it\n0 devices proposed" in nothing.stderr
    assert [d["kind"] for d in yaml.safe_load_all(file.read_text())] == ["DeviceModel", "Device"]
    checked = dmi("validate", "-f", str(file))
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["opcua", "url"], 1, "KEY=VALUE"),
        (["opcua", "url=http://x"], 1, "opc.tcp"),
        (["opcua", "url=opc.tcp://127.0.0.1:1"], 4, "127.0.0.1:1"),
        (["modbus"], 1, "cannot look for devices"),
        (["nothing"], 3, "nothing"),
    ],
)
def test_discovery_that_cannot_be(words, code, told):
    ended = dmi("discover", *words)
    assert told in ended.stderr
    assert ended.returncode == code


def test_a_modbus_mapper_never_loads_asyncua():
    code = "import sys; import mappers.modbus.driver, mapper_sdk.mapper, dmi_cli.main; "
    code += "from dmi_cli.programs import find_driver; find_driver('modbus'); "
    code += "sys.exit(any(m.split('.')[0] in ('asyncua', 'bleak') for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

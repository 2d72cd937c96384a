import asyncio
import json
import signal
import sys
from contextlib import asynccontextmanager

import httpx
import pytest

pytestmark = pytest.mark.process

DEVICES = """
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: model}
spec:
  protocol: virtual
  properties: [{name: t, type: INT, accessMode: ReadWrite}]
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: dev}
spec:
  deviceModelRef: {name: model}
  protocol: {protocolName: virtual, configData: {}}
  properties:
  - {name: t, visitors: {protocolName: virtual, configData: {initial: 3}}}
"""
PROGRAM = (
    "import sys; from mapper_sdk.program import run_mapper;"
    "from mapper_sdk.virtual import VirtualDriver;"
    "sys.exit(run_mapper(VirtualDriver, sys.argv[1:]))"
)


@asynccontextmanager
async def mapper(*flags):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, "--ready-json", *flags),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_a_mapper_says_ready_serves_and_ends_with_0(tmp_path):
    file = tmp_path / "devices.yaml"
    file.write_text(DEVICES)
    async with asyncio.timeout(15):
        flags = ("--devices", str(file), "--rest", "127.0.0.1:0", "--log-format", "json")
        async with mapper(*flags) as process:
            ready = json.loads(await process.stdout.readline())
            assert ready["name"] == "virtual-mapper"
            async with httpx.AsyncClient(base_url=ready["rest"]) as client:
                path = "/api/v1/devices/default/dev/properties/t"
                while (answer := await client.get(path)).status_code == 404:
                    pass
                answer = await client.put(path, json={"value": 8})
                assert answer.json()["value"] == 8
            process.send_signal(signal.SIGTERM)
            _, log = await process.communicate()
            assert process.returncode == 0
            lines = [json.loads(line) for line in log.splitlines()]
            assert f"serving REST on {ready['rest']}" in [line["message"] for line in lines]
            assert lines[-1]["message"] == "stopped"
            assert set(lines[-1]) == {"time", "level", "logger", "message"}


async def test_a_mapper_without_a_manager_waits_and_can_be_stopped(socket_dir):
    flags = ("--manager-socket", str(socket_dir / "none.sock"), "--rest", "off")
    async with asyncio.timeout(15), mapper(*flags) as process:
        ready = json.loads(await process.stdout.readline())
        assert "rest" not in ready
        process.send_signal(signal.SIGINT)
        await process.communicate()
        assert process.returncode == 0


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--link", "v7"), "--link: link: must be one of"),
        (("--link", "files"), "link files needs devices"),
        (("--rest", "0.0.0.0:0"), "needs restClients"),
        (("--link", "v1beta1", "--socket", "/dev/null", "--rest", "off"), "/dev/null"),
    ],
)
async def test_a_wrong_setting_ends_it_with_2(flags, words):
    async with asyncio.timeout(15), mapper(*flags) as process:
        _, log = await process.communicate()
        assert process.returncode == 2
        assert words in log.decode()
        assert "Traceback" not in log.decode()

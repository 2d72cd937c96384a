import asyncio
import json
import logging
import shutil
import signal
import sys
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from device_manager.config import ManagerConfig
from device_manager.manager import main, run_manager
from device_manager.storage.database import open_database
from tests.device_manager.plants import PUMP, device, model


@pytest.fixture
def logging_as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.fixture
def failing(capsys, logging_as_before):
    def run(*argv):
        code = main(argv)
        said = capsys.readouterr().err
        assert "Traceback" not in said
        return code, said

    return run


@pytest.fixture
def short():
    """A folder whose name is short enough for a socket in it."""
    folder = Path(tempfile.mkdtemp(prefix="dm"))
    yield folder
    shutil.rmtree(folder)


def arguments(folder, *more):
    return [
        *("--data-dir", str(folder / "data"), "--socket", str(folder / "dmi.sock")),
        *("--api", "127.0.0.1:0", "--devices", str(folder / "devices"), *more),
    ]


def put_devices(folder, **properties):
    devices = folder / "devices"
    devices.mkdir(exist_ok=True)
    objects = [model().to_json(), device(**properties).to_json()]
    (devices / "plant.yaml").write_text(yaml.safe_dump_all(objects))


async def until_true(ask):
    async with asyncio.timeout(10):
        while not await ask():  # noqa: ASYNC110 - the other process has no event for us
            await asyncio.sleep(0.02)


async def test_it_serves_until_it_is_told_to_stop(short):
    put_devices(short, speed="5")
    config = ManagerConfig(
        data_dir=short / "data",
        socket=short / "dmi.sock",
        api="127.0.0.1:0",
        devices=short / "devices",
    )
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        group.create_task(run_manager(config, stop, ready.set_result))
        addresses = await ready
        assert addresses["socket"] == str(short / "dmi.sock")
        async with httpx.AsyncClient(base_url=addresses["api"]) as client:

            async def listed():
                answer = await client.get(f"/api/v1/devices/{PUMP}")
                return answer.status_code == 200

            await until_true(listed)
        stop.set()
    assert not (short / "dmi.sock").exists()


class Process:
    """The manager as a process of its own."""

    def __init__(self, process):
        self.process = process
        self.ready = {}

    async def wait_ready(self):
        async with asyncio.timeout(15):
            line = await self.process.stdout.readline()
        if not line:
            raise AssertionError((await self.process.stderr.read()).decode())
        self.ready = json.loads(line)

    async def end(self, number):
        self.process.send_signal(number)
        async with asyncio.timeout(10):
            _, errors = await self.process.communicate()
        return self.process.returncode, errors.decode()


@asynccontextmanager
async def started(folder, *more):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "device_manager", "--ready-json", *arguments(folder, *more)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Process(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signals_end_it_in_good_order(short, number):
    put_devices(short)
    async with started(short) as manager:
        await manager.wait_ready()
        code, errors = await manager.end(number)
    assert code == 0
    assert "Traceback" not in errors


@pytest.mark.process
async def test_a_killed_manager_comes_back_with_everything(short):
    put_devices(short)
    async with started(short) as manager:
        await manager.wait_ready()
        async with httpx.AsyncClient(base_url=manager.ready["api"]) as client:
            twin = f"/api/v1/devices/{PUMP}/twins/speed"

            async def wished():
                answer = await client.put(f"{twin}/desired", json={"value": 8})
                return answer.is_success

            await until_true(wished)
        await manager.end(signal.SIGKILL)
    (short / "devices" / "plant.yaml").write_text("broken: [")
    async with started(short) as manager:
        await manager.wait_ready()
        async with httpx.AsyncClient(base_url=manager.ready["api"]) as client:
            answer = await client.get(twin)
        assert answer.json()["desired"]["value"] == 8
        await manager.end(signal.SIGTERM)


@pytest.mark.process
async def test_a_second_manager_on_the_same_database_is_refused(short):
    async with started(short) as first:
        await first.wait_ready()
        data = str(short / "data")
        async with started(short, "--socket", str(short / "2.sock"), "--data-dir", data) as second:
            async with asyncio.timeout(15):
                _, errors = await second.process.communicate()
            assert second.process.returncode == 2
            assert b"in use by another process" in errors


def test_a_wrong_setting_is_exit_code_2(failing):
    code, said = failing("--lease", "soon")
    assert (code, said.startswith("error: --lease")) == (2, True)


def test_a_socket_path_that_is_a_file_is_exit_code_2(short, failing):
    (short / "dmi.sock").write_text("precious")
    code, said = failing(*arguments(short))
    assert code == 2
    assert str(short / "dmi.sock") in said
    assert (short / "dmi.sock").read_text() == "precious"


def test_an_api_address_that_cannot_be_is_exit_code_2(short, failing):
    code, said = failing(*arguments(short, "--api", "127.0.0.1:none"))
    assert (code, "is not an address" in said) == (2, True)
    assert not (short / "dmi.sock").exists()


def test_a_damaged_database_is_exit_code_2_and_stays(short, failing):
    path = short / "data" / "manager.db"
    path.parent.mkdir()
    path.write_bytes(b"damaged" * 1000)
    code, said = failing(*arguments(short))
    assert (code, "--quarantine-corrupt" in said) == (2, True)
    assert path.read_bytes() == b"damaged" * 1000


@pytest.mark.process
async def test_a_damaged_database_is_put_aside_on_request(short):
    path = short / "data" / "manager.db"
    path.parent.mkdir()
    path.write_bytes(b"damaged" * 1000)
    async with started(short, "--quarantine-corrupt") as manager:
        await manager.wait_ready()
        assert (await manager.end(signal.SIGTERM))[0] == 0
    (aside,) = path.parent.glob("manager.db.corrupt-*")
    assert aside.read_bytes() == b"damaged" * 1000
    open_database(path).close()

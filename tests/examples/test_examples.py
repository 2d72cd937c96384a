"""Every example runs as its text says, as a process, and shows what it promises."""

import json
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from dmi.manifests import manifest_files, read_manifests

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]


def run(name, *arguments):
    return subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )


@contextmanager
def started(*command, cwd=EXAMPLES):
    """A program that prints a JSON line when it is ready; gives that line."""
    with subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, text=True, cwd=cwd
    ) as process:
        try:
            line = next(line for line in process.stdout if line.startswith("{"))
            yield json.loads(line)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0


def eventually(look, seconds=10.0):
    """Give what `look` gives, once that is true."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, "not in time"
        time.sleep(0.02)
    return found


@pytest.fixture
def kettle(socket_dir):
    """Address of a manager that knows the kettle, with a mapper that serves it."""
    socket = str(socket_dir / "dmi.sock")
    dmi = ("-m", "dmi_cli")
    manager = (*dmi, "manager", "--ready-json", "--data-dir", str(socket_dir), "--socket", socket)
    mapper = (*dmi, "mapper", "01_own_driver:KettleDriver", "--ready-json")
    with (
        started(*manager, "--api", "127.0.0.1:0") as ready,
        started(*mapper, "--manager-socket", socket, "--rest", "off"),
    ):
        text = (EXAMPLES / "kettle.yaml").read_bytes()
        answer = httpx.post(f"{ready['api']}/api/v1/apply", content=text)
        assert answer.status_code == 200, answer.text
        state = f"{ready['api']}/api/v1/devices/default/kettle"
        eventually(lambda: httpx.get(state).json()["status"]["state"] == "online")
        yield ready["api"]


def test_own_driver_is_under_fifty_lines_and_served_over_rest():
    assert len((EXAMPLES / "01_own_driver.py").read_text().splitlines()) < 50
    with started(EXAMPLES / "01_own_driver.py", "--ready-json", "--rest", "127.0.0.1:0") as ready:
        device = f"{ready['rest']}/api/v1/devices/default/kettle"
        eventually(lambda: httpx.get(device).json().get("state") == "online")
        setpoint = httpx.put(f"{device}/properties/setpoint", json={"value": 80})
        assert setpoint.json()["value"] == 80
        warm = f"{device}/properties/temperature?live=true"
        eventually(lambda: httpx.get(warm).json()["value"] > 70)


def test_own_driver_passes_the_contract():
    ended = run("02_own_driver_test.py")
    assert ended.returncode == 0, ended.stdout
    assert int(re.search(r"(\d+) passed", ended.stdout)[1]) >= 10


def test_devices_from_files_are_read_in_their_own_cycles():
    ended = run("03_devices_from_files/run.py", "--for", "3")
    assert ended.returncode == 0, ended.stderr
    shown = re.findall(r"^room +(\w+)", ended.stdout, re.MULTILINE)
    assert shown.count("temperature") > shown.count("visitors") > 0


def test_changes_are_watched(kettle):
    ended = run("04_watch_changes.py", kettle, "--count", "3")
    assert ended.returncode == 0, ended.stderr
    changes = [json.loads(line) for line in ended.stdout.splitlines()]
    assert len(changes) == 3
    assert {change["device"] for change in changes} == {"kettle"}


def test_a_value_is_set_and_confirmed(kettle):
    device = ("--manager", kettle, "--device", "default/kettle")
    ended = run("05_set_and_confirm.py", "75", *device)
    assert ended.returncode == 0, ended.stderr
    assert "confirmed; the device reads 75.0" in ended.stdout


def test_a_value_beyond_the_models_maximum_is_refused_in_words(kettle):
    ended = run("05_set_and_confirm.py", "175", "--manager", kettle, "--device", "default/kettle")
    assert ended.returncode == 1
    assert ended.stderr.startswith("out_of_range")


def test_edgecore_refuses_no_call():
    ended = run("06_edgecore.py", "--for", "3")
    assert ended.returncode == 0, ended.stderr
    assert "ReportDeviceStatus" in ended.stdout
    assert "refused" not in ended.stdout


@pytest.mark.parametrize(
    "file",
    [file for file in manifest_files(EXAMPLES) if file.name != "mapper.yaml"],
    ids=lambda file: file.name,
)
def test_device_files_have_no_mistakes(file):
    manifests, mistakes = read_manifests(file)
    assert manifests
    assert not mistakes


def test_the_readme_names_every_example():
    text = (EXAMPLES / "README.md").read_text()
    for entry in EXAMPLES.iterdir():
        if not entry.name.startswith((".", "_")):
            assert entry.name == "README.md" or f"]({entry.name}" in text

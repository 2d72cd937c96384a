"""What `dmi new mapper` writes, run as its README says: four processes and the verbs."""

import json
import socket
import subprocess
import sys
import time
from contextlib import ExitStack

import pytest

from dmi_cli.main import main

DMI = [sys.executable, "-m", "dmi_cli"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(condition, seconds=15.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@pytest.fixture
def run(tmp_path):
    """Start a process in the new mapper's folder; it ends with the test."""
    with ExitStack() as stack:

        def start(*words):
            process = subprocess.Popen(
                words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            stack.callback(process.stdout.close)
            stack.callback(process.wait, 10)
            stack.callback(process.terminate)
            return process

        yield start


@pytest.mark.process
def test_a_new_mapper_serves_its_device(run, tmp_path, socket_dir, monkeypatch, capsys):
    port = free_port()
    assert main(["new", "mapper", "oven", "--directory", str(tmp_path)]) == 0
    file = tmp_path / "oven.yaml"
    file.write_text(file.read_text().replace("port: 4001", f"port: {port}"))
    dmi_socket = socket_dir / "dmi.sock"
    api = f"unix:{socket_dir}/api.sock"
    monkeypatch.setenv("DMI_SERVER", api)
    simulator = run(sys.executable, "oven_simulator.py", str(port))
    assert "answers on" in simulator.stdout.readline()
    manager = run(
        *DMI, "manager", "--data-dir", "data", "--socket", dmi_socket, "--api", api, "--ready-json"
    )
    assert json.loads(manager.stdout.readline())
    words = ("oven_driver:OvenDriver", "--manager-socket", dmi_socket, "--rest", "off")
    run(*DMI, "mapper", *words, "--ready-json")
    assert main(["apply", "-f", str(file)]) == 0

    def is_online():
        capsys.readouterr()
        main(["get", "device", "oven-1", "-o", "json"])
        return json.loads(capsys.readouterr().out)["status"]["state"] == "online"

    until(is_online)
    assert main(["set", "oven-1", "setpoint", "900", "--wait", "10"]) == 0
    assert capsys.readouterr().out == "oven-1 setpoint = 900.0: confirmed\n"
    assert main(["get", "twins", "oven-1"]) == 0
    assert "900.0" in capsys.readouterr().out

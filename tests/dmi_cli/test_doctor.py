import json
import resource
import shutil
import socket
import sys
from pathlib import Path

import pytest

from dmi_cli import symptoms
from dmi_cli.exits import Exit
from dmi_cli.symptoms import (
    check_clock,
    check_directory,
    check_files,
    check_libraries,
    check_manager,
    check_python,
    check_socket,
)


def words(socket_dir, tmp_path):
    return ("--manager-socket", socket_dir / "dmi.sock", "--data-dir", tmp_path)


def test_a_healthy_machine(dmi, manager, socket_dir, tmp_path):
    result = dmi("doctor", *words(socket_dir, tmp_path))
    assert result.code == 0, result.out
    assert f"{manager.url} is ready" in result.out
    assert "bad" not in result.out.split()


def test_json_names_level_and_cure(dmi, socket_dir, tmp_path, unused_tcp_port):
    server = f"http://127.0.0.1:{unused_tcp_port}"
    result = dmi("doctor", "-o", "json", "--server", server, *words(socket_dir, tmp_path))
    findings = {finding["what"]: finding for finding in json.loads(result.out)["findings"]}
    assert findings["manager"]["level"] == "warning"
    assert findings["manager"]["cure"] == "start it: dmi manager"
    assert findings["python"]["level"] == "ok"


def test_what_is_bad_is_refused_with_a_cure(dmi, manager, socket_dir, tmp_path):
    (socket_dir / "dmi.sock").write_text("")
    result = dmi("doctor", *words(socket_dir, tmp_path))
    assert result.code == Exit.REFUSED
    assert "is not a socket" in result.out
    assert "cure for manager socket: remove it" in result.out


def test_old_python(monkeypatch):
    assert check_python().level == "ok"
    monkeypatch.setattr(sys, "version_info", (3, 10, 1))
    assert check_python().level == "bad"


def test_libraries(monkeypatch):
    assert check_libraries().level == "ok"
    monkeypatch.setattr(symptoms, "installed_version", lambda _: None)
    assert "grpcio" in check_libraries().found
    assert check_libraries().level == "bad"


def test_not_installed_at_all(monkeypatch):
    def missing(_):
        raise symptoms.PackageNotFoundError

    monkeypatch.setattr(symptoms, "requires", missing)
    monkeypatch.setattr(symptoms, "installed_version", lambda _: None)
    assert check_libraries().found == "missing: dmi-toolkit"


def test_a_clock_that_was_never_set(monkeypatch):
    assert check_clock().level == "ok"
    monkeypatch.setattr(symptoms.time, "time", lambda: 5.0)
    assert check_clock().level == "bad"


def test_few_open_files(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 4096))
    assert check_files().level == "warning"
    monkeypatch.setattr(resource, "getrlimit", lambda _: (4096, 4096))
    assert check_files().level == "ok"


def test_sockets(socket_dir, monkeypatch):
    path = socket_dir / "dmi.sock"
    assert check_socket(path).found == f"{path} is free"
    assert check_socket(socket_dir / "new" / "dmi.sock").level == "ok"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert "stale" in check_socket(path).found
        listener.listen()
        assert check_socket(path).found == f"somebody listens on {path}"
    assert check_socket(socket_dir / ("x" * 120)).level == "bad"
    assert check_socket(path / "below").level == "bad"
    path.unlink()
    monkeypatch.setattr(symptoms.os, "access", lambda *_: False)
    assert check_socket(path).level == "warning"


def test_a_socket_that_may_not_be_used(socket_dir, monkeypatch):
    path = socket_dir / "dmi.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))

        def refuse(*_):
            raise PermissionError(13, "Permission denied")

        class Probe(socket.socket):
            connect = refuse

        monkeypatch.setattr(symptoms.socket, "socket", Probe)
        assert check_socket(path).level == "bad"


def test_directories(tmp_path, monkeypatch):
    assert "MiB free" in check_directory(tmp_path / "new" / "data").found
    (tmp_path / "file").write_text("")
    assert check_directory(tmp_path / "file").level == "bad"
    usage = shutil.disk_usage(tmp_path)._replace(free=1024)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert check_directory(tmp_path).level == "warning"
    monkeypatch.setattr(symptoms.os, "access", lambda *_: False)
    assert "not writable" in check_directory(tmp_path).found


@pytest.mark.parametrize("server", ["nonsense", None])
def test_a_manager_that_does_not_fit(manager, server, monkeypatch):
    monkeypatch.setenv("DMI_TOKEN_FILE", str(Path("/nothing/here")))
    (finding,) = check_manager(server)
    assert finding.level == "bad"


def test_a_manager_that_is_not_ready(manager):
    manager.status = {"ready": False, "storage": {"error": "no space left"}}
    (finding,) = check_manager(None)
    assert (finding.level, finding.found) == ("bad", "no space left")
    manager.status = {}
    (finding,) = check_manager(None)
    assert (finding.level, finding.cure) == ("bad", "is another program at this address?")


def test_what_the_manager_complains_of(manager):
    manager.status = {
        "ready": True,
        "upstreams": {"file:a.yaml": {"errors": ["line 3: x"]}, "file:b.yaml": {"errors": []}},
        "problems": {f"default/d{n}": "no model" for n in range(7)},
    }
    ready, file, *devices = check_manager(None)
    assert ready.level == "ok"
    assert (file.what, file.level, file.found) == ("file:a.yaml", "warning", "line 3: x")
    assert [finding.what for finding in devices][0::5] == ["device default/d0", "devices"]
    assert devices[-1].found == "2 more have problems"

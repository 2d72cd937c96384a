import os
import socket

import pytest

from dmi_cli import equipment
from dmi_cli.equipment import (
    check_edgecore,
    check_extras,
    check_radio,
    check_serial,
    check_state,
)


def denied(monkeypatch):
    monkeypatch.setattr(equipment.os, "access", lambda *_: False)


@pytest.fixture
def listener(socket_dir):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(socket_dir / "s.sock"))
        one.listen()
        yield socket_dir / "s.sock"


def test_every_extra_is_judged():
    found = {finding.what: finding for finding in check_extras()}
    assert {"extra modbus", "extra opcua", "extra ble", "extra ble-hci", "extra mqtt"} <= set(found)
    assert "extra all" not in found
    assert {finding.level for finding in found.values()} == {"ok"}


def test_a_protocol_that_is_not_installed_is_a_warning(monkeypatch):
    monkeypatch.setattr(equipment, "installed_version", lambda _: None)
    found = {finding.what: finding for finding in check_extras()}
    for name, library in (("modbus", "pymodbus"), ("opcua", "asyncua"), ("ble", "bleak")):
        assert found[f"extra {name}"].level == "warning"
        assert library in found[f"extra {name}"].found
        assert f"dmi-toolkit[{name}]" in found[f"extra {name}"].cure
    assert found["extra mqtt"].level == "ok"
    assert "lacks paho-mqtt" in found["extra mqtt"].found


def test_without_a_distribution_the_protocols_are_judged(monkeypatch):
    def missing(_):
        raise equipment.PackageNotFoundError

    monkeypatch.setattr(equipment, "metadata", missing)
    assert [one.what for one in check_extras()] == ["extra ble", "extra modbus", "extra opcua"]


def test_serial_lines(tmp_path, monkeypatch):
    assert check_serial(f"{tmp_path}/ttyUSB*").found == "none"
    (tmp_path / "ttyUSB0").write_text("")
    assert check_serial(f"{tmp_path}/ttyUSB*").found == str(tmp_path / "ttyUSB0")
    denied(monkeypatch)
    assert check_serial(f"{tmp_path}/ttyUSB*").level == "warning"


def test_radios(tmp_path, listener):
    assert check_radio(tmp_path, listener).found == "no adapter"
    (tmp_path / "bluetooth" / "hci0").mkdir(parents=True)
    good = check_radio(tmp_path, listener)
    assert (good.level, good.found) == ("ok", "hci0")
    unreached = check_radio(tmp_path, tmp_path / "nothing")
    assert (unreached.level, "bluez" in unreached.cure) == ("warning", True)
    for number, (kind, soft, hard) in enumerate((("wlan", 1, 1), ("bluetooth", 0, 0))):
        switch = tmp_path / "rfkill" / f"rfkill{number}"
        switch.mkdir(parents=True)
        for name, text in (("type", kind), ("soft", soft), ("hard", hard)):
            (switch / name).write_text(f"{text}\n")
    assert check_radio(tmp_path, listener).level == "ok"
    (switch / "soft").write_text("1\n")
    (switch / "name").write_text("hci0\n")
    blocked = check_radio(tmp_path, listener)
    assert (blocked.level, blocked.found) == ("warning", "hci0 blocked")
    assert "rfkill unblock bluetooth" in blocked.cure


def test_the_state_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert check_state().found == str(tmp_path / "dmi")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert check_state().found == str(tmp_path / ".local/state/dmi")
    denied(monkeypatch)
    assert check_state().level == "warning"


def test_an_edgecore(socket_dir, listener, monkeypatch):
    assert check_edgecore(socket_dir / "none.sock").level == "ok"
    assert check_edgecore(listener).found == f"answers on {listener}"
    (socket_dir / "dead.sock").touch()
    assert check_edgecore(socket_dir / "dead.sock").level == "warning"
    denied(monkeypatch)
    assert "not writable" in check_edgecore(listener).found


def test_an_edgecore_in_a_folder_that_may_not_be_seen(socket_dir, monkeypatch):
    class Hidden(type(socket_dir)):
        def exists(self, **_):
            raise PermissionError(13, os.strerror(13))

    assert check_edgecore(Hidden(socket_dir / "dmi.sock")).found.endswith("Permission denied")

import argparse
import asyncio
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from dmi.errors import UnavailableError
from dmi_cli import demo
from dmi_cli.demo.plant import write_plant
from dmi_cli.demo.plot import PLOTS
from dmi_cli.demo.processes import Program
from dmi_cli.demo.snapshot import Snapshot
from dmi_cli.demo.story import STEPS, Summary
from dmi_cli.demo.view import View


def twin(device, name, time, *, quality="good", value=1.5, desired=None):
    reported = {"value": value, "time": time, "quality": quality, "reason": ""}
    return {
        "device": device,
        "property": name,
        "unit": "bar",
        "desired": desired,
        "reported": reported,
    }


def snapshot(*twins, state="online"):
    names = {each["device"] for each in twins}
    return Snapshot(
        {f"{each['device']}/{each['property']}": each for each in twins},
        {name: {"state": state} for name in names},
    )


EARLY, LATE = "2026-11-21T10:00:00.000Z", "2026-11-21T10:00:05.000Z"


def test_nothing_is_live_before_there_are_twins():
    assert not Snapshot().is_live()


def test_a_silent_property_does_not_hold_its_device_back():
    look = snapshot(twin("pump", "flow", LATE), twin("pump", "serial", EARLY))
    assert look.is_live(EARLY)
    assert not look.is_live(LATE)


def test_one_bad_twin_or_one_device_away_is_not_live():
    assert not snapshot(twin("pump", "flow", LATE, quality="bad")).is_live()
    assert not snapshot(twin("pump", "flow", LATE), state="offline").is_live()
    unread = twin("pump", "flow", LATE)
    unread["reported"] = None
    assert not snapshot(unread).is_live()


def test_a_story_that_was_not_told_to_its_end_has_not_held():
    summary = Summary()
    assert not summary.held
    summary.steps = dict.fromkeys(STEPS, True)
    assert summary.held
    summary.errors.append("finish: too late")
    assert not summary.report()["held"]


def test_the_plant_is_pointed_at_the_simulator(tmp_path):
    write_plant(PLOTS["modbus"].plant, tmp_path, 1234)
    documents = [d for f in tmp_path.glob("*.yaml") for d in yaml.safe_load_all(f.read_text())]
    devices = [d["spec"]["protocol"]["configData"] for d in documents if d["kind"] == "Device"]
    assert devices
    assert {settings["port"] for settings in devices} == {1234}


def test_the_table_shows_both_sides_quality_and_age():
    wish = {"value": 62.5, "status": "confirmed"}
    look = snapshot(
        twin("boiler", "setpoint", EARLY, value=62.5, desired=wish),
        twin("boiler", "flame", EARLY, quality="bad", value=None),
    )
    view = View(live=True, latest=lambda: look)
    view.begin("the device files become live twins")
    view.end(held=True, detail="2 twins")
    view.note("curl http://127.0.0.1:1/api/v1/devices")
    console = Console(width=120, file=io.StringIO())
    console.print(view.render())
    for words in ("boiler", "online", "62.5 (confirmed)", "62.5 bar", "bad", "✓", "curl"):
        assert words in console.file.getvalue()


async def test_a_program_that_does_not_start_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr("dmi_cli.demo.processes.START_SECONDS", 1.5)
    program = Program("manager", ["manager", "--no-such-flag"], tmp_path / "manager.log")
    async with asyncio.TaskGroup() as group:
        group.create_task(program.run())
        with pytest.raises(UnavailableError, match=r"manager did not start[\s\S]*no-such-flag"):
            await program.wait_ready()
        await program.stop()


@pytest.mark.process
@pytest.mark.timeout(60)  # three programs, started twice and killed, on a busy machine
def test_the_story_holds(capsys):
    args = argparse.Namespace(seconds=1.0, json=True, protocol="modbus", keep=None)
    assert demo.run(args) == 0
    out, err = capsys.readouterr()
    summary = json.loads(out)
    assert summary["held"]
    assert summary["writes"] == {"asked": 2, "confirmed": 2}
    assert [each["killed"] for each in summary["recoveries"]] == ["mapper", "manager"]
    assert all(each["seconds"] < 5 for each in summary["recoveries"])
    assert summary["readings"]["made"] == summary["readings"]["acknowledged"] > 0
    assert "curl http://127.0.0.1:" in err


def children_of(pid):
    """Processes that this one started and that run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == pid and state != "Z":
                found.append(int(stat.parent.name))
    return found


def runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.process
@pytest.mark.timeout(60)
def test_its_programs_end_with_it_however_it_ends(tmp_path):
    words = [sys.executable, "-m", "dmi_cli", "demo", "--json", "--keep", str(tmp_path / "d")]
    demo = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    programs = []
    try:
        wait_for(lambda: len(children_of(demo.pid)) == 3, 40)
        programs = children_of(demo.pid)
        demo.kill()
        demo.wait()
        wait_for(lambda: not any(map(runs, programs)), 15)
    finally:
        demo.kill()
        for pid in filter(runs, programs):
            os.kill(pid, signal.SIGKILL)

"""Every benchmark works and says what it must; how fast anything is, is never tested."""

import json
import subprocess
import sys
from importlib import import_module

import pytest

from benchmarks.__main__ import NAMES


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.process
@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", NAMES)
def test_prints_figures_beside_those_of_the_bare_libraries(name, tmp_path):
    file = tmp_path / "found.json"
    ended = run(name, "--quick", "--out", str(file))
    assert ended.returncode == 0, ended.stderr
    document = json.loads(ended.stdout)
    assert json.loads(file.read_text()) == document
    assert document["machine"]["cpus"] >= 1
    (found,) = document["benchmarks"]
    assert found["name"] == name
    assert found["target"] == import_module(f"benchmarks.{name}").TARGET
    assert isinstance(found["met"], bool)
    for figures in (found["figures"], found["bare"]):
        assert figures
        assert all(isinstance(number, int | float) for number in figures.values())
    # Whatever the speed: nothing may be lost.
    assert found["figures"].get("lost", 0) == 0
    assert found["figures"].get("calls_refused", 0) == 0


@pytest.mark.process
def test_a_name_that_is_none_is_refused_with_the_names_that_are():
    ended = run("fleet_1y")
    assert ended.returncode == 2
    assert "fleet_1y" in ended.stderr
    assert "fleet_1s" in ended.stderr

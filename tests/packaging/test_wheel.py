"""What users install: a wheel in an empty environment, which runs the main job."""

import json
import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.process,
    # Building, an empty environment, and some thirty wheels from the index or pip's cache.
    pytest.mark.timeout(300),
]


def run(*words, seconds=240, **variables):
    """Run a command without anything of this checkout or of its environment."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DMI_", "PYTHON", "VIRTUAL_ENV", "COV"))
    }
    done = subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        cwd=variables.pop("cwd", None),
        env=kept | variables,
    )
    assert done.returncode == 0, f"{words}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "-w", folder, ROOT)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def bare(tmp_path_factory, wheel):
    """Runs the `dmi` of an environment that holds nothing but the wheel and what it asks for."""
    home = tmp_path_factory.mktemp("bare")
    venv.create(home / "env", with_pip=True)
    binaries = home / "env" / "bin"
    pip = (binaries / "python", "-m", "pip", "--disable-pip-version-check", "--quiet")
    run(*pip, "install", f"{wheel}[all]")

    def dmi(*words, **settings):
        return run(binaries / "dmi", *words, cwd=home, **settings)

    return dmi


def test_what_is_in_the_wheel(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}
    packages = {"dmi", "mapper_sdk", "mappers", "device_manager", "dmi_cli"}
    assert {top for top in tops if not top.endswith(".dist-info")} == packages
    for name in (
        "dmi/py.typed",
        "mapper_sdk/py.typed",
        "dmi/proto/v1/api.proto",
        "dmi/proto/v1beta1/api_pb2.py",
        "dmi_cli/plant/boiler.yaml",
    ):
        assert name in names
    for pattern in (r"device_manager/.*0001_\w+\.sql", r".*/licenses/LICENSE"):
        assert any(re.fullmatch(pattern, name) for name in names), pattern
    # What a template is made of may be a test; nothing else that only we need is in it.
    ours = re.compile(r"(.*/)?(test_\w+\.py|conftest\.py|\.keep)")
    assert not [name for name in names if ours.fullmatch(name)]


def test_the_wheel_runs_in_an_empty_environment(bare):
    """One test, so that tests side by side make the environment only once."""
    versions = json.loads(bare("version", "-o", "json"))
    assert "0.1.0" in versions.values()
    assert "demo" in bare("--help")
    assert "--data-dir" in bare("manager", "--help")
    assert "--manager-socket" in bare("mapper", "modbus", "--help")
    bare("validate", "-f", ROOT / "examples" / "plant")
    the_demo_holds(bare)


def the_demo_holds(bare):
    """The main job, SIGKILL of mapper and manager included."""
    summary = json.loads(bare("demo", "--for", "15", "--json").splitlines()[-1])
    assert summary["held"] is True, summary
    assert all(summary["steps"].values())
    assert summary["twins"] > 10
    assert summary["writes"]["asked"] == summary["writes"]["confirmed"] > 1
    assert {each["killed"] for each in summary["recoveries"]} == {"mapper", "manager"}
    assert max(each["seconds"] for each in summary["recoveries"]) < 5
    assert summary["readings"]["dropped"] == 0
    assert summary["errors"] == []

import subprocess
import sys

import pytest

from dmi_cli.exits import Exit


@pytest.mark.process
def test_a_new_mapper_passes_the_contract(dmi, tmp_path):
    result = dmi("new", "mapper", "acme-kiln", "--directory", tmp_path / "new")
    assert result.code == 0
    written = {file.name for file in (tmp_path / "new").iterdir()}
    assert written == {
        "README.md",
        "acme-kiln.yaml",
        "acme_kiln_driver.py",
        "acme_kiln_simulator.py",
        "pytest.ini",
        "test_acme_kiln_driver.py",
    }
    test = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path / "new",
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert test.returncode == 0, test.stdout
    assert "11 passed" in test.stdout


def test_the_name_goes_everywhere(dmi, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert dmi("new", "mapper", "oven").code == 0
    texts = {file.name: file.read_text() for file in (tmp_path / "oven").iterdir()}
    assert all("kiln" not in text.lower() for text in texts.values())
    assert 'protocol_name: ClassVar = "oven"' in texts["oven_driver.py"]
    assert "class OvenDriver(" in texts["oven_driver.py"]


def test_a_driver_fits_in_some_fifty_lines_of_code(dmi, tmp_path):
    dmi("new", "mapper", "oven", "--directory", tmp_path)
    text = (tmp_path / "oven_driver.py").read_text()
    code = [line for line in text.splitlines() if line.strip() and '"""' not in line]
    assert len(code) < 70


@pytest.mark.parametrize("name", ["Kiln", "kiln_1", "1kiln", "class", "a--b", "-a", "a" * 61, "ö"])
def test_names_must_fit_protocol_and_module(dmi, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    result = dmi("new", "mapper", "--", name)
    assert result.code == Exit.REFUSED
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(dmi, tmp_path):
    (tmp_path / "oven_driver.py").write_text("mine")
    result = dmi("new", "mapper", "oven", "--directory", tmp_path)
    assert result.code == Exit.REFUSED
    assert [file.name for file in tmp_path.iterdir()] == ["oven_driver.py"]
    assert (tmp_path / "oven_driver.py").read_text() == "mine"


def test_a_directory_that_cannot_be_made(dmi, tmp_path):
    (tmp_path / "file").write_text("")
    assert dmi("new", "mapper", "oven", "--directory", tmp_path / "file" / "x").code == Exit.REFUSED

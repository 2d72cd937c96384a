import subprocess
import sys
import types

import pytest

from dmi.errors import ConfigError, NotFoundError
from dmi_cli.exits import Exit
from dmi_cli.programs import find_driver
from mapper_sdk.driver import Driver


def module_named(monkeypatch, name, **contents):
    module = types.ModuleType(name)
    vars(module).update(contents)
    monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture
def passed(monkeypatch):
    """What reached the programs."""
    seen = []

    def program(*words):
        seen.append(words)
        return 7

    module_named(monkeypatch, "device_manager.__main__", main=lambda argv: program("manager", argv))
    module_named(monkeypatch, "mapper_sdk.program", run_mapper=program)
    module_named(
        monkeypatch, "mappers.modbus.simulator", main=lambda argv: program("simulator", argv)
    )
    return seen


class OwnDriver(Driver):
    protocol_name = "own"


def test_programs_get_their_options_untouched(dmi, passed, monkeypatch):
    module_named(monkeypatch, "own_driver", OwnDriver=OwnDriver)
    assert dmi("manager", "--help", "-x", "--", "y").code == 7
    assert dmi("manager").code == 7
    assert dmi("mapper", "own_driver:OwnDriver", "--devices", "d", "--help").code == 7
    assert dmi("simulate", "modbus", "--port", "0").code == 7
    assert passed == [
        ("manager", ["--help", "-x", "--", "y"]),
        ("manager", []),
        (OwnDriver, ["--devices", "d", "--help"]),
        ("simulator", ["--port", "0"]),
    ]


@pytest.mark.parametrize("words", [("manager",), ("mapper", "modbus"), ("simulate", "modbus")])
def test_the_help_of_a_program_is_its_own(dmi, words):
    result = dmi(*words, "--help")
    assert result.code == 0
    assert result.out.startswith(f"usage: dmi {' '.join(words)} ")


def test_how_a_program_ends_is_how_we_end(dmi, monkeypatch):
    def end(code):
        def main(_):
            raise SystemExit(code)

        return main

    module_named(monkeypatch, "device_manager.__main__", main=end(5))
    assert dmi("manager").code == 5
    module_named(monkeypatch, "device_manager.__main__", main=end("words"))
    assert dmi("manager").code == Exit.USAGE


@pytest.mark.parametrize("words", [("mapper", "-h"), ("simulate", "--help")])
def test_our_own_help_before_a_name(dmi, words):
    result = dmi(*words)
    assert result.code == 0
    assert "example" in result.out


def test_unknown_names(dmi):
    assert dmi("simulate", "nonsense").code == Exit.NOT_FOUND
    result = dmi("mapper", "nonsense")
    assert result.code == Exit.NOT_FOUND
    assert "there is: modbus" in result.err


def test_the_built_in_driver_is_found():
    assert find_driver("modbus").protocol_name == "modbus"


def test_a_driver_in_the_current_directory_is_found(tmp_path, monkeypatch):
    (tmp_path / "kiln_in_cwd.py").write_text(
        "from mapper_sdk.driver import Driver\nclass Kiln(Driver):\n    protocol_name = 'kiln'\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "kiln_in_cwd", raising=False)
    assert find_driver("kiln_in_cwd:Kiln").protocol_name == "kiln"


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("no_such_module:Driver", NotFoundError, "no Python module no_such_module"),
        ("no_such.module:Driver", NotFoundError, "no Python module no_such"),
        ("json:Driver", NotFoundError, "module json has no Driver"),
        ("json:JSONDecoder", ConfigError, "not a subclass of mapper_sdk.driver.Driver"),
        ("json:loads", ConfigError, "not a subclass"),
        ("json:", NotFoundError, "name your own as package.module:Class"),
        ("nonsense", NotFoundError, "there is: modbus"),
    ],
)
def test_what_is_not_a_driver(name, error, words):
    with pytest.raises(error, match=words):
        find_driver(name)


@pytest.mark.process
def test_a_missing_protocol_library_is_named_with_its_cure():
    code = (
        "import sys; sys.modules['pymodbus'] = None; from dmi_cli.main import main;"
        "sys.exit(main(['mapper', 'modbus']))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=15, check=False
    )
    assert result.returncode == Exit.REFUSED
    assert "modbus needs the library pymodbus: pip install 'dmi-toolkit[modbus]'" in result.stderr


def test_a_missing_library_of_ones_own_driver_is_named(monkeypatch, tmp_path):
    (tmp_path / "lacking.py").write_text("import no_such_library\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(ConfigError, match="needs the library no_such_library: install it"):
        find_driver("lacking:Driver")

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dmi.errors import (
    AccessDeniedError,
    ConfigError,
    ConflictError,
    DeadlineError,
    NotFoundError,
    OverloadedError,
    RefusedError,
    UnavailableError,
)
from dmi_cli.commands import COMMANDS
from dmi_cli.exits import Exit, exit_of
from dmi_cli.programs import BUILT_IN, SIMULATORS

HEAVY = ("grpc", "fastapi", "starlette", "pydantic", "httpx", "rich", "yaml", "asyncio")


def run_process(*words, **options):
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, timeout=15, check=False, **options
    )


@pytest.mark.process
@pytest.mark.parametrize("words", [["--help"], ["get", "--help"], ["mapper", "--help"], []])
def test_help_loads_nothing_heavy(words):
    code = (
        "import sys; from dmi_cli.main import main; main(sys.argv[1:]);"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    result = run_process("-c", code, *words)
    assert result.stdout.splitlines()[-1] == "[]"
    assert "usage: dmi" in result.stdout


def test_help_names_every_bundled_protocol(dmi):
    for verb, bundled in (("mapper", BUILT_IN), ("simulate", SIMULATORS)):
        listed = ", ".join(bundled)
        (line,) = (one for one in dmi("--help").out.splitlines() if one.split()[:1] == [verb])
        assert listed in line
        description, _, arguments = dmi(verb, "--help").out.partition("positional arguments:")
        assert listed in description
        assert listed in arguments.partition("options:")[0]
    assert f"{{{','.join(BUILT_IN)},all}}" in dmi("demo", "--help").out


def test_help_names_every_verb_and_exit_code(dmi):
    result = dmi("--help")
    assert result.code == 0
    for command in COMMANDS:
        assert f"\n    {command.name}" in result.out
    for number in (0, 1, 2, 3, 4, 5):
        assert f"\n  {number}  " in result.out


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.passes_after is None])
def test_every_verb_has_help(dmi, command):
    result = dmi(command.name, "--help")
    assert result.code == 0
    assert result.out.startswith(f"usage: dmi {command.name}")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_verb_leads_to_a_function(command):
    module, _, function = command.handler.partition(":")
    source = Path(__file__).parents[2] / Path(*module.split(".")).with_suffix(".py")
    package = source.with_suffix("") / "__init__.py"
    text = (source if source.exists() else package).read_text()
    assert f"def {function}(" in text or f"import {function}" in text


def test_no_verb_is_wrong_usage(dmi):
    result = dmi()
    assert result.code == Exit.USAGE
    assert "usage: dmi" in result.out


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["get"],
        ["get", "pods"],
        ["apply"],
        ["set", "device"],
        ["mapper"],
        ["demo", "--for", "x"],
        ["demo", "--for", "-1"],
        ["watch", "--kind", "pods"],
        ["get", "devices", "--outp", "json"],
    ],
)
def test_wrong_usage(dmi, words):
    result = dmi(*words)
    assert result.code == Exit.USAGE
    assert "usage: dmi" in result.err
    assert result.out == ""


def test_version(dmi):
    assert dmi("--version").out.startswith("dmi-toolkit ")
    assert dmi("version").out == dmi("--version").out
    assert '"python"' in dmi("version", "-o", "json").out


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), Exit.REFUSED),
        (RefusedError("x"), Exit.REFUSED),
        (ConflictError("x"), Exit.REFUSED),
        (NotFoundError("x"), Exit.NOT_FOUND),
        (AccessDeniedError("x"), Exit.DENIED),
        (UnavailableError("x"), Exit.UNAVAILABLE),
        (DeadlineError("x"), Exit.UNAVAILABLE),
        (OverloadedError("x"), Exit.UNAVAILABLE),
    ],
)
def test_exit_codes_of_errors(error, code):
    assert exit_of(error) is code


def test_no_manager_is_unavailable(dmi, unused_tcp_port):
    result = dmi("get", "devices", "--server", f"http://127.0.0.1:{unused_tcp_port}")
    assert result.code == Exit.UNAVAILABLE
    assert "no device manager answers" in result.err
    assert result.out == ""


def test_interrupt_has_its_code(dmi, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("dmi_cli.version.version", interrupt)
    assert dmi("version").code == Exit.INTERRUPTED


@pytest.mark.process
def test_a_socket_without_a_manager_is_unavailable(tmp_path):
    result = run_process("-m", "dmi_cli", "get", "devices", "--server", f"unix:{tmp_path}/x.sock")
    assert result.returncode == Exit.UNAVAILABLE
    assert "no device manager answers at unix:" in result.stderr


@pytest.mark.process
def test_a_reader_that_has_enough_is_no_error(tmp_path):
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run(
        [sys.executable, "-m", "dmi_cli", "version"],
        stdout=write,
        stderr=subprocess.PIPE,
        timeout=15,
        check=False,
    )
    os.close(write)
    assert result.returncode == 0
    assert result.stderr == b""


@pytest.mark.process
def test_runs_as_a_module(manager, tmp_path):
    result = run_process("-m", "dmi_cli", "get", "devices")
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr == "no devices\n"


@pytest.mark.process
def test_a_poor_locale_loses_signs_not_answers(boiler):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    result = run_process("-m", "dmi_cli", "get", "twins", env=environment)
    assert result.returncode == 0
    assert "\\xb0C" in result.stdout


@pytest.mark.process
def test_ctrl_c_ends_a_watch(boiler):
    boiler.streams = [["id: 1\nevent: state\ndata: {}\n\n"]]
    process = subprocess.Popen(
        [sys.executable, "-m", "dmi_cli", "watch", "-o", "json"], stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout.readline() == b'{"id":"1","event":"state","data":{}}\n'
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == Exit.INTERRUPTED

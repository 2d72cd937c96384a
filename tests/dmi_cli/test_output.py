import os
import pty
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from dmi.errors import DeadlineError, UnavailableError
from dmi_cli.client import Client
from dmi_cli.output import age_text, print_document, print_fields, print_table, value_text


def test_plain_tables_are_made_for_programs(capsys):
    print_table(("A", "LONG NAME"), [("x", None), ("yyy", "two\nlines"), (1, True)])
    assert capsys.readouterr().out == ("A    LONG NAME\nx    -\nyyy  two lines\n1    True\n")


def test_empty_tables_say_so_on_stderr(capsys):
    print_table(("A",), [], empty="none here")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "none here\n")


def test_documents(capsys):
    print_document({"b": "°C", "a": [1]}, "json")
    assert capsys.readouterr().out == '{\n  "b": "°C",\n  "a": [\n    1\n  ]\n}\n'
    print_document({"b": "°C", "a": [1]}, "yaml")
    assert capsys.readouterr().out == "b: °C\na:\n- 1\n"


def test_fields(capsys):
    print_fields({"Name": "x", "Empty": "", "None": None, "More": {"k": 1}, "No": {}})
    assert capsys.readouterr().out == (
        "Name:   x\nEmpty:  -\nNone:   -\nMore:\n  k:  1\nNo:     -\n"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (True, "true"), (False, "false"), (1.5, "1.5"), ("x", "x"), ([1], "[1]")],
)
def test_values(value, text):
    assert value_text(value) == text


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (None, ""),
        ("", ""),
        ("nonsense", "nonsense"),
        ("2026-01-01T00:00:00.400Z", "0s"),
        ("2025-12-31T23:58:30Z", "90s"),
        ("2025-12-31T23:50:00Z", "10m"),
        ("2025-12-31T20:00:00Z", "4h"),
        ("2025-12-01T00:00:00Z", "31d"),
        ("2026-01-01T00:00:09Z", "0s"),
    ],
)
def test_ages(moment, text):
    assert age_text(moment, lambda: datetime(2026, 1, 1, tzinfo=UTC)) == text


def on_a_terminal(*words, **environment):
    """What a person would see."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "dmi_cli", *words],
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120", **environment},
    ) as process:
        os.close(theirs)
        seen = b""
        try:
            while more := os.read(ours, 4096):
                seen += more
        except OSError:  # Linux: the other end of a terminal is closed
            pass
        os.close(ours)
        assert process.wait(10) == 0
    return seen.decode()


@pytest.mark.process
def test_colours_are_for_terminals_that_want_them(boiler):
    assert "\x1b[32monline" in on_a_terminal("get", "devices")
    plain = on_a_terminal("get", "devices", NO_COLOR="1")
    assert "online" in plain
    assert "\x1b[32m" not in plain


def test_an_answer_that_is_not_json(manager):
    with Client() as client, pytest.raises(UnavailableError, match="not as a device manager"):
        client.request("GET", "/html")


def test_an_answer_that_is_a_bare_list(manager):
    manager.objects["devices"]["a/b"] = [1]
    with Client() as client:
        assert client.request("GET", "/api/v1/devices/a/b") == {"items": [1]}


def test_a_manager_that_falls_silent(manager):
    with (
        Client() as client,
        pytest.raises(DeadlineError),
        client.lines("/api/v1/changes", {}, "", 0.2) as lines,
    ):
        next(lines)

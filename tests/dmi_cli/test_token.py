import json

import pytest

from dmi.rest.identity import Scope
from dmi.rest.tokens import Clients
from dmi_cli.main import main


def test_a_client_is_let_in_by_what_was_printed(tmp_path, capsys):
    file = tmp_path / "clients.yaml"
    scopes = ["--scope", "write", "--namespace", "line-1", "--days", "1"]
    assert main(["token", "panel", "--file", str(file), *scopes]) == 0
    printed = capsys.readouterr().out.strip()
    identity = Clients(file).by_token(printed, 0, 0)
    assert (identity.name, identity.scopes, identity.namespaces) == (
        "panel",
        {Scope.WRITE},
        {"line-1"},
    )
    assert Clients(file).by_token(printed, 4e9, 0) is None


def test_for_programs_it_is_json(tmp_path, capsys):
    file = tmp_path / "clients.yaml"
    assert main(["token", "panel", "--file", str(file), "-o", "json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["scopes"] == ["read"]
    assert Clients(file).by_token(made["token"], 4e9, 0).name == "panel"


def test_a_second_client_of_that_name_is_refused(tmp_path, capsys):
    arguments = ["token", "panel", "--file", str(tmp_path / "clients.yaml")]
    assert main(arguments) == 0
    assert main(arguments) == 1
    assert "a token named 'panel' already" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["--days", "x"], ["--scope", "all"], []])
def test_wrong_usage(tmp_path, wrong):
    file = ["--file", str(tmp_path / "clients.yaml")] if wrong else []
    assert main(["token", "panel", *file, *wrong]) == 2

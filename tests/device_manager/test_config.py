from pathlib import Path

import pytest

from device_manager.config import load_config, parse_options
from dmi.errors import ConfigError


def config(*argv, environment=None):
    return load_config(parse_options(argv), environment or {})


def test_defaults_listen_on_loopback_without_a_token():
    found = config()
    assert found.api == "127.0.0.1:10350"
    assert not found.door().keys.are_needed
    assert found.database == Path("/var/lib/dmi/manager.db")


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path):
    file = tmp_path / "manager.yaml"
    file.write_text("dataDir: /file\nlogLevel: error\nlease: 3\n")
    environment = {"DMI_MANAGER_LOG_LEVEL": "debug", "DMI_MANAGER_LEASE": "4", "OTHER": "x"}
    found = config("--config", str(file), "--lease", "5", environment=environment)
    assert (found.data_dir, found.log_level, found.lease) == (Path("/file"), "debug", 5.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dataDirectory: /x\n", "did you mean 'dataDir'"),
        ("lease: [1]\n", "lease"),
        ("- 1\n", "must be a block of settings"),
        ("a: [\n", "manager.yaml"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(tmp_path, text, said):
    file = tmp_path / "manager.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        config("--config", str(file))
    assert str(file) in str(caught.value)
    assert said in str(caught.value)


def test_an_empty_file_and_no_file(tmp_path):
    file = tmp_path / "manager.yaml"
    file.write_text("")
    assert config("--config", str(file)) == config()
    with pytest.raises(ConfigError, match="cannot be read"):
        config("--config", str(tmp_path / "none.yaml"))


@pytest.mark.parametrize(
    ("argv", "environment", "said"),
    [
        (["--lease", "0"], {}, "--lease"),
        ([], {"DMI_MANAGER_SYNCHRONOUS": "maybe"}, "DMI_MANAGER_SYNCHRONOUS"),
    ],
)
def test_a_wrong_setting_is_told_with_where_it_was_given(argv, environment, said):
    with pytest.raises(ConfigError, match=said):
        config(*argv, environment=environment)


@pytest.mark.parametrize("api", ["0.0.0.0:80", "[::]:80", "192.168.1.5:80", "example.org:80"])
def test_listening_for_others_needs_a_token(tmp_path, api):
    with pytest.raises(ConfigError, match="needs apiClients"):
        config("--api", api).door()
    file = tmp_path / "token"
    file.write_text(" sixteen letters!\n")
    door = config("--api", api, "--api-token-file", str(file)).door()
    assert door.keys.token.encode() == b"sixteen letters!"


@pytest.mark.parametrize(
    "api", ["127.0.0.1:0", "127.8.8.8:1", "[::1]:80", "localhost:1", "unix:/x"]
)
def test_listening_for_this_machine_needs_none(api):
    assert config("--api", api).door().keys.are_needed is False


def test_a_token_file_must_hold_a_token(tmp_path):
    file = tmp_path / "token"
    with pytest.raises(ConfigError, match="No such file"):
        config("--api-token-file", str(file)).door()
    for content in ("\n", "fifteen letters"):
        file.write_text(content)
        with pytest.raises(ConfigError, match="fewer than 16"):
            config("--api-token-file", str(file)).door()


def test_help_lists_every_setting(capsys):
    with pytest.raises(SystemExit) as caught:
        parse_options(["--help"])
    assert caught.value.code == 0
    said = capsys.readouterr().out
    for flag in ("--data-dir", "--quarantine-corrupt", "--ready-json", "--synchronous"):
        assert flag in said

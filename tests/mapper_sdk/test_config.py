from pathlib import Path

import pytest

from dmi.errors import ConfigError
from mapper_sdk.config import MapperConfig, load_config, parse_options


def test_the_defaults_are_kubeedges():
    config = load_config(None, {}, {})
    assert config == MapperConfig()
    assert config.manager_socket == Path("/etc/kubeedge/dmi.sock")
    assert (config.rest, config.link) == ("127.0.0.1:7777", "auto")


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path):
    file = tmp_path / "mapper.yaml"
    file.write_text("name: from-file\ninstance: '1'\nlogLevel: debug\n")
    environment = {"DMI_MAPPER_NAME": "from-env", "DMI_MAPPER_INSTANCE": "2", "OTHER": "x"}
    config = load_config(file, environment, {"name": "from-flag"})
    assert (config.name, config.instance, config.log_level) == ("from-flag", "2", "debug")


def test_an_empty_file_is_no_settings(tmp_path):
    file = tmp_path / "mapper.yaml"
    file.write_text("# nothing yet\n")
    assert load_config(file, {}, {}) == MapperConfig()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nam: x", "nam: unknown field (did you mean 'name'?)"),
        ("- a", "must be a block of settings"),
        ("a: [", "mapper.yaml: "),
        ("logLevel: loud", "logLevel: must be one of debug"),
        ("rest: here", "rest: "),
        ("rest: 127.0.0.1:99999", "rest: "),
        ("grace: -1", "grace: must be 0"),
    ],
)
def test_a_mistake_names_its_file_and_its_setting(tmp_path, text, words):
    file = tmp_path / "mapper.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(file, {}, {})
    assert words in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_mistake_elsewhere_names_its_source():
    with pytest.raises(ConfigError, match="DMI_MAPPER_LINK: link: must be one of"):
        load_config(None, {"DMI_MAPPER_LINK": "v9"}, {})
    with pytest.raises(ConfigError, match="--log-format: logFormat"):
        load_config(None, {}, {"log_format": "xml"})


def test_a_file_that_is_not_there_is_a_mistake(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        load_config(tmp_path / "none.yaml", {}, {})


def test_every_setting_is_a_flag(capsys):
    options = parse_options(
        ["--manager-socket", "/run/x.sock", "--rest", "off", "--ready-json"], "modbus"
    )
    assert options.given == {"manager_socket": "/run/x.sock", "rest": "off"}
    assert options.ready_json
    with pytest.raises(SystemExit) as ended:
        parse_options(["--help"], "modbus")
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for name in MapperConfig.model_fields:
        assert "--" + name.replace("_", "-") in shown
    with pytest.raises(SystemExit) as ended:
        parse_options(["--what"], "modbus")
    assert ended.value.code == 2

import pytest

from device_manager.config import ManagerConfig
from dmi.errors import ConfigError
from mapper_sdk.config import MapperConfig, load_config, parse_options


def config(*argv, environment=None):
    return load_config(parse_options(argv, "modbus"), environment or {})


def test_by_default_a_mapper_meets_the_manager():
    found = config()
    assert found == MapperConfig()
    assert found.manager_socket == ManagerConfig().socket
    assert (found.rest, found.link) == ("127.0.0.1:7777", "auto")


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path):
    file = tmp_path / "mapper.yaml"
    file.write_text("name: from-file\ninstance: '1'\nlogLevel: debug\n")
    environment = {"DMI_MAPPER_NAME": "from-env", "DMI_MAPPER_INSTANCE": "2", "OTHER": "x"}
    found = config("--config", str(file), "--name", "from-flag", environment=environment)
    assert (found.name, found.instance, found.log_level) == ("from-flag", "2", "debug")


def test_an_empty_file_is_no_settings(tmp_path):
    file = tmp_path / "mapper.yaml"
    file.write_text("# nothing yet\n")
    assert config("--config", str(file)) == MapperConfig()


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
        config("--config", str(file))
    assert words in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_mistake_elsewhere_names_its_source():
    with pytest.raises(ConfigError, match="DMI_MAPPER_LINK: link: must be one of"):
        config(environment={"DMI_MAPPER_LINK": "v9"})
    with pytest.raises(ConfigError, match="--log-format: logFormat"):
        config("--log-format", "xml")


def test_a_file_that_is_not_there_is_a_mistake(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        config("--config", str(tmp_path / "none.yaml"))


def test_every_setting_is_a_flag(capsys):
    options = parse_options(
        ["--manager-socket", "/run/x.sock", "--rest", "off", "--ready-json"], "modbus"
    )
    given = {name: text for name, text in options.flags.items() if text is not None}
    assert given == {"manager_socket": "/run/x.sock", "rest": "off"}
    assert options.ready_json
    with pytest.raises(SystemExit) as ended:
        parse_options(["--help"], "modbus")
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "--rest HOST:PORT" in shown
    for name in MapperConfig.model_fields:
        assert "--" + name.replace("_", "-") in shown
    with pytest.raises(SystemExit) as ended:
        parse_options(["--what"], "modbus")
    assert ended.value.code == 2

import socket

import pytest

from dmi.errors import ConfigError
from mapper_sdk.config import MapperConfig
from mapper_sdk.rest.service import RestService


def test_an_address_in_use_is_a_settings_error(plant):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError, match="cannot listen on"):
            RestService(plant.mapper, MapperConfig(rest=address))


def test_an_unknown_host_is_a_settings_error(plant, tmp_path):
    file = tmp_path / "token"
    file.write_text("x" * 16)
    with pytest.raises(ConfigError, match="cannot listen on"):
        RestService(plant.mapper, MapperConfig(rest="no..host:1", rest_token_file=file))


@pytest.mark.parametrize(
    ("content", "match"),
    [(None, "needs restClients"), ("", "fewer than 16")],
)
def test_listening_for_others_needs_a_good_token(plant, tmp_path, content, match):
    file = None
    if content is not None:
        file = tmp_path / "token"
        file.write_text(content)
    with pytest.raises(ConfigError, match=match):
        RestService(plant.mapper, MapperConfig(rest="0.0.0.0:0", rest_token_file=file))


def test_a_token_file_that_is_not_there_is_a_settings_error(plant, tmp_path):
    config = MapperConfig(rest="127.0.0.1:0", rest_token_file=tmp_path / "none")
    with pytest.raises(ConfigError, match="restTokenFile"):
        RestService(plant.mapper, config)

import logging

import pytest

from dmi.errors import ConfigError
from dmi.rest.door import Door, DoorSettings, is_loopback

TOKEN = "sixteen-letters!"  # noqa: S105 - opens nothing


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("localhost:80", True),
        ("127.0.0.2:0", True),
        ("[::1]:80", True),
        ("unix:/run/x", True),
        ("10.0.0.1:80", False),
        ("[::]:80", False),
        ("plant.example:80", False),
    ],
)
def test_which_addresses_only_this_machine_reaches(address, expected):
    assert is_loopback(address) is expected
    settings = DoorSettings(address, "rest")
    if expected:
        door = Door.of(settings)
        assert not door.keys.are_needed
        assert door.limits.rate == 0
    else:
        with pytest.raises(ConfigError, match="needs restClients, restTokenFile or restClientCa"):
            Door.of(settings)


def test_who_insists_gets_it_open_and_is_told(caplog):
    with caplog.at_level(logging.WARNING):
        door = Door.of(DoorSettings("0.0.0.0:80", "api", insecure=True))
    assert not door.keys.are_needed
    assert door.limits.rate > 0
    assert "not encrypted" in caplog.text


def test_a_token_has_sixteen_characters(tmp_path):
    file = tmp_path / "token"
    settings = DoorSettings("0.0.0.0:80", "rest", token_file=file)
    file.write_text(f" {TOKEN}\n")
    door = Door.of(settings)
    assert door.keys.token == TOKEN
    assert TOKEN not in repr(door)
    file.write_text(TOKEN[1:])
    with pytest.raises(ConfigError, match=r"restTokenFile: .*fewer than 16"):
        Door.of(settings)
    file.write_bytes(b"\xff" * 20)
    with pytest.raises(ConfigError, match="is not text"):
        Door.of(settings)
    file.unlink()
    with pytest.raises(ConfigError, match="No such file"):
        Door.of(settings)


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (["certificate"], "only useful together"),
        (["key"], "only useful together"),
        (["client_ca"], "restClientCa needs restCertificate and restKey"),
    ],
)
def test_parts_of_tls_that_mean_nothing_alone(tmp_path, names, match):
    given = {name: tmp_path / name for name in names}
    with pytest.raises(ConfigError, match=match):
        Door.of(DoorSettings("127.0.0.1:0", "rest", **given))


def test_a_rate_is_what_was_said():
    door = Door.of(DoorSettings("127.0.0.1:0", "rest", rate=5))
    assert (door.limits.rate, door.limits.burst) == (5, 10)

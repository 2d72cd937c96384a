import stat
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from dmi.errors import ConfigError
from dmi.rest.identity import Scope
from dmi.rest.tokens import Clients, add_token, hash_token, new_token


def test_a_token_is_given_once_and_kept_as_a_hash(tmp_path):
    file = tmp_path / "clients.yaml"
    token = add_token(file, {"name": "dashboard", "scopes": ["write", "read"]})
    other = add_token(file, {"name": "other", "namespaces": ["line-1"]})
    text = file.read_text()
    assert token not in text
    assert other not in text
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [found.name for found in tmp_path.iterdir()] == ["clients.yaml"]
    clients = Clients(file)
    identity = clients.by_token(token, 0, 0)
    assert (identity.name, identity.scopes) == ("dashboard", {Scope.READ, Scope.WRITE})
    assert clients.by_token(other, 0, 0).namespaces == {"line-1"}
    assert clients.by_token(token + "x", 0, 0) is None


def test_tokens_differ():
    assert new_token() != new_token()
    assert len(new_token()) > 40


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("tokens: [", "is not YAML"),
        ("tokens: 1", "tokens: must be a list"),
        ("- a", "must be a block"),
        ("tokens: [{name: a}]", r"tokens\[0\].hash: is missing"),
        ("tokens: [{name: a, hash: my-secret-token}]", r"tokens\[0\].hash"),
        ("tokenz: []", "tokenz: .*did you mean 'tokens'"),
        ("certificates: [{name: a, scopes: [all]}]", r"certificates\[0\].scopes"),
        ("certificates: [{name: a}, {name: a}]", "certificate is there twice"),
        (f"tokens: [{{name: a, hash: '{hash_token('t')}', scopes: []}}]", "scopes"),
    ],
)
def test_what_is_wrong_in_the_file_is_said_without_telling_secrets(tmp_path, content, match):
    file = tmp_path / "clients.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=match) as caught:
        Clients(file)
    assert str(file) in str(caught.value)
    assert "my-secret-token" not in str(caught.value)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        Clients(tmp_path / "none")


def test_an_empty_file_lets_nobody_in(tmp_path):
    file = tmp_path / "clients.yaml"
    file.write_text("")
    assert Clients(file).by_token("", 0, 0) is None


def test_a_token_ends_at_its_time(tmp_path):
    file = tmp_path / "clients.yaml"
    end = datetime(2030, 1, 1, tzinfo=UTC)
    token = add_token(file, {"name": "a", "expires": end.isoformat()})
    clients = Clients(file)
    moment = end.timestamp()
    assert clients.by_token(token, moment - 1, 0) is not None
    assert clients.by_token(token, moment, 0) is None


def test_a_changed_file_is_read_again_and_a_wrong_one_changes_nothing(tmp_path, caplog):
    file = tmp_path / "clients.yaml"
    token = add_token(file, {"name": "a"})
    clients = Clients(file)
    assert clients.by_token(token, 0, 10.0)
    before = file.read_text()
    file.write_text("tokens: [")
    assert clients.by_token(token, 0, 10.5)
    assert clients.by_token(token, 0, 11.5)
    assert "still hold" in caplog.text
    file.write_text("tokens: []")
    assert clients.by_token(token, 0, 13.0) is None
    file.write_text(before)
    assert clients.by_token(token, 0, 15.0)
    file.unlink()
    assert clients.by_token(token, 0, 17.0)


def test_a_name_is_used_once(tmp_path):
    file = tmp_path / "clients.yaml"
    add_token(file, {"name": "a"})
    with pytest.raises(ConfigError, match="a token named 'a' already"):
        add_token(file, {"name": "a"})
    with pytest.raises(ConfigError, match="scopes"):
        add_token(file, {"name": "b", "scopes": ["everything"]})
    assert len(yaml.safe_load(file.read_text())["tokens"]) == 1


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot be written"):
        add_token(tmp_path / "none" / "clients.yaml", {"name": "a"})


def test_certificates_have_names(tmp_path):
    file = tmp_path / "clients.yaml"
    file.write_text("certificates: [{name: historian, scopes: [write], namespaces: [a]}]")
    found = Clients(file).by_certificate("historian", 0)
    assert found.may(Scope.READ)
    assert not found.may_in("b")
    assert Clients(file).by_certificate("stranger", 0) is None


def test_expires_must_say_where_its_midnight_is(tmp_path):
    file = tmp_path / "clients.yaml"
    when = (datetime.now(UTC) + timedelta(days=1)).replace(tzinfo=None)
    with pytest.raises(ConfigError, match="expires"):
        add_token(file, {"name": "a", "expires": when.isoformat()})


def test_whoever_could_read_the_file_still_can(tmp_path):
    kept = tmp_path / "kept.yaml"
    add_token(kept, {"name": "first"})
    assert kept.stat().st_mode & 0o777 == 0o600
    kept.chmod(0o640)
    link = tmp_path / "clients.yaml"
    link.symlink_to(kept)
    add_token(link, {"name": "second"})
    assert link.is_symlink()
    assert kept.stat().st_mode & 0o777 == 0o640
    assert "second" in kept.read_text()

"""Secrets by reference: what somebody puts there by mistake is never repeated."""

import pytest
from pydantic import BaseModel, ValidationError

from dmi.errors import ConfigError
from dmi.secret_refs import SecretRef, SecretRefs, read_secret
from dmi.wording import fault_of


class Login(BaseModel):
    password: SecretRef | None = None
    headers: SecretRefs[str] = {}


def faults(**settings):
    with pytest.raises(ValidationError) as caught:
        Login.model_validate(settings)
    return [str(fault_of(detail, Login)) for detail in caught.value.errors()]


@pytest.mark.parametrize("secret", ["hunter2", "env:9", "file:here", 4711, 47.11, ["hunter2"]])
def test_a_secret_itself_is_refused_and_not_repeated(secret):
    problem = "must name where the secret is: env:NAME or file:/path"
    assert faults(password=secret) == [f"password: {problem}"]
    assert faults(headers={"X-Key": secret}) == [f"headers.X-Key: {problem}"]


@pytest.mark.parametrize("secret", ["hunter2", 4711, ["hunter2"]])
def test_a_secret_in_place_of_a_block_is_not_repeated(secret):
    (fault,) = faults(headers=secret)
    assert fault == "headers: must be a block of names, each with env:NAME or file:/path"


def test_references_are_taken():
    settings = {"password": "env:PASSWORD", "headers": {"X-Key": "file:/run/key"}}
    assert Login.model_validate(settings).model_dump() == settings
    assert Login().password is None


def test_reads_variables_and_files(tmp_path, monkeypatch):
    monkeypatch.setenv("DMI_TEST_SECRET", "s3cret")
    assert read_secret("env:DMI_TEST_SECRET") == "s3cret"
    (tmp_path / "secret").write_text(" s3cret\n")
    assert read_secret(f"file:{tmp_path}/secret") == "s3cret"


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"x" * 70_000])
def test_what_holds_no_secret_is_told_by_its_reference(tmp_path, content):
    (tmp_path / "secret").write_bytes(content)
    with pytest.raises(ConfigError, match=r"secret file:.*secret: "):
        read_secret(f"file:{tmp_path}/secret")

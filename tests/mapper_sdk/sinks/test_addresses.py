"""Where servers are, and what their answers mean."""

import ssl

import aiohttp
import pytest
from pydantic import ValidationError

from dmi.errors import ConfigError, DeadlineError, RefusedError, UnavailableError
from mapper_sdk.sinks.addresses import base_url, checked_address, host_and_port
from mapper_sdk.sinks.http.settings import HttpTarget
from mapper_sdk.sinks.http_answers import failure, status_error
from mapper_sdk.sinks.mqtt.settings import MqttTarget


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("db", ("db", 9)),
        ("db:1", ("db", 1)),
        ("10.0.0.1:65535", ("10.0.0.1", 65535)),
        ("[::1]", ("::1", 9)),
        ("[::1]:5", ("::1", 5)),
    ],
)
def test_reads_host_and_port(text, parts):
    assert host_and_port(text, 9) == parts


@pytest.mark.parametrize(
    "text", ["", ":1", "db:x", "db:65536", "u@db", "db/1", "a b", "http://db", "db?x", "::1"]
)
def test_refuses_what_is_none(text):
    with pytest.raises(ValueError, match=r"."):
        host_and_port(text, 9)


@pytest.mark.parametrize(
    "read",
    [
        lambda text: host_and_port(text, 9),
        base_url,
        lambda text: HttpTarget(url=text),
        lambda text: MqttTarget(address=text),
    ],
)
@pytest.mark.parametrize("scheme", ["", "http://", "tcp://"])
@pytest.mark.parametrize("user", ["u:hunter2@", "u:hunter2/x@", "hunter2@", "u:hunter2\u2100@"])
def test_a_password_in_an_address_is_not_repeated(read, scheme, user):
    with pytest.raises(ValueError, match=r".") as caught:
        read(f"{scheme}{user}db:1")
    error = caught.value
    text = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
    assert "hunter2" not in text


def test_one_place_has_one_spelling():
    spell = checked_address(9)
    assert spell("DB") == spell("db:9") == "db:9"
    assert spell("[::1]") == "[::1]:9"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://db:8086/", "http://db:8086"),
        ("https://DB/path/", "https://db/path"),
        ("HTTP://db", "http://db"),
    ],
)
def test_reads_what_urls_begin_with(text, url):
    assert base_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "db:8086",
        "ftp://db",
        "http://",
        "http://u:secret@db",
        "http://db?token=x",
        "http://db#x",
        "http://d b",
        "http://db:x",
        "http://db:0",
    ],
)
def test_refuses_urls_that_are_none_or_hold_secrets(text):
    with pytest.raises(ValueError, match=r".") as caught:
        base_url(text)
    assert "secret" not in str(caught.value)


def test_long_answers_are_shortened():
    assert len(str(status_error(400, "x" * 10_000))) < 400
    assert str(status_error(503, " ")) == "answered 503"
    assert isinstance(status_error(422, "no"), RefusedError)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ssl.SSLCertVerificationError("self-signed"), ConfigError),
        (aiohttp.InvalidURL("http://"), ConfigError),
        (TimeoutError(), DeadlineError),
        (aiohttp.ServerTimeoutError(), DeadlineError),
        (ConnectionResetError(), UnavailableError),
        (aiohttp.ServerDisconnectedError(), UnavailableError),
    ],
)
def test_silence_has_a_reason(error, kind):
    found = failure(error)
    assert type(found) is kind
    assert str(found)

"""Errors over HTTP: every class there and back, and the answers of strangers."""

import json

import pytest

from dmi import errors
from dmi.errors import (
    AccessDeniedError,
    ConfigError,
    ConflictError,
    DeadlineError,
    DmiError,
    NotFoundError,
    OverloadedError,
    UnavailableError,
)
from dmi.rest.problem import from_problem, to_problem

CLASSES = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, DmiError)
]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_class_there_and_back(kind):
    problem = to_problem(kind("it is so", device="default/kiln"))
    back = from_problem(problem["status"], json.dumps(problem).encode())
    assert type(back) is kind
    assert back.message == "it is so"
    assert back.device == "default/kiln"
    assert str(back) == "default/kiln: it is so"


def test_the_shape():
    assert to_problem(NotFoundError("no device default/kiln")) == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "no device default/kiln",
        "reason": "not_found",
    }


def test_a_more_special_error_keeps_its_base_class():
    class FileError(ConfigError):
        """Somebody's own."""

    assert type(from_problem(422, to_problem(FileError("line 3")))) is ConfigError


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (404, b"<html>nothing here</html>", NotFoundError, "nothing here"),
        (401, {"detail": "token needed"}, AccessDeniedError, "token needed"),
        (409, "", ConflictError, "HTTP status 409"),
        (429, {"reason": "a word of theirs"}, OverloadedError, "HTTP status 429"),
        (400, {"detail": [{"loc": ["body"]}]}, ConfigError, "HTTP status 400"),
        (418, {"title": "Teapot"}, ConfigError, "Teapot"),
        (500, None, DmiError, "HTTP status 500"),
        (502, b"\xff bad gateway", UnavailableError, "bad gateway"),
        (504, [], DeadlineError, "HTTP status 504"),
        (599, b"", UnavailableError, "HTTP status 599"),
    ],
)
def test_answers_of_strangers(status, body, kind, words):
    error = from_problem(status, body)
    assert type(error) is kind
    assert words in str(error)


def test_a_giant_answer_is_cut():
    assert len(str(from_problem(502, b"x" * 100_000))) <= 500

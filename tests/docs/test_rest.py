"""The tables of docs/rest.md are those of the running programs."""

import re

import pytest

from device_manager.api.app import create_app
from device_manager.api.changes import TYPES
from dmi.errors import DmiError, error_class
from dmi.feed import Feed
from mapper_sdk.rest.app import make_app


@pytest.mark.parametrize(
    ("name", "make"),
    [("manager", lambda: create_app(None, None)), ("mapper", lambda: make_app(None, Feed()))],
)
def test_every_route_is_there(page, name, make):
    told = {
        (method, path)
        for cell, _ in page("docs/rest.md").table(f"{name} routes")
        for path in re.findall(r"/[^ `]*", cell)
        for method in re.findall(r"[A-Z]{3,}", cell)
    }
    served = {
        (method.upper(), path)
        for path, methods in make().openapi()["paths"].items()
        for method in methods
    }
    assert told == served


def test_every_reason_has_its_status(page):
    told = {
        reason: status
        for reasons, status, _ in page("docs/rest.md").table("reasons")
        for reason in re.findall(r"\w+", reasons)
    }
    for reason, status in told.items():
        assert str(error_class(reason).http_status) in status, reason
    # A lost session is between mapper and manager; REST never meets it.
    assert told.keys() == {kind.reason for kind in _kinds(DmiError)} - {"lost_session"}


def test_every_type_of_change_is_there(page):
    _, _, rest = page("docs/rest.md").text.partition("`types` is a list with commas of")
    told = re.findall(r"`(\w+)`", rest.partition(";")[0])
    assert tuple(told) == TYPES


def _kinds(kind):
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == DmiError.__module__:
            yield from _kinds(child)

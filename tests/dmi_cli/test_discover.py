"""`dmi discover` with drivers that look for devices in different ways."""

import socket

import pytest
import yaml

from dmi_cli.exits import Exit
from dmi_cli.main import main

DRIVER = """
import asyncio
from pydantic import BaseModel
from mapper_sdk.driver import Discovering, Driver, Proposal

class Nothing(BaseModel):
    pass

class Endless(Driver, Discovering):
    protocol_name, link_model, visit_model = "bell", Nothing, Nothing
    spec = {"deviceModelRef": {"name": "bell"}, "protocol": {"protocolName": "bell"}}

    async def connect(self): ...
    async def read(self, visits): return []
    async def write(self, visit, value): ...
    async def close(self): ...

    @classmethod
    async def discover(cls, settings):
        assert settings == {"street": 7}
        yield Proposal(
            {"kind": "DeviceModel", "metadata": {"name": "bell"}},
            {"kind": "Device", "metadata": {"name": "bell-1"}, "spec": cls.spec},
        )
        await asyncio.Event().wait()

class Placed(Endless):
    looking_setting = "seconds"

    @classmethod
    async def discover(cls, settings):
        spec = cls.spec | {"nodeName": "the-driver-knows"}
        yield Proposal(
            {"kind": "DeviceModel", "metadata": {"name": "bell"}},
            {"kind": "Device", "metadata": settings, "spec": spec},
        )
"""


@pytest.fixture
def discover(tmp_path, monkeypatch, capsys):
    """Runs `dmi discover` with one of the drivers above; gives the devices."""
    (tmp_path / "bells_to_find.py").write_text(DRIVER)
    monkeypatch.syspath_prepend(tmp_path)

    def run(driver, *words):
        assert main(["discover", f"bells_to_find:{driver}", *words]) == 0
        found = yaml.safe_load_all(capsys.readouterr().out)
        return [document for document in found if document["kind"] == "Device"]

    return run


def test_a_search_without_end_is_ended_and_its_finds_are_for_this_host(discover):
    (device,) = discover("Endless", "street=7", "--for", "0.1")
    assert device["spec"]["nodeName"] == socket.gethostname().lower()


def test_the_node_can_be_named(discover):
    (device,) = discover("Endless", "street=7", "--for", "0.1", "--node", "edge-7")
    assert device["spec"]["nodeName"] == "edge-7"


def test_a_driver_that_ends_by_itself_is_told_when_and_may_know_the_node(discover):
    (device,) = discover("Placed", "--for", "12.5", "--node", "edge-7")
    assert device["metadata"] == {"seconds": 12.5}
    assert device["spec"]["nodeName"] == "the-driver-knows"


@pytest.mark.parametrize("seconds", ["-1", "inf", "nan", "soon"])
def test_seconds_that_are_none(seconds, capsys):
    assert main(["discover", "ble", "--for", seconds]) == Exit.USAGE
    assert "is not a number of seconds" in capsys.readouterr().err

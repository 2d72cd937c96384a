"""Routes and readings for the tests of the delivery, and a disk that is full."""

import shutil
import subprocess

import pytest

from dmi.readings import Reading
from dmi.resources import DataType, Key
from mapper_sdk.delivery.inbox import Chunk
from mapper_sdk.delivery.sink import Route, Source
from tests.mapper_sdk.delivery.store_server import StorePlace

START = 1_790_000_000.0


class Make:
    """Makers of what goes through the delivery."""

    start = START

    @staticmethod
    def route(property_="p", device="dev", table="t", **source):
        made = Source(Key("default", device), property_, DataType.DOUBLE, **source)
        return Route(made, StorePlace(table=table))

    @staticmethod
    def readings(count, first=START, step=1.0):
        return [Reading(float(n), first + n * step) for n in range(count)]

    @staticmethod
    def chunk(route, readings):
        return Chunk([route] * len(readings), readings)

    @staticmethod
    def items(route, readings):
        return [(route, reading) for reading in readings]


@pytest.fixture
def make():
    return Make


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 1 MiB; needs root."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    if mount is None:
        pytest.skip("there is no mount command")
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", place],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"needs permission to mount a tmpfs: {made.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", place], check=True)

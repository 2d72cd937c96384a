import pytest

from device_manager.node import Node
from mapper_sdk.fakes.clock import FakeClock
from tests.device_manager.plants import PUMP, device, model


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
async def plant(tmp_path, clock):
    """A node with one pump, on a clock that the test moves."""
    node = await Node.open(tmp_path / "node.db", clock)
    await node.apply(model(), device(), origin="api")
    yield node
    await node.close()


@pytest.fixture
def book(plant):
    return plant.commands


@pytest.fixture
def submit(book):
    async def submit(method="start", seconds=30.0, device=PUMP, key="", **arguments):
        return await book.submit(device, method, arguments, seconds, key=key)

    return submit

import pytest

from device_manager.node import Node


@pytest.fixture
async def node(tmp_path):
    node = await Node.open(tmp_path / "node.db")
    yield node
    await node.close()

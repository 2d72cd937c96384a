"""A simulated plant."""

from collections.abc import AsyncIterator

import pytest

from mappers.opcua.simulator import OpcuaSimulator


@pytest.fixture
async def simulator() -> AsyncIterator[OpcuaSimulator]:
    async with OpcuaSimulator() as running:
        yield running

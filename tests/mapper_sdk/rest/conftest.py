"""A mapper's REST API on a real socket, over scripted devices."""

import asyncio
from contextlib import asynccontextmanager

import httpx
import pytest

from mapper_sdk.config import MapperConfig
from mapper_sdk.rest.service import RestService

DEVICE = "/api/v1/devices/default/dev"


@asynccontextmanager
async def serving_plant(plant, **settings):
    service = RestService(plant.mapper, MapperConfig(rest="127.0.0.1:0", **settings))
    task = asyncio.create_task(service.run())
    try:
        async with plant.running(), httpx.AsyncClient(base_url=service.url) as client:
            yield client
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def serving():
    """Serve a plant: `async with serving(plant, **settings) as client`."""
    return serving_plant


@pytest.fixture
async def api(plant, make):
    """The API of a mapper with one device; its value of `t` is 20.5, `r` is ReadOnly.

    `sum` is derived.
    """
    plant.station().memory = {1: 205, 2: 3}
    model = make.model(
        t={"unit": "K", "maximum": "30"},
        r={"type": "INT", "accessMode": "ReadOnly"},
        sum={"maximum": "100"},
    )
    data = make.device(t={"cell": 1, "scale": 0.1}, r={"cell": 2}, sum={"derived": True}).to_json()
    data["metadata"]["labels"] = {"site": "hall-1"}
    data["spec"]["methods"] = [
        {"name": "set", "description": "Sets it.", "propertyNames": ["t", "gone"]}
    ]
    device = make.device().__class__.model_validate(data)
    async with serving_plant(plant) as client:
        await plant.put(model, device)
        yield client


@pytest.fixture
def until():
    """Wait until something is so: `await until(lambda: …)`."""

    async def wait(condition, patience=5.0):
        async with asyncio.timeout(patience):
            while not condition():  # noqa: ASYNC110 - nothing rings when it becomes so
                await asyncio.sleep(0)

    return wait

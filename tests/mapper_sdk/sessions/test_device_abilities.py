"""Events, history and the driver's tally, from a driver to REST."""

import asyncio
from contextlib import asynccontextmanager

import httpx
import pytest

from dmi.errors import RefusedError
from dmi.readings import Quality, Reading
from dmi.resources import Key
from mapper_sdk.config import MapperConfig
from mapper_sdk.driver import Alarming, Event, Remembering
from mapper_sdk.rest.service import RestService
from mapper_sdk.sessions.backoff import Backoff

DEVICE = "/api/v1/devices/default/dev"


class Ears:
    """What the driver was given to tell its events."""

    tell = None


@pytest.fixture
def ears():
    return Ears()


@pytest.fixture
def telling_plant(plant, make, ears):
    plant.station().memory = {1: 205, 2: 3}
    base = plant.mapper.driver_class

    class Telling(base, Alarming, Remembering):
        longest_wait = 2.0

        async def listen(self, tell):
            ears.tell = tell

        async def history(self, visit, start, end, limit):
            if visit.cell != 1:
                raise RefusedError("nothing is kept")
            past = [205, Reading(206, start + 1), Reading(None, start + 2, Quality.BAD, "broken")]
            past += [Reading(207, end, Quality.UNCERTAIN, "old"), RefusedError("no"), "text"]
            return past[:limit]

    plant.mapper.driver_class = Telling
    plant.mapper._around.driver_class = Telling
    return plant


@asynccontextmanager
async def serving(plant, make):
    plant.station().memory = {1: 205, 2: 3}
    service = RestService(plant.mapper, MapperConfig(rest="127.0.0.1:0"))
    task = asyncio.create_task(service.run())
    try:
        async with plant.running(), httpx.AsyncClient(base_url=service.url) as client:
            await plant.put(
                make.model(t={}, u={}), make.device(t={"cell": 1, "scale": 0.1}, u={"cell": 2})
            )
            yield client
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_events_reach_whoever_listens(telling_plant, make, ears):
    heard = []
    telling_plant.mapper.add_listener(heard.append)
    async with telling_plant.running():
        await telling_plant.put(make.model(t={}), make.device(t={"cell": 1}))
        event = Event(5.0, "Alarm", "boiler", 700, "too hot", {"limit": 90})
        ears.tell(event)
    (happened,) = [one for one in heard if getattr(one, "event", None)]
    assert happened.device == Key("default", "dev")
    assert happened.event == event


async def test_events_are_streamed(telling_plant, make, ears):
    async with serving(telling_plant, make) as client:
        stream = client.stream("GET", f"/api/v1/changes?device={DEVICE[16:]}")
        async with stream as answer, asyncio.timeout(5):
            lines = answer.aiter_lines()
            task = asyncio.ensure_future(_until(lines, "event: event"))
            while not task.done():
                ears.tell(Event(5.0, "Alarm", "boiler", 700, "too hot", {"limit": 90}))
                await asyncio.sleep(0.02)  # the stream begins when the server gets to it
            data = await anext(lines)
    assert '"kind":"Alarm"' in data
    assert '"severity":700' in data
    assert '"fields":{"limit":90}' in data


async def _until(lines, wanted):
    async for line in lines:
        if line == wanted:
            return


async def test_history_in_the_propertys_unit(telling_plant, make):
    async with serving(telling_plant, make) as client:
        path = f"{DEVICE}/properties/t/history?start=2026-01-01T00:00:00Z"
        answer = await client.get(f"{path}&end=2026-01-01T01:00:00Z")
        assert answer.status_code == 200
        items = answer.json()["items"]
        assert [one["value"] for one in items] == [20.5, 20.6, None, 20.7, None, None]
        reasons = ["", "", "broken", "old", "refused", "conversion"]
        assert [one["reason"] for one in items] == reasons
        assert items[1]["time"] == "2026-01-01T00:00:01.000Z"
        assert items[3]["quality"] == "uncertain"
        assert len((await client.get(f"{path}&limit=2")).json()["items"]) == 2
        assert (await client.get(f"{path}&limit=0")).status_code == 422
        refused = await client.get(path.replace("/t/", "/u/"))
        assert refused.json()["detail"].endswith("nothing is kept")
        assert (await client.get(path.replace("/t/", "/x/"))).status_code == 404


async def test_a_device_without_history_says_so(plant, make):
    async with serving(plant, make) as client:
        answer = await client.get(f"{DEVICE}/properties/t/history?start=2026-01-01T00:00:00Z")
        assert answer.status_code == 501


async def test_the_drivers_tally_is_in_the_metrics(plant, make):
    async with serving(plant, make) as client:
        plant.mapper.driver_class.tally["mended"] += 3
        text = (await client.get("/metrics")).text
        assert 'dmi_mapper_driver_events_total{event="mended"} 3.0' in text


def test_every_driver_has_a_tally_of_its_own(make):
    one, other = make.driver({}), make.driver({})
    one.tally["a"] += 1
    assert not other.tally


async def test_a_driver_may_shorten_the_longest_wait(telling_plant, make):
    plant = telling_plant
    plant.station().reachable = False
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        await plant.clock.advance(40)
        plant.station().reachable = True
        await plant.clock.advance(2.1)
        assert plant.state().state == "online"
    assert Backoff(plant.mapper._rng).longest() > 2

from datetime import UTC, datetime

import httpx
import pytest

from dmi.errors import ConversionError, UnavailableError
from dmi.feed import Feed
from dmi.readings import Quality, Reading
from mapper_sdk.delivery.history import Function, Span
from mapper_sdk.delivery.service import Delivery
from mapper_sdk.driver import Remembering
from mapper_sdk.rest.app import make_app
from mapper_sdk.rest.routes import history as history_module

PAST = "/api/v1/devices/default/dev/properties/t/history"
START = 1_790_000_000.0


class Store:
    """Keeps readings as the embedded store does."""

    def __init__(self, readings):
        self.kept = readings
        self.asked = []
        self.limits = []
        self.error = None

    async def readings(self, device, property_, start, end, limit):
        self.asked.append((str(device), property_, start, end, limit))
        if self.error is not None:
            raise self.error
        return [r for r in self.kept if start <= r.time < end][:limit]

    async def spans(self, device, property_, start, end, step, function, limit):
        self.asked.append((step, function))
        self.limits.append(limit)
        if function is Function.MIN:
            raise ConversionError("these are no numbers")
        found = [Span(START, 2.5, 4, Quality.GOOD), Span(START + step, None, 0, Quality.BAD)]
        return [span for span in found if start <= span.time < end][:limit]


@pytest.fixture
def store(plant):
    """Six readings; the third and fourth were at the same moment, the last is bad."""
    times = (0, 1, 2, 2, 3)
    readings = [Reading(float(n), START + time) for n, time in enumerate(times)]
    kept = Store([*readings, Reading(None, START + 4, Quality.BAD, "gone")])
    plant.mapper.delivery = Delivery.__new__(Delivery)
    plant.mapper.delivery.history = kept
    return kept


@pytest.fixture
async def api(plant, make, store):
    plant.station()
    transport = httpx.ASGITransport(make_app(plant.mapper, Feed(4)))
    async with (
        plant.running(),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        yield client


def query(**more):
    return {"start": START, "end": START + 10, **more} | {
        name: datetime.fromtimestamp(moment, UTC).isoformat()
        for name, moment in (("start", START), ("end", START + 10))
    }


async def test_the_past_as_json(api):
    answer = await api.get(PAST, params=query())
    items = answer.json()["items"]
    assert [item["value"] for item in items] == [0.0, 1.0, 2.0, 3.0, 4.0, None]
    assert items[0]["time"] == "2026-09-21T14:13:20.000Z"
    assert items[-1]["reason"] == "gone"


@pytest.mark.parametrize("page", [1, 2, 3, 4, 6, 100])
async def test_it_is_read_page_by_page_and_nothing_is_lost_between(api, store, monkeypatch, page):
    monkeypatch.setattr(history_module, "_PAGE", page)
    # With pages of one, those of one moment cannot be told apart from the next page's.
    wanted = [0.0, 1.0, 2.0, 4.0, None] if page == 1 else [0.0, 1.0, 2.0, 3.0, 4.0, None]
    items = (await api.get(PAST, params=query())).json()["items"]
    assert [item["value"] for item in items] == wanted
    limited = (await api.get(PAST, params=query(limit=3))).json()["items"]
    assert [item["value"] for item in limited] == wanted[:3]
    assert all(limit <= page for *_, limit in store.asked)


async def test_polls_wait_for_no_more_than_a_small_page(api, store):
    assert (await api.get(PAST, params=query(limit=1_000_000))).status_code == 200
    assert (await api.get(PAST, params=query(limit=1_000_000, step=1))).status_code == 200
    assert [limit for *_, limit in store.asked[:1]] + store.limits == [500, 500]


@pytest.mark.parametrize("page", [1, 2, 3])
@pytest.mark.parametrize("step", [2, 0.7, 0.123456])
async def test_intervals_come_page_by_page_too(api, store, monkeypatch, page, step):
    monkeypatch.setattr(history_module, "_PAGE", page)
    items = (await api.get(PAST, params=query(step=step))).json()["items"]
    assert [item["value"] for item in items] == [2.5, None]
    assert set(store.limits) == {page}
    items = (await api.get(PAST, params=query(step=step, limit=1))).json()["items"]
    assert [item["value"] for item in items] == [2.5]


async def test_the_past_as_csv_and_json_lines(api):
    answer = await api.get(PAST, params=query(format="csv"))
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    lines = answer.text.split("\r\n")
    assert lines[0] == "time,value,quality,reason"
    assert lines[1] == "2026-09-21T14:13:20.000Z,0.0,good,"
    assert lines[6] == "2026-09-21T14:13:24.000Z,,bad,gone"
    answer = await api.get(PAST, params=query(format="jsonl"))
    assert answer.headers["content-type"] == "application/jsonl"
    assert len(answer.text.splitlines()) == 6


@pytest.mark.parametrize("form", ["json", "csv", "jsonl"])
async def test_no_past_is_an_empty_answer(api, store, form):
    store.kept = []
    answer = await api.get(PAST, params=query(format=form))
    empty = {"json": '{"items":[]}', "csv": "time,value,quality,reason\r\n", "jsonl": ""}
    assert (answer.status_code, answer.text) == (200, empty[form])


async def test_no_intervals_have_the_columns_of_intervals(api, store):
    for kept in (store.kept, []):
        store.kept = kept
        answer = await api.get(PAST, params=query(format="csv", step=2))
        assert answer.text.startswith("time,value,count,quality\r\n")


async def test_intervals(api, store):
    items = (await api.get(PAST, params=query(step=6, function="max"))).json()["items"]
    assert store.asked == [(6.0, Function.MAX)]
    assert items[0] == {
        "time": "2026-09-21T14:13:20.000Z",
        "value": 2.5,
        "count": 4,
        "quality": "good",
    }
    assert items[1]["value"] is None
    answer = await api.get(PAST, params=query(step=60, function="min"))
    assert (answer.status_code, answer.json()["reason"]) == (422, "conversion")


async def test_a_store_that_cannot_be_read_is_a_problem(api, store):
    store.error = UnavailableError("locked")
    answer = await api.get(PAST, params=query())
    assert (answer.status_code, answer.json()["reason"]) == (503, "unavailable")


@pytest.mark.parametrize(
    "wrong",
    [
        {"step": 0},
        {"function": "sum"},
        {"format": "xml"},
        {"limit": 0},
        {"source": "device", "step": 5},
    ],
)
async def test_a_wrong_question_is_a_problem(api, wrong):
    answer = await api.get(PAST, params=query(**wrong))
    assert (answer.status_code, answer.json()["reason"]) == (422, "config")


async def test_without_a_store_the_device_is_asked(api, store, plant):
    answer = await api.get(PAST, params=query(source="device"))
    assert (answer.status_code, answer.json()["reason"]) == (501, "unsupported")
    plant.mapper.delivery.history = None
    assert (await api.get(PAST, params=query())).status_code == 501
    assert (await api.get(PAST, params=query(source="store"))).status_code == 501
    assert (await api.get(PAST, params=query(step=5))).status_code == 501
    assert store.asked == []


async def test_a_device_that_remembers(plant, make):
    class Remembers(plant.mapper.driver_class, Remembering):
        async def history(self, visit, start, end, limit):
            return [Reading(5.0, start), Reading(6.0, end)][:limit]

    plant.mapper._around.driver_class = Remembers
    plant.station()
    transport = httpx.ASGITransport(make_app(plant.mapper, Feed(4)))
    async with (
        plant.running(),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as api,
    ):
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        items = (await api.get(PAST, params=query())).json()["items"]
    assert [item["value"] for item in items] == [5.0, 6.0]

import asyncio

import pytest

from device_manager.api.schemas import Twin
from device_manager.records import TwinReading
from dmi.readings import Quality, Reading
from dmi.reports import Outcome, OutcomeStatus
from tests.device_manager.plants import PUMP, device, model

TWIN = "/api/v1/devices/default/pump/twins/speed"


@pytest.fixture
async def plant(world):
    await world.node.apply(
        model(
            speed={"type": "INT", "maximum": "100", "unit": "rpm"},
            seen={"type": "INT", "accessMode": "ReadOnly"},
            blob="BYTES",
        ),
        device(speed=None, seen=None, blob=None),
        origin="api",
    )
    return world


async def report(world, name, value, quality=Quality.GOOD, reason=""):
    reading = Reading(value, 1790000000.0, quality, reason)
    await world.node.apply_report("", 0, [TwinReading(PUMP, name, reading)], [], [])


async def settle(world, status, **words):
    wish = world.node.twin(PUMP, "speed").desired
    outcome = Outcome(PUMP, "speed", wish.version, status, 1790000000.0, **words)
    await world.node.apply_report("", 0, [], [], [outcome])


async def test_a_twin(plant):
    await report(plant, "speed", 7)
    await plant.node.set_desired(PUMP, "speed", 9)
    answer = await plant.http.get(TWIN)
    assert answer.headers["content-type"] == "application/json"
    twin = answer.json()
    Twin.model_validate(twin, strict=True)
    assert twin["reported"] == {
        "value": 7,
        "time": "2026-09-21T14:13:20.000Z",
        "quality": "good",
        "reason": "",
    }
    assert (twin["type"], twin["unit"], twin["access"]) == ("INT", "rpm", "ReadWrite")
    assert (twin["desired"]["value"], twin["desired"]["status"]) == (9, "pending")
    assert twin["age_s"] > 0


async def test_bytes_and_faults(plant):
    await report(plant, "blob", b"\0\xff")
    await report(plant, "speed", None, Quality.BAD, "deadline")
    answer = await plant.http.get("/api/v1/devices/default/pump/twins")
    twins = {twin["property"]: twin for twin in answer.json()["items"]}
    assert list(twins) == ["blob", "seen", "speed"]
    assert twins["blob"]["reported"]["value"] == "AP8="
    assert twins["speed"]["reported"]["value"] is None
    assert twins["speed"]["reported"]["reason"] == "deadline"
    assert twins["seen"]["reported"] is None


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/devices/default/pump/twins/none",
        "/api/v1/devices/default/none/twins/speed",
        "/api/v1/devices/default/none/twins",
        "/api/v1/devices/none/pump/twins/speed",
        "/api/v1/devices/default/pump/twins/%00%ff",
    ],
)
async def test_what_is_not_there(plant, path):
    answer = await plant.http.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["reason"] == "not_found"


async def test_a_property_with_a_slash_in_its_name(world):
    await world.node.apply(model(**{"a/b": "INT"}), device(**{"a/b": None}), origin="api")
    path = "/api/v1/devices/default/pump/twins/a%2Fb"
    answer = await world.http.put(f"{path}/desired", json={"value": 3})
    assert answer.status_code == 202
    assert (await world.http.get(path)).json()["desired"]["value"] == 3


async def test_all_twins_by_page_and_filter(plant):
    await plant.node.apply(*(device(f"pump-{n}", speed=None) for n in range(4)), origin="api")
    found, after = [], ""
    while True:
        params = {"limit": 3, "continue": after}
        page = (await plant.http.get("/api/v1/twins", params=params)).json()
        found += [(twin["device"], twin["property"]) for twin in page["items"]]
        after = page["continue"]
        if not after:
            break
    assert found == [
        ("pump", "blob"),
        ("pump", "seen"),
        ("pump", "speed"),
        *((f"pump-{n}", "speed") for n in range(4)),
    ]
    one = (await plant.http.get("/api/v1/twins?namespace=default&device=pump-2")).json()
    assert [twin["device"] for twin in one["items"]] == ["pump-2"]
    assert (await plant.http.get("/api/v1/twins?namespace=x")).json()["items"] == []


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=99999"])
async def test_a_page_size_that_cannot_be(plant, query):
    answer = await plant.http.get(f"/api/v1/twins?{query}")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert "limit" in answer.json()["detail"]


@pytest.mark.parametrize("value", [42, 42.0, "42"])
async def test_a_wish(plant, value):
    answer = await plant.http.put(f"{TWIN}/desired", json={"value": value})
    assert answer.status_code == 202
    assert answer.json()["desired"]["value"] == 42
    assert answer.json()["desired"]["status"] == "pending"
    cleared = await plant.http.delete(f"{TWIN}/desired")
    assert cleared.status_code == 200
    assert cleared.json()["desired"] is None
    assert (await plant.http.delete(f"{TWIN}/desired")).status_code == 200


async def test_bytes_are_wished_in_base64(plant):
    path = "/api/v1/devices/default/pump/twins/blob/desired"
    await plant.http.put(path, json={"value": "AP8="})
    assert plant.node.twin(PUMP, "blob").desired.value == b"\0\xff"
    assert (await plant.http.put(path, json={"value": "§"})).status_code == 422


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b'{"value": 101}', 422, "out_of_range"),
        (b'{"value": "fast"}', 422, "conversion"),
        (b'{"value": 1.5}', 422, "conversion"),
        (b'{"value": true}', 422, "conversion"),
        (b'{"value": [1]}', 422, "conversion"),
        (b'{"value": {"a": 1}}', 422, "conversion"),
        (b'{"value": null}', 422, "config"),
        (b'{"value": 99999999999999999999}', 422, "conversion"),
        (b"{}", 422, "config"),
        (b"", 400, "malformed"),
        (b"\xff", 400, "malformed"),
        (b"[1]", 400, "malformed"),
        (b"7", 400, "malformed"),
        (b'{"value": NaN}', 400, "malformed"),
        (b" " * 1_100_000, 413, "too_large"),
    ],
)
async def test_a_wish_that_cannot_be(plant, body, status, reason):
    answer = await plant.http.put(f"{TWIN}/desired", content=body)
    assert (answer.status_code, answer.json()["reason"]) == (status, reason)
    assert answer.headers["content-type"] == "application/problem+json"
    assert plant.node.twin(PUMP, "speed").desired is None


async def test_wishes_that_nobody_may_have(plant):
    base = "/api/v1/devices/default"
    answers = {
        403: await plant.http.put(f"{base}/pump/twins/seen/desired", json={"value": 1}),
        404: await plant.http.put(f"{base}/pump/twins/none/desired", json={"value": 1}),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
    assert (await plant.http.put(f"{base}/none/twins/speed/desired", json={})).status_code == 404
    assert (await plant.http.delete(f"{base}/none/twins/speed/desired")).status_code == 404


async def wished(world):
    """Return once a wish is there."""
    async with asyncio.timeout(5):
        async for event in world.node.feed.read(world.node.feed.epoch + "-0"):
            if getattr(event, "data", {}).get("event") == "desired":
                return


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (OutcomeStatus.CONFIRMED, "confirmed"),
        (OutcomeStatus.REJECTED, "rejected"),
        (OutcomeStatus.FAILED, "failed"),
    ],
)
async def test_waiting_ends_when_the_wish_is_settled(plant, status, word):
    async with asyncio.TaskGroup() as group:
        put = group.create_task(
            plant.http.put(f"{TWIN}/desired", params={"wait": 20}, json={"value": 5})
        )
        await wished(plant)
        await settle(plant, OutcomeStatus.WRITTEN)
        await settle(plant, status, reason="r", message="m")
    answer = put.result()
    assert answer.status_code == 200
    assert answer.json()["desired"]["status"] == word
    assert answer.json()["desired"]["message"] == "m"


async def test_waiting_has_an_end(plant):
    answer = await plant.http.put(f"{TWIN}/desired?wait=0.05", json={"value": 5})
    assert answer.status_code == 202
    assert answer.json()["desired"]["status"] == "pending"


async def test_waiting_ends_when_somebody_else_wishes(plant):
    async with asyncio.TaskGroup() as group:
        put = group.create_task(plant.http.put(f"{TWIN}/desired?wait=20", json={"value": 5}))
        await wished(plant)
        await plant.node.set_desired(PUMP, "speed", 6)
    assert put.result().status_code == 202
    assert put.result().json()["desired"]["value"] == 6


async def test_waiting_ends_when_the_device_is_deleted_or_the_manager_stops(plant):
    async with asyncio.TaskGroup() as group:
        put = group.create_task(plant.http.put(f"{TWIN}/desired?wait=20", json={"value": 5}))
        await wished(plant)
        await plant.node.delete("Device", PUMP, "api")
    assert put.result().status_code == 404
    await plant.node.apply(device(speed=None), origin="api")
    plant.node.feed.close()
    assert (await plant.http.put(f"{TWIN}/desired?wait=20", json={"value": 5})).status_code == 202


@pytest.mark.parametrize("wait", ["31", "-1", "x", "nan"])
async def test_waiting_for_ever_is_refused(plant, wait):
    answer = await plant.http.put(f"{TWIN}/desired?wait={wait}", json={"value": 5})
    assert answer.status_code == 422
    assert plant.node.twin(PUMP, "speed").desired is None

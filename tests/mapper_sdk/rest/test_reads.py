import asyncio

import pytest

from mapper_sdk.delivery.config import DeliveryConfig
from mapper_sdk.delivery.service import Delivery

DEVICE = "/api/v1/devices/default/dev"


@pytest.fixture
async def many(api, plant, make):
    """Two devices more: one in the same hall that is offline, one in another namespace."""
    plant.station("off").reachable = False
    plant.station("far").memory = {1: 5.0}
    off = make.device("off", address="off", t={"cell": 1}).to_json()
    off["metadata"]["labels"] = {"site": "hall-1", "line": "7"}
    far = make.device("far", address="far", t={"cell": 1}).to_json()
    far["metadata"] |= {"namespace": "south", "labels": {"site": "hall-2"}}
    model = make.model(t={}).to_json()
    model["metadata"]["namespace"] = "south"
    kind, model_kind = make.device().__class__, make.model().__class__
    await plant.put(
        model_kind.model_validate(model), kind.model_validate(off), kind.model_validate(far)
    )
    return api


async def names(client, query):
    answer = await client.get(f"/api/v1/devices?{query}")
    assert answer.status_code == 200, answer.text
    return [item["name"] for item in answer.json()["items"]]


async def test_a_wrong_push_method_is_told_with_its_path(api, plant, make):
    mapper = plant.mapper
    mapper.deliver_by(Delivery(DeliveryConfig(), mapper.plan_of, mapper.poller, mapper.clock))
    device = make.device(t={"cell": 1}, r={"nonsense": 1}).to_json()
    for declared in device["spec"]["properties"]:
        declared["pushMethod"] = {"http": {"hostName": "http://app", "port": 99999}}
    await plant.put(make.device().__class__.model_validate(device))
    plant.station().memory[1] = 300
    await plant.clock.advance(1.5)
    problems = (await api.get(DEVICE)).json()["problems"]
    assert problems["t"].startswith("spec.properties[0].pushMethod.http.url: is no address")
    wrong_twice = problems["r"].split("; ")
    assert "configData.cell" in wrong_twice[0]
    assert wrong_twice[-1].startswith("spec.properties[1].pushMethod.http.url: is no address")
    listed = (await api.get("/api/v1/devices")).json()["items"]
    assert listed[0]["problems"] == problems


async def test_several_properties_in_the_order_that_was_asked_for(api):
    answer = await api.get(f"{DEVICE}/properties?properties=r,t,r")
    assert [item["property"] for item in answer.json()["items"]] == ["r", "t"]
    answer = await api.get(f"{DEVICE}/properties")
    assert [item["property"] for item in answer.json()["items"]] == ["t", "r", "sum"]
    answer = await api.get(f"{DEVICE}?properties=r")
    assert [item["property"] for item in answer.json()["properties"]] == ["r"]
    answer = await api.get(f"{DEVICE}/properties?properties=t,none")
    assert (answer.status_code, answer.json()["reason"]) == (404, "not_found")


async def test_a_list_by_namespace_labels_and_page(many):
    assert await names(many, "") == ["dev", "off", "far"]
    assert await names(many, "namespace=south") == ["far"]
    assert await names(many, "labels=site=hall-1") == ["dev", "off"]
    assert await names(many, "labels=site in (hall-1,hall-2),!line") == ["dev", "far"]
    page = (await many.get("/api/v1/devices?limit=2")).json()
    assert (len(page["items"]), page["continue"]) == (2, "default/off")
    assert await names(many, f"limit=2&continue={page['continue']}") == ["far"]


async def test_a_page_that_is_no_longer_the_last_has_another_tag(many, plant, make):
    path = "/api/v1/devices?namespace=south&limit=1"
    last = await many.get(path)
    assert last.json()["continue"] == ""
    another = make.device().to_json()
    another["metadata"] |= {"namespace": "south", "name": "zoo"}
    await plant.put(make.device().__class__.model_validate(another))
    answer = await many.get(path, headers={"if-none-match": last.headers["etag"]})
    assert (answer.status_code, answer.json()["continue"]) == (200, "south/far")


async def test_a_list_has_readings_only_when_asked(many):
    items = (await many.get("/api/v1/devices")).json()["items"]
    assert "properties" not in items[0]
    assert (items[0]["model"], items[0]["labels"]) == ("model", {"site": "hall-1"})
    items = (await many.get("/api/v1/devices?properties=t")).json()["items"]
    assert [item["properties"][0]["value"] for item in items] == [20.5, None, 5.0]
    items = (await many.get("/api/v1/devices?properties=*&labels=site=hall-1")).json()["items"]
    assert [len(item["properties"]) for item in items] == [3, 1]


async def test_a_live_list_says_which_device_did_not_answer(many, plant):
    plant.station().memory[1] = 210
    items = (await many.get("/api/v1/devices?properties=t&live=true")).json()["items"]
    assert items[0]["properties"][0]["value"] == 21.0
    assert "error" not in items[0]
    assert items[1]["error"]["reason"] == "unavailable"


async def test_live_reads_at_the_same_time_share_one_read(api, plant, until):
    station = plant.station()
    station.hold = asyncio.Event()
    await plant.clock.advance(1)
    station.reads.clear()
    tasks = [
        asyncio.create_task(api.get(f"{DEVICE}/properties/{name}?live=true"))
        for name in ("t", "r", "t", "t")
    ]
    waiting = plant.session()._connection._collection
    await until(lambda: len(waiting._asked) == 2)
    station.hold.set()
    answers = await asyncio.gather(*tasks)
    assert [answer.json()["value"] for answer in answers] == [20.5, 3, 20.5, 20.5]
    assert len(station.reads) == 1


async def test_a_live_read_ends_in_time(api, plant):
    plant.station().hold = asyncio.Event()
    await plant.clock.advance(1)
    answer = await api.get(f"{DEVICE}/properties/t?live=true&timeout=0.05")
    assert (answer.status_code, answer.json()["reason"]) == (504, "deadline")
    assert "0.05 s" in answer.json()["detail"]


@pytest.mark.parametrize(
    "query",
    ["live=perhaps", "timeout=0", "timeout=61", "live=true&timeout=x"],
)
async def test_a_wrong_query_is_a_problem(api, query):
    answer = await api.get(f"{DEVICE}/properties/t?{query}")
    assert (answer.status_code, answer.json()["reason"]) == (422, "config")
    assert query.rpartition("&")[2].partition("=")[0] in answer.json()["detail"]


async def test_a_wrong_selector_or_limit_is_a_problem(api):
    for query in ("labels=a>b", "limit=0", "limit=10001"):
        answer = await api.get(f"/api/v1/devices?{query}")
        assert (answer.status_code, answer.json()["reason"]) == (422, "config")


@pytest.mark.parametrize(
    "path",
    [f"{DEVICE}/properties/t", f"{DEVICE}/properties", DEVICE, "/api/v1/devices?properties=*"],
)
async def test_what_a_client_has_already_is_not_sent_again(api, plant, path):
    first = await api.get(path)
    tag = first.headers["etag"]
    for header in (tag, f'"x", W/{tag}', "*"):
        again = await api.get(path, headers={"if-none-match": header})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    await plant.clock.advance(0.3)  # It is older now, and the same.
    assert (await api.get(path, headers={"if-none-match": tag})).status_code == 304
    await plant.clock.advance(1)
    newer = await api.get(path, headers={"if-none-match": tag})
    assert newer.status_code == 200
    assert newer.headers["etag"] != tag


async def test_a_derived_property_says_so(api):
    found = (await api.get(f"{DEVICE}/properties/sum")).json()
    assert (found["derived"], found["writable"], found["value"], found["age_s"]) == (
        True,
        False,
        None,
        None,
    )


async def test_a_device_that_cannot_be_served_has_no_readings(api, plant, make):
    await plant.put(make.device("lost", model="nowhere", t={"cell": 1}))
    items = (await api.get("/api/v1/devices?properties=*&live=true")).json()["items"]
    assert [item["properties"] for item in items if item["name"] == "lost"] == [[]]
    answer = await api.get("/api/v1/devices/default/lost?live=true")
    assert (answer.status_code, answer.json()["reason"]) == (404, "not_found")

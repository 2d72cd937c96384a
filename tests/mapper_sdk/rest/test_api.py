import asyncio
import re

import orjson
import pytest

from dmi.errors import RefusedError
from mapper_sdk.driver import Calling, Method

DEVICE = "/api/v1/devices/default/dev"


async def test_a_cached_property(api, plant):
    reads = len(plant.station().reads)
    plant.station().memory[1] = 300
    await plant.clock.advance(0.5)
    answer = await api.get(f"{DEVICE}/properties/t")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "namespace": "default",
        "device": "dev",
        "property": "t",
        "value": 20.5,
        "time": "2026-09-21T14:13:20.000Z",
        "quality": "good",
        "reason": "",
        "message": "",
        "age_s": 0.5,
        "type": "FLOAT",
        "unit": "K",
        "writable": True,
        "derived": False,
    }
    assert len(plant.station().reads) == reads


async def test_a_live_property_comes_from_the_device(api, plant):
    plant.station().memory[1] = 300
    answer = await api.get(f"{DEVICE}/properties/t?live=true")
    assert answer.json()["value"] == 30.0
    assert (await api.get(f"{DEVICE}/properties/t?live=false")).json()["value"] == 30.0


async def test_a_device_and_its_properties(api, plant):
    listed = (await api.get("/api/v1/devices")).json()["items"]
    assert [(d["namespace"], d["name"], d["state"]) for d in listed] == [
        ("default", "dev", "online")
    ]
    device = (await api.get(DEVICE)).json()
    assert {p["property"]: p["value"] for p in device["properties"]} == {
        "t": 20.5,
        "r": 3,
        "sum": None,
    }
    assert (device["model"], device["state"], device["problems"]) == ("model", "online", {})
    plant.station().memory[2] = 4
    live = (await api.get(f"{DEVICE}?live=true")).json()
    assert {p["property"]: p["value"] for p in live["properties"]} == {
        "t": 20.5,
        "r": 4,
        "sum": None,
    }


async def test_a_device_that_cannot_be_served_says_why(api, plant, make):
    await plant.put(make.device("lost", model="nowhere", t={"cell": 1}))
    device = (await api.get("/api/v1/devices/default/lost")).json()
    assert (device["state"], device["reason"], device["properties"]) == ("unknown", "no_model", [])
    answer = await api.get("/api/v1/devices/default/lost/properties/t")
    assert answer.status_code == 404
    assert "there is no model default/nowhere" in answer.json()["detail"]


async def test_a_write_is_checked_written_and_read_back(api, plant):
    answer = await api.put(f"{DEVICE}/properties/t", json={"value": 25})
    assert answer.status_code == 200
    assert (answer.json()["value"], answer.json()["quality"]) == (25.0, "good")
    assert plant.station().writes == [(1, 250)]
    assert plant.link.outcomes == []


@pytest.mark.parametrize(
    ("prop", "body", "status", "reason"),
    [
        ("r", {"value": 1}, 403, "access_denied"),
        ("t", {"value": 31}, 422, "out_of_range"),
        ("t", {"value": "warm"}, 422, "conversion"),
        ("t", {"value": None}, 422, "config"),
        ("t", {"worth": 1}, 422, "config"),
        ("t", [1], 400, "malformed"),
        ("t", {"value": "x" * 1024 * 1024}, 413, "too_large"),
        ("x", {"value": 1}, 404, "not_found"),
    ],
)
async def test_a_wrong_write_is_a_problem(api, plant, prop, body, status, reason):
    answer = await api.put(f"{DEVICE}/properties/{prop}", json=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.json()["status"], answer.json()["reason"]) == (status, reason)
    assert plant.station().writes == []


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_a_body_needs_not_say_that_it_is_json(api, plant, kind):
    body, headers = b'{"value": 5}', {"content-type": kind} if kind else {}
    answer = await api.put(f"{DEVICE}/properties/t", content=body, headers=headers)
    assert (answer.status_code, answer.json()["value"]) == (200, 5)
    body = b'{"arguments": {"t": 6}}'
    answer = await api.post(f"{DEVICE}/methods/set", content=body, headers=headers)
    assert answer.json()["results"]["t"]["value"] == 6


async def test_a_body_that_is_no_json_is_malformed(api, plant):
    answer = await api.put(f"{DEVICE}/properties/t", content=b"value=5")
    assert (answer.status_code, answer.json()["reason"]) == (400, "malformed")
    answer = await api.post(f"{DEVICE}/methods/set", json={"arguments": [1]})
    assert (answer.status_code, answer.json()["reason"]) == (422, "config")
    answer = await api.get(f"{DEVICE}/properties/t/history")
    assert (answer.status_code, answer.json()["reason"]) == (422, "config")
    assert "start" in answer.json()["detail"]
    assert plant.station().writes == []


async def test_what_the_device_refuses_is_a_problem(api, plant):
    def refuse(cell, value):
        raise RefusedError("locked")

    plant.station().on_write = refuse
    answer = await api.put(f"{DEVICE}/properties/t", json={"value": 1})
    assert (answer.status_code, answer.json()["detail"]) == (502, "locked")


async def test_a_device_that_is_away_is_a_problem(api, plant):
    plant.station().reachable = False
    await plant.clock.advance(1.1)
    answer = await api.get(f"{DEVICE}/properties/t?live=true")
    assert (answer.status_code, answer.json()["device"]) == (503, "default/dev")
    cached = (await api.get(f"{DEVICE}/properties/t")).json()
    assert (cached["value"], cached["quality"], cached["message"]) == (None, "bad", "gone")


async def test_unknown_things_are_problems(api):
    for path in ("/nothing", "/api/v1/devices/default/none", f"{DEVICE}/properties/none"):
        answer = await api.get(path)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["reason"] == "not_found"
    answer = await api.delete(f"{DEVICE}/properties/t")
    assert (answer.status_code, answer.json()["reason"]) == (405, "method_not_allowed")
    assert set(answer.headers["allow"].split(", ")) == {"GET", "PUT"}
    answer = await api.post("/api/v1/targets")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


async def test_declared_methods_write_properties(api, plant):
    assert (await api.get(f"{DEVICE}/methods")).json()["items"] == [
        {
            "name": "set",
            "description": "Sets it.",
            "source": "declared",
            "arguments": {
                "t": {
                    "type": "number",
                    "x-dmi-type": "FLOAT",
                    "maximum": 30.0,
                    "description": "K",
                }
            },
        }
    ]
    answer = await api.post(f"{DEVICE}/methods/set", json={"arguments": {"t": 21.5}})
    assert answer.json()["results"]["t"]["value"] == 21.5
    assert plant.station().writes == [(1, 215)]
    for arguments, status in (({}, 422), ({"r": 1}, 422), ({"gone": 1}, 422), ({"t": 99}, 422)):
        answer = await api.post(f"{DEVICE}/methods/set", json={"arguments": arguments})
        assert answer.status_code == status
    assert (await api.post(f"{DEVICE}/methods/x", json={"arguments": {}})).status_code == 404
    assert len(plant.station().writes) == 1


async def test_methods_of_the_device_itself(plant, make, serving):
    class CallingDriver(plant.mapper.driver_class, Calling):
        async def methods(self):
            return [Method("add", "Adds.", {"a": {"type": "integer"}}, {"sum": {}})]

        async def call(self, name, arguments):
            if arguments["a"] < 0:
                raise RefusedError("no negatives")
            return {"sum": arguments["a"] + 1, "raw": b"\x00"}

    plant.mapper._around.driver_class = CallingDriver
    plant.station()
    async with serving(plant) as api:
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        items = (await api.get(f"{DEVICE}/methods")).json()["items"]
        assert [(item["name"], item["source"]) for item in items] == [("add", "device")]
        answer = await api.post(f"{DEVICE}/methods/add", json={"arguments": {"a": 1}})
        assert answer.json() == {"results": {"sum": 2, "raw": "AA=="}}
        answer = await api.post(f"{DEVICE}/methods/add", json={"arguments": {"a": -1}})
        assert (answer.status_code, answer.json()["reason"]) == (502, "refused")
        answer = await api.post(f"{DEVICE}/methods/add", json={"arguments": {"a": [1]}})
        assert answer.status_code == 422


class Events:
    """Reads server-sent events one by one."""

    def __init__(self, response):
        self._lines = response.aiter_lines()
        self.last_id = ""

    async def next(self):
        name = data = None
        async for line in self._lines:
            key, _, value = line.partition(": ")
            if key == "id":
                self.last_id = value
            elif key == "event":
                name = value
            elif key == "data":
                data = orjson.loads(value)
            elif not line and name:
                return name, data
        return None


async def test_changes_are_streamed_and_can_be_resumed(api, plant, make):
    async with asyncio.timeout(5), api.stream("GET", "/api/v1/changes") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = Events(response)
        await plant.put(make.wish("t", 22.0))
        names = [await events.next() for _ in range(3)]
        assert [name for name, _ in names] == ["outcome", "outcome", "readings"]
        assert names[0][1]["status"] == "written"
        assert names[2][1]["readings"][0]["property"] == "t"
        resume_after = events.last_id
    plant.station().reachable = False
    await plant.clock.advance(1.1)
    headers = {"last-event-id": resume_after}
    url = "/api/v1/changes?device=default/dev"
    async with asyncio.timeout(5), api.stream("GET", url, headers=headers) as response:
        events = Events(response)
        assert (await events.next())[1]["state"] == "offline"
        readings = (await events.next())[1]["readings"]
        assert {reading["quality"] for reading in readings} == {"bad"}


async def test_a_stream_can_be_of_one_device_only(api, plant, make):
    url = "/api/v1/changes?device=default/other"
    async with asyncio.timeout(5), api.stream("GET", url) as response:
        events = Events(response)
        plant.station("b")
        await plant.put(make.device("other", address="b", t={"cell": 1}))
        seen = [await events.next(), await events.next()]
    assert {data.get("device") or data.get("name") for _, data in seen} == {"other"}


async def test_health_and_metrics(api, plant):
    assert (await api.get("/healthz")).status_code == 200
    assert (await api.get("/readyz")).status_code == 503
    plant.link.connected = True
    plant.link.dropped["backlog"] = 4
    assert (await api.get("/readyz")).status_code == 200
    text = (await api.get("/metrics")).text
    assert "dmi_mapper_reported_readings_total 2.0" in text
    assert "dmi_mapper_acknowledged_readings_total 0.0" in text
    assert 'dmi_mapper_dropped_readings_total{reason="backlog"} 4.0' in text
    assert 'dmi_mapper_devices{state="online"} 1.0' in text
    assert 'dmi_mapper_ticks_total{outcome="on_time"}' in text
    assert "process_resident_memory_bytes" in text


async def test_every_route_is_documented(api):
    paths = (await api.get("/openapi.json")).json()["paths"]
    prop = "/api/v1/devices/{namespace}/{name}/properties/{prop}"
    assert set(paths[prop]) == {"get", "put"}
    assert "live" in [parameter["name"] for parameter in paths[prop]["get"]["parameters"]]
    assert {"/api/v1/devices", "/api/v1/changes", "/healthz", "/metrics"} <= set(paths)
    for path, method, field in (
        (prop, "put", "value"),
        (prop.partition("/properties")[0] + "/methods/{method}", "post", "arguments"),
    ):
        body = paths[path][method]["requestBody"]["content"]["application/json"]["schema"]
        assert body["required"] == [field]


async def test_the_document_has_examples_of_everything(api):
    document = (await api.get("/openapi.json")).json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            place = f"{method} {path}"
            parameters = operation.get("parameters", [])
            named = {entry["name"] for entry in parameters if entry["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path)), place
            assert all("example" in entry for entry in parameters if entry["in"] == "path"), place
            assert {"200", "4XX", "5XX"} <= operation["responses"].keys(), place
            bodies = [*operation["responses"].values(), operation.get("requestBody", {})]
            for body in bodies:
                for kind, content in body.get("content", {}).items():
                    assert "example" in content, f"{place}: {kind}"
            told = operation["responses"]["4XX"]["content"]
            assert list(told) == ["application/problem+json"], place


async def test_a_foreign_host_name_is_refused_on_loopback(api):
    for host, status in (
        ("evil.example", 403),
        ("evil.example:7777", 403),
        ("localhost:7777", 200),
        ("[::1]:7777", 200),
        ("127.0.0.1", 200),
    ):
        answer = await api.get("/api/v1/devices", headers={"host": host})
        assert answer.status_code == status, host


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("get", "/api/v1/devices", "read"),
        ("put", "/api/v1/devices/{namespace}/{name}/properties/{prop}", "write"),
        ("get", "/api/v1/devicemethod/{namespace}/{name}", "read"),
        ("get", "/api/v1/devicemethod/{namespace}/{name}/{method}/{prop}/{data}", "write"),
        ("get", "/api/v1/audit", "admin"),
        ("get", "/healthz", None),
    ],
)
async def test_the_document_says_which_scope_a_request_needs(api, method, path, scope):
    document = (await api.get("/openapi.json")).json()
    needed = [] if scope is None else [{"token": [scope]}, {"certificate": [scope]}, {}]
    assert document["paths"][path][method]["security"] == needed
    assert set(document["components"]["securitySchemes"]) == {"token", "certificate"}


async def test_a_strangers_page_is_refused_on_loopback(api, plant):
    for origin, status in (("http://evil.example", 403), ("null", 403), (str(api.base_url), 200)):
        headers = {"origin": origin.removesuffix("/")}
        answer = await api.put(f"{DEVICE}/properties/t", json={"value": 5}, headers=headers)
        assert answer.status_code == status, origin
    assert len(plant.station().writes) == 1


async def test_a_token_is_asked_for_when_there_is_one(plant, tmp_path, serving):
    file = tmp_path / "token"
    file.write_text("a-long-enough-token\n")
    async with serving(plant, rest_token_file=file) as api:
        for path in ("/api/v1/devices", "/metrics", "/openapi.json"):
            answer = await api.get(path, headers={"host": "plant.example"})
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            headers = {"authorization": "Bearer a-long-enough-token", "host": "plant.example"}
            assert (await api.get(path, headers=headers)).status_code == 200


async def test_a_kubelet_probes_without_a_token(plant, tmp_path, serving):
    file = tmp_path / "token"
    file.write_text("a-long-enough-token\n")
    async with serving(plant, rest_token_file=file) as api:
        assert (await api.get("/healthz")).status_code == 200
        assert (await api.get("/readyz")).status_code == 503
        plant.link.connected = True
        assert (await api.get("/readyz")).status_code == 200

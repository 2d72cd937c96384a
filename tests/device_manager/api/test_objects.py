import json

import pytest

from device_manager.records import StateRecord
from tests.device_manager.plants import PUMP, device, model

YAML = """
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: pumps}
spec: {protocol: modbus, properties: [{name: speed, type: INT, accessMode: ReadWrite}]}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: pump}
spec:
  deviceModelRef: {name: pumps}
  protocol: {protocolName: modbus}
  properties: [{name: speed, desired: {value: "5"}}]
"""
BROKEN = """
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: sick}
spec: {propertys: []}
"""


async def test_a_device_has_its_status(world, record):
    await world.node.apply(model(), device(), origin="api")
    await world.node.set_state(PUMP, StateRecord("offline", 1790000000.0, "deadline", "too late"))
    world.dmi.leases.open(record)
    answer = await world.http.get("/api/v1/devices/default/pump")
    assert answer.status_code == 200
    found = answer.json()
    assert found["kind"] == "Device"
    assert found["spec"] == device().to_json()["spec"]
    assert found["status"] == {
        "state": "offline",
        "reason": "deadline",
        "message": "too late",
        "since": "2026-09-21T14:13:20.000Z",
        "lastOnlineTime": None,
        "mapper": "m/0",
        "problem": "",
    }


async def test_a_device_without_its_model_says_so(world):
    await world.node.apply(device(), origin="api")
    status = (await world.http.get("/api/v1/devices/default/pump")).json()["status"]
    assert "pumps" in status["problem"]
    assert status["mapper"] == ""


async def test_lists_by_namespace_and_by_page(world):
    names = ["a", "a-b", "a.b", "ab", "b"]
    await world.node.apply(model(), *(device(name) for name in names), origin="api")
    found, after = [], ""
    while True:
        params = {"limit": 2, "continue": after}
        page = (await world.http.get("/api/v1/devices", params=params)).json()
        found += [item["metadata"]["name"] for item in page["items"]]
        after = page["continue"]
        if not after:
            break
        assert len(page["items"]) == 2
    assert found == names
    assert (await world.http.get("/api/v1/devices?namespace=other")).json()["items"] == []
    assert len((await world.http.get("/api/v1/models?namespace=default")).json()["items"]) == 1


async def test_put_creates_then_replaces(world):
    body = device(speed="5").to_json()
    assert (await world.http.put("/api/v1/devices/default/pump", json=body)).status_code == 201
    answer = await world.http.put("/api/v1/devices/default/pump", json=body)
    assert answer.status_code == 200
    assert answer.json()["status"]["state"] == "unknown"
    model_body = model().to_json()
    assert (
        await world.http.put("/api/v1/models/default/pumps", json=model_body)
    ).status_code == 201
    assert world.node.twin(PUMP, "speed").desired.value == 5
    assert (await world.http.get("/api/v1/models/default/pumps")).json() == model_body


async def test_delete(world):
    await world.node.apply(model(), device(), origin="api")
    for path in ("/api/v1/devices/default/pump", "/api/v1/models/default/pumps"):
        assert (await world.http.delete(path)).status_code == 204
        assert (await world.http.get(path)).status_code == 404
        refused = await world.http.delete(path)
        assert refused.status_code == 404
        assert refused.json()["detail"] == (await world.http.get(path)).json()["detail"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"\xff\xfe", 422),
        (b"[]", 422),
        (b"5", 422),
        (YAML.encode(), 422),
        (BROKEN.encode(), 422),
        (json.dumps(model().to_json()).encode(), 422),
        (json.dumps(device("other").to_json()).encode(), 409),
        (b"x" * (1024 * 1024 + 1), 413),
        (json.dumps({"a": "b"} | {"metadata": {"name": "\ud800"}}).encode(), 422),
    ],
)
async def test_a_body_that_is_not_this_device_is_a_problem(world, body, status):
    answer = await world.http.put("/api/v1/devices/default/pump", content=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert answer.json()["reason"] in ("config", "conflict", "too_large")
    assert not world.node.devices


async def test_what_a_file_owns_the_api_does_not_touch(world):
    await world.node.apply(model(), device(), origin="file:/etc/dmi/pump.yaml")
    body = device(speed="7").to_json()
    put = await world.http.put("/api/v1/devices/default/pump", json=body)
    delete = await world.http.delete("/api/v1/devices/default/pump")
    for answer in (put, delete):
        assert answer.status_code == 409
        assert answer.json()["reason"] == "conflict"
        assert "/etc/dmi/pump.yaml" in answer.json()["detail"]


async def test_apply_says_what_it_did(world):
    first = await world.http.post("/api/v1/apply", content=YAML)
    assert first.status_code == 200
    assert first.json() == {
        "applied": [
            {"kind": "DeviceModel", "namespace": "default", "name": "pumps", "result": "created"},
            {"kind": "Device", "namespace": "default", "name": "pump", "result": "created"},
        ],
        "mistakes": [],
    }
    again = (await world.http.post("/api/v1/apply", content=YAML)).json()["applied"]
    assert [one["result"] for one in again] == ["unchanged", "unchanged"]
    changed = YAML.replace('"5"', '"6"')
    changed = (await world.http.post("/api/v1/apply", content=changed)).json()["applied"]
    assert [one["result"] for one in changed] == ["unchanged", "configured"]
    assert world.node.twin(PUMP, "speed").desired.value == 6


async def test_apply_takes_a_json_list(world):
    body = {"apiVersion": "v1", "kind": "List", "items": [model().to_json(), device().to_json()]}
    answer = await world.http.post("/api/v1/apply", json=body)
    assert len(answer.json()["applied"]) == 2
    assert PUMP in world.node.devices


async def test_apply_takes_what_is_right_and_tells_what_is_not(world):
    await world.node.apply(device("owned"), origin="file:x.yaml")
    owned = json.dumps(device("owned", speed="1").to_json())
    answer = await world.http.post("/api/v1/apply", content=YAML + BROKEN + "\n---\n" + owned)
    assert answer.status_code == 422
    told = answer.json()
    assert [one["name"] for one in told["applied"]] == ["pumps", "pump"]
    assert PUMP in world.node.devices
    broken, taken = sorted(told["mistakes"], key=lambda one: one["document"])
    assert broken["path"] == "spec.propertys"
    assert broken["line"] > 0
    assert "x.yaml" in taken["problem"]
    assert told["reason"] == "config"
    assert "propertys" in told["detail"]


@pytest.mark.parametrize("body", [b"", b"\xff", b"a: [", b"{}", b"kind: DeviceStatus"])
async def test_apply_of_nothing_useful_is_never_an_error_of_ours(world, body):
    answer = await world.http.post("/api/v1/apply", content=body)
    assert answer.status_code in (200, 422)
    assert answer.json()["applied"] == []


async def test_apply_of_much_is_taken(world):
    body = YAML + "# nothing more to say\n" * 300_000
    assert (await world.http.post("/api/v1/apply", content=body)).status_code == 200


async def test_apply_of_too_much_is_refused_also_without_a_length(world):
    async def endless():
        for _ in range(10):
            yield b"#" * 1_000_000

    answer = await world.http.post("/api/v1/apply", content=endless())
    assert answer.status_code == 413
    answer = await world.http.post("/api/v1/apply", content=b"#" * (8 * 1024 * 1024 + 1))
    assert answer.status_code == 413


@pytest.mark.parametrize("number", ["1" + "0" * 30, "1e999", "-1e999", ".nan"])
async def test_numbers_that_json_cannot_carry_are_mistakes(world, number):
    body = YAML.replace("modbus}", f"modbus, configData: {{n: {number}}}}}")
    answer = await world.http.post("/api/v1/apply", content=body)
    assert answer.status_code == 422
    assert answer.json()["mistakes"][0]["path"] == "spec.protocol.configData.n"
    assert [one["name"] for one in answer.json()["applied"]] == ["pumps"]

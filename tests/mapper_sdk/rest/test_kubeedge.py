import pytest

BASE = {"apiVersion", "statusCode", "timeStamp"}


async def test_ping(api):
    answer = await api.get("/api/v1/ping", headers={"x-correlation-id": "c-1"})
    found = answer.json()
    assert answer.headers["x-correlation-id"] == "c-1"
    assert found.keys() == {*BASE, "Message"}
    assert (found["apiVersion"], found["statusCode"]) == ("v1", 200)
    assert found["Message"] == "This is v1 API, the server is running normally."


async def test_a_device_is_read_live(api, plant):
    plant.station().memory[1] = 300
    found = (await api.get("/api/v1/device/default/dev/t")).json()
    assert found.keys() == {*BASE, "Data"}
    assert found["Data"] == {
        "DeviceName": "dev",
        "PropertyName": "t",
        "Namespace": "default",
        "Value": "30",
        "Type": "FLOAT",
        "TimeStamp": round(plant.clock.time() * 1000),
    }
    assert plant.station().writes == []


async def test_what_is_wrong_has_its_status_and_the_known_members(api, plant):
    headers = {"x-correlation-id": "c-2"}
    for path in ("default/dev/none", "default/none/t", "default/dev/sum"):
        answer = await api.get(f"/api/v1/device/{path}", headers=headers)
        found = answer.json()
        assert answer.status_code == (503 if path.endswith("sum") else 404)
        assert found["statusCode"] == found["status"] == answer.status_code
        assert found["apiVersion"] == "v1"
        assert found["Message"] == found["detail"]
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["x-correlation-id"] == "c-2"
    plant.station().reachable = False
    await plant.clock.advance(1.1)
    assert (await api.get("/api/v1/device/default/dev/t")).status_code == 503


async def test_methods_are_listed_as_upstream_does(api):
    found = (await api.get("/api/v1/devicemethod/default/dev")).json()
    assert found["Data"] == {
        "Methods": [
            {
                "Name": "set",
                "Path": "/api/v1/devicemethod/default/dev/set/{propertyName}/{data}",
                "Parameters": [{"PropertyName": "t", "ValueType": "FLOAT"}],
            }
        ]
    }


async def test_writing_by_get_is_off(api, plant):
    answer = await api.get("/api/v1/devicemethod/default/dev/set/t/25")
    assert answer.status_code == 403
    assert "kubeedgeWrites" in answer.json()["Message"]
    assert plant.station().writes == []


@pytest.mark.parametrize(
    ("path", "status", "result"),
    [
        ("set/t/25", 200, "ok"),
        ("set/t/99", 422, "out_of_range"),
        ("set/t/warm", 422, "conversion"),
        ("set/r/1", 422, "conversion"),
        ("none/t/25", 404, None),
    ],
)
async def test_writing_by_get_can_be_switched_on(api_writing, plant, path, status, result):
    answer = await api_writing.get(f"/api/v1/devicemethod/default/dev/{path}")
    assert answer.status_code == status, answer.text
    if status == 200:
        message = "Write data 25 to device default/dev successfully."
        assert answer.json()["Message"] == message
    assert plant.station().writes == ([(1, 250)] if status == 200 else [])
    audit = (await api_writing.get("/api/v1/audit")).json()["items"]
    assert [entry["result"] for entry in audit] == ([result] if result else [])


@pytest.fixture
async def api_writing(api, serving, plant):
    """The same devices, served once more with writes by GET."""
    import httpx

    from dmi.feed import Feed
    from mapper_sdk.rest.app import make_app

    app = make_app(plant.mapper, Feed(4), kubeedge_writes=True)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


async def test_the_model_of_a_device(api):
    found = (await api.get("/api/v1/meta/model/default/dev")).json()
    assert {name: found[name] for name in ("id", "name", "namespace")} == {
        "id": "default/model",
        "name": "model",
        "namespace": "default",
    }
    assert found["properties"][0] == {
        "name": "t",
        "dataType": "FLOAT",
        "accessMode": "ReadWrite",
        "maximum": "30",
        "unit": "K",
    }
    assert (await api.get("/api/v1/meta/model/default/none")).status_code == 404


async def test_there_is_no_database(api):
    answer = await api.get("/api/v1/database/default/dev")
    assert (answer.status_code, answer.json()["statusCode"]) == (503, 503)
    assert "not enabled" in answer.json()["Message"]

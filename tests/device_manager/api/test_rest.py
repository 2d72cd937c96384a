import httpx
import pytest

from device_manager.api.app import create_app
from device_manager.api.schemas import Mapper
from device_manager.records import TwinReading
from dmi.errors import UnavailableError
from dmi.readings import Reading
from dmi.rest.door import Door
from dmi.rest.guard import Keys
from dmi.rest.limits import Limits
from tests.device_manager.api.conftest import client_of, services
from tests.device_manager.plants import PUMP, device, model

TOKEN = "s3cret"  # noqa: S105 - opens nothing


async def test_what_the_framework_refuses_is_a_problem_too(world):
    answers = {
        404: await world.http.get("/nothing"),
        405: await world.http.post("/api/v1/devices"),
        422: await world.http.get("/api/v1/devices?limit=0"),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        told = answer.json()
        assert told["status"] == status
        assert set(told) == {"type", "title", "status", "detail", "reason"}
    assert "GET" in answers[405].headers["allow"]


async def test_openapi_names_every_route(world):
    document = (await world.http.get("/openapi.json")).json()
    assert set(document["paths"]) == {
        "/api/v1/apply",
        "/api/v1/changes",
        "/api/v1/devices",
        "/api/v1/commands",
        "/api/v1/commands/{id}",
        "/api/v1/devices/{namespace}/{name}",
        "/api/v1/devices/{namespace}/{name}/methods",
        "/api/v1/devices/{namespace}/{name}/methods/{method}",
        "/api/v1/devices/{namespace}/{name}/twins",
        "/api/v1/devices/{namespace}/{name}/twins/{property}",
        "/api/v1/devices/{namespace}/{name}/twins/{property}/desired",
        "/api/v1/mappers",
        "/api/v1/mappers/{name}/{instance}",
        "/api/v1/models",
        "/api/v1/models/{namespace}/{name}",
        "/api/v1/status",
        "/api/v1/twins",
        "/api/v1/version",
        "/healthz",
        "/metrics",
        "/readyz",
    }
    assert {"Twin", "Mapper", "Problem", "Applied"} <= set(document["components"]["schemas"])


async def test_mappers(world, record):
    await world.node.apply(model(), device(), origin="api")
    await world.node.put_mapper(record)
    session = world.dmi.leases.open(record)
    world.dmi.leases.touch(session, {"devices_online": 1.0})
    (found,) = (await world.http.get("/api/v1/mappers")).json()["items"]
    Mapper.model_validate(found, strict=True)
    assert (found["name"], found["alive"], found["devices"]) == ("m", True, 1)
    assert found["gauges"] == {"devices_online": 1.0}
    assert (await world.http.get("/api/v1/mappers/m/0")).json() == found
    assert (await world.http.get("/api/v1/mappers?protocol=ble")).json()["items"] == []
    assert (await world.http.get("/api/v1/mappers/m/9")).status_code == 404


async def test_health_and_status(world, monkeypatch):
    await world.node.apply(device(), origin="api")
    world.node.report_upstream("file:x.yaml", ["line 3: wrong"])
    assert (await world.http.get("/healthz")).text == "ok\n"
    assert (await world.http.get("/readyz")).status_code == 200
    status = (await world.http.get("/api/v1/status")).json()
    assert status["ready"]
    assert status["epoch"] == world.node.epoch
    assert status["upstreams"] == {"file:x.yaml": {"errors": ["line 3: wrong"]}}
    assert list(status["problems"]) == ["default/pump"]
    assert status["counts"]["devices"] == 1
    world.node._store.error = "database or disk is full"
    answer = await world.http.get("/readyz")
    assert answer.status_code == 503
    assert "disk is full" in answer.json()["detail"]
    wish = {"value": 1}
    put = await world.http.put("/api/v1/devices/default/pump/twins/speed/desired", json=wish)
    assert put.status_code in (404, 503)
    apply = await world.http.post("/api/v1/apply", json=model().to_json())
    assert apply.status_code == 503
    assert apply.json()["reason"] == UnavailableError.reason
    assert (await world.http.get("/api/v1/status")).json()["storage"]["error"]


async def test_version(world):
    assert (await world.http.get("/api/v1/version")).json()["dmi"] == ["v1", "v1beta1"]


async def test_metrics(world, record):
    await world.node.apply(model(), device(), origin="api")
    await world.node.set_desired(PUMP, "speed", 5)
    reading = TwinReading(PUMP, "speed", Reading(7, 1.0))
    await world.node.apply_report("", 0, [reading], [], [])
    await world.node.put_mapper(record)
    session = world.dmi.leases.open(record)
    world.dmi.leases.touch(session, {"devices_online": 1.0})
    world.dmi.counters.readings["v1"] = 3
    world.dmi.counters.drop("m/0", "overflow", 2)
    world.dmi.counters.call("UpdateDevice", "ok")
    await world.node.commands.submit(PUMP, "run", {}, 30)
    world.node.commands.cancel((await world.node.commands.submit(PUMP, "run", {}, 30)).id)
    text = (await world.http.get("/metrics")).text
    for line in (
        "dmi_models 1.0",
        'dmi_devices{state="unknown"} 1.0',
        "dmi_twins 2.0",
        'dmi_twins_reported{quality="good"} 1.0',
        'dmi_twins_reported{quality="none"} 1.0',
        'dmi_twins_desired{status="pending"} 1.0',
        'dmi_mapper_gauge{gauge="devices_online",instance="0",mapper="m"} 1.0',
        'dmi_readings_total{api="v1"} 3.0',
        'dmi_mapper_dropped_total{mapper="m/0",reason="overflow"} 2.0',
        'dmi_mapper_calls_total{method="UpdateDevice",outcome="ok"} 1.0',
        "dmi_store_ready 1.0",
        'dmi_commands_open{phase="accepted"} 1.0',
        'dmi_commands_ended_total{phase="cancelled"} 1.0',
    ):
        assert line in text.splitlines(), line
    assert "process_resident_memory_bytes" in text


async def test_two_applications_in_one_process_have_two_registries(node):
    for _ in range(2):
        async with client_of(create_app(node, services(node))) as http:
            assert (await http.get("/metrics")).status_code == 200


@pytest.fixture
async def guarded(node):
    door = Door(Keys(TOKEN), None, Limits())
    async with client_of(create_app(node, services(node), door=door)) as http:
        yield http


@pytest.mark.parametrize("given", ["", "s3cret", "Bearer", "Bearer wrong", "Basic s3cret", "é"])
async def test_without_the_token_only_probes_are_answered(guarded, given):
    headers = {"authorization": given.encode()} if given else {}
    for path in ("/api/v1/devices", "/metrics", "/openapi.json", "/nothing"):
        answer = await guarded.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.headers["content-type"] == "application/problem+json"
    for path in ("/healthz", "/readyz"):
        assert (await guarded.get(path, headers=headers)).status_code == 200


async def test_with_the_token_everything_answers_whatever_the_host(guarded):
    headers = {"authorization": "Bearer s3cret", "host": "plant.example"}
    assert (await guarded.get("/api/v1/devices", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "127.0.0.1:10350"}, 200),
        ({"host": "[::1]:10350"}, 200),
        ({"host": "localhost"}, 200),
        ({"host": "192.168.1.7"}, 200),
        ({"host": "evil.example:10350"}, 403),
        ({"host": "127.0.0.1:1", "origin": "http://127.0.0.1:1"}, 200),
        ({"host": "127.0.0.1:1", "origin": "http://evil.example"}, 403),
        ({"host": "127.0.0.1:1", "origin": "null"}, 403),
    ],
)
async def test_pages_of_strangers_are_refused_where_there_is_no_token(world, headers, status):
    assert (await world.http.get("/api/v1/devices", headers=headers)).status_code == status


async def test_any_bytes_as_a_path_are_no_error_of_ours(world):
    for path in ("/api/v1/devices/%FF/%00", "/api/v1/devices/a/b/c/d", "//", "/%2e%2e/x"):
        answer = await world.http.get(httpx.URL(f"http://127.0.0.1:1{path}"))
        assert answer.status_code == 404

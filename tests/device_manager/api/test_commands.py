import asyncio
from types import SimpleNamespace

import pytest

from device_manager.api.app import create_app
from device_manager.commands import book as books
from device_manager.records import MapperRecord
from dmi.methods import Method
from dmi.reports import CommandProgress, Phase
from dmi.resources import Device
from dmi.rest.door import Door
from dmi.rest.guard import Keys
from dmi.rest.limits import Limits
from dmi.rest.tokens import Clients, add_token
from tests.device_manager.api.conftest import client_of
from tests.device_manager.dmi_service.v1_mapper import until
from tests.device_manager.plants import PUMP, device, model

METHODS = "/api/v1/devices/default/pump/methods"
RUN = Method("run", "Runs.", {"seconds": {"type": "number"}}, {"volume": {"type": "number"}})


@pytest.fixture
async def plant(world, record):
    """A pump that offers `run`, declares `set`, and whose mapper lives."""
    data = device().to_json()
    data["spec"]["methods"] = [{"name": "set", "propertyNames": ["speed"]}]
    await world.node.apply(model(), Device.model_validate(data), origin="api")
    record.abilities = ["call"]
    world.session = world.dmi.leases.open(record)
    world.dmi.methods.tell(PUMP, [RUN])
    return world


def answer(world, phase=Phase.SUCCEEDED, **more):
    """Be the mapper: take each open command and end it so."""
    book = world.node.commands
    for record in list(book.open.values()):
        book.give(record, "m/0", "p1")
        book.hear("p1", CommandProgress(record.id, phase, 5.0, **more))


async def answered(world, *words, phase=Phase.SUCCEEDED, results=None, **params):
    call = asyncio.ensure_future(world.http.request(*words, **params))
    await until(lambda: world.node.commands.open)
    answer(world, phase, results=results or {})
    return await call


async def test_methods_are_listed_with_their_types(plant):
    found = (await plant.http.get(METHODS)).json()
    assert found == {
        "complete": True,
        "items": [
            {
                "name": "set",
                "description": "",
                "source": "declared",
                "arguments": {"speed": {"type": "integer", "x-dmi-type": "INT"}},
                "results": {"speed": {"type": "integer", "x-dmi-type": "INT"}},
            },
            {
                "name": "run",
                "description": "Runs.",
                "source": "device",
                "arguments": {"seconds": {"type": "number"}},
                "results": {"volume": {"type": "number"}},
            },
        ],
    }


async def test_a_list_says_when_it_may_not_be_all(world, record):
    await world.node.apply(model(), device(), origin="api")
    assert (await world.http.get(METHODS)).json() == {"items": [], "complete": False}
    session = world.dmi.leases.open(record)  # its driver cannot call
    assert (await world.http.get(METHODS)).json()["complete"] is True
    world.dmi.leases.close(session, "it left")
    await world.node.put_mapper(MapperRecord("go", "modbus", "0", "1", "v1beta1", "/sock"))
    assert (await world.http.get(METHODS)).json()["complete"] is True
    assert (await world.http.post(f"{METHODS}/run")).status_code == 404


async def test_a_call_waits_for_its_end(plant):
    words = ("POST", f"{METHODS}/run")
    got = await answered(
        plant, *words, json={"arguments": {"seconds": 2}}, results={"volume": 1.5, "raw": b"\0"}
    )
    assert got.status_code == 200
    body = got.json()
    assert got.headers["location"] == f"/api/v1/commands/{body['id']}"
    assert (body["phase"], body["arguments"]) == ("succeeded", {"seconds": 2.0})
    assert body["results"] == {"volume": 1.5, "raw": "AA=="}
    assert body["caller"].startswith("127.0.0.1 python-httpx/")
    assert (await plant.http.get(got.headers["location"])).json() == body


async def test_a_call_that_takes_longer_goes_on(plant):
    body = {"arguments": {"speed": 5}}
    got = await plant.http.post(f"{METHODS}/set", params={"wait": 0.01, "deadline": 5}, json=body)
    assert got.status_code == 202
    record = got.json()
    assert (record["phase"], record["ended"]) == ("accepted", None)
    kept = plant.node.commands.find(record["id"])
    assert kept.deadline == kept.created + 5
    answer(plant, Phase.UNSUCCESSFUL, reason="refused", message="No.")
    ended = (await plant.http.get(f"/api/v1/commands/{record['id']}")).json()
    assert (ended["phase"], ended["reason"], ended["message"]) == ("unsuccessful", "refused", "No.")
    assert ended["ended"].startswith("1970")


async def test_a_manager_that_stops_answers_who_waits(plant):
    call = asyncio.ensure_future(
        plant.http.post(f"{METHODS}/run", json={"arguments": {"seconds": 1}})
    )
    await until(lambda: plant.node.commands.open)
    plant.node.feed.close()
    assert (await call).status_code == 202


@pytest.mark.parametrize(
    ("path", "body", "status", "reason"),
    [
        ("run", {"arguments": {"seconds": "long"}}, 422, "conversion"),
        ("run", {"arguments": {}}, 422, "conversion"),
        ("run", {"arguments": [1]}, 422, "config"),
        ("run", [1], 422, "config"),
        ("walk", {"arguments": {}}, 404, "not_found"),
        ("set", {"arguments": {"label": "x"}}, 422, "conversion"),
        ("run?wait=31", {"arguments": {"seconds": 1}}, 422, "config"),
        ("run?deadline=0", {"arguments": {"seconds": 1}}, 422, "config"),
        ("run", {"arguments": {"seconds": "x" * 300_000}}, 413, "too_large"),
    ],
)
async def test_a_wrong_call_is_refused_and_not_kept(plant, path, body, status, reason):
    got = await plant.http.post(f"{METHODS}/{path}", json=body)
    assert (got.status_code, got.json()["reason"]) == (status, reason)
    assert not plant.node.commands.records


async def test_a_body_that_is_not_json_is_malformed(plant):
    got = await plant.http.post(f"{METHODS}/run", content=b"{")
    assert (got.status_code, got.json()["reason"]) == (400, "malformed")


async def test_a_device_that_is_not_there_has_no_methods(plant):
    assert (await plant.http.get("/api/v1/devices/default/x/methods")).status_code == 404
    assert (await plant.http.post("/api/v1/devices/default/x/methods/run")).status_code == 404


async def test_the_same_key_gives_the_same_command(plant):
    headers = {"Idempotency-Key": "mine"}
    ask = SimpleNamespace(url=f"{METHODS}/run?wait=0", headers=headers)
    body = {"arguments": {"seconds": 1}}
    first, second = [await plant.http.post(ask.url, headers=headers, json=body) for _ in "12"]
    assert first.json()["id"] == second.json()["id"]
    body["arguments"]["seconds"] = 2
    got = await plant.http.post(ask.url, headers=headers, json=body)
    assert (got.status_code, got.json()["reason"]) == (409, "conflict")


async def test_a_key_is_the_clients_own(plant, tmp_path):
    file = tmp_path / "clients.yaml"
    tokens = [add_token(file, {"name": name, "scopes": ["write"]}) for name in ("a", "b")]
    door = Door(Keys(clients=Clients(file)), None, Limits())
    async with client_of(create_app(plant.node, plant.dmi, door=door)) as http:

        async def ask(token, seconds):
            headers = {"Idempotency-Key": "1", "authorization": f"Bearer {token}"}
            body = {"arguments": {"seconds": seconds}}
            return await http.post(f"{METHODS}/run?wait=0", json=body, headers=headers)

        first, again, others = [await ask(tokens[turn], 1) for turn in (0, 0, 1)]
        assert first.json()["id"] == again.json()["id"] != others.json()["id"]
        assert (await ask(tokens[1], 2)).status_code == 409


async def test_too_many_calls_are_refused(plant, monkeypatch):
    monkeypatch.setattr(books, "MOST_OPEN", 1)
    got = [
        await plant.http.post(f"{METHODS}/run?wait=0", json={"arguments": {"seconds": 1}})
        for _ in "12"
    ]
    assert [one.status_code for one in got] == [202, 429]


async def test_commands_are_listed_by_page(plant):
    await plant.node.apply(device("other"), origin="api")
    submit = plant.node.commands.submit
    ids = [(await submit(PUMP, "run", {"seconds": float(n)}, 30)).id for n in range(3)]
    other = await submit(device("other").key, "run", {}, 30)
    plant.node.commands.cancel(ids[0])

    async def listed(**params):
        found = (await plant.http.get("/api/v1/commands", params=params)).json()
        return [item["id"] for item in found["items"]], found["continue"]

    everything = sorted([*ids, other.id])
    assert await listed() == (everything, "")
    page, more = await listed(limit=3)
    assert (page, more) == (everything[:3], everything[2])
    assert await listed(**{"limit": 3, "continue": more}) == (everything[3:], "")
    assert await listed(device="other") == ([other.id], "")
    assert await listed(namespace="none") == ([], "")
    assert await listed(phase="cancelled") == ([ids[0]], "")
    got = await plant.http.get("/api/v1/commands?phase=done")
    assert (got.status_code, got.json()["reason"]) == (422, "config")


async def test_a_command_is_taken_back(plant):
    record = await plant.node.commands.submit(PUMP, "run", {}, 30)
    got = await plant.http.delete(f"/api/v1/commands/{record.id}")
    assert (got.status_code, got.json()["phase"]) == (200, "cancelled")
    given = await plant.node.commands.submit(PUMP, "run", {}, 30)
    plant.node.commands.give(given, "m/0", "p1")
    got = await plant.http.delete(f"/api/v1/commands/{given.id}?wait=0")
    assert (got.status_code, got.json()["cancelling"]) == (202, True)
    answer(plant)
    got = await plant.http.delete(f"/api/v1/commands/{given.id}")
    assert (got.status_code, got.json()["reason"]) == (409, "conflict")
    assert (await plant.http.delete("/api/v1/commands/none")).status_code == 404
    assert (await plant.http.get("/api/v1/commands/none")).status_code == 404


async def test_clients_of_other_namespaces_know_nothing_of_a_command(plant, tmp_path):
    file = tmp_path / "clients.yaml"
    tokens = {
        where: add_token(file, {"name": where, "scopes": ["write"], "namespaces": [where]})
        for where in ("other", "default")
    }
    door = Door(Keys(clients=Clients(file)), None, Limits())
    async with client_of(create_app(plant.node, plant.dmi, door=door)) as http:
        http.headers["authorization"] = f"Bearer {tokens['default']}"
        body = {"arguments": {"seconds": 1}}
        made = (await http.post(f"{METHODS}/run?wait=0", json=body)).json()
        assert made["caller"].startswith("default@127.0.0.1 python-httpx/")
        path = f"/api/v1/commands/{made['id']}"
        assert (await http.get(path)).status_code == 200
        http.headers["authorization"] = f"Bearer {tokens['other']}"
        assert (await http.get(path)).status_code == 404
        assert (await http.delete(path)).status_code == 404
        assert (await http.get("/api/v1/commands?namespace=default")).status_code == 403
        assert (await http.get("/api/v1/commands?namespace=other")).json()["items"] == []
        http.headers["authorization"] = f"Bearer {tokens['default']}"
        assert (await http.delete(path)).json()["phase"] == "cancelled"

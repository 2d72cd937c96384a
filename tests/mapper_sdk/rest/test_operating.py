import logging
from types import SimpleNamespace

import pytest

from dmi.resources import Key
from mapper_sdk.delivery.status import Condition, Gap, TargetStatus

LEVEL = "/api/v1/loglevel"


@pytest.fixture
def levels():
    """Puts the levels back that a test changes."""
    ours = logging.getLogger("mapper_sdk.rest")
    before = logging.root.level, ours.level
    yield
    logging.root.setLevel(before[0])
    ours.setLevel(before[1])


async def test_log_levels_are_changed_while_it_runs(api, levels):
    answer = await api.put(LEVEL, json={"level": "error"})
    assert answer.json()["level"] == "error"
    assert logging.root.level == logging.ERROR
    answer = await api.put(LEVEL, json={"level": "debug", "logger": "mapper_sdk.rest"})
    assert answer.json()["loggers"]["mapper_sdk.rest"] == "debug"
    assert (await api.get(LEVEL)).json() == answer.json()
    answer = await api.put(LEVEL, json={"level": None, "logger": "mapper_sdk.rest"})
    assert "mapper_sdk.rest" not in answer.json()["loggers"]
    audit = (await api.get("/api/v1/audit")).json()["items"]
    assert [(entry["action"], entry["target"], entry["given"]) for entry in audit] == [
        ("loglevel", "mapper_sdk.rest", "null"),
        ("loglevel", "mapper_sdk.rest", '"debug"'),
        ("loglevel", "", '"error"'),
    ]


async def test_a_wrong_level_is_a_problem(api, levels):
    for body, status in (
        ({"level": "loud"}, 422),
        ({"level": None}, 422),
        ({"logger": "mapper_sdk.rest"}, 422),
        ({"level": "info", "logger": 5}, 422),
        ({"level": "info", "logger": "no.such.logger"}, 404),
        ([], 400),
    ):
        assert (await api.put(LEVEL, json=body)).status_code == status, body
    assert (await api.get("/api/v1/audit")).json()["items"] == []


async def test_readiness_has_reasons(api, plant, make):
    assert (await api.get("/readyz")).json()["detail"] == "the manager is not reached"
    plant.link.connected = True
    assert (await api.get("/readyz")).status_code == 200


async def test_the_audit_trail_names_who_and_what(api, plant):
    await api.put("/api/v1/devices/default/dev/properties/t", json={"value": 25})
    await api.post("/api/v1/devices/default/dev/methods/set", json={"arguments": {"t": 26}})
    page = (await api.get("/api/v1/audit?limit=1")).json()
    (call,) = page["items"]
    assert (call["client"], call["action"], call["device"]) == ("local", "call", "dev")
    assert (call["target"], call["given"], call["result"]) == ("set", '{"t":26}', "ok")
    rest = (await api.get(f"/api/v1/audit?continue={page['continue']}")).json()
    assert [(entry["target"], entry["given"]) for entry in rest["items"]] == [("t", "25.0")]
    assert rest["continue"] == ""
    assert (await api.get("/api/v1/audit?client=other")).json()["items"] == []
    assert (await api.get("/api/v1/audit?limit=0")).status_code == 422


async def test_metrics_of_reads_and_requests(api, plant):
    await api.get("/api/v1/devices/default/dev")
    await api.get("/api/v1/devices/default/none")
    await api.get("/nothing")
    await api.patch("/nothing")
    plant.station().reachable = False
    await plant.clock.advance(1.1)
    text = (await api.get("/metrics")).text
    route = 'method="GET",route="/api/v1/devices/{namespace}/{name}"'
    for line in (
        f'dmi_mapper_rest_requests_total{{{route},status="200"}} 1.0',
        f'dmi_mapper_rest_requests_total{{{route},status="404"}} 1.0',
        'dmi_mapper_rest_requests_total{method="none",route="none",status="404"} 2.0',
        f'dmi_mapper_rest_seconds_bucket{{le="+Inf",{route}}} 2.0',
        'dmi_mapper_read_seconds_bucket{le="0.001"} 1.0',
        'dmi_mapper_failed_exchanges_total{reason="unavailable"} 1.0',
        'dmi_mapper_bad_properties{reason="unavailable"} 2.0',
        "dmi_mapper_waiting_turns 0.0",
    ):
        assert line in text, line


# --------------------------------------------------------------- delivery ----


@pytest.fixture
async def delivering(api, plant):
    """One target, and five gaps that it has."""
    target = TargetStatus("broker", "mqtt", "mqtt://b", Condition.STORING, 1_790_000_000.0)
    asked = []

    def gaps(target, device, property_, since, limit):
        asked.append((target, device, property_, since))
        found = [
            Gap(
                "broker",
                Key("default" if n % 2 else "south", "dev"),
                "t",
                n,
                n + 1,
                3,
                "stopped",
                9,
            )
            for n in range(5)
        ]
        return found[:limit]

    plant.mapper.delivery = SimpleNamespace(
        targets=lambda: [target],
        gaps=gaps,
        history=None,
        metrics=lambda: iter(()),
        problems_of=lambda _key: {},
    )
    return api, asked


async def test_targets(delivering):
    api, _ = delivering
    (target,) = (await api.get("/api/v1/targets")).json()["items"]
    assert (target["name"], target["condition"], target["hoursLeft"]) == ("broker", "storing", None)
    assert target["since"] == "2026-09-21T14:13:20.000Z"


async def test_gaps_by_page_and_filter(delivering):
    api, asked = delivering
    page = (await api.get("/api/v1/gaps?limit=2&target=broker&device=a/b&since=4")).json()
    assert asked == [("broker", Key("a", "b"), None, 4.0)]
    assert [gap["first"] for gap in page["items"]] == [
        "1970-01-01T00:00:00.000Z",
        "1970-01-01T00:00:01.000Z",
    ]
    rest = (await api.get(f"/api/v1/gaps?limit=3&continue={page['continue']}")).json()
    assert ([gap["count"] for gap in rest["items"]], rest["continue"]) == ([3, 3, 3], "")
    south = (await api.get("/api/v1/gaps?namespace=south")).json()["items"]
    assert {gap["namespace"] for gap in south} == {"south"}
    for wrong in ("continue=x", "continue=99999999999", "device=dev", "limit=0", "since=-1"):
        assert (await api.get(f"/api/v1/gaps?{wrong}")).status_code == 422, wrong


async def test_without_targets_both_are_empty(api):
    assert (await api.get("/api/v1/targets")).json() == {"items": []}
    assert (await api.get("/api/v1/gaps")).json() == {"items": [], "continue": ""}

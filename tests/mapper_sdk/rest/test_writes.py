import asyncio

import pytest

from dmi.errors import OverloadedError, RefusedError, UnavailableError

DEVICE = "/api/v1/devices/default/dev"
ALL = f"{DEVICE}/properties"
T = f"{ALL}/t"


@pytest.fixture
async def two(plant, make, serving):
    """A device with two properties that can be written."""
    plant.station().memory = {1: 1.0, 2: 2.0}
    async with serving(plant) as client:
        await plant.put(
            make.model(a={"maximum": "50"}, b={}), make.device(a={"cell": 1}, b={"cell": 2})
        )
        yield client


async def test_a_write_says_what_was_written(api, plant):
    answer = await api.put(T, json={"value": 25})
    found = answer.json()
    assert (found["value"], found["written"], found["dryRun"]) == (25.0, 25.0, False)
    read = await api.get(T)
    assert read.headers["etag"] == answer.headers["etag"]


async def test_reading_back_can_be_left_out(api, plant):
    plant.station().reads.clear()
    found = (await api.put(f"{T}?readback=false", json={"value": 25})).json()
    assert (found["value"], found["written"]) == (20.5, 25.0)
    assert plant.station().reads == []
    assert plant.station().writes == [(1, 250)]


async def test_a_dry_run_checks_and_writes_nothing(api, plant):
    found = (await api.put(f"{T}?dryRun=true", json={"value": 25})).json()
    assert (found["value"], found["written"], found["dryRun"]) == (20.5, 25.0, True)
    answer = await api.put(f"{T}?dryRun=true", json={"value": 31})
    assert (answer.status_code, answer.json()["reason"]) == (422, "out_of_range")
    found = (await api.patch(f"{ALL}?dryRun=true", json={"values": {"t": 1}})).json()
    assert (found["written"], found["dryRun"]) == ({"t": 1.0}, True)
    assert plant.station().writes == []
    assert (await api.get("/api/v1/audit")).json()["items"] == []


async def test_a_derived_property_is_not_written(api):
    answer = await api.put(f"{ALL}/sum", json={"value": 1})
    assert (answer.status_code, answer.json()["reason"]) == (403, "access_denied")


async def test_several_are_written_and_read_back(two, plant):
    found = (await two.patch(ALL, json={"values": {"b": 5, "a": 6}})).json()
    assert found["written"] == {"b": 5.0, "a": 6.0}
    assert (found["together"], found["dryRun"]) == (False, False)
    assert [(item["property"], item["value"]) for item in found["items"]] == [("b", 5), ("a", 6)]
    assert plant.station().writes == [(2, 5.0), (1, 6.0)]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"values": {"b": 1, "a": 51}}, 422),
        ({"values": {"b": 1, "none": 1}}, 404),
        ({"values": {"b": None}}, 422),
        ({"values": {}}, 422),
        ({"values": [1]}, 422),
        ({}, 422),
        ([], 400),
    ],
)
async def test_all_are_checked_before_the_first_is_written(two, plant, body, status):
    assert (await two.patch(ALL, json=body)).status_code == status
    assert plant.station().writes == []


@pytest.mark.parametrize(
    ("error", "status", "unknown"),
    [(RefusedError("locked"), 502, []), (UnavailableError("gone"), 503, ["b"])],
)
async def test_a_failure_says_exactly_what_was_written(two, plant, error, status, unknown):
    def fail(cell, value):
        if cell == 2:
            raise error

    plant.station().on_write = fail
    answer = await two.patch(ALL, json={"values": {"a": 5, "b": 6}})
    found = answer.json()
    assert (answer.status_code, found["reason"]) == (status, error.reason)
    assert (found["written"], found["unknown"]) == (["a"], unknown)
    assert found["unwritten"] == [name for name in ("b",) if name not in unknown]
    audit = (await two.get("/api/v1/audit")).json()["items"]
    assert [(entry["target"], entry["result"]) for entry in audit] == [
        ("b", "unknown" if unknown else "refused"),
        ("a", "ok"),
    ]


async def test_what_was_never_tried_is_not_called_refused(two, plant):
    def fail(cell, value):
        raise RefusedError("locked")

    plant.station().on_write = fail
    await two.patch(ALL, json={"values": {"b": 6, "a": 5}})
    audit = (await two.get("/api/v1/audit")).json()["items"]
    assert [(entry["target"], entry["result"]) for entry in audit] == [
        ("a", "unwritten"),
        ("b", "refused"),
    ]


# ------------------------------------------------------------ conditions ----


async def test_a_write_against_a_newer_reading_is_refused(api, plant):
    tag = (await api.get(T)).headers["etag"]
    for header, status in (('"other"', 412), (tag, 200), (tag, 412), ("*", 200)):
        await plant.clock.advance(0.01)
        answer = await api.put(T, json={"value": 25}, headers={"if-match": header})
        assert answer.status_code == status, header
    assert answer.json()["value"] == 25.0
    assert len(plant.station().writes) == 2


async def test_what_is_read_while_the_write_waits_counts_too(api, plant, until):
    tag = (await api.get(T)).headers["etag"]
    station = plant.station()
    station.memory[1] = 111
    station.hold = asyncio.Event()
    await plant.clock.advance(1)
    write = asyncio.create_task(api.put(T, json={"value": 25}, headers={"if-match": tag}))
    await until(lambda: plant.session()._connection._requests)
    station.hold.set()
    assert (await write).json()["reason"] == "precondition"
    assert station.writes == []


async def test_several_have_the_tag_of_reading_them(two, plant):
    tag = (await two.get(f"{ALL}?properties=b,a")).headers["etag"]
    for header, status in (('"x"', 412), (tag, 200)):
        answer = await two.patch(
            ALL, json={"values": {"b": 5, "a": 6}}, headers={"if-match": header}
        )
        assert answer.status_code == status


async def test_before_the_first_reading_nothing_matches(api, plant, make):
    plant.session().point("t").latest = None
    answer = await api.put(T, json={"value": 25}, headers={"if-match": "*"})
    assert answer.status_code == 412


# ----------------------------------------------------------- repetitions ----


async def test_the_same_request_again_does_nothing_again(api, plant):
    headers = {"idempotency-key": "k1"}
    first = await api.put(T, json={"value": 25}, headers=headers)
    again = await api.put(T, json={"value": 25}, headers=headers)
    assert again.content == first.content
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert len(plant.station().writes) == 1
    await api.put(T, json={"value": 25}, headers={"idempotency-key": "k2"})
    assert len(plant.station().writes) == 2


async def test_a_key_is_for_one_request_only(api, plant):
    headers = {"idempotency-key": "k1"}
    await api.put(T, json={"value": 25}, headers=headers)
    answer = await api.put(T, json={"value": 26}, headers=headers)
    assert (answer.status_code, answer.json()["reason"]) == (409, "conflict")
    answer = await api.put(f"{T}?readback=false", json={"value": 25}, headers=headers)
    assert answer.status_code == 409
    # At another address it is another key.
    assert (await api.patch(ALL, json={"values": {"t": 1}}, headers=headers)).status_code == 200


@pytest.mark.parametrize("key", ["", "x" * 256, "ä"])
async def test_a_key_has_a_form(api, key):
    answer = await api.put(T, json={"value": 25}, headers={"idempotency-key": key.encode()})
    assert (answer.status_code, answer.json()["reason"]) == (422, "config")


async def test_a_repetition_waits_for_the_first(api, plant, until):
    station = plant.station()
    station.hold = asyncio.Event()
    await plant.clock.advance(1)
    headers = {"idempotency-key": "k1"}
    first = asyncio.create_task(api.put(T, json={"value": 25}, headers=headers))
    await until(lambda: plant.session()._connection._requests)
    second = asyncio.create_task(api.put(T, json={"value": 25}, headers=headers))
    # It is answered later than this read, which was asked for after it.
    assert (await api.get(T)).status_code == 200
    station.hold.set()
    answers = await asyncio.gather(first, second)
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[1].headers["idempotent-replayed"] == "true"
    assert len(station.writes) == 1


async def test_what_did_nothing_may_be_tried_again(api, plant):
    headers = {"idempotency-key": "k1"}
    plant.station().reachable = False
    await plant.clock.advance(1.1)
    assert (await api.put(T, json={"value": 25}, headers=headers)).status_code == 503
    plant.station().reachable = True
    await plant.clock.advance(10)
    assert (await api.put(T, json={"value": 25}, headers=headers)).status_code == 200
    assert len(plant.station().writes) == 1


async def test_what_the_device_refused_is_not_asked_again(api, plant):
    asked = []

    def refuse(cell, value):
        asked.append(value)
        raise RefusedError("locked")

    plant.station().on_write = refuse
    headers = {"idempotency-key": "k1"}
    answers = [await api.put(T, json={"value": 25}, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [502, 502]
    assert answers[0].content == answers[1].content
    assert asked == [250]


async def test_what_may_have_been_written_is_not_written_again(api, plant):
    """The link breaks when the value is there already."""
    asked = []

    def break_off(cell, value):
        asked.append(value)
        raise UnavailableError("gone")

    plant.station().on_write = break_off
    headers = {"idempotency-key": "k1"}
    first = await api.put(T, json={"value": 25}, headers=headers)
    assert (first.status_code, first.json()["unknown"]) == (503, ["t"])
    plant.station().on_write = None
    await plant.clock.advance(10)
    again = await api.put(T, json={"value": 25}, headers=headers)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (503, "true")
    assert asked == [250]


async def test_a_written_value_that_cannot_be_read_back_is_told_and_kept(api, plant):
    station = plant.station()

    def go(cell, value):
        station.reachable = False

    station.on_write = go
    headers = {"idempotency-key": "k1"}
    answer = await api.put(T, json={"value": 25}, headers=headers)
    found = answer.json()
    assert answer.status_code == 503
    assert (found["written"], found["unknown"], found["unwritten"]) == (["t"], [], [])
    station.reachable, station.on_write = True, None
    await plant.clock.advance(10)
    assert (await api.put(T, json={"value": 25}, headers=headers)).status_code == 503
    assert len(station.writes) == 1


async def test_a_turn_that_never_came_may_be_waited_for_again(api, plant):
    station = plant.station()
    station.hold = asyncio.Event()
    await plant.clock.advance(1)
    headers = {"idempotency-key": "k1"}
    put = {"url": f"{T}?timeout=0.2", "json": {"value": 25}, "headers": headers}
    answer = await api.put(**put)
    assert (answer.status_code, answer.json()["unwritten"]) == (504, ["t"])
    station.hold.set()
    await plant.clock.settle()
    assert (await api.put(**put)).status_code == 200
    assert len(station.writes) == 1


async def test_a_device_that_says_it_is_busy_may_be_asked_again(api, plant):
    station = plant.station()

    def busy(cell, value):
        raise OverloadedError("busy")

    station.on_write = busy
    headers = {"idempotency-key": "k1"}
    answer = await api.put(T, json={"value": 25}, headers=headers)
    assert (answer.status_code, answer.json()["unwritten"]) == (429, ["t"])
    station.on_write = None
    assert (await api.put(T, json={"value": 25}, headers=headers)).status_code == 200


async def test_a_call_whose_end_is_unknown_is_not_made_again(api, plant):
    asked = []

    def break_off(cell, value):
        asked.append(value)
        raise UnavailableError("gone")

    plant.station().on_write = break_off
    call = {"json": {"arguments": {"t": 6}}, "headers": {"idempotency-key": "k1"}}
    assert (await api.post(f"{DEVICE}/methods/set", **call)).status_code == 503
    plant.station().on_write = None
    await plant.clock.advance(10)
    again = await api.post(f"{DEVICE}/methods/set", **call)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (503, "true")
    assert asked == [60]


async def test_methods_too_are_called_once(api, plant):
    headers = {"idempotency-key": "k1"}
    body = {"arguments": {"t": 6}}
    for _ in range(2):
        answer = await api.post(f"{DEVICE}/methods/set", json=body, headers=headers)
        assert answer.json()["results"]["t"]["value"] == 6
    assert len(plant.station().writes) == 1


# ----------------------------------------------------- derived readings ----


async def test_apps_post_derived_readings(api, plant):
    answer = await api.post(f"{ALL}/sum/readings", json={"value": 5})
    assert (answer.status_code, answer.json()) == (200, {"accepted": 1})
    assert plant.values("sum") == [5.0]
    body = [
        {"value": None, "time": "2026-09-21T14:13:21Z", "reason": "no_input"},
        {"value": 7, "time": 1790000000.5, "quality": "uncertain"},
        {"value": 6, "time": "2026-09-21T14:13:20.2"},
    ]
    assert (await api.post(f"{ALL}/sum/readings", json=body)).json() == {"accepted": 3}
    assert plant.values("sum") == [5.0, 6.0, 7.0, None]
    assert plant.reasons("sum")[-1] == "no_input"


WRONG_READINGS = [
    ({"value": "much"}, 422, "conversion"),
    ({"value": 101}, 422, "out_of_range"),
    ([{"value": 1}, {"value": 101}], 422, "out_of_range"),
    ({"value": 1, "time": "yesterday"}, 422, "config"),
    ({"value": 1, "time": 1e15}, 422, "conversion"),
    ({"value": 1, "time": True}, 422, "config"),
    ({"value": 1, "quality": "fine"}, 422, "config"),
    ({"value": 1, "quality": "bad"}, 422, "conversion"),
    ({"value": 1, "reason": 5}, 422, "config"),
    ({"value": 1, "worth": 5}, 422, "config"),
    ({}, 422, "config"),
    ([], 422, "config"),
    ([[1]], 422, "config"),
    (5, 422, "config"),
]


async def test_a_wrong_reading_is_a_problem_and_none_is_published(api, plant):
    for body, status, reason in WRONG_READINGS:
        answer = await api.post(f"{ALL}/sum/readings", json=body)
        assert (answer.status_code, answer.json()["reason"]) == (status, reason), body
    assert plant.values("sum") == []


async def test_only_derived_properties_take_readings(api):
    answer = await api.post(f"{ALL}/t/readings", json={"value": 5})
    assert (answer.status_code, answer.json()["reason"]) == (403, "access_denied")
    answer = await api.post(f"{ALL}/sum/readings", content=b"x")
    assert (answer.status_code, answer.json()["reason"]) == (400, "malformed")
    await api.post(f"{ALL}/sum/readings", json={"value": 5})
    answer = await api.post(f"{ALL}/sum/readings", json={"value": 5, "time": 5})
    assert (answer.status_code, answer.json()["reason"]) == (409, "conflict")

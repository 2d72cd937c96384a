import asyncio
from dataclasses import replace

import pytest

from device_manager import roster
from device_manager.intake import Streams
from device_manager.node import Node
from device_manager.records import MapperRecord, StateRecord, TwinReading
from device_manager.storage import rows
from device_manager.storage.database import open_database
from device_manager.storage.store import Store
from dmi.clock import SystemClock
from dmi.errors import (
    AccessDeniedError,
    ConflictError,
    ConversionError,
    NotFoundError,
    OutOfRangeError,
    UnavailableError,
)
from dmi.readings import Quality, Reading
from dmi.reports import DeviceState, Outcome, OutcomeStatus
from dmi.resources import Key
from tests.device_manager.plants import MODEL, PUMP, device, model


async def reopened(node, tmp_path):
    await node.close()
    return await Node.open(tmp_path / "node.db")


def reading(value, time=1.0, property="speed", device=PUMP):
    return TwinReading(device, property, Reading(value, time))


async def test_a_reading_of_every_type_survives_a_restart(tmp_path):
    node = await Node.open(tmp_path / "node.db")
    values = {"a": 2**63 - 1, "b": 1.0, "c": True, "d": "Grüße", "e": b"\0\xff", "f": 0.1, "g": 0}
    await node.apply(model(**dict.fromkeys(values, "STRING")), origin="api")
    await node.apply(device(**dict.fromkeys(values)), origin="api")
    readings = [reading(value, 5.5, name) for name, value in values.items()]
    bad = TwinReading(PUMP, "g", Reading(None, 6.0, Quality.BAD, "unavailable"))
    await node.apply_report("s", 1, [*readings, bad], [], [])
    node = await reopened(node, tmp_path)
    kept = {name: twin.reported for name, twin in node.twins(PUMP).items()}
    await node.close()
    assert kept.pop("g") == bad.reading
    assert {name: (type(r.value), r.value) for name, r in kept.items()} == {
        name: (type(value), value) for name, value in values.items() if name != "g"
    }
    assert {r.time for r in kept.values()} == {5.5}


async def test_a_batch_is_applied_once(node):
    await node.apply(model(), device(), origin="api")
    await node.apply_report("s", 1, [reading(1)], [], [])
    await node.apply_report("s", 2, [reading(2)], [], [])
    await node.apply_report("s", 1, [reading(1)], [], [])
    assert node.twin(PUMP, "speed").reported.value == 2
    assert node.committed_sequence("s") == 2
    assert node.committed_sequence("other") == 0


async def test_unknown_devices_and_properties_are_left_out(node):
    await node.apply(model(), device(), origin="api")
    strange = [reading(1, device=Key("default", "ghost")), reading(1, property="ghost")]
    state = DeviceState(Key("default", "ghost"), "online", 1.0)
    outcome = Outcome(Key("default", "ghost"), "speed", 1, OutcomeStatus.WRITTEN, 1.0)
    await node.apply_report("s", 1, [*strange, reading(7)], [state], [outcome])
    assert node.twin(PUMP, "speed").reported.value == 7
    assert node.twins(Key("default", "ghost")) == {}


async def test_a_wish_from_request_to_confirmation_and_over_a_restart(tmp_path):
    node = await Node.open(tmp_path / "node.db")
    await node.apply(model(), device(), origin="api")
    wish = await node.set_desired(PUMP, "speed", "12")
    assert (wish.value, wish.status) == (12, OutcomeStatus.PENDING)
    assert node.twin(PUMP, "speed").desired == wish
    done = Outcome(PUMP, "speed", wish.version, OutcomeStatus.CONFIRMED, 9.0)
    await node.apply_report("s", 1, [], [], [done])
    settled = node.twin(PUMP, "speed").desired
    assert (settled.status, settled.settled_at) == (OutcomeStatus.CONFIRMED, 9.0)
    version = node.version
    node = await reopened(node, tmp_path)
    kept = node.twin(PUMP, "speed").desired
    next_wish = await node.set_desired(PUMP, "speed", 13)
    await node.close()
    assert kept == settled
    assert next_wish.version > version


async def test_the_outcome_of_an_older_wish_is_ignored(node):
    await node.apply(model(), device(), origin="api")
    first = await node.set_desired(PUMP, "speed", 1)
    second = await node.set_desired(PUMP, "speed", 1)
    assert second.version > first.version
    late = Outcome(PUMP, "speed", first.version, OutcomeStatus.FAILED, 9.0)
    await node.apply_report("s", 1, [], [], [late])
    assert node.twin(PUMP, "speed").desired == second


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("speed", "fast", ConversionError),
        ("speed", 1.5, ConversionError),
        ("speed", 10, OutOfRangeError),
        ("serial", "x", AccessDeniedError),
        ("ghost", 1, NotFoundError),
        ("undeclared", 1, NotFoundError),
    ],
)
async def test_a_wish_that_cannot_be_is_refused_before_anything(node, name, value, error):
    await node.apply(
        model(
            speed={"type": "INT", "maximum": "9"},
            serial={"type": "STRING", "accessMode": "ReadOnly"},
        ),
        device(speed=None, serial=None, undeclared=None),
        origin="api",
    )
    before = node.version
    with pytest.raises(error):
        await node.set_desired(PUMP, name, value)
    assert node.version == before


async def test_a_state_keeps_its_beginning_and_the_last_time_online(node):
    await node.apply(model(), device(), origin="api")
    assert node.state(PUMP) == StateRecord("unknown", 0.0)
    for state, since in (("online", 10.0), ("online", 20.0), ("offline", 30.0), ("offline", 40.0)):
        await node.apply_report("", 0, [], [DeviceState(PUMP, state, since, "why", "text")], [])
    assert node.state(PUMP) == StateRecord("offline", 30.0, "why", "text", last_online=30.0)


async def test_an_object_belongs_to_whom_it_came_from(node):
    await node.apply(model(), origin="file:/etc/plant.yaml")
    with pytest.raises(ConflictError, match=r"the file /etc/plant\.yaml"):
        await node.apply(model(speed="FLOAT"), origin="api")
    with pytest.raises(ConflictError):
        await node.delete("DeviceModel", MODEL, "api")
    await node.apply(model(), origin="file:b", replaceable={"file:/etc/plant.yaml"})
    await node.delete("DeviceModel", MODEL, "file:b")
    with pytest.raises(NotFoundError):
        await node.delete("DeviceModel", MODEL, "file:b")


async def test_deleting_a_device_deletes_its_twins_for_good(tmp_path):
    node = await Node.open(tmp_path / "node.db")
    await node.apply(model(), device(speed="3"), origin="api")
    await node.apply_report("s", 1, [reading(1)], [DeviceState(PUMP, "online", 1.0)], [])
    await node.delete("Device", PUMP, "api")
    await node.apply_report("s", 2, [reading(2)], [DeviceState(PUMP, "online", 1.0)], [])
    await node.apply(device(), origin="api")
    node = await reopened(node, tmp_path)
    twin = node.twin(PUMP, "speed")
    state = node.state(PUMP)
    await node.close()
    assert (twin.reported, twin.desired, state.state) == (None, None, "unknown")


# ------------------------------------------------------- wishes of Devices ----


def desired(node, name="speed"):
    wish = node.twin(PUMP, name).desired
    return None if wish is None else (wish.value, wish.status)


async def test_a_desired_value_in_a_device_becomes_a_wish_once(tmp_path):
    node = await Node.open(tmp_path / "node.db")
    await node.apply(model(), device(speed="3", label=""), origin="api")
    first = node.twin(PUMP, "speed").desired
    assert desired(node) == (3, OutcomeStatus.PENDING)
    assert desired(node, "label") is None
    await node.apply(device(speed="3", label="", config={"port": 1}), origin="api")
    node = await reopened(node, tmp_path)
    await node.apply(device(speed="3", label="", config={"port": 2}), origin="api")
    assert node.twin(PUMP, "speed").desired == first
    await node.apply(device(speed="4", label="on"), origin="api")
    assert desired(node) == (4, OutcomeStatus.PENDING)
    assert desired(node, "label") == ("on", OutcomeStatus.PENDING)
    await node.close()


async def test_a_wish_made_since_stays_when_the_device_is_applied_again(node):
    await node.apply(model(), device(speed="3"), origin="api")
    await node.set_desired(PUMP, "speed", 7)
    await node.apply(device(speed="3", label=None), origin="api")
    assert desired(node) == (7, OutcomeStatus.PENDING)
    await node.apply(device(speed=None), origin="api")
    assert desired(node) == (7, OutcomeStatus.PENDING)


async def test_a_desired_value_that_goes_takes_its_wish_along(node):
    await node.apply(model(), device(speed="3"), origin="api")
    await node.apply(device(speed=None), origin="api")
    assert desired(node) is None
    await node.apply(device(speed="3"), origin="api")
    assert desired(node) == (3, OutcomeStatus.PENDING)


@pytest.mark.parametrize(
    ("declared", "text", "reason"),
    [
        ({"type": "INT"}, "fast", "conversion"),
        ({"type": "INT", "maximum": "9"}, "10", "out_of_range"),
        ({"type": "INT", "accessMode": "ReadOnly"}, "1", "access_denied"),
    ],
)
async def test_a_desired_value_that_cannot_be_is_rejected_until_the_model_allows_it(
    node, declared, text, reason
):
    await node.apply(device(speed=text), model(speed=declared), origin="api")
    wish = node.twin(PUMP, "speed").desired
    assert (wish.value, wish.status, wish.reason) == (text, OutcomeStatus.REJECTED, reason)
    assert wish.message
    await node.apply(model(speed="STRING"), origin="api")
    assert desired(node) == (text, OutcomeStatus.PENDING)


async def test_a_wish_that_the_mapper_rejected_is_not_made_again_by_an_edit(node):
    await node.apply(model(), device(speed="3"), origin="api")
    version = node.twin(PUMP, "speed").desired.version
    told = Outcome(PUMP, "speed", version, OutcomeStatus.REJECTED, 9.0, "out_of_range", "too much")
    await node.apply_report("s", 1, [], [], [told])
    await node.apply(device(speed="3", label=None), origin="api")
    assert node.twin(PUMP, "speed").desired.version == version


async def test_clearing_takes_the_wish_back(node, tmp_path):
    await node.apply(model(), device(speed="3"), origin="api")
    await node.clear_desired(PUMP, "speed")
    before = node.version
    await node.clear_desired(PUMP, "speed")
    assert (desired(node), node.version) == (None, before)
    await node.apply(device(speed="3", label=None), origin="api")
    assert desired(node) is None


async def test_a_wish_for_a_device_that_is_deleted_meanwhile_is_told(node):
    await node.apply(model(), device(), origin="api")
    async with asyncio.TaskGroup() as group:
        group.create_task(node.delete("Device", PUMP, "api"))
        await asyncio.sleep(0)
        wish = group.create_task(never_there(node.set_desired(PUMP, "speed", 1)))
    assert "deleted meanwhile" in wish.result()


async def never_there(call):
    with pytest.raises(NotFoundError) as caught:
        await call
    return str(caught.value)


# --------------------------------------------------------------- problems ----


async def test_a_device_without_its_model_has_a_problem_until_it_comes(node):
    await node.apply(device(speed=None, ghost=None), origin="api")
    assert "there is no model default/pumps" in node.problems[PUMP]
    await node.apply(model(), origin="api")
    assert "'ghost' is not in model default/pumps" in node.problems[PUMP]
    await node.apply(model(speed="INT", ghost="INT"), origin="api")
    assert node.problems == {}
    await node.delete("DeviceModel", MODEL, "api")
    assert PUMP in node.problems
    await node.delete("Device", PUMP, "api")
    assert node.problems == {}


async def test_a_problem_that_comes_and_goes_with_the_model_is_told(node):
    await node.apply(device(speed=None), origin="api")
    with node.feed.reader() as reader:
        await node.apply(model(), origin="api")
        await node.apply(model(speed="FLOAT"), origin="api")
        await node.delete("DeviceModel", MODEL, "api")
        events = [item.data for item in reader.take()]
    told = [(event["event"], event.get("problem", "")[:8]) for event in events]
    assert told == [
        *[("model", ""), ("device", ""), ("model", ""), ("model", "")],
        ("device", "spec.dev"),
    ]


async def test_a_device_that_changes_its_model_is_judged_by_the_other_one(node):
    await node.apply(model(), model("others", other="INT"), device(speed=None), origin="api")
    await node.apply(device(of="others", speed=None), origin="api")
    assert "not in model default/others" in node.problems[PUMP]
    await node.apply(model("others", speed="INT"), origin="api")
    assert node.problems == {}
    assert node.users(MODEL) == ()


# ---------------------------------------------------------------- changes ----


async def changes_of(node, call):
    before = node.version
    await call
    return [(change.kind, change.property) for change in node.changes_since(before)]


async def test_each_change_is_told_by_what_it_is(node):
    assert await changes_of(node, node.apply(model(), origin="api")) == [("model", "")]
    assert await changes_of(node, node.apply(device(speed="1"), origin="api")) == [
        ("device", ""),
        ("desired", "speed"),
    ]
    assert await changes_of(node, node.apply(device(speed="2"), origin="api")) == [
        ("desired", "speed")
    ]
    assert await changes_of(node, node.apply(device(speed="2"), model(), origin="api")) == []
    assert await changes_of(node, node.set_desired(PUMP, "speed", 3)) == [("desired", "speed")]
    assert await changes_of(node, node.clear_desired(PUMP, "speed")) == [("desired", "speed")]
    assert await changes_of(node, node.delete("Device", PUMP, "api")) == [("device", "")]
    assert await changes_of(node, node.delete("DeviceModel", MODEL, "api")) == [("model", "")]


async def test_of_two_versions_in_one_call_the_last_counts(node):
    await node.apply(model(), device(), origin="api")
    await node.apply(
        model(speed="BOOLEAN"), device(config={"a": 1}), model(), device(), origin="api"
    )
    assert node.models[MODEL] == model()
    assert node.devices[PUMP] == device()


async def test_waiting_ends_with_the_next_change(node):
    async with asyncio.TaskGroup() as group:
        waits = [group.create_task(node.wait_change(node.version)) for _ in range(3)]
        await asyncio.sleep(0)
        assert not any(wait.done() for wait in waits)
        await node.apply(model(), origin="api")
    await node.wait_change(0)


async def test_who_applies_and_is_cancelled_keeps_others_waiting_until_the_commit(node):
    applying = asyncio.create_task(node.apply(model(), device(), origin="file:/a.yaml"))
    await asyncio.sleep(0)
    applying.cancel()
    with pytest.raises(ConflictError, match="belongs to the file"):
        await node.apply(device(speed="5"), origin="api")
    with pytest.raises(asyncio.CancelledError):
        await applying
    assert node.origin("Device", PUMP) == "file:/a.yaml"


# ------------------------------------------------------- mappers, feed, upstreams ----


async def test_mappers_that_are_gone_are_forgotten_by_number(node, tmp_path, monkeypatch):
    monkeypatch.setattr(roster, "MOST_KEPT", 3)
    living = MapperRecord("m", "modbus", "old", "1", "v1", alive=True, last_seen=1.0)
    await node.put_mapper(living)
    now = SystemClock().time()
    for number in range(4):
        record = MapperRecord("m", "modbus", str(number), "1", "v1", last_seen=now + number)
        await node.put_mapper(record)
    assert list(node.mappers) == ["m/old", "m/2", "m/3"]
    node = await reopened(node, tmp_path)
    assert sorted(node.mappers) == ["m/2", "m/3", "m/old"]
    await node.close()


async def test_mappers_that_are_gone_are_forgotten_by_age(node):
    now = SystemClock().time()
    old = MapperRecord("m", "modbus", "0", "1", "v1", last_seen=now - roster.LONGEST_KEPT - 1)
    await node.put_mapper(old)
    recent = replace(old, instance="1", last_seen=now - roster.LONGEST_KEPT + 60)
    await node.put_mapper(recent)
    await node.put_mapper(replace(old, instance="2", last_seen=now))
    assert list(node.mappers) == ["m/1", "m/2"]


async def test_a_mapper_is_remembered_but_not_its_life(tmp_path):
    node = await Node.open(tmp_path / "node.db")
    record = MapperRecord("modbus", "modbus", "0", "1.0", "v1", alive=True, abilities=["read"])
    await node.put_mapper(record)
    assert node.mappers == {"modbus/0": record}
    node = await reopened(node, tmp_path)
    await node.close()
    assert node.mappers == {"modbus/0": replace(record, alive=False)}


async def test_everything_that_changes_goes_to_the_feed(node):
    with node.feed.reader() as reader:
        await node.apply(model(), device(speed="1"), origin="api")
        await node.apply_report("s", 1, [reading(5)], [DeviceState(PUMP, "online", 1.0)], [])
        await node.apply_report("s", 2, [], [DeviceState(PUMP, "online", 1.0)], [])
        await node.put_mapper(MapperRecord("m", "modbus", "0", "1", "v1"))
        node.report_upstream("file:x", ["broken"])
        node.report_upstream("file:x", ["broken"])
        node.report_upstream("file:x", [])
        node.report_upstream("file:x", [])
        await node.delete("Device", PUMP, "api")
        await node.delete("DeviceModel", MODEL, "api")
        events = [item.data for item in reader.take()]
    assert [event["event"] for event in events] == [
        *("model", "device", "desired", "twin", "state", "mapper", "upstream", "upstream"),
        *("device", "model"),
    ]
    assert events[2]["desired"]["value"] == 1
    assert events[3]["reported"]["value"] == 5
    assert events[3]["desired"]["value"] == 1
    assert events[4]["state"] == "online"
    assert [event["errors"] for event in events[6:8]] == [["broken"], []]
    assert [event["deleted"] for event in events[8:]] == [True, True]


async def test_setting_the_state_of_a_stranger_is_an_error(node):
    with pytest.raises(NotFoundError):
        await node.set_state(PUMP, StateRecord("online", 1.0))
    await node.apply(device(), origin="api")
    await node.set_state(PUMP, StateRecord("online", 1.0))
    await node.set_state(PUMP, StateRecord("online", 1.0))
    assert node.state(PUMP).state == "online"


# ------------------------------------------------------------ a full disk ----


class FullDisk:
    """A node on a database that can be filled and emptied."""

    def __init__(self, path):
        self.connection = open_database(path)
        contents = rows.load(self.connection)
        self.node = Node(Store(self.connection, path), contents, SystemClock())

    def fill(self):
        (pages,) = self.connection.execute("PRAGMA page_count").fetchone()
        self.connection.execute(f"PRAGMA max_page_count = {pages}")

    def empty(self):
        self.connection.execute("PRAGMA max_page_count = 1000000")


async def test_on_a_full_disk_reports_are_not_acknowledged_and_then_applied_once(tmp_path):
    disk = FullDisk(tmp_path / "node.db")
    node = disk.node
    await node.apply(model(label="STRING"), device(label=None), origin="api")
    await node.apply_report("s", 1, [reading("small", 1.0, "label")], [], [])
    disk.fill()
    batch = [reading("x" * 100_000, 2.0, "label")]
    with pytest.raises(UnavailableError):
        await node.apply_report("s", 2, batch, [], [])
    assert "full" in node.storage_error
    assert node.committed_sequence("s") == 1
    for call in (
        node.apply_report("s", 2, batch, [], []),
        node.apply(model("other"), origin="api"),
        node.set_desired(PUMP, "label", "x"),
        node.delete("Device", PUMP, "api"),
    ):
        with pytest.raises(UnavailableError):
            await call
    assert set(node.models) == {MODEL}
    disk.empty()
    await until(lambda: not node.storage_error)
    await node.apply_report("s", 2, batch, [], [])
    assert node.committed_sequence("s") == 2
    await node.apply_report("s", 3, [reading("end", 3.0, "label")], [], [])
    node = await reopened(node, tmp_path)
    value = node.twin(PUMP, "label").reported.value
    await node.close()
    assert value == "end"


async def test_a_batch_sent_again_while_its_first_is_on_its_way_waits_for_it(node):
    await node.apply(model(), device(), origin="api")
    first = node.apply_report("s", 1, [reading(1)], [], [])
    again = node.apply_report("s", 1, [reading(2)], [], [])
    await asyncio.gather(first, again)
    assert node.committed_sequence("s") == 1
    assert node.twin(PUMP, "speed").reported.value == 1


def test_the_streams_that_were_silent_longest_are_forgotten():
    streams = Streams({"a": 1, "b": 1, "c": 1}, remembered=2)
    streams.take("a", 2)
    streams.commit("a", 2)
    assert len(streams.prune()) == 1
    assert (streams.committed("a"), streams.committed("b"), streams.committed("c")) == (2, 0, 1)
    assert streams.prune() == []
    assert streams.take("b", 1)


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a thread's doing has no event
            await asyncio.sleep(0.005)

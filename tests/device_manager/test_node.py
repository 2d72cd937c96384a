import pytest

from device_manager.node import Node
from device_manager.records import StateRecord, TwinReading
from dmi.errors import (
    AccessDeniedError,
    ConflictError,
    ConversionError,
    NotFoundError,
    OutOfRangeError,
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


async def test_a_wish_from_request_to_confirmation(node, tmp_path):
    await node.apply(model(), device(), origin="api")
    wish = await node.set_desired(PUMP, "speed", "12")
    assert (wish.value, wish.status) == (12, OutcomeStatus.PENDING)
    assert node.twin(PUMP, "speed").desired == wish
    done = Outcome(PUMP, "speed", wish.version, OutcomeStatus.CONFIRMED, 9.0)
    await node.apply_report("s", 1, [], [], [done])
    settled = node.twin(PUMP, "speed").desired
    assert (settled.status, settled.settled_at) == (OutcomeStatus.CONFIRMED, 9.0)
    stored = await Node.open(tmp_path / "other.db")
    await stored.close()


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

"""Commands of devices that a v1beta1 mapper serves."""

import pytest

from device_manager.commands.wishing import PROCESS, Wishing
from device_manager.dmi_service.leases import Leases
from device_manager.records import MapperRecord
from dmi.reports import Outcome, OutcomeStatus, Phase
from dmi.resources import Device
from tests.device_manager.dmi_service.go_mapper import go_mapper, manager, twins
from tests.device_manager.dmi_service.v1_mapper import serving, until
from tests.device_manager.plants import PUMP, device, model

GO = MapperRecord("go", "modbus", "0", "1", "v1beta1", "/sock", alive=True)


def declaring(name="pump"):
    data = device(name).to_json()
    data["spec"]["methods"] = [{"name": "set", "propertyNames": ["speed", "label"]}]
    return Device.model_validate(data)


@pytest.fixture
async def declared(plant):
    await plant.apply(declaring(), origin="api")
    return plant


@pytest.fixture
def wishing(declared, clock):
    return Wishing(declared, Leases(declared, clock=clock), clock)


@pytest.fixture
async def record(wishing, submit, declared):
    """A command that has become two wishes."""
    await declared.put_mapper(GO)
    record = await submit("set", speed=7, label="x")
    assert await wishing.look()
    return record


def wish(node, name="speed"):
    return node.twin(PUMP, name).desired


async def outcome(node, status, *names, reason="", message=""):
    told = [
        Outcome(PUMP, name, wish(node, name).version, status, 5.0, reason, message)
        for name in names or ("speed", "label")
    ]
    await node.apply_report("", 0, [], [], told)


async def test_arguments_become_wishes_and_their_fulfilment_the_end(declared, wishing, record):
    book = declared.commands
    assert (wish(declared).value, wish(declared, "label").value) == (7, "x")
    given = book.find(record.id)
    assert (given.process, given.mapper, given.phase) == (PROCESS, "go/0", Phase.ACCEPTED)
    await outcome(declared, OutcomeStatus.WRITTEN, "speed")
    await wishing.look()
    assert book.find(record.id).phase is Phase.RUNNING
    await outcome(declared, OutcomeStatus.CONFIRMED)
    await wishing.look()
    ended = book.find(record.id)
    assert (ended.phase, ended.results) == (Phase.SUCCEEDED, {"speed": 7, "label": "x"})
    assert wish(declared).value == 7
    assert not await wishing.look()


async def test_what_is_not_taken_by_the_deadline_is_taken_back(declared, wishing, record, clock):
    await wishing.look()
    assert record.id in declared.commands.open
    await clock.advance(31)
    await wishing.look()
    assert declared.commands.find(record.id).phase is Phase.EXPIRED
    assert wish(declared) is None


async def test_a_command_is_taken_back_with_its_wishes(declared, wishing, record):
    declared.commands.cancel(record.id)
    await wishing.look()
    assert declared.commands.find(record.id).phase is Phase.CANCELLED
    assert wish(declared, "label") is None


async def test_a_refusal_ends_it(declared, wishing, record):
    await outcome(declared, OutcomeStatus.REJECTED, "label", reason="access_denied", message="No.")
    await wishing.look()
    ended = declared.commands.find(record.id)
    assert (ended.phase, ended.reason, ended.message) == (
        Phase.UNSUCCESSFUL,
        "access_denied",
        "No.",
    )


async def test_another_wish_ends_it(declared, wishing, record):
    await declared.set_desired(PUMP, "speed", 8)
    await wishing.look()
    assert declared.commands.find(record.id).reason == "conflict"
    assert wish(declared).value == 8


async def test_a_device_that_never_reports_it_leaves_it_unknown(declared, wishing, record, clock):
    await outcome(declared, OutcomeStatus.WRITTEN)
    await clock.advance(59)
    await wishing.look()
    assert declared.commands.find(record.id).phase is Phase.RUNNING
    await clock.advance(2)
    await wishing.look()
    assert declared.commands.find(record.id).reason == "outcome_unknown"


async def test_it_waits_for_a_mapper_and_leaves_everything_else_alone(
    declared, wishing, submit, clock
):
    own = await submit("start")
    given = await submit("set", speed=1)
    declared.commands.give(given, "m/0", "p1")
    assert not await wishing.look()
    waiting = await submit("set", speed=2)
    assert await wishing.look()
    assert wish(declared) is None
    await clock.advance(31)
    await declared.put_mapper(GO)
    await wishing.look()
    assert wish(declared) is None
    assert [declared.commands.find(one.id).process for one in (own, given, waiting)] == [
        "",
        "p1",
        "",
    ]


async def test_a_wish_that_cannot_be_ends_it(declared, wishing, submit):
    await declared.put_mapper(GO)
    record = await submit("set", speed=7, gone=1)
    await wishing.look()
    assert declared.commands.find(record.id).reason == "not_found"
    assert wish(declared) is None


async def test_a_full_disk_makes_it_wait(declared, wishing, submit, monkeypatch):
    await declared.put_mapper(GO)
    record = await submit("set", speed=7)
    monkeypatch.setattr(declared._store, "error", "disk full")
    await wishing.look()
    assert declared.commands.find(record.id).process == ""
    monkeypatch.setattr(declared._store, "error", "")
    await wishing.look()
    assert declared.commands.find(record.id).process == PROCESS


async def test_through_a_mapper_of_another_language(node):
    await node.apply(model(), declaring(), origin="api")
    async with serving(node) as (_, line, _), go_mapper() as go:
        early = await node.commands.submit(PUMP, "set", {"label": "x"}, 30)
        go.take(await manager(line).MapperRegister(go.registration()))
        await until(lambda: go.desired("pump", "label") == "x")
        await manager(line).ReportDeviceStatus(twins("x", name="label"))
        await until(lambda: node.commands.find(early.id).phase is Phase.SUCCEEDED)

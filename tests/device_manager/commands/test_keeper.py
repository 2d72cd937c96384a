import asyncio
from contextlib import asynccontextmanager

import pytest

from device_manager.commands.keeper import GRACE, PATIENCE, CommandKeeper
from device_manager.commands.records import OUTCOME_UNKNOWN
from device_manager.dmi_service.leases import Leases
from dmi.clock import SystemClock
from dmi.reports import CommandProgress, Phase
from tests.device_manager.dmi_service.v1_mapper import until
from tests.device_manager.plants import PUMP, device, model


@pytest.fixture
def keeper(plant, clock):
    return CommandKeeper(plant, Leases(plant, clock=clock), clock)


async def test_what_nobody_was_given_expires(keeper, book, submit, clock):
    record = await submit(seconds=2)
    await clock.advance(1.9)
    keeper.look()
    assert record.id in book.open
    await clock.advance(0.2)
    keeper.look()
    ended = book.find(record.id)
    assert (ended.phase, ended.reason) == (Phase.EXPIRED, "deadline")


async def test_commands_of_a_deleted_device_end(keeper, book, submit, plant):
    record = await submit()
    given = await submit()
    book.give(given, "m/0", "p1")
    await plant.delete("Device", PUMP, "api")
    keeper.look()
    ended = book.find(record.id)
    assert (ended.phase, ended.reason) == (Phase.UNSUCCESSFUL, "not_found")
    # Perhaps it runs; its mapper will say.
    assert given.id in book.open


async def test_a_mapper_that_stays_away_is_given_up(keeper, book, submit, clock):
    record = await submit(seconds=2)
    with book.stream("m/0", "p1"):
        book.give(record, "m/0", "p1")
        book.hear("p1", CommandProgress(record.id, Phase.RUNNING, 1.0))
        await clock.advance(2 * PATIENCE)
        keeper.look()
        await clock.advance(GRACE + 1)
        keeper.look()
        assert record.id in book.open
    keeper.look()
    assert record.id in book.open
    await clock.advance(GRACE + 1)
    keeper.look()
    ended = book.find(record.id)
    assert (ended.phase, ended.reason) == (Phase.UNSUCCESSFUL, OUTCOME_UNKNOWN)
    assert "did not come back" in ended.message


async def test_a_mapper_that_never_answers_is_given_up(keeper, book, submit, clock):
    record = await submit(seconds=2)
    with book.stream("m/0", "p1"):
        book.give(record, "m/0", "p1")
        await clock.advance(PATIENCE + 1)
        keeper.look()
        assert record.id in book.open
        await clock.advance(2)
        keeper.look()
        assert record.id in book.open
        await clock.advance(GRACE + 1)
        keeper.look()
    assert "never said" in book.find(record.id).message


async def test_a_manager_that_was_stopped_itself_hears_what_has_come_meanwhile(
    keeper, book, submit, clock
):
    record = await submit(seconds=2)
    book.give(record, "m/0", "p1")
    await clock.advance(10 * PATIENCE)
    keeper.look()
    with book.stream("m/0", "p1"):
        book.hear("p1", CommandProgress(record.id, Phase.RUNNING, 1.0))
        await clock.advance(GRACE + 1)
        keeper.look()
        assert book.find(record.id).phase is Phase.RUNNING
    keeper.look()
    assert record.id in book.open
    book.hear("p1", CommandProgress(record.id, Phase.SUCCEEDED, 1.0))
    keeper.look()
    assert book.find(record.id).phase is Phase.SUCCEEDED


@asynccontextmanager
async def running(keeper):
    task = asyncio.create_task(keeper.run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_it_looks_at_each_deadline_by_itself(node):
    await node.apply(model(), device(), origin="api")
    book = node.commands
    async with running(CommandKeeper(node, Leases(node), SystemClock(), patience=0.05, grace=0.05)):
        unsent = await book.submit(PUMP, "start", {}, 0.05)
        given = await book.submit(PUMP, "start", {}, 0.05)
        book.give(given, "m/0", "p1")
        await until(lambda: not book.open)
    assert book.find(unsent.id).phase is Phase.EXPIRED
    assert book.find(given.id).reason == OUTCOME_UNKNOWN


async def test_a_deleted_device_is_noticed(node):
    await node.apply(model(), device(), origin="api")
    leases, book = Leases(node), node.commands
    async with running(CommandKeeper(node, leases, SystemClock())):
        record = await book.submit(PUMP, "start", {}, 30)
        await node.delete("Device", PUMP, "api")
        leases.bell.ring()
        await until(lambda: not book.open)
    assert book.find(record.id).reason == "not_found"

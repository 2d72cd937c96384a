import asyncio
import math

import pytest

from device_manager.commands import book as books
from device_manager.commands import room
from device_manager.commands.records import OUTCOME_UNKNOWN, command_view
from device_manager.node import Node
from device_manager.storage import database
from dmi.errors import ConflictError, NotFoundError, OverloadedError, UnavailableError
from dmi.reports import CommandProgress, Phase
from tests.device_manager.plants import PUMP

VALUES = {"a": 1, "b": 1.5, "c": True, "d": "ä", "e": b"\0", "f": -math.inf, "g": False}


def progress(record, phase, **more):
    return CommandProgress(record.id, phase, more.pop("time", 5.0), **more)


async def test_a_command_is_there_once_it_is_on_disk(book, submit, plant):
    with plant.feed.reader() as reader:
        coming = asyncio.ensure_future(submit(speed=5))
        await asyncio.sleep(0)
        assert not book.records
        record = await coming
        assert book.find(record.id) is record
        (event,) = reader.take()
    assert event.data == {"event": "command", **command_view(record)}
    assert (event.data["phase"], event.data["arguments"]) == ("accepted", {"speed": 5})
    assert record.deadline == record.created + 30
    with pytest.raises(NotFoundError):
        book.find("another")


async def test_everything_survives_a_restart(book, submit, plant, tmp_path, clock):
    waiting = await submit(key="mine", **VALUES)
    given = await submit("stop")
    book.give(given, "m/0", "p1")
    book.hear("p1", progress(given, Phase.RUNNING, percent=40))
    ended = await submit("stop")
    book.give(ended, "m/0", "p1")
    book.hear("p1", progress(ended, Phase.SUCCEEDED, results=VALUES))
    before = dict(book.records)
    await plant.close()
    again = await Node.open(tmp_path / "node.db", clock)
    assert dict(again.commands.records) == before
    assert list(again.commands.open) == [waiting.id, given.id]
    assert (await again.commands.submit(PUMP, "start", {}, 30)).id > max(before)
    kept = again.commands.find(waiting.id).arguments
    assert [(type(value), value) for value in kept.values()] == [
        (type(value), value) for value in VALUES.values()
    ]
    assert (await again.commands.submit(PUMP, "start", VALUES, 30, key="mine")).id == waiting.id
    await again.close()


async def test_an_older_database_gets_room_for_commands(tmp_path, clock):
    path = tmp_path / "old.db"
    connection = database.open_database(path)
    connection.execute("DROP TABLE command")
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    node = await Node.open(path, clock)
    assert (await node.commands.submit(PUMP, "start", {}, 1)).phase is Phase.ACCEPTED
    await node.close()


async def test_the_same_key_gives_the_same_command(book, submit):
    one, other = await asyncio.gather(submit(key="k", speed=1), submit(key="k", speed=1))
    assert one.id == other.id
    assert (await submit(key="k", speed=1)).id == one.id
    assert len(book.records) == 1
    for different in ({"speed": 2}, {"speed": 1.0}, {"method": "stop", "speed": 1}):
        with pytest.raises(ConflictError, match="belongs to another call"):
            await submit(key="k", **different)


async def test_a_caller_that_goes_away_leaves_one_command(book, submit):
    first = asyncio.ensure_future(submit(key="k"))
    await asyncio.sleep(0)
    first.cancel()
    second = await submit(key="k")
    with pytest.raises(asyncio.CancelledError):
        await first
    assert list(book.records) == [second.id]


async def test_a_full_disk_takes_no_command(book, submit, plant, monkeypatch):
    monkeypatch.setattr(plant._store, "error", "disk full")
    with pytest.raises(UnavailableError, match="disk full"):
        await submit()
    assert not book.records


async def test_too_many_open_commands_are_refused(submit, monkeypatch):
    monkeypatch.setattr(books, "MOST_OPEN", 2)
    await submit()
    await submit()
    with pytest.raises(OverloadedError):
        await submit()


async def test_progress_goes_forward_only_and_from_whom_it_was_given_to(book, submit, clock):
    record = await submit()
    book.hear("p1", progress(record, Phase.RUNNING))
    assert book.find(record.id).phase is Phase.ACCEPTED
    book.give(record, "m/0", "p1")
    book.hear("p2", progress(record, Phase.RUNNING))
    assert book.find(record.id).phase is Phase.ACCEPTED
    book.hear("p1", progress(record, Phase.RUNNING, time=clock.time() + 99))
    running = book.find(record.id)
    assert (running.phase, running.started) == (Phase.RUNNING, clock.time())
    book.hear("p1", progress(record, Phase.ACCEPTED))
    book.hear("p1", progress(record, Phase.RUNNING))
    assert book.find(record.id) is running
    book.hear("p1", progress(record, Phase.RUNNING, percent=50))
    assert book.find(record.id).percent == 50
    book.hear("p1", progress(record, Phase.UNSUCCESSFUL, reason="refused", message="no"))
    book.hear("p1", progress(record, Phase.SUCCEEDED))
    ended = book.find(record.id)
    assert (ended.phase, ended.reason, ended.updated) == (Phase.UNSUCCESSFUL, "refused", 5.0)
    assert ended.started == running.started


async def test_an_outcome_is_settled_after_its_commit(book, submit):
    record = await submit()
    with book.stream("m/0", "p1"):
        book.give(record, "m/0", "p1")
        assert [one.id for one in book.given_to("p1")] == [record.id]
        book.hear("p1", progress(record, Phase.SUCCEEDED))
        assert book.take_settled("p1") == []
        await book.flush()
        assert book.take_settled("p1") == [record.id]
        assert book.take_settled("p1") == []
        book.hear("p1", progress(record, Phase.SUCCEEDED))
        book.hear("p1", CommandProgress("forgotten", Phase.SUCCEEDED, 1.0))
        assert book.take_settled("p1") == sorted([record.id, "forgotten"])
    book.hear("p1", progress(record, Phase.SUCCEEDED))
    assert book.take_settled("p1") == []


async def test_events_leave_long_arguments_out(book, submit, plant):
    with plant.feed.reader() as reader:
        record = await submit(text="x" * 5000)
        (event,) = reader.take()
    assert event.data["arguments"] == {}
    assert book.find(record.id).arguments == {"text": "x" * 5000}


async def test_results_that_are_too_long_are_not_kept(book, submit):
    record = await submit()
    book.give(record, "m/0", "p1")
    book.hear("p1", progress(record, Phase.SUCCEEDED, results={"x": "y" * 300_000}))
    ended = book.find(record.id)
    assert (ended.phase, ended.reason, ended.results) == (Phase.SUCCEEDED, "too_large", {})


async def test_what_an_older_process_was_given_is_lost(book, submit):
    one, other, unsent = [await submit() for _ in range(3)]
    with book.stream("m/0", "p1"), book.stream("m/1", "q1"):
        book.give(one, "m/0", "p1")
        book.give(other, "m/1", "q1")
    with book.stream("m/0", "p1"):
        assert book.find(one.id).phase is Phase.ACCEPTED
    with book.stream("m/0", "p2"):
        lost = book.find(one.id)
        assert (lost.phase, lost.reason) == (Phase.UNSUCCESSFUL, OUTCOME_UNKNOWN)
        assert "started anew" in lost.message
    assert list(book.open) == [other.id, unsent.id]


async def test_commands_are_taken_back_until_they_begin(book, submit):
    record = await submit()
    assert book.cancel(record.id).phase is Phase.CANCELLED
    assert book.cancel(record.id).phase is Phase.CANCELLED
    given = await submit()
    book.give(given, "m/0", "p1")
    asked = book.cancel(given.id)
    assert (asked.phase, asked.cancelling, asked.order.cancel) == (Phase.ACCEPTED, True, True)
    assert book.cancel(given.id) is asked
    book.hear("p1", progress(given, Phase.RUNNING))
    book.hear("p1", progress(given, Phase.SUCCEEDED))
    with pytest.raises(ConflictError, match="has ended"):
        book.cancel(given.id)
    begun = await submit()
    book.give(begun, "m/0", "p1")
    book.hear("p1", progress(begun, Phase.RUNNING))
    with pytest.raises(ConflictError, match="has begun"):
        book.cancel(begun.id)


async def test_ended_commands_are_forgotten_by_number(book, submit, monkeypatch, plant, tmp_path):
    monkeypatch.setattr(room, "MOST_KEPT", 3)
    kept = await submit()
    for number in range(5):
        book.cancel((await submit(key=f"k{number}")).id)
    last = await submit()
    assert kept.id in book.records
    assert len(book.records) == 3
    assert last.id in book.records
    # Its key is free again, for any call.
    assert (await submit("stop", key="k0")).method == "stop"
    await plant.close()
    again = await Node.open(tmp_path / "node.db")
    assert dict(again.commands.records).keys() == book.records.keys()
    await again.close()


async def test_ended_commands_are_forgotten_by_age_and_size(book, submit, clock, monkeypatch):
    old = await submit()
    book.cancel(old.id)
    await clock.advance(room.LONGEST_KEPT + 1)
    fresh = await submit(text="x" * 100)
    assert list(book.records) == [fresh.id]
    book.cancel(fresh.id)
    monkeypatch.setattr(room, "MOST_BYTES", 150)
    last = await submit(text="x" * 100)
    assert list(book.records) == [last.id]

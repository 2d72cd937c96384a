import asyncio

import pytest

from device_manager.changes import ChangeLog
from device_manager.records import Change
from dmi.resources import Key

KEY = Key("default", "pump")


def record(log, count=1):
    for _ in range(count):
        log.record(Change(log.reserve(), "device", KEY))


def versions(changes):
    return [change.version for change in changes]


def test_what_came_after_a_version():
    log = ChangeLog(100)
    record(log, 5)
    assert log.version == 105
    assert versions(log.since(102)) == [103, 104, 105]
    assert log.since(105) == []
    assert versions(log.since(100)) == [101, 102, 103, 104, 105]


@pytest.mark.parametrize("version", [99, 106])
def test_a_version_of_another_time_is_forgotten(version):
    log = ChangeLog(100)
    record(log, 5)
    assert log.since(version) is None


def test_only_the_last_changes_are_remembered():
    log = ChangeLog(0, remembered=3)
    record(log, 5)
    assert versions(log.since(2)) == [3, 4, 5]
    assert log.since(1) is None


def test_numbers_that_were_left_out_do_no_harm():
    log = ChangeLog(0, remembered=3)
    for _ in range(5):
        log.reserve()
        record(log)
    assert log.version == 10
    assert versions(log.since(6)) == [8, 10]
    assert versions(log.since(7)) == [8, 10]
    assert versions(log.since(9)) == [10]
    assert log.since(3) is None


async def test_a_cancelled_waiter_does_not_wake_the_others():
    log = ChangeLog(0)
    async with asyncio.TaskGroup() as group:
        first, second = (group.create_task(log.wait(0)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        assert not second.done()
        record(log)

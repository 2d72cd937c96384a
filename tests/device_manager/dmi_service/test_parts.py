import asyncio
from contextlib import suppress

import pytest

from device_manager.dmi_service import leases as leases_module
from device_manager.dmi_service.assignment import choose
from device_manager.dmi_service.counters import Counters, count
from device_manager.dmi_service.leases import Leases
from device_manager.dmi_service.limits import Limiter
from device_manager.dmi_service.streams import Turns, expected
from device_manager.records import MapperRecord
from dmi.errors import ConfigError, ConflictError, LostSessionError, OverloadedError
from dmi.resources import Key

KEYS = [Key("default", f"device-{number}") for number in range(3000)]


def test_every_instance_gets_its_share():
    shares = dict.fromkeys(("a", "b", "c"), 0)
    for key in KEYS:
        shares[choose(key, list(shares))] += 1
    assert all(800 < share < 1200 for share in shares.values())


def test_the_order_of_instances_means_nothing():
    assert [choose(key, ["a", "b"]) for key in KEYS] == [choose(key, ["b", "a"]) for key in KEYS]


def test_only_the_devices_of_the_one_that_left_move():
    for key in KEYS:
        before = choose(key, ["a", "b", "c"])
        if before != "c":
            assert choose(key, ["a", "b"]) == before


def test_nobody_to_choose_from():
    assert choose(KEYS[0], []) is None
    assert choose(KEYS[0], ["a"]) == "a"


class Clock:
    now = 0.0

    def monotonic(self):
        return self.now


def test_a_limiter_refills_and_keeps_callers_apart():
    clock = Clock()
    limiter = Limiter(10, 2, clock)
    limiter.admit("a")
    limiter.admit("a")
    with pytest.raises(OverloadedError, match="more than 10 a second"):
        limiter.admit("a")
    limiter.admit("b")
    clock.now = 0.1
    limiter.admit("a")
    with pytest.raises(OverloadedError):
        limiter.admit("a")
    clock.now = 60.0
    limiter.admit("a")
    limiter.admit("a")
    with pytest.raises(OverloadedError):
        limiter.admit("a")


def test_a_limiter_remembers_a_bounded_number_of_callers():
    limiter = Limiter(1, 1, Clock())
    for number in range(1000):
        limiter.admit(f"caller {number}")
    assert len(limiter._buckets) <= 256


def test_totals_by_made_up_keys_are_bounded():
    totals = {}
    for number in range(1000):
        count(totals, f"reason {number}")
    assert len(totals) == 65
    assert sum(totals.values()) == 1000
    counters = Counters()
    counters.call("UpdateDevice", "ok")
    counters.call("UpdateDevice", "ok")
    assert counters.calls == {("UpdateDevice", "ok"): 2}


async def hold(turns, name, log, word):
    try:
        async with turns.turn(name):
            log.append(f"{word} begins")
            await asyncio.sleep(60)
    except ConflictError:
        log.append(f"{word} lost")
    finally:
        log.append(f"{word} ends")


async def test_the_newest_of_three_streams_stays():
    turns, log = Turns(), []
    async with asyncio.TaskGroup() as group:
        for word in ("first", "second", "third"):
            last = group.create_task(hold(turns, "x", log, word))
        other = group.create_task(hold(turns, "y", log, "other"))
        for _ in range(50):
            await asyncio.sleep(0)
        assert log[-1] == "third begins"
        assert "second begins" not in log
        last.cancel()
        other.cancel()
    assert log.index("first ends") < log.index("third begins")
    assert turns._running == {}


async def test_a_stream_that_gave_up_waiting_leaves_the_older_one_its_turn():
    turns, log, ended, busy = Turns(), [], asyncio.Event(), asyncio.Event()

    async def slow_to_end():
        with suppress(ConflictError):
            async with turns.turn("x"):
                try:
                    busy.set()
                    await asyncio.sleep(60)
                finally:
                    await ended.wait()
                    log.append("first ends")

    async with asyncio.TaskGroup() as group:
        group.create_task(slow_to_end())
        await busy.wait()
        second = group.create_task(hold(turns, "x", log, "second"))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.wait([second])
        third = group.create_task(hold(turns, "x", log, "third"))
        for _ in range(10):
            await asyncio.sleep(0)
        assert "third begins" not in log
        ended.set()
        for _ in range(50):
            await asyncio.sleep(0)
        third.cancel()
    assert log.index("first ends") < log.index("third begins")
    assert turns._running == {}


async def test_a_timeout_of_the_stream_itself_is_its_own():
    turns = Turns()
    with pytest.raises(TimeoutError):
        async with turns.turn("x"):
            raise TimeoutError


def test_the_error_of_ours_is_found_in_a_group():
    ours = ConfigError("wrong")
    group = ExceptionGroup("", [ValueError(), ExceptionGroup("", [ours])])
    assert expected(group) is ours
    bug = ExceptionGroup("", [ValueError()])
    assert expected(bug) is bug


async def serve_and_close(leases, session):
    async with session.stream():
        leases.close(session, "test")
        await asyncio.sleep(60)


async def test_streams_of_a_session_end_with_it(node):
    leases = Leases(node)
    session = leases.open(MapperRecord("m", "modbus", "0", "1", "v1"))
    with pytest.raises(LostSessionError, match="over: test"):
        await serve_and_close(leases, session)
    with pytest.raises(LostSessionError, match="over: test"):
        async with session.stream():
            pytest.fail("it is over")
    with pytest.raises(LostSessionError, match="register again"):
        leases.find(session.id)
    leases.close(session, "once more")
    other = leases.open(MapperRecord("m", "modbus", "0", "1", "v1"))
    with pytest.raises(TimeoutError):
        async with other.stream():
            raise TimeoutError


async def test_when_mappers_of_the_past_were_seen_is_remembered_for_so_many(node, monkeypatch):
    monkeypatch.setattr(leases_module, "_MOST_SEEN", 2)
    leases = Leases(node)
    for number in range(4):
        record = MapperRecord("m", f"p{number}", str(number), "1", "v1")
        leases.close(leases.open(record), "it left")
    assert list(leases.last_seen) == ["m/2", "m/3"]

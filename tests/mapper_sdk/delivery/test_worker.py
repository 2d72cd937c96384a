"""One target's worker: batches, retries, store and forward, and the sums of it all."""

import asyncio
import shutil
import time
from collections import Counter
from contextlib import asynccontextmanager
from random import Random

import pytest

from dmi.errors import AccessDeniedError, ConfigError, RefusedError, UnavailableError
from mapper_sdk.delivery.disk.backlog import Backlog
from mapper_sdk.delivery.disk.keeper import Keeper
from mapper_sdk.delivery.disk.spool import Limits, Spool
from mapper_sdk.delivery.ledger import Ledger
from mapper_sdk.delivery.manner import Manner, Tools
from mapper_sdk.delivery.status import Condition
from mapper_sdk.delivery.worker import Worker
from mapper_sdk.fakes.clock import FakeClock
from mapper_sdk.sessions.polling import Poller
from tests.mapper_sdk.delivery.fake_sink import FakeServer, FakeTarget, make_fake_kind

LARGE = Limits(10**9, 10**6)


class Bench:
    """A worker with its fake target, on a clock that the test moves."""

    def __init__(self, make, folder=None, limits=LARGE, **manner):
        self.make = make
        self.clock = FakeClock()
        self.poller = Poller(self.clock)
        self.server = FakeServer()
        self.route = make.route()
        self.put_so_far = 0
        self._folder, self._limits = folder, limits
        self._manner = Manner(**{"size": 100, "linger": 0.2, **manner})
        self.worker = self._worker()

    def _worker(self):
        ledger = Ledger("target")
        backlog = None
        if self._folder is not None:
            spool = Spool(self._folder / "t.spool", ledger, self._limits, {"name": "target"})
            backlog = Backlog(Keeper(spool, self.clock), "target", self.clock)
        sink = make_fake_kind(lambda address: self.server)(FakeTarget())
        tools = Tools(self.poller, self.clock, Random(7))  # noqa: S311 - a test
        return Worker("target", "here", sink, self._manner, ledger, backlog, tools)

    @asynccontextmanager
    async def running(self, *, stow=True):
        timer = asyncio.create_task(self.poller.run())
        task = asyncio.create_task(self.worker.run())
        await self.settle()
        try:
            yield self
        finally:
            for each in (task, timer):
                each.cancel()
            await asyncio.gather(task, timer, return_exceptions=True)
            if stow:
                self.worker.stow()

    def restart(self):
        self.worker = self._worker()

    def put(self, count, route=None, step=1.0):
        first = self.make.start + self.put_so_far * step
        readings = self.make.readings(count, first, step)
        self.worker.put(self.make.chunk(route or self.route, readings))
        self.put_so_far += count

    async def settle(self):
        """Until neither the loop nor the disk has anything to do at this time."""
        quiet = 0
        while quiet < 2:
            await self.clock.settle()
            quiet += 1
            while self.worker.backlog is not None and self.worker.backlog.is_busy:
                await asyncio.sleep(0.0005)  # its thread has to run
                quiet = 0

    async def advance(self, seconds):
        """Step by step, so that the disk keeps up with the clock."""
        if self.worker.backlog is None:
            await self.clock.advance(seconds)
            return
        for _ in range(round(seconds / 0.1)):
            await self.clock.advance(0.1)
            await self.settle()

    async def until(self, condition):
        deadline = time.monotonic() + 15
        while not condition():
            assert time.monotonic() < deadline
            await self.advance(0.5)

    @property
    def status(self):
        return self.worker.status()

    def lost(self):
        counted = Counter()
        for gap in self.worker.ledger.gaps():
            counted[gap.reason] += gap.count
        return counted


@pytest.fixture
def bench(make):
    return Bench(make)


@pytest.fixture
def disk_bench(make, tmp_path):
    return Bench(make, tmp_path)


# ----------------------------------------------------------------- batches ----


async def test_readings_wait_for_others_but_not_long(bench):
    async with bench.running():
        assert bench.status.condition is Condition.IDLE
        bench.put(1)
        bench.put(2)
        await bench.advance(0.1)
        assert bench.server.count == 0
        assert bench.status.queued == 3
        await bench.advance(0.2)
        assert bench.server.batches == [3]
        assert (bench.status.condition, bench.status.delivered) == (Condition.LIVE, 3)


async def test_a_full_batch_goes_at_once(bench):
    async with bench.running():
        bench.put(60)
        bench.put(60)
        bench.put(90)
        await bench.settle()
        assert bench.server.batches == [100, 100]
        await bench.advance(0.3)
        assert bench.server.batches == [100, 100, 10]
        assert bench.server.taken == sorted(bench.server.taken)


async def test_an_idle_worker_does_nothing(bench):
    async with bench.running():
        bench.put(1)
        await bench.advance(1)
        sleepers = bench.clock.sleepers
        assert sleepers == 0


# ----------------------------------------------------------------- retries ----


async def test_a_target_that_is_away_is_asked_less_and_less_often(bench):
    bench.server.error = UnavailableError("gone")
    async with bench.running():
        bench.put(5)
        await bench.advance(200)
        assert bench.status.condition is Condition.STORING
        assert (bench.status.error, bench.status.reason) == ("gone", "unavailable")
        tries = bench.worker.courier.errors["unavailable"]
        assert 7 < tries < 15
        bench.server.error = None
        await bench.advance(60)
        assert bench.server.count == 5
        assert (bench.status.error, bench.status.condition) == ("", Condition.LIVE)
        assert bench.status.retried == 5 * tries
        assert bench.server.closes >= tries


async def test_wrong_settings_are_tried_rarely_and_lose_nothing(bench):
    bench.server.error = ConfigError("wrong password")
    async with bench.running():
        bench.put(5)
        await bench.advance(200)
        assert 2 < bench.worker.courier.errors["config"] < 9
        assert bench.status.reason == "config"
        bench.server.error = None
        bench.server.send_error = AccessDeniedError("no")
        await bench.advance(100)
        bench.server.send_error = None
        await bench.advance(100)
        assert (bench.server.count, bench.status.lost) == (5, {})


async def test_readings_that_are_refused_together_are_found_one_by_one(bench):
    poison = {bench.make.start + 3, bench.make.start + 42}
    send = bench.server

    def refuse(item):
        if item[1].time in poison:
            raise RefusedError("not this one")

    send.refuse = refuse
    async with bench.running():
        bench.put(100)
        await bench.advance(1)
        assert len(set(send.taken)) == 98
        await bench.worker.look_after()
        assert bench.status.lost == {"refused": 2}
        (gap,) = bench.worker.ledger.gaps()
        assert {gap.first, gap.last} == poison


async def test_readings_that_are_refused_alone_do_not_come_again(bench):
    bench.server.refuse = lambda item: RefusedError("no") if item[1].value == 3 else None
    async with bench.running():
        bench.put(10)
        await bench.advance(1)
        await bench.worker.look_after()
        assert bench.server.batches == [10]
        assert (bench.server.count, bench.status.lost) == (9, {"refused": 1})
        assert bench.worker.courier.errors["refused"] == 1


async def test_only_what_could_not_be_taken_now_is_sent_again(bench):
    later = True
    bench.server.refuse = lambda item: (
        UnavailableError("later") if later and item[1].value else None
    )
    async with bench.running():
        bench.put(10)
        await bench.advance(0.3)
        assert bench.server.count == 1
        later = False
        await bench.advance(2)
        assert bench.server.count == 10
        assert bench.server.doubles() == 0


async def test_a_target_that_hangs_is_given_up_after_a_while(make):
    bench = Bench(make, timeout=0.01)
    bench.server.hold = asyncio.Event()
    async with bench.running():
        bench.put(5)
        await bench.advance(0.5)
        deadline = time.monotonic() + 5
        while not bench.worker.courier.errors["deadline"]:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.005)
        assert bench.status.reason == "deadline"
        bench.server.hold.set()
        await bench.advance(5)
        assert bench.server.count == 5


async def test_a_bug_of_the_library_is_tried_again_before_it_costs_anything(bench, caplog):
    bench.server.send_error = ZeroDivisionError("what")
    async with bench.running():
        bench.put(5)
        await bench.advance(1)
        assert bench.status.error == "ZeroDivisionError: what"
        bench.server.send_error = None
        await bench.advance(5)
        assert (bench.server.count, bench.status.lost) == (5, {})
    assert "has a bug" in caplog.text


async def test_a_reading_that_a_sink_stumbles_over_for_ever_is_let_go(bench):
    def refuse(item):
        if item[1].value == 3:
            raise ZeroDivisionError

    bench.server.refuse = refuse
    async with bench.running():
        bench.put(10)
        await bench.advance(100)
        await bench.worker.look_after()
        assert len(set(bench.server.taken)) == 9
        assert bench.status.lost == {"driver_bug": 1}


@pytest.mark.parametrize("error", [RefusedError("no"), ValueError("a line break")])
async def test_no_reading_is_to_blame_for_a_target_that_cannot_be_opened(bench, error):
    bench.server.error = error
    async with bench.running():
        bench.put(10)
        await bench.advance(400)
        assert bench.worker.courier.errors.total() > 5
        bench.server.error = None
        await bench.advance(100)
        await bench.worker.look_after()
        assert (bench.server.count, bench.status.lost) == (10, {})


async def test_a_cancellation_that_a_library_lets_slip_does_not_end_the_worker(bench):
    bench.server.send_error = asyncio.CancelledError()
    async with bench.running():
        bench.put(5)
        await bench.advance(1)
        assert bench.status.reason == "unavailable"
        bench.server.send_error = None
        await bench.advance(5)
        assert (bench.server.count, bench.status.lost) == (5, {})


async def test_an_error_of_a_socket_is_the_target_being_away(bench):
    bench.server.error = ConnectionRefusedError("nobody")
    async with bench.running():
        bench.put(1)
        await bench.advance(1)
        assert bench.status.reason == "unavailable"


# ----------------------------------------------------- without a disk ----


async def test_without_a_disk_the_oldest_go_and_the_ledger_knows_which(make):
    bench = Bench(make, queue=1000)
    bench.server.error = UnavailableError("gone")
    async with bench.running():
        for _ in range(30):
            bench.put(100)
            await bench.advance(1)
        assert bench.status.queued == 1000
        assert bench.status.lost == {"queue_full": 2000}
        assert bench.status.hours_left is None
        bench.server.error = None
        await bench.advance(100)
        assert (bench.server.count, bench.server.doubles()) == (1000, 0)
        await bench.worker.look_after()
        (gap,) = bench.worker.ledger.gaps()
        assert (gap.first, gap.last, gap.count) == (make.start, make.start + 1999, 2000)
        assert min(bench.server.taken)[2] == make.start + 2000


async def test_what_is_left_at_the_end_is_in_the_ledger(bench):
    bench.server.error = UnavailableError("gone")
    async with bench.running():
        bench.put(7)
        await bench.advance(1)
        await bench.worker.drain()
    assert bench.lost() == {"stopped": 7}


async def test_draining_waits_for_what_is_on_its_way(bench):
    async with bench.running():
        bench.put(250)
        await bench.worker.drain()
        assert bench.server.count == 250
    assert bench.lost() == {}


# -------------------------------------------------------- with a disk ----


async def test_memory_while_healthy_disk_when_not(disk_bench, tmp_path):
    bench = disk_bench
    async with bench.running():
        bench.put(100)
        await bench.advance(1)
        assert bench.server.count == 100
        assert not (tmp_path / "t.spool").exists()
        bench.server.error = UnavailableError("gone")
        bench.put(50)
        await bench.advance(0.5)
        bench.put(50)
        await bench.advance(0.5)
        status = bench.status
        assert (status.condition, status.queued, status.spooled) == (Condition.STORING, 0, 100)
        assert status.spooled_bytes > 0
        bench.server.error = None
        await bench.until(lambda: bench.status.condition is Condition.LIVE)
        assert (bench.server.count, bench.server.doubles()) == (200, 0)
        assert bench.status.spooled == bench.status.queued == 0


async def test_live_readings_go_ahead_of_stored_ones_which_come_at_a_set_pace(make, tmp_path):
    bench = Bench(make, tmp_path, drain=100.0)
    bench.server.error = UnavailableError("gone")
    async with bench.running():
        for _ in range(10):
            bench.put(100)
            await bench.advance(1)
        assert bench.status.spooled == 1000
        stored = bench.put_so_far
        bench.server.error = None
        await bench.until(lambda: bench.server.count)
        assert bench.status.condition is Condition.DRAINING
        for _ in range(4):
            bench.put(10)
            await bench.advance(1)
        live = [n for n, (_, _, t) in enumerate(bench.server.taken) if t >= make.start + stored]
        assert len(live) == 40
        assert 300 <= bench.server.count - 40 <= 700
        old = [t for _, _, t in bench.server.taken if t < make.start + stored]
        assert old == sorted(old)
        await bench.until(lambda: bench.status.condition is Condition.LIVE)
        assert (bench.server.count, bench.server.doubles()) == (1040, 0)


async def test_what_is_in_memory_survives_the_end(disk_bench):
    bench = disk_bench
    bench.server.error = UnavailableError("gone")
    async with bench.running():
        bench.put(30)
        await bench.advance(0.5)
        bench.put(12)
        await bench.worker.drain()
    bench.restart()
    bench.server.error = None
    async with bench.running():
        await bench.until(lambda: bench.server.count == 42)
        assert (bench.server.doubles(), bench.lost()) == (0, {})


async def test_a_batch_that_is_being_sent_at_the_end_goes_to_disk(disk_bench):
    bench = disk_bench
    bench.server.hold = asyncio.Event()
    async with bench.running():
        bench.put(100)
        await bench.settle()
        assert bench.status.queued == 100
    bench.restart()
    bench.server.hold = None
    async with bench.running():
        await bench.until(lambda: bench.server.count == 100)


async def test_a_slow_target_overflows_to_disk_and_gets_everything(make, tmp_path):
    bench = Bench(make, tmp_path, queue=1000)
    bench.server.hold = asyncio.Event()
    async with bench.running():
        for _ in range(50):
            bench.put(100)
            await bench.settle()
        assert bench.status.queued <= 1000
        assert bench.status.spooled >= 4000
        bench.server.hold.set()
        await bench.until(lambda: bench.server.count >= 5000)
        await bench.until(lambda: bench.status.condition is Condition.LIVE)
        assert (bench.server.count, bench.server.doubles(), bench.lost()) == (5000, 0, {})


async def test_refused_readings_of_the_spool_are_not_sent_again(disk_bench):
    bench = disk_bench
    bench.server.error = UnavailableError("gone")
    async with bench.running():
        bench.put(150)
        await bench.advance(0.5)
        bench.server.error = None
        bench.server.refuse = lambda item: RefusedError("no") if item[1].value == 7 else None
        await bench.until(lambda: bench.server.count == 149)
        await bench.until(lambda: bench.status.spooled == 0)
        assert (bench.server.doubles(), bench.lost()) == (0, {"refused": 1})


async def test_what_is_left_of_a_stored_batch_alone_is_sent_again(disk_bench):
    bench = disk_bench
    bench.server.error = UnavailableError("gone")
    later = True
    async with bench.running():
        bench.put(50)
        await bench.advance(0.5)
        bench.server.error = None
        bench.server.refuse = lambda i: UnavailableError("x") if later and i[1].value > 5 else None
        await bench.until(lambda: bench.server.count == 6)
        assert bench.status.spooled == 44
        later = False
        await bench.until(lambda: bench.status.condition is Condition.LIVE)
        assert (bench.server.count, bench.server.doubles()) == (50, 0)


async def test_always_means_disk_first_and_in_order(make, tmp_path):
    bench = Bench(make, tmp_path, always=True)
    async with bench.running():
        for _ in range(5):
            bench.put(70)
            await bench.advance(0.5)
        await bench.until(lambda: bench.server.count == 350)
        assert bench.server.taken == sorted(bench.server.taken)
        assert bench.status.condition is Condition.LIVE
        assert (tmp_path / "t.spool").exists()
        bench.put(5)
        await bench.worker.drain()
    bench.restart()
    async with bench.running():
        await bench.until(lambda: bench.server.count == 355)
        assert bench.server.doubles() == 0


async def test_a_folder_that_cannot_be_written_means_memory_and_is_said_once(
    make, tmp_path, caplog
):
    bench = Bench(make, tmp_path / "none", queue=1000)
    bench.server.error = UnavailableError("gone")
    async with bench.running():
        for _ in range(30):
            bench.put(100)
            await bench.advance(1)
            await bench.worker.look_after()
        assert bench.status.queued == 1000
        assert bench.status.lost == {"disk_failed": 2000}
        assert bench.lost() == {"disk_failed": 2000}
        assert "No such file" in bench.status.error
        assert caplog.text.count("kept in memory only") == 1
        warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
        assert sum("the oldest readings are lost" in text for text in warnings) == 1
        (tmp_path / "none").mkdir()
        await bench.until(lambda: bench.status.spooled == 1000)
        assert bench.status.error == "gone"
        bench.server.error = None
        await bench.until(lambda: bench.status.condition is Condition.LIVE)
        await bench.worker.look_after()
        assert bench.lost() == {"disk_failed": 2000}
    assert (bench.server.count, bench.server.doubles()) == (1000, 0)
    bench.restart()
    async with bench.running():
        await bench.worker.look_after()
        assert bench.lost() == {"disk_failed": 2000}


async def test_a_target_that_is_back_gets_what_the_disk_did_not_take(make, tmp_path):
    bench = Bench(make, tmp_path / "none")
    bench.server.error = UnavailableError("gone")
    async with bench.running():
        bench.put(300)
        await bench.advance(5)
        bench.server.error = None
        await bench.until(lambda: bench.server.count == 300)
        await bench.worker.look_after()
        assert (bench.status.error, bench.status.lost) == ("", {})


@pytest.mark.process
async def test_a_full_disk_loses_the_oldest_and_goes_on(make, small_disk):
    bench = Bench(make, small_disk, queue=20_000)
    bench.server.error = UnavailableError("gone")
    rng = Random(1)  # noqa: S311 - a test
    async with bench.running():
        for _ in range(60):
            bench.put(2000, step=rng.random())
            await bench.advance(1)
            bench.put_so_far += 2000
        assert "full" in bench.status.error
        assert bench.status.hours_left == 0
        lost = bench.status.lost["disk_failed"]
        assert lost > 0
        bench.server.error = None
        await bench.until(lambda: bench.status.condition is Condition.LIVE)
        assert bench.server.count + lost == 120_000
        await bench.worker.look_after()
        assert bench.lost() == {"disk_failed": lost}


async def test_what_is_too_old_is_given_up_while_the_target_is_away(make, tmp_path):
    bench = Bench(make, tmp_path, limits=Limits(10**9, 36))
    bench.server.error = UnavailableError("gone")
    async with bench.running():
        bench.put(50)
        await bench.advance(5)
        await bench.worker.look_after()
        await bench.advance(1)
        await bench.worker.look_after()
        assert 25 < bench.status.hours_left * 3600 < 36
        await bench.advance(40)
        await bench.worker.look_after()
        assert bench.status.lost == {"too_old": 50}


async def test_hours_left_know_how_much_room_the_disk_has(make, small_disk):
    bench = Bench(make, small_disk)
    bench.server.error = UnavailableError("gone")
    async with bench.running():
        for _ in range(20):
            bench.put(100)
            await bench.advance(1)
            await bench.worker.look_after()
        room = shutil.disk_usage(small_disk).free
        seconds = room / (bench.status.spooled_bytes / 20)
        assert bench.status.hours_left == pytest.approx(seconds / 3600, rel=0.2)


async def test_hours_left_follow_the_rate(make, tmp_path):
    bench = Bench(make, tmp_path, limits=Limits(1_000_000, 10**9))
    bench.server.error = UnavailableError("gone")
    async with bench.running():
        for _ in range(20):
            bench.put(100)
            await bench.advance(1)
            await bench.worker.look_after()
        status = bench.status
        rate = status.spooled_bytes / 20
        seconds = (1_000_000 - status.spooled_bytes) / rate
        assert status.hours_left == pytest.approx(seconds / 3600, rel=0.2)

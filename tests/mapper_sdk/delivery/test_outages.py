"""Long outages on a compressed clock, and processes that are killed: the sums must be right."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from dmi.errors import UnavailableError
from mapper_sdk.delivery.disk.spool import Limits
from mapper_sdk.delivery.status import Condition
from tests.mapper_sdk.delivery.store_server import StoreServer
from tests.mapper_sdk.delivery.test_worker import Bench

ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name("spooling_process.py")


async def outage(bench, seconds, rate, routes):
    """So many readings a second come while the target is away."""
    share = rate // len(routes)
    for second in range(seconds):
        first = bench.make.start + second
        for route in routes:
            readings = bench.make.readings(share, first, 1 / share)
            bench.worker.put(bench.make.chunk(route, readings))
            bench.put_so_far += share
        await bench.clock.advance(1)
        await bench.settle()
        if second % 20 == 0:
            await bench.settle()
            await bench.worker.look_after()
    await bench.settle()


async def test_nothing_is_lost_in_an_outage_that_the_spool_can_hold(make, tmp_path):
    bench = Bench(make, tmp_path, size=1000)
    routes = [make.route(f"p{n}") for n in range(4)]
    bench.server.error = UnavailableError("gone")
    async with bench.running():
        await outage(bench, 100, 1000, routes)
        assert (bench.status.spooled, bench.status.queued) == (100_000, 0)
        bench.server.error = None
        await bench.until(lambda: bench.status.condition is Condition.LIVE)
        assert (bench.server.count, bench.server.doubles()) == (100_000, 0)
        assert (bench.status.lost, bench.lost()) == ({}, {})


async def test_beyond_the_cap_the_ledger_equals_what_is_missing(make, tmp_path):
    bench = Bench(make, tmp_path, size=1000, limits=Limits(60_000, 10**6))
    routes = [make.route(f"p{n}", f"dev-{n % 2}") for n in range(4)]
    bench.server.error = UnavailableError("gone")
    async with bench.running():
        await outage(bench, 100, 1000, routes)
        bench.server.error = None
        await bench.until(lambda: bench.status.condition is Condition.LIVE)
        await bench.worker.look_after()
        lost = bench.status.lost["spool_full"]
        assert 0 < lost < 100_000
        assert (bench.server.count + lost, bench.server.doubles()) == (100_000, 0)
        for route in routes:
            device, prop = route.source.device.name, route.source.property
            mine = [gap for gap in bench.worker.ledger.gaps() if gap.property == prop]
            (gap,) = mine
            arrived = {t for d, p, t in bench.server.taken if (d, p) == (device, prop)}
            assert gap.count == 25_000 - len(arrived)
            assert gap.first == make.start
            assert gap.last == pytest.approx(min(arrived) - 1 / 250)


# ------------------------------------------------------------------ processes ----


class Process:
    """The spooling process, and what it said last."""

    def __init__(self, folder, port):
        self._folder, self._port = folder, port
        self.safe = 0
        self._process = None

    async def start(self, count, always=False):
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(SCRIPT),
            str(self._folder),
            str(self._port),
            str(count),
            "always" if always else "no",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert await self._process.stdout.readline() == b"READY\n"

    async def read_until(self, safe):
        while self.safe < safe:
            line = await asyncio.wait_for(self._process.stdout.readline(), 10)
            assert line, "the process ended"
            self.safe = int(line)

    async def kill(self):
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()

    async def end(self):
        self._process.stdin.close()
        await asyncio.wait_for(self._process.stdout.read(), 15)
        assert await self._process.wait() == 0


@pytest.fixture
async def store():
    server = StoreServer()
    await server.start()
    yield server
    await server.kill()


def numbers(store):
    return sorted(reading.value for reading in store.rows.values())


async def until(condition):
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


@pytest.mark.process
async def test_kill_9_costs_nothing_of_what_is_on_disk(store, tmp_path):
    await store.kill()
    process = Process(tmp_path / "d", store.port)
    await process.start(1_000_000)
    await process.read_until(2000)
    await process.kill()
    await store.start()
    process_again = Process(tmp_path / "d", store.port)
    await process_again.start(0)
    await until(lambda: len(store.rows) >= process.safe)
    await process_again.end()
    found = numbers(store)
    assert found == list(range(len(found)))


@pytest.mark.process
async def test_kill_9_of_both_ends_in_mid_flow(store, tmp_path):
    process = Process(tmp_path / "d", store.port)
    await process.start(1_000_000, always=True)
    await process.read_until(500)
    await store.kill()
    await process.read_until(1500)
    await store.start()
    await process.read_until(4000)
    await process.kill()
    again = Process(tmp_path / "d", store.port)
    await again.start(0, always=True)
    await until(lambda: len(store.rows) >= process.safe)
    await again.end()
    found = numbers(store)
    assert found == list(range(len(found)))


@pytest.mark.process
async def test_an_orderly_end_keeps_the_rest_for_the_next_start(store, tmp_path):
    await store.kill()
    process = Process(tmp_path / "d", store.port)
    await process.start(1000)
    await process.end()
    await store.start()
    again = Process(tmp_path / "d", store.port)
    await again.start(0)
    await until(lambda: len(store.rows) == 1000)
    await again.end()

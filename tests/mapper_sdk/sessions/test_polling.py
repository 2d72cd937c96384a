import asyncio
from contextlib import asynccontextmanager

import pytest

from mapper_sdk.fakes.clock import FakeClock
from mapper_sdk.sessions.polling import Poller


@pytest.fixture
def clock():
    return FakeClock()


@asynccontextmanager
async def running(poller):
    task = asyncio.create_task(poller.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Listener:
    def __init__(self, clock):
        self.clock = clock
        self.times = []
        self.takes = True

    def __call__(self):
        self.times.append(self.clock.monotonic())
        return self.takes


async def test_ticks_come_each_period_and_do_not_drift(clock):
    poller, listener = Poller(clock), Listener(clock)
    async with running(poller):
        poller.every(0.25, listener)
        await clock.advance(100.5)
    assert len(listener.times) in (401, 402)
    first = listener.times[0]
    lateness = [abs(at - (first + 0.25 * n)) for n, at in enumerate(listener.times)]
    assert max(lateness) < 0.011
    assert poller.statistics.on_time == len(listener.times)
    assert poller.statistics.late == poller.statistics.skipped == 0


async def test_starts_are_spread_over_the_period(clock):
    poller = Poller(clock)
    listeners = [Listener(clock) for _ in range(200)]
    async with running(poller):
        for listener in listeners:
            poller.every(1.0, listener)
        await clock.advance(1.06)
    firsts = sorted(listener.times[0] for listener in listeners)
    for tenth in range(10):
        share = sum(tenth / 10 <= at % 1.0 < (tenth + 1) / 10 for at in firsts)
        assert 15 <= share <= 25


async def test_a_tick_that_is_not_taken_is_skipped_and_not_queued(clock):
    poller, listener = Poller(clock), Listener(clock)
    listener.takes = False
    async with running(poller):
        poller.every(0.1, listener)
        await clock.advance(1.0)
        skipped = len(listener.times)
        listener.takes = True
        await clock.advance(1.0)
    assert skipped in (9, 10)
    assert poller.statistics.skipped == skipped
    assert poller.statistics.on_time in (9, 10, 11)


async def test_a_standstill_skips_ticks_and_counts_them(clock):
    poller, listener = Poller(clock), Listener(clock)

    def stall():
        clock._now += 1.0  # the process did not get to run
        return True

    async with running(poller):
        poller.every(0.1, listener)
        await clock.advance(0.5)
        poller.after(0.0, stall)
        await clock.advance(2.5)
    statistics = poller.statistics
    assert statistics.late == 1
    assert statistics.skipped in (9, 10)
    assert statistics.on_time + statistics.late == len(listener.times)
    assert statistics.total == len(listener.times) + statistics.skipped
    assert [round(at % 0.1, 2) for at in listener.times[-3:]] == [
        round(listener.times[0] % 0.1, 2)
    ] * 3


async def test_a_cancelled_ticket_is_never_called(clock):
    poller, listener = Poller(clock), Listener(clock)
    async with running(poller):
        ticket = poller.every(0.1, listener)
        await clock.advance(0.35)
        poller.cancel(ticket)
        before = len(listener.times)
        await clock.advance(1)
    assert len(listener.times) == before > 0


async def test_something_can_be_due_once(clock):
    poller, listener = Poller(clock), Listener(clock)
    async with running(poller):
        poller.every(60.0, lambda: True)
        await clock.settle()
        poller.after(0.02, listener)
        await clock.advance(5)
    assert len(listener.times) == 1
    assert 0.02 <= listener.times[0] <= 0.071


async def test_nothing_to_do_costs_no_wake_up(clock):
    poller = Poller(clock)
    async with running(poller):
        await clock.settle()
        assert clock.sleepers == 0


async def test_a_period_is_at_least_one_slot(clock):
    poller, listener = Poller(clock), Listener(clock)
    async with running(poller):
        poller.every(0.0001, listener)
        await clock.advance(0.5)
    assert 40 <= len(listener.times) <= 51

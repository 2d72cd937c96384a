import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from dmi.errors import ConflictError, DeadlineError, RefusedError
from dmi.reports import Command, Phase
from dmi.resources import Key
from mapper_sdk.sessions import executing
from mapper_sdk.sessions.executing import Executor

PUMP, FAN = Key("default", "pump"), Key("default", "fan")


class Callee:
    """Devices that do what the test says."""

    def __init__(self):
        self.runs = []
        self.undecided = False
        self.hold = None  # an event that a run waits for, once it has begun
        self.queue = None  # an event that a run waits for before it begins
        self.error = None
        self.results = {"flow": 1.5}

    def methods(self):
        return {}

    def is_undecided(self, device):
        return self.undecided

    async def call(self, device, method, arguments, begin):
        if self.queue is not None:
            await self.queue.wait()
        begin()
        self.runs.append((device.name, method, dict(arguments)))
        if self.hold is not None:
            await self.hold.wait()
        if self.error is not None:
            raise self.error
        return self.results


def order(name="1", device=PUMP, seconds=30.0, **more):
    return Command(name, device, "start", {"speed": 5}, time.time() + seconds, **more)


@pytest.fixture
def callee():
    return Callee()


@pytest.fixture
async def executor(callee):
    executor = Executor()
    executor.callee = callee
    async with running(executor):
        yield executor


@asynccontextmanager
async def running(executor):
    task = asyncio.create_task(executor.run())
    yield executor
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def until_phase(executor, name, phase):
    async with asyncio.timeout(5):
        while name not in executor.open or executor.open[name].phase is not phase:
            await executor.news.next()
    return executor.open[name]


async def test_a_command_runs_once_however_often_it_comes(executor, callee):
    callee.hold = asyncio.Event()
    command = order()
    executor.take(command)
    assert executor.open["1"].phase is Phase.ACCEPTED
    executor.take(command)
    await until_phase(executor, "1", Phase.RUNNING)
    executor.take(command)
    callee.hold.set()
    done = await until_phase(executor, "1", Phase.SUCCEEDED)
    assert (done.results, done.percent) == ({"flow": 1.5}, 100)
    executor.take(command)
    executor.take(Command("1", PUMP, "", settled=True))
    assert not executor.open
    # It was not settled after all: the outcome is still here.
    executor.take(command)
    assert executor.open["1"] == replace(done, results={})
    assert callee.runs == [("pump", "start", {"speed": 5})]


async def test_outcomes_are_forgotten_when_they_are_many(executor, callee, monkeypatch):
    monkeypatch.setattr(executing, "_REMEMBERED", 1)
    for name in "12":
        executor.take(order(name))
        await until_phase(executor, name, Phase.SUCCEEDED)
        executor.take(Command(name, PUMP, "", settled=True))
    executor.take(order("2"))
    assert executor.open["2"].phase is Phase.SUCCEEDED
    executor.take(order("1"))
    assert executor.open["1"].phase is Phase.ACCEPTED


async def test_commands_of_one_device_run_one_after_the_other(executor, callee):
    callee.hold = asyncio.Event()
    executor.take(order("1"))
    executor.take(order("2"))
    executor.take(order("3", FAN))
    await until_phase(executor, "3", Phase.RUNNING)
    assert executor.open["2"].phase is Phase.ACCEPTED
    callee.hold.set()
    await until_phase(executor, "2", Phase.SUCCEEDED)
    assert [run[0] for run in callee.runs] == ["pump", "fan", "pump"]


@pytest.mark.parametrize("wait", ["turn", "device", "bus", "nothing"])
async def test_after_its_deadline_nothing_begins(executor, callee, wait):
    callee.hold = asyncio.Event()
    if wait == "turn":
        executor.take(order("0"))
        await until_phase(executor, "0", Phase.RUNNING)
    callee.undecided = wait == "device"
    callee.queue = asyncio.Event() if wait == "bus" else None
    before = len(callee.runs)
    executor.take(order("1", seconds=-1 if wait == "nothing" else 0.05))
    late = await until_phase(executor, "1", Phase.EXPIRED)
    assert late.reason == "deadline"
    assert len(callee.runs) == before


async def test_a_command_that_has_begun_may_end_after_its_deadline(executor, callee):
    callee.hold = asyncio.Event()
    executor.take(order(seconds=0.05))
    await until_phase(executor, "1", Phase.RUNNING)
    late = asyncio.ensure_future(until_phase(executor, "1", Phase.EXPIRED))
    assert (await asyncio.wait([late], timeout=0.07))[0] == set()
    late.cancel()
    callee.hold.set()
    await until_phase(executor, "1", Phase.SUCCEEDED)


async def test_a_clock_that_jumps_over_the_deadline_keeps_it_from_beginning(callee):
    class Jumping:
        now = time.time()

        def time(self):
            return self.now

    clock = Jumping()
    executor = Executor(clock)
    executor.callee = callee
    callee.queue = asyncio.Event()
    async with running(executor):
        executor.take(order())
        for _ in range(3):
            await asyncio.sleep(0)
        clock.now += 60
        callee.queue.set()
        await until_phase(executor, "1", Phase.EXPIRED)
    assert callee.runs == []


async def test_a_device_that_is_not_decided_is_waited_for(executor, callee):
    callee.undecided = True
    executor.take(order())
    await asyncio.sleep(0)
    executor.decided.ring()
    await asyncio.sleep(0)
    assert not callee.runs
    callee.undecided = False
    executor.decided.ring()
    await until_phase(executor, "1", Phase.SUCCEEDED)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RefusedError("no"), "no"),
        (ConflictError("twice"), "twice"),
        (DeadlineError("slow"), "slow; whether the device has done it is not known"),
    ],
)
async def test_errors_say_what_is_known(executor, callee, error, told):
    callee.error = error
    executor.take(order())
    ended = await until_phase(executor, "1", Phase.UNSUCCESSFUL)
    assert (ended.reason, ended.message) == (error.reason, told)


async def test_a_device_that_is_away_has_done_nothing(executor, callee):
    class Away(Callee):
        async def call(self, *_):
            raise DeadlineError("offline")

    executor.callee = Away()
    executor.take(order())
    assert (await until_phase(executor, "1", Phase.UNSUCCESSFUL)).message == "offline"


async def test_nobody_to_call_is_unsupported():
    async with running(Executor()) as executor:
        executor.take(order())
        assert (await until_phase(executor, "1", Phase.UNSUCCESSFUL)).reason == "unsupported"


async def test_what_has_not_begun_can_be_taken_back(executor, callee):
    callee.hold = asyncio.Event()
    executor.take(order("1"))
    executor.take(order("2"))
    await until_phase(executor, "1", Phase.RUNNING)
    for name in "12":
        executor.take(order(name, cancel=True))
    assert executor.open["1"].phase is Phase.RUNNING
    assert executor.open["2"].phase is Phase.CANCELLED
    # Taken back before it came, or before its task had begun.
    executor.take(order("3", cancel=True))
    executor.take(order("3"))
    executor.take(order("4", FAN))
    executor.take(order("4", FAN, cancel=True))
    callee.hold.set()
    await until_phase(executor, "1", Phase.SUCCEEDED)
    executor.take(order("5"))
    await until_phase(executor, "5", Phase.SUCCEEDED)
    assert {name: one.phase.name for name, one in executor.open.items() if name in "34"} == {
        "3": "CANCELLED",
        "4": "CANCELLED",
    }
    assert len(callee.runs) == 2


async def test_too_many_commands_are_refused(executor, callee, monkeypatch):
    monkeypatch.setattr(executing, "_MOST_OPEN", 1)
    callee.hold = asyncio.Event()
    executor.take(order("1"))
    executor.take(order("2"))
    assert executor.open["2"].reason == "overloaded"


async def test_what_is_refused_is_said_once(executor):
    executor.refuse("1", "config", "nonsense")
    assert executor.open["1"].phase is Phase.UNSUCCESSFUL
    said = executor.open["1"]
    executor.refuse("1", "config", "nonsense")
    executor.take(Command("1", PUMP, "", settled=True))
    executor.refuse("1", "config", "nonsense")
    assert "1" not in executor.open
    executor.take(order("1"))
    assert executor.open["1"] == said


async def test_a_command_that_was_given_up_early_still_ends(executor, callee):
    callee.hold = asyncio.Event()
    executor.take(order("1"))
    await until_phase(executor, "1", Phase.RUNNING)
    executor.take(Command("1", PUMP, "", settled=True))
    executor.take(Command("unknown", PUMP, "", settled=True))
    assert not executor.open
    callee.hold.set()
    await until_phase(executor, "1", Phase.SUCCEEDED)


async def test_a_command_settled_before_it_was_looked_at_does_not_run(callee):
    executor = Executor()
    executor.callee = callee
    executor.take(order("1"))
    executor.take(Command("1", PUMP, "", settled=True))
    async with running(executor):
        executor.take(order("2"))
        await until_phase(executor, "2", Phase.SUCCEEDED)
    assert len(callee.runs) == 1


async def test_stopping_lets_nothing_begin_and_everything_end(executor, callee):
    callee.hold = asyncio.Event()
    executor.take(order("1"))
    await until_phase(executor, "1", Phase.RUNNING)
    callee.undecided = True
    executor.take(order("2", FAN))
    await asyncio.sleep(0)
    executor.stop()
    ended = await until_phase(executor, "2", Phase.UNSUCCESSFUL)
    assert (ended.reason, ended.message) == ("unavailable", "the mapper is stopping")
    settled = asyncio.ensure_future(executor.settled())
    callee.hold.set()
    await until_phase(executor, "1", Phase.SUCCEEDED)
    assert not settled.done()
    for name in "12":
        executor.take(Command(name, PUMP, "", settled=True))
    async with asyncio.timeout(5):
        await settled

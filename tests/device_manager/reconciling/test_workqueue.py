import asyncio

import pytest

from device_manager.reconciling.workqueue import WorkQueue
from mapper_sdk.fakes.clock import FakeClock


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
async def queue(clock):
    async with WorkQueue(clock, first=1.0, longest=8.0, chance=lambda: 0.5) as queue:
        yield queue


async def take(queue):
    async with asyncio.timeout(2):
        return await queue.get()


async def empty(queue):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await queue.get()
    return True


async def test_duplicates_collapse(queue):
    for key in "abaab":
        queue.add(key)
    assert [await take(queue), await take(queue)] == ["a", "b"]
    assert await empty(queue)


async def test_the_urgent_goes_first_and_a_key_may_become_urgent(queue):
    queue.add("device", 3)
    queue.add("model", 2)
    queue.add("late", 3)
    queue.add("late", 0)
    assert [await take(queue) for _ in range(3)] == ["late", "model", "device"]
    assert await empty(queue)


async def test_a_key_is_not_worked_on_twice_at_once(queue):
    queue.add("a")
    await take(queue)
    queue.add("a")
    assert queue.waiting() == {"a"}
    assert await empty(queue)
    queue.done("a")
    assert await take(queue) == "a"


async def test_get_waits_for_a_key(queue):
    async with asyncio.TaskGroup() as group:
        taken = group.create_task(take(queue))
        await asyncio.sleep(0)
        queue.add("a")
    assert taken.result() == "a"


async def test_failures_of_a_key_back_off_up_to_the_longest(queue, clock):
    delays = []
    for _ in range(5):
        queue.add("a")
        await take(queue)
        delays.append(queue.retry("a"))
        queue.done("a")
    assert delays == [1.0, 2.0, 4.0, 8.0, 8.0]
    assert await empty(queue)
    await clock.advance(8.0)
    assert await take(queue) == "a"
    queue.forget("a")
    assert queue.retry("a") == 1.0


async def test_a_thousand_failures_do_not_overflow(queue):
    assert [queue.retry("a") for _ in range(1200)][-1] == 8.0


async def test_adding_a_delayed_key_takes_its_delay_away(queue, clock):
    queue.retry("a")
    queue.add("a")
    assert await take(queue) == "a"
    queue.done("a")
    await clock.advance(10)
    assert await empty(queue)


async def test_a_key_that_already_waits_is_not_delayed_too(queue, clock):
    queue.add("a")
    queue.retry("a")
    await take(queue)
    queue.done("a")
    await clock.advance(10)
    assert await empty(queue)


async def test_chance_spreads_delays_over_half_to_one_and_a_half(clock):
    chances = iter([0.0, 0.999])
    async with WorkQueue(clock, first=10.0, chance=lambda: next(chances)) as queue:
        assert queue.retry("a") == 5.0
        assert queue.retry("b") == pytest.approx(14.99)

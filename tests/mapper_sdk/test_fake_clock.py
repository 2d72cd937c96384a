import asyncio

from mapper_sdk.testing import FakeClock


async def test_time_stands_still_until_advanced(fake_clock: FakeClock):
    before = fake_clock.monotonic(), fake_clock.time()
    await asyncio.sleep(0.001)
    assert (fake_clock.monotonic(), fake_clock.time()) == before


async def test_wakes_sleepers_in_the_order_of_their_times(fake_clock):
    woken = []

    async def sleeper(name: str, seconds: float) -> None:
        await fake_clock.sleep(seconds)
        woken.append((name, fake_clock.monotonic()))

    async with asyncio.TaskGroup() as group:
        group.create_task(sleeper("late", 3))
        group.create_task(sleeper("early", 1))
        group.create_task(sleeper("also early", 1))
        await fake_clock.advance(2.5)
        assert woken == [("early", 1), ("also early", 1)]
        assert fake_clock.monotonic() == 2.5
        assert fake_clock.sleepers == 1
        await fake_clock.advance(0.5)
    assert woken[-1] == ("late", 3)


async def test_a_loop_of_sleeps_ticks_at_each_of_its_times(fake_clock):
    ticks = []

    async def tick() -> None:
        while True:
            await fake_clock.sleep(1)
            ticks.append(fake_clock.monotonic())

    async with asyncio.TaskGroup() as group:
        task = group.create_task(tick())
        await fake_clock.advance(5)
        task.cancel()
    assert ticks == [1, 2, 3, 4, 5]


async def test_a_cancelled_sleeper_is_forgotten(fake_clock):
    async with asyncio.TaskGroup() as group:
        task = group.create_task(fake_clock.sleep(1))
        await fake_clock.settle()
        task.cancel()
    assert fake_clock.sleepers == 0
    await fake_clock.advance(2)
    assert fake_clock.monotonic() == 2


async def test_nothing_to_sleep_returns_at_once(fake_clock):
    await fake_clock.sleep(0)
    await fake_clock.sleep(-1)
    assert fake_clock.monotonic() == 0


async def test_the_wall_clock_jumps_alone(fake_clock):
    await fake_clock.advance(10)
    fake_clock.set_time(500.0)
    assert fake_clock.time() == 500.0
    assert fake_clock.monotonic() == 10
    await fake_clock.advance(1)
    assert fake_clock.time() == 501.0

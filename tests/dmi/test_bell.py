import asyncio

from dmi.bell import Bell


async def test_a_bell_wakes_all_and_forgets_nothing():
    bell = Bell()
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(bell.wait(0)) for _ in range(3)]
        await asyncio.sleep(0)  # all run up to their wait
        waiting[0].cancel()
        await asyncio.sleep(0)
        bell.ring()
        bell.ring()
    assert [task.result() for task in waiting[1:]] == [2, 2]
    assert await bell.wait(1) == 2


async def test_the_next_ring_is_one_that_comes_after_the_call():
    bell = Bell()
    bell.ring()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(bell.next())
        await asyncio.sleep(0)  # it runs up to its wait
        assert not waiting.done()
        bell.ring()

import asyncio

import pytest

from dmi.errors import OverloadedError
from mappers.ble.links.slots import Slots


class Link:
    """Holds a slot, and gives it up when asked, if it may."""

    def __init__(self, slots, *, willing=True):
        self.slots = slots
        self.willing = willing
        self.asked = 0

    def give_up(self):
        self.asked += 1
        if self.willing:
            asyncio.get_running_loop().call_soon(self.slots.release, self)


def now():
    return asyncio.get_running_loop().time()


async def test_slots_go_round_in_the_order_they_were_asked_for():
    slots, order = Slots(2), []

    async def serve(number):
        link = Link(slots)
        await slots.acquire(link, 5)
        assert slots.taken <= 2
        order.append(number)
        await asyncio.sleep(0)
        slots.release(link)

    async with asyncio.timeout(2), asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(serve(number))
    assert order == list(range(8))
    assert (slots.taken, slots.wanted) == (0, False)


async def test_the_link_that_is_idle_longest_gives_up_first():
    slots = Slots(2)
    first, second, third = Link(slots), Link(slots), Link(slots)
    for link in (first, second):
        await slots.acquire(link, 1)
    slots.rest(second)
    slots.rest(first)
    slots.use(second)
    slots.rest(second)
    await slots.acquire(third, 1)
    assert (first.asked, second.asked) == (1, 0)


async def test_a_link_that_turns_idle_while_somebody_waits_is_taken():
    slots = Slots(1)
    holder, waiting = Link(slots), Link(slots)
    await slots.acquire(holder, 1)
    place = asyncio.ensure_future(slots.acquire(waiting, 1))
    await asyncio.sleep(0)
    assert holder.asked == 0
    slots.rest(holder)
    await place
    assert (holder.asked, slots.taken) == (1, 1)


async def test_a_kept_link_is_taken_when_its_lease_has_ended_the_first_one_first():
    slots = Slots(2)
    late, early, third, fourth = (Link(slots) for _ in range(4))
    for link, lease in ((late, 0.06), (early, 0.03)):
        await slots.acquire(link, 1)
        slots.rest(link, lease_end=now() + lease)
    began = now()
    await slots.acquire(third, 1)
    assert now() - began >= 0.03
    assert (late.asked, early.asked) == (0, 1)
    await slots.acquire(fourth, 1)
    assert now() - began >= 0.06
    assert (late.asked, early.asked) == (1, 1)


async def test_an_idle_link_goes_before_a_lease_that_has_ended():
    slots = Slots(2)
    kept, idle, third = Link(slots), Link(slots), Link(slots)
    for link in (kept, idle):
        await slots.acquire(link, 1)
    slots.rest(kept, lease_end=now() - 1)
    slots.rest(idle)
    await slots.acquire(third, 1)
    assert (kept.asked, idle.asked) == (0, 1)


async def test_no_more_links_are_taken_than_are_waited_for():
    slots = Slots(2)
    first, second, third = (
        Link(slots, willing=False),
        Link(slots, willing=False),
        Link(slots),
    )
    for link in (first, second):
        await slots.acquire(link, 1)
        slots.rest(link)
    place = asyncio.ensure_future(slots.acquire(third, 1))
    await asyncio.sleep(0)
    slots.use(second)
    slots.rest(second)
    assert (first.asked, second.asked) == (1, 0)
    assert slots.taken == 2
    slots.release(first)
    await place


async def test_busy_links_are_left_alone_until_they_are_done():
    slots = Slots(1)
    busy, waiting = Link(slots), Link(slots)
    await slots.acquire(busy, 1)
    place = asyncio.ensure_future(slots.acquire(waiting, 1))
    await asyncio.sleep(0)
    assert slots.wanted
    assert busy.asked == 0
    slots.release(busy)
    await place
    assert slots.taken == 1


async def test_no_slot_in_time_says_what_to_do():
    slots = Slots(1)
    kept, late, next_one = Link(slots), Link(slots), Link(slots)
    await slots.acquire(kept, 1)
    with pytest.raises(OverloadedError, match="raise `slots`"):
        await slots.acquire(late, 0.01)
    slots.release(kept)
    await slots.acquire(next_one, 0.01)
    assert slots.taken == 1


async def test_who_stops_waiting_leaves_the_slot_to_the_next():
    slots = Slots(1)
    holder, impatient, patient = Link(slots), Link(slots), Link(slots)
    await slots.acquire(holder, 1)
    first = asyncio.ensure_future(slots.acquire(impatient, 1))
    second = asyncio.ensure_future(slots.acquire(patient, 1))
    await asyncio.sleep(0)
    slots.release(holder)  # The first one's now, but it leaves before it could run.
    first.cancel()
    await second
    assert first.cancelled()
    assert slots.taken == 1

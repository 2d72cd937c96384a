import asyncio

import pytest

from dmi.errors import UnavailableError
from mapper_sdk.sessions.bus import Bus, Buses


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


async def use(bus, name, order, *, write=False, turn=None):
    async with turn or bus.turn(write=write):
        order.append(name)
        await asyncio.sleep(0)


async def test_writes_go_first_and_polls_keep_their_order():
    bus, order = Bus(), []
    async with asyncio.TaskGroup() as group, bus.turn():
        for name, write in (("p1", False), ("p2", False), ("w1", True), ("w2", True)):
            group.create_task(use(bus, name, order, write=write))
            await settle()
        assert bus.waiting == 4
    assert order == ["w1", "w2", "p1", "p2"]
    assert bus.waiting == 0


async def test_turns_never_overlap():
    bus, inside, worst = Bus(), 0, 0

    async def visit():
        nonlocal inside, worst
        async with bus.turn():
            inside += 1
            worst = max(worst, inside)
            await asyncio.sleep(0)
            inside -= 1

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(visit())
    assert worst == 1


async def test_a_promoted_poll_goes_with_the_writes():
    bus, order = Bus(), []
    late = bus.turn()
    async with asyncio.TaskGroup() as group, bus.turn():
        group.create_task(use(bus, "p1", order))
        group.create_task(use(bus, "p2", order, turn=late))
        await settle()
        late.promote()
        late.promote()
    assert order == ["p2", "p1"]


async def test_a_cancelled_waiter_leaves_the_queue():
    bus, order = Bus(), []
    async with bus.turn():
        waiter = asyncio.create_task(use(bus, "cancelled", order))
        other = asyncio.create_task(use(bus, "other", order))
        await settle()
        waiter.cancel()
        await settle()
        assert bus.waiting == 1
    await other
    assert order == ["other"]


async def test_a_waiter_cancelled_when_it_was_just_given_the_bus_passes_it_on():
    bus, order = Bus(), []
    async with bus.turn():
        waiter = asyncio.create_task(use(bus, "cancelled", order))
        other = asyncio.create_task(use(bus, "other", order))
        await settle()
    waiter.cancel()  # the bus is its own by now, but it has not run yet
    await asyncio.wait_for(other, 1)
    assert order == ["other"]
    assert waiter.cancelled()


async def test_an_error_in_a_turn_frees_the_bus():
    bus, order = Bus(), []
    with pytest.raises(ValueError, match="mine"):
        async with bus.turn():
            raise ValueError("mine")
    await asyncio.wait_for(use(bus, "next", order), 1)
    assert order == ["next"]


class Endpoint:
    def __init__(self):
        self.opened = 0
        self.closed = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.error = None

    async def open(self):
        self.opened += 1
        await self.gate.wait()
        if self.error:
            raise self.error
        return object()

    async def close(self, shared):
        self.closed.append(shared)


async def test_everybody_borrows_the_same_connection_and_the_last_one_closes_it():
    bus, endpoint = Bus(), Endpoint()
    endpoint.gate.clear()
    borrowers = [asyncio.create_task(bus.borrow(endpoint.open)) for _ in range(3)]
    await settle()
    endpoint.gate.set()
    one, two, three = await asyncio.gather(*borrowers)
    assert one is two is three
    assert endpoint.opened == 1
    for _ in range(2):
        await bus.give_back(one, endpoint.close)
    assert endpoint.closed == []
    await bus.give_back(one, endpoint.close)
    assert endpoint.closed == [one]
    await bus.give_back(one, endpoint.close)
    assert endpoint.closed == [one]
    assert await bus.borrow(endpoint.open) is not one


async def test_a_failed_open_fails_all_who_wait_and_the_next_borrow_tries_again():
    bus, endpoint = Bus(), Endpoint()
    endpoint.gate.clear()
    endpoint.error = UnavailableError("refused")
    borrowers = [asyncio.create_task(bus.borrow(endpoint.open)) for _ in range(3)]
    await settle()
    endpoint.gate.set()
    results = await asyncio.gather(*borrowers, return_exceptions=True)
    assert results == [endpoint.error] * 3
    assert endpoint.opened == 1
    endpoint.error = None
    await bus.borrow(endpoint.open)
    assert endpoint.opened == 2


async def test_a_waiter_opens_when_the_opener_is_cancelled():
    bus, endpoint = Bus(), Endpoint()
    endpoint.gate.clear()
    opener = asyncio.create_task(bus.borrow(endpoint.open))
    waiter = asyncio.create_task(bus.borrow(endpoint.open))
    await settle()
    opener.cancel()
    await settle()
    endpoint.gate.set()
    assert await asyncio.wait_for(waiter, 1) is not None
    assert endpoint.opened == 2


async def test_a_cancelled_waiter_does_not_disturb_the_opener():
    bus, endpoint = Bus(), Endpoint()
    endpoint.gate.clear()
    opener = asyncio.create_task(bus.borrow(endpoint.open))
    waiter = asyncio.create_task(bus.borrow(endpoint.open))
    await settle()
    waiter.cancel()
    await settle()
    endpoint.gate.set()
    shared = await asyncio.wait_for(opener, 1)
    await bus.give_back(shared, endpoint.close)
    assert endpoint.closed == [shared]


async def test_a_discarded_connection_is_replaced_and_closed_by_its_last_user():
    bus, endpoint = Bus(), Endpoint()
    old = await bus.borrow(endpoint.open)
    assert await bus.borrow(endpoint.open) is old
    bus.discard(old)
    bus.discard(old)
    new = await bus.borrow(endpoint.open)
    assert new is not old
    await bus.give_back(old, endpoint.close)
    assert endpoint.closed == []
    await bus.give_back(old, endpoint.close)
    assert endpoint.closed == [old]
    assert await bus.borrow(endpoint.open) is new


async def test_unknown_connections_are_ignored():
    bus, endpoint = Bus(), Endpoint()
    await bus.give_back(object(), endpoint.close)
    bus.discard(object())
    assert endpoint.closed == []


async def test_devices_with_one_bus_name_share_a_bus_while_anybody_uses_it():
    buses = Buses()
    one = buses.acquire("line")
    assert buses.acquire("line") is one
    assert buses.acquire("other") is not one
    assert buses.acquire(None) is not buses.acquire(None)
    buses.release("line")
    assert buses.acquire("line") is one
    for _ in range(2):
        buses.release("line")
    buses.release("line")
    buses.release(None)
    assert len(buses) == 1
    assert buses.acquire("line") is not one


async def test_a_bus_without_turns_lets_all_in_at_once():
    bus, inside = Bus(takes_turns=False), asyncio.Barrier(3)

    async def visit(write):
        async with bus.turn(write=write):
            await inside.wait()

    async with asyncio.timeout(1), asyncio.TaskGroup() as group:
        for write in (False, True, False):
            group.create_task(visit(write))
    assert bus.waiting == 0


def test_a_named_bus_is_made_as_its_first_user_wants_it():
    buses = Buses()
    bus = buses.acquire("air", takes_turns=False)
    assert buses.acquire("air", takes_turns=False) is bus

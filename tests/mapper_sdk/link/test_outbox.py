import asyncio

import pytest

from dmi.readings import Quality, Reading
from dmi.reports import DeviceState, Outcome, OutcomeStatus
from dmi.resources import AccessMode, DataType, Key
from mapper_sdk.devices.plan import Point
from mapper_sdk.link.outbox import BACKLOG, TOO_BIG, Outbox

KILN = Key("plant", "kiln")


def point(handle: int, name: str = "p") -> Point:
    return Point(
        handle=handle,
        device=KILN,
        name=f"{name}{handle}",
        type=DataType.DOUBLE,
        access=AccessMode.READ_ONLY,
        visit=None,
    )


def good(value: object) -> Reading:
    return Reading(value, 1000.0)


def fault() -> Reading:
    return Reading(None, 1000.0, Quality.BAD, "unavailable")


def state(word: str, device: Key = KILN) -> DeviceState:
    return DeviceState(device, word, 1000.0)


def outcome(version: int, status: OutcomeStatus = OutcomeStatus.CONFIRMED) -> Outcome:
    return Outcome(KILN, "p", version, status, 1000.0)


def values(sealed) -> list[object]:
    return [reading.value for _, reading in sealed.readings]


async def is_ready(outbox: Outbox) -> bool:
    try:
        async with asyncio.timeout(0.01):
            await outbox.ready()
    except TimeoutError:
        return False
    return True


async def test_seals_everything_that_waits_under_one_number():
    outbox = Outbox()
    outbox.add([(point(1), good(1.0)), (point(2), good(2.0))])
    outbox.add([(point(1), good(3.0))])
    outbox.add_state(state("online"))
    outbox.add_outcome(outcome(7))
    assert outbox.waiting == 3
    sealed = outbox.seal()
    assert (sealed.sequence, values(sealed)) == (1, [1.0, 2.0, 3.0])
    assert [s.state for s in sealed.states] == ["online"]
    assert [o.version for o in sealed.outcomes] == [7]
    assert outbox.waiting == 0
    assert not await is_ready(outbox)
    assert list(outbox.unacked) == [sealed]


async def test_keeps_what_is_sealed_until_it_is_acknowledged():
    outbox = Outbox()
    for value in (1.0, 2.0, 3.0):
        outbox.add([(point(1), good(value))])
        outbox.seal()
    outbox.acknowledge(2)
    assert [s.sequence for s in outbox.unacked] == [3]
    outbox.acknowledge(0)
    assert len(outbox.unacked) == 1


async def test_drained_means_acknowledged():
    outbox = Outbox()
    async with asyncio.timeout(1):
        await outbox.drained()
    outbox.add([(point(1), good(1.0))])
    waiter = asyncio.ensure_future(outbox.drained())
    sealed = outbox.seal()
    await asyncio.sleep(0)
    assert not waiter.done()
    outbox.add_state(state("online"))
    outbox.acknowledge(sealed.sequence)
    await asyncio.sleep(0)
    assert not waiter.done()
    outbox.acknowledge(outbox.seal().sequence)
    async with asyncio.timeout(1):
        await waiter


async def test_a_message_has_a_good_size():
    outbox = Outbox()
    for start in range(0, 12_000, 4000):
        outbox.add([(point(n), good(float(n))) for n in range(start, start + 4000)])
    sizes = []
    while outbox.waiting:
        sizes.append(len(outbox.seal().readings))
    assert sizes == [1000] * 12
    assert [v for sealed in outbox.unacked for v in values(sealed)] == [
        float(n) for n in range(12_000)
    ]


async def test_waits_while_too_much_is_unacknowledged():
    outbox = Outbox()
    for _ in range(128):
        outbox.add([(point(1), good(1.0))])
        outbox.seal()
    outbox.add([(point(1), good(1.0))])
    assert not await is_ready(outbox)
    outbox.acknowledge(1)
    assert await is_ready(outbox)


@pytest.mark.parametrize("urgent", ["state", "outcome", "many"])
async def test_lingers_for_readings_but_not_for_what_is_urgent(urgent):
    outbox = Outbox()
    outbox.add([(point(1), good(1.0))])
    lingering = asyncio.ensure_future(outbox.linger(60))
    await asyncio.sleep(0.01)
    assert not lingering.done()
    if urgent == "state":
        outbox.add_state(state("online"))
    elif urgent == "outcome":
        outbox.add_outcome(outcome(1))
    else:
        outbox.add([(point(1), good(1.0))] * 2000)
    async with asyncio.timeout(1):
        await lingering
    outbox.seal()
    outbox.seal()
    lingering = asyncio.ensure_future(outbox.linger(0.01))
    await asyncio.sleep(0)
    assert not lingering.done()
    async with asyncio.timeout(1):
        await lingering


async def test_beyond_the_backlog_the_newest_of_each_point_stays():
    outbox = Outbox(most_waiting=10_000)
    points = [point(n) for n in range(10)]
    for value in range(2000):
        outbox.add([(p, good(value)) for p in points])
    lost = 20_000 - outbox.waiting
    assert outbox.waiting <= 10_000
    assert outbox.dropped == {BACKLOG: lost}
    kept: dict[str, list[object]] = {}
    counts = 0
    while outbox.waiting:
        sealed = outbox.seal()
        counts += sealed.dropped.get(BACKLOG, 0)
        for p, reading in sealed.readings:
            kept.setdefault(p.name, []).append(reading.value)
    assert counts == lost
    assert len(kept) == 10
    assert all(v[-1] == 1999 and v == sorted(v) for v in kept.values())


async def test_more_points_than_room_cost_no_more_than_twice_the_points():
    outbox = Outbox(most_waiting=5000)
    batch = [(point(n), good(1.0)) for n in range(6000)]
    for _ in range(5):
        outbox.add(batch)
    assert outbox.waiting <= 18_000
    assert outbox.waiting + outbox.dropped[BACKLOG] == 30_000


async def test_states_and_outcomes_lose_only_what_is_superseded():
    outbox = Outbox(most_waiting=5)
    devices = [Key("plant", f"d{n}") for n in range(3)]
    for word in ("online", "offline", "unhealthy", "online"):
        for device in devices:
            outbox.add_state(state(word, device))
    for version in range(20):
        outbox.add_outcome(outcome(version))
    sealed = outbox.seal()
    assert len(sealed.states) <= 6
    assert {s.device: s.state for s in sealed.states} == dict.fromkeys(devices, "online")
    assert sealed.outcomes[-1].version == 19
    assert len(sealed.outcomes) <= 6
    assert outbox.dropped == {}


async def test_a_value_after_its_own_fault_goes_into_the_next_message():
    """Columns would bring the fault last, and the twin would stay bad."""
    outbox = Outbox()
    one, two = point(1), point(2)
    outbox.add([(one, good(1.0)), (two, fault())])
    outbox.add([(one, fault()), (two, good(2.0)), (one, good(3.0))])
    assert values(outbox.seal()) == [1.0, None, None]
    assert outbox.waiting == 2
    assert values(outbox.seal()) == [2.0, 3.0]


async def test_long_texts_are_spread_over_messages_and_giants_are_counted():
    outbox = Outbox()
    million = "x" * 1024 * 1024
    outbox.add([(point(n), good(million)) for n in range(5)])
    outbox.add([(point(6), good(million * 4)), (point(7), good(b"y"))])
    sizes = []
    while outbox.waiting:
        sizes.append(len(outbox.seal().readings))
    assert sizes == [3, 3]
    assert outbox.dropped == {TOO_BIG: 1}


async def test_taking_is_cheap():
    """Readings are looked at when a message is sealed, not when they come."""

    class Opaque(list):
        def __iter__(self):
            raise AssertionError("looked at")

    outbox = Outbox()
    outbox.add(Opaque([(point(1), good(1.0))]))
    assert outbox.waiting == 1

import asyncio
from collections import Counter

import pytest

from dmi.budget import Budget
from dmi.governor import Charset, Governor, StateCall, TwinCall, TwinText, escape
from dmi.resources import Key
from mapper_sdk.fakes.edgecore import FakeLimiter
from mapper_sdk.testing import FakeClock

KILN = Key("plant", "kiln")
PUMP = Key("plant", "pump")


@pytest.fixture
def governor(fake_clock: FakeClock) -> Governor:
    """With a full bucket, so that nothing waits for the clock unless the test wants it to."""
    governor = Governor(fake_clock)
    governor.budget.restarted()
    return governor


def offer(governor: Governor, device: Key, name: str, reported: str, desired: str = "") -> None:
    governor.offer(device, TwinText(name, reported, desired))


def values(call: TwinCall) -> dict[str, str]:
    return {twin.property: twin.reported for twin in call.twins}


# ------------------------------------------------------------------- order ----


async def test_one_call_carries_every_changed_twin_of_a_device(governor):
    offer(governor, KILN, "a", "1", "2")
    offer(governor, PUMP, "a", "3")
    offer(governor, KILN, "b", "4")
    call = await governor.next()
    assert call.device == KILN
    assert [(t.property, t.reported, t.desired) for t in call.twins] == [
        ("a", "1", "2"),
        ("b", "4", ""),
    ]


async def test_the_newest_value_wins(governor):
    for value in ("1", "2", "3"):
        offer(governor, KILN, "a", value)
    assert values(await governor.next()) == {"a": "3"}
    assert governor.superseded == 2


async def test_states_go_before_values_but_not_for_ever(governor, fake_clock):
    for name in ("a", "b"):
        offer(governor, Key("plant", name), "p", "1")
    for name in "cdefgh":
        governor.offer_state(Key("plant", name), "online")
    kinds = [type(await governor.next()) for _ in range(3)]
    await fake_clock.advance(5)
    kinds += [type(await governor.next()) for _ in range(5)]
    assert kinds == [StateCall] * 3 + [TwinCall] + [StateCall] * 3 + [TwinCall]


async def test_values_leave_a_reserve_for_the_states_of_all_devices(governor):
    """With ninety calls at hand and forty devices, values may have fifty at once."""
    for _ in range(60):
        for number in range(40):
            offer(governor, Key("plant", f"d{number}"), "p", str(governor.superseded))
        try:
            async with asyncio.timeout(0.05):
                governor.accepted(await governor.next())
        except TimeoutError:
            break
    assert governor.budget.tokens == 40
    for number in range(40):
        governor.offer_state(Key("plant", f"d{number}"), "offline")
    async with asyncio.timeout(1):
        assert [type(await governor.next()) for _ in range(40)] == [StateCall] * 40


async def test_the_newest_state_wins_and_repeats_are_not_sent(governor):
    governor.offer_state(KILN, "online")
    governor.offer_state(KILN, "offline")
    call = await governor.next()
    assert call == StateCall(KILN, "offline")
    governor.accepted(call)
    governor.offer_state(KILN, "offline")
    async with asyncio.timeout(1):
        await governor.idle()
    governor.offer_state(KILN, "online")
    assert await governor.next() == StateCall(KILN, "online")


async def test_devices_take_turns_by_how_long_they_wait(governor, fake_clock):
    turns = []
    for round_ in range(3):
        for name in "abc":
            offer(governor, Key("plant", name), "p", str(round_))
    async with asyncio.TaskGroup() as group:

        async def give_out() -> None:
            for step in range(6):
                call = await governor.next()
                governor.accepted(call)
                turns.append(call.device.name)
                offer(governor, call.device, "p", f"again {step}".replace(" ", "-"))

        group.create_task(give_out())
        await fake_clock.advance(10)
    assert turns == list("abcabc")


async def test_a_very_wide_device_goes_in_several_calls(governor, fake_clock):
    for number in range(1500):
        offer(governor, KILN, f"p{number}", "1")
    first = await governor.next()
    governor.accepted(first)
    async with asyncio.TaskGroup() as group:
        rest = group.create_task(governor.next())
        await fake_clock.advance(2)
    assert len(first.twins) + len(rest.result().twins) == 1500
    assert len({twin.property for twin in first.twins + rest.result().twins}) == 1500


# ----------------------------------------------------------------- repeats ----


async def test_an_unchanged_twin_is_repeated_only_after_a_while(governor, fake_clock):
    offer(governor, KILN, "a", "1")
    governor.accepted(await governor.next())
    offer(governor, KILN, "a", "1")
    async with asyncio.timeout(1):
        await governor.idle()
    offer(governor, KILN, "a", "1", "5")
    call = await governor.next()
    assert call.twins[0].desired == "5"
    governor.accepted(call)
    await fake_clock.advance(50)
    offer(governor, KILN, "a", "1", "5")
    assert values(await governor.next()) == {"a": "1"}


async def test_after_repeat_all_nothing_counts_as_sent(governor, fake_clock):
    offer(governor, KILN, "a", "1")
    governor.offer_state(KILN, "online")
    for _ in range(2):
        governor.accepted(await governor.next())
    governor.repeat_all()
    assert await governor.next() == StateCall(KILN, "online")
    offer(governor, KILN, "a", "1")
    await fake_clock.advance(2)
    assert values(await governor.next()) == {"a": "1"}


async def test_a_failed_call_comes_again_unless_something_newer_is_there(governor, fake_clock):
    offer(governor, KILN, "a", "1")
    offer(governor, KILN, "b", "1")
    offer(governor, PUMP, "a", "1")
    call = await governor.next()
    offer(governor, KILN, "a", "2")
    governor.failed(call)
    await fake_clock.advance(2)
    again = await governor.next()
    assert (again.device, values(again)) == (KILN, {"a": "2", "b": "1"})


async def test_a_failed_state_comes_again_unless_a_newer_one_is_there(governor):
    governor.offer_state(KILN, "online")
    governor.failed(await governor.next())
    call = await governor.next()
    assert call.state == "online"
    governor.offer_state(KILN, "offline")
    governor.failed(call)
    assert (await governor.next()).state == "offline"


async def test_what_is_given_up_does_not_come_again(governor):
    offer(governor, KILN, "a", "1")
    governor.give_up(await governor.next())
    async with asyncio.timeout(1):
        await governor.idle()
    assert governor.withheld == {"rejected": 1}


@pytest.mark.parametrize("end", [Governor.accepted, Governor.failed])
async def test_a_device_forgotten_during_its_call_is_new_when_it_comes_back(governor, end):
    governor.offer_state(KILN, "online")
    call = await governor.next()
    governor.forget(KILN)
    end(governor, call)
    async with asyncio.timeout(1):
        await governor.idle()
    governor.offer_state(KILN, "online")
    async with asyncio.timeout(1):
        assert await governor.next() == StateCall(KILN, "online")


async def test_a_forgotten_device_says_nothing(governor):
    offer(governor, KILN, "a", "1")
    governor.offer_state(KILN, "online")
    offer(governor, PUMP, "a", "1")
    governor.forget(KILN)
    assert (await governor.next()).device == PUMP


async def test_idle_waits_for_the_call_under_way(governor):
    offer(governor, KILN, "a", "1")
    call = await governor.next()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await governor.idle()
    governor.accepted(call)
    await governor.idle()


# ----------------------------------------------------------------- charset ----


@pytest.mark.parametrize(
    ("key", "name", "value", "reason"),
    [
        (KILN, "a", "21.5 C", "charset"),
        (KILN, "a", "ü", "charset"),
        (KILN, "a", "x" * 513, "too_long"),
        (KILN, "air temperature", "1", "property_name"),
        (KILN, "", "1", "property_name"),
        (Key("dev", "kiln"), "a", "1", "namespace"),
    ],
)
async def test_holds_back_what_would_be_dropped(governor, caplog, key, name, value, reason):
    offer(governor, key, name, value)
    offer(governor, key, name, value)
    await governor.idle()
    assert governor.withheld == {reason: 2}
    assert len([r for r in caplog.records if reason in r.getMessage()]) == 1


async def test_a_withheld_value_takes_the_outdated_one_with_it(governor):
    offer(governor, KILN, "a", "fine")
    offer(governor, KILN, "a", "not fine")
    async with asyncio.timeout(1):
        await governor.idle()


async def test_a_desired_half_that_would_be_dropped_goes_out_empty(governor):
    offer(governor, KILN, "a", "1", "50 %")
    call = await governor.next()
    assert (call.twins[0].reported, call.twins[0].desired) == ("1", "")
    assert governor.withheld == {"desired": 1}


@pytest.mark.parametrize("key_state", [(KILN, "disconnected"), (Key("e", "kiln"), "online")])
async def test_holds_back_states_that_would_vanish(governor, key_state):
    governor.offer_state(*key_state)
    await governor.idle()
    assert governor.withheld.total() == 1


async def test_escapes_when_the_operator_wants_it(fake_clock):
    governor = Governor(fake_clock, charset=Charset.REPLACE)
    offer(governor, KILN, "a", "21.5 °C", "a#b")
    offer(governor, KILN, "b", "21.5")
    offer(governor, KILN, "c", " " * 200)
    call = await governor.next()
    assert [(t.reported, t.desired) for t in call.twins] == [
        ("21.5#20#c2#b0C", "a#23b"),
        ("21.5", ""),
    ]
    assert governor.escaped == 1
    assert governor.withheld == {"too_long": 1}


@pytest.mark.parametrize("text", ["", "plain-1.0", "#", "#20", "a b", "ü%+=(){}", "\x00\n"])
def test_escaping_is_reversible(text):
    head, *groups = escape(text).split("#")
    back = head.encode() + b"".join(bytes([int(g[:2], 16)]) + g[2:].encode() for g in groups)
    assert back.decode() == text


# ------------------------------------------------------------------ budget ----


def test_the_budget_stays_below_the_real_bucket(fake_clock):
    budget = Budget(fake_clock)
    assert budget.tokens == 50
    assert budget.wait(50) == 0
    budget.restarted()
    assert budget.tokens == 90
    assert budget.wait(91) > 0


async def test_a_refusal_halves_and_success_grows_back(fake_clock):
    budget = Budget(fake_clock)
    full = budget.rate
    budget.refused()
    assert budget.tokens == 0
    assert budget.rate == full / 2
    assert budget.capacity == 45
    for _ in range(100):
        await fake_clock.advance(5)
        budget.spend()
        budget.accepted()
    assert (budget.rate, budget.capacity) == (full, 90)
    for _ in range(20):
        budget.refused()
    assert budget.rate == 0.05
    assert budget.capacity == 1


async def test_a_refused_call_waits_and_comes_again(governor, fake_clock):
    offer(governor, KILN, "a", "1")
    governor.refused(await governor.next())
    async with asyncio.TaskGroup() as group:
        again = group.create_task(governor.next())
        await fake_clock.advance(1)
        assert not again.done()
        await fake_clock.advance(2)
    assert values(again.result()) == {"a": "1"}


async def test_a_registration_takes_its_turn_at_the_bucket(governor, fake_clock):
    governor.refused(None)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(governor.admit())
        await fake_clock.advance(1)
        assert not task.done()
        await fake_clock.advance(2)
        assert task.done()


class Plant:
    """Fifty devices of twenty properties, all changing each second, and a busy EdgeCore."""

    storm_at = 0

    def __init__(self, clock: FakeClock, governor: Governor, limiter: FakeLimiter) -> None:
        self.clock, self.governor, self.limiter = clock, governor, limiter
        self.devices = [Key("plant", f"d{number}") for number in range(50)]
        self.seen: dict[tuple[Key, str], list[float]] = {}
        self.asked: dict[Key, tuple[float, str]] = {}
        self.state_delays: list[float] = []
        self.refused = 0
        self.calls: Counter[type] = Counter()

    async def change(self) -> None:
        tick = 0
        while True:
            for index, device in enumerate(self.devices):
                for number in range(20):
                    offer(self.governor, device, f"p{number}", str(tick))
                if (tick + index * 20) % 1000 == 0 or tick == 0:
                    self.set_state(device, f"o{'ff' if tick else 'n'}line")
            if tick == self.storm_at:
                for device in self.devices[:30]:
                    self.set_state(device, "unhealthy")
            tick += 1
            await self.clock.sleep(1)

    def set_state(self, device: Key, state: str) -> None:
        self.asked[device] = (self.clock.monotonic(), state)
        self.governor.offer_state(device, state)

    async def deliver(self) -> None:
        while True:
            call = await self.governor.next()
            self.calls[type(call)] += 1
            if not self.limiter.allow():
                self.refused += 1
                self.governor.refused(call)
                continue
            now = self.clock.monotonic()
            if isinstance(call, StateCall):
                when, state = self.asked[call.device]
                assert state == call.state
                self.state_delays.append(now - when)
            else:
                for twin in call.twins:
                    self.seen.setdefault((call.device, twin.property), []).append(now)
            self.governor.accepted(call)


@pytest.mark.parametrize("fresh", [True, False])
async def test_ten_minutes_of_a_changing_plant(fake_clock, fresh):
    """Every twin within a minute, states within 5 s, and not one refused call."""
    limiter = FakeLimiter(fake_clock)
    governor = Governor(fake_clock)
    if fresh:
        governor.budget.restarted()
    else:
        limiter.drain(keep=51)
    plant = Plant(fake_clock, governor, limiter)
    plant.storm_at = 300 if fresh else 0
    await governor.admit()
    assert limiter.allow()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(plant.change()), group.create_task(plant.deliver())]
        await fake_clock.advance(600)
        for task in tasks:
            task.cancel()
    assert plant.refused == 0
    assert len(plant.seen) == 1000
    ages = [
        later - earlier
        for times in plant.seen.values()
        for earlier, later in zip([0.0, *times], [*times, 600.0], strict=True)
    ]
    assert max(ages) <= 60
    assert max(plant.state_delays) <= 5
    assert plant.calls[StateCall] >= (100 if fresh else 70)


@pytest.mark.timeout(90)  # fifteen minutes of two busy plants are some seconds of pure computing
async def test_shares_the_bucket_with_another_busy_mapper(fake_clock):
    """Two of them at full speed: refusals teach both to take less."""
    limiter = FakeLimiter(fake_clock)
    limiter.drain()
    plants = [Plant(fake_clock, Governor(fake_clock), limiter) for _ in range(2)]
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(job()) for plant in plants for job in (plant.change, plant.deliver)
        ]
        await fake_clock.advance(900)
        for task in tasks:
            task.cancel()
    got = [plant.calls.total() - plant.refused for plant in plants]
    assert sum(got) > 700
    assert min(got) > 200
    assert sum(plant.refused for plant in plants) < 0.1 * sum(got)


# --------------------------------------------- what changes while it is told ----


async def test_a_state_that_turns_back_while_it_is_told_is_told_again(governor):
    governor.offer_state(KILN, "online")
    governor.accepted(await governor.next())
    governor.offer_state(KILN, "offline")
    call = await governor.next()
    governor.offer_state(KILN, "online")
    governor.accepted(call)
    assert await governor.next() == StateCall(KILN, "online")


async def test_a_value_that_turns_back_while_it_is_told_is_told_again(governor):
    offer(governor, KILN, "a", "1")
    governor.accepted(await governor.next())
    offer(governor, KILN, "a", "2")
    call = await governor.next()
    offer(governor, KILN, "a", "1")
    governor.accepted(call)
    assert values(await governor.next()) == {"a": "1"}


async def test_a_value_that_turns_back_while_its_call_fails_is_the_one_that_is_told(governor):
    offer(governor, KILN, "a", "1")
    governor.accepted(await governor.next())
    offer(governor, KILN, "a", "2")
    call = await governor.next()
    offer(governor, KILN, "a", "1")
    governor.failed(call)
    assert values(await governor.next()) == {"a": "1"}

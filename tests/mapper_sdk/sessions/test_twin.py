import asyncio
from dataclasses import replace

import pytest

from dmi.errors import (
    ConversionError,
    OverloadedError,
    RefusedError,
    UnavailableError,
    UnsupportedError,
)
from dmi.reports import OutcomeStatus
from dmi.resources import Key


async def test_a_wish_is_written_once_and_confirmed(plant, make):
    plant.station()
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        await plant.put(make.wish("t", 5.0))
        assert plant.station().writes == [(1, 5.0)]
        assert plant.outcomes() == [("t", 1, "WRITTEN"), ("t", 1, "CONFIRMED")]
        assert plant.values("t")[-1] == 5.0
        await plant.clock.advance(5)
        assert len(plant.station().writes) == 1


async def test_the_same_wish_again_is_not_a_new_one(plant, make):
    plant.station()
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        await plant.put(make.wish("t", 5.0, 2), make.wish("t", 5.0, 2), make.wish("t", 1.0, 1))
        assert plant.station().writes == [(1, 5.0)]


async def test_without_versions_a_changed_text_is_a_new_wish(plant, make):
    plant.station()
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        for text in ("5", "5", "6", "6"):
            await plant.put(make.wish("t", text, 0))
        assert plant.station().writes == [(1, 5.0), (1, 6.0)]


async def test_a_settled_or_withdrawn_wish_is_not_written(plant, make):
    plant.station()
    async with plant.running():
        await plant.put(make.model(t={}, u={}), make.device(t={"cell": 1}, u={"cell": 2}))
        await plant.put(make.wish("t", 5.0, settled=True), make.wish("u", None))
        assert plant.station().writes == []
        assert plant.outcomes() == []


@pytest.mark.parametrize(
    ("declared", "value", "reason"),
    [
        ({"accessMode": "ReadOnly"}, 5.0, "access_denied"),
        ({}, "warm", "conversion"),
        ({"type": "BOOLEAN"}, 5.0, "conversion"),
        ({"maximum": "4"}, 5.0, "out_of_range"),
        (None, 5.0, "not_found"),
    ],
)
async def test_a_wish_that_cannot_be_is_rejected_and_never_sent(
    plant, make, declared, value, reason
):
    plant.station()
    model = make.model(r={}, **({} if declared is None else {"t": declared}))
    props = {"r": {"cell": 2}} if declared is None else {"t": {"cell": 1}}
    async with plant.running():
        await plant.put(model, make.device(**props), make.wish("t", value))
        assert plant.station().writes == []
        assert plant.outcomes() == [("t", 1, "REJECTED")]
        assert plant.link.outcomes[0].reason == reason
        assert plant.link.outcomes[0].message


async def test_a_rejected_wish_is_checked_again_when_the_model_changes(plant, make):
    plant.station()
    async with plant.running():
        await plant.put(
            make.model(t={"accessMode": "ReadOnly"}),
            make.device(t={"cell": 1}),
            make.wish("t", 5.0),
        )
        await plant.put(make.model(t={"unit": "K", "accessMode": "ReadWrite"}))
        assert plant.station().writes == [(1, 5.0)]
        assert plant.outcomes()[-1] == ("t", 1, "CONFIRMED")


async def test_a_wish_for_a_device_that_is_away_waits_for_it(plant, make):
    plant.station().reachable = False
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        await plant.put(make.wish("t", 5.0, 1))
        await plant.put(make.wish("t", 6.0, 2))
        assert plant.outcomes() == [("t", 1, "PENDING"), ("t", 2, "PENDING")]
        assert plant.link.outcomes[0].reason == "unavailable"
        plant.station().reachable = True
        await plant.clock.advance(2)
        assert plant.station().writes == [(1, 6.0)]
        assert plant.outcomes()[-1] == ("t", 2, "CONFIRMED")


async def test_what_the_device_has_already_is_confirmed_without_writing(plant, make):
    plant.station().memory = {1: 50}
    async with plant.running():
        await plant.put(
            make.wish("t", "5.0", 0),
            make.model(t={}),
            make.device(t={"cell": 1, "scale": 0.1}),
        )
        assert plant.station().writes == []
        assert plant.outcomes()[-1] == ("t", 0, "CONFIRMED")


async def test_a_refused_wish_has_failed_until_there_is_a_newer_one(plant, make):
    def refuse(cell, value):
        if value > 4:
            raise RefusedError("too hot")
        plant.station().memory[cell] = value

    plant.station().on_write = refuse
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        await plant.put(make.wish("t", 5.0, 1))
        await plant.clock.advance(10)
        assert plant.station().writes == [(1, 5.0)]
        assert plant.outcomes() == [("t", 1, "FAILED")]
        assert plant.link.outcomes[0].message == "too hot"
        assert plant.state().state == "online"
        await plant.put(make.wish("t", 4.0, 2))
        assert plant.outcomes()[-1] == ("t", 2, "CONFIRMED")


@pytest.mark.parametrize(
    ("error", "status", "state"),
    [
        (ConversionError("does not fit 16 bits"), "REJECTED", "online"),
        (UnsupportedError("an input register"), "FAILED", "online"),
        (KeyError("bug"), "FAILED", "unhealthy"),
    ],
)
async def test_other_errors_of_a_write(plant, make, error, status, state):
    def fail(cell, value):
        raise error

    plant.station().on_write = fail
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        await plant.put(make.wish("t", 5.0))
        assert plant.outcomes() == [("t", 1, status)]
        assert plant.state().state == state


async def test_a_write_that_got_lost_is_looked_at_before_it_is_repeated(plant, make):
    station = plant.station()

    def lose(cell, value):
        station.memory[cell] = value  # it did arrive
        raise UnavailableError("the answer did not")

    station.on_write = lose
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        await plant.put(make.wish("t", 5.0))
        assert plant.state().state == "offline"
        assert plant.outcomes()[0] == ("t", 1, "PENDING")
        await plant.clock.advance(2)
        assert len(station.writes) == 1
        assert plant.outcomes()[-1] == ("t", 1, "CONFIRMED")


async def test_a_write_that_got_lost_on_the_way_is_repeated(plant, make):
    station = plant.station()

    def lose(cell, value):
        station.on_write = None
        raise UnavailableError("lost")

    station.on_write = lose
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        await plant.put(make.wish("t", 5.0))
        await plant.clock.advance(2)
        assert station.writes == [(1, 5.0)] * 2
        assert plant.outcomes()[-1] == ("t", 1, "CONFIRMED")


async def test_a_newer_wish_wins_over_one_that_is_being_lost(plant, make):
    station = plant.station()
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        station.hold = asyncio.Event()
        await plant.put(make.wish("t", 5.0, 1))
        await plant.put(make.wish("t", 6.0, 2))
        station.reachable = False
        station.hold.set()
        await plant.clock.settle()
        station.reachable = True
        await plant.clock.advance(2)
        assert station.writes == [(1, 6.0)]


async def test_a_device_that_reads_back_something_else_stays_written_until_it_agrees(plant, make):
    station = plant.station()
    station.on_write = lambda cell, value: None  # it takes its time
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        await plant.put(make.wish("t", 5.0))
        assert plant.outcomes() == [("t", 1, "WRITTEN"), ("t", 1, "WRITTEN")]
        assert plant.link.outcomes[1].reason == "differs"
        await plant.clock.advance(3)
        assert len(plant.outcomes()) == 2
        station.memory[1] = 5.0
        await plant.clock.advance(1.1)
        assert plant.outcomes()[2:] == [("t", 1, "CONFIRMED")]
        assert len(station.writes) == 1


async def test_several_wishes_are_written_in_their_order(plant, make):
    plant.station()
    async with plant.running():
        await plant.put(
            make.wish("u", 1.0),
            make.wish("t", 2.0),
            make.model(t={}, u={}),
            make.device(t={"cell": 1}, u={"cell": 2}),
        )
        assert plant.station().writes == [(2, 1.0), (1, 2.0)]
        statuses = {o.property: o.status for o in plant.link.outcomes}
        assert set(statuses.values()) == {OutcomeStatus.CONFIRMED}


async def test_a_local_change_on_the_device_is_not_fought(plant, make):
    plant.station()
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}), make.wish("t", 5.0))
        plant.station().memory[1] = 9.0
        await plant.clock.advance(5)
        plant.link.served.remove_model(make.model().key)
        await plant.put(make.model(t={}))
        assert plant.station().writes == [(1, 5.0)]
        assert plant.values("t")[-1] == 9.0


async def test_a_wish_is_not_confirmed_by_what_an_older_write_has_yet_to_change(plant, make):
    station = plant.station()
    station.memory = {1: 5.0}
    station.on_write = lambda cell, value: None  # It takes effect later.
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        await plant.put(make.wish("t", 7.0, 1))
        station.hold = asyncio.Event()
        await plant.clock.advance(1.1)
        await plant.put(make.wish("t", 5.0, 2))
        station.hold.set()
        await plant.clock.settle()
        assert station.writes == [(1, 7.0), (1, 5.0)]
        assert plant.outcomes()[-1] == ("t", 2, "CONFIRMED")


async def test_without_versions_the_end_of_an_older_wish_settles_no_newer_one(plant, make):
    station = plant.station()
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        station.hold = asyncio.Event()
        await plant.put(make.wish("t", "5", 0))
        await plant.put(make.wish("t", "6", 0))
        plant.link.served.remove_model(Key("default", "model"))
        station.hold.set()
        await plant.clock.settle()
        assert station.writes == [(1, 5.0)]
        await plant.put(make.model(t={}))
        assert station.writes == [(1, 5.0), (1, 6.0)]


async def test_a_device_too_busy_for_a_write_stays_online_and_is_asked_again(plant, make):
    station = plant.station()
    refusals = [OverloadedError("busy")] * 2

    def take(cell, value):
        if refusals:
            raise refusals.pop()
        station.memory[cell] = value

    station.on_write = take
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        await plant.put(make.wish("t", 7.0))
        assert len(station.writes) == 1
        await plant.clock.advance(2.2)
        assert len(station.writes) == 3
        assert plant.outcomes()[-1] == ("t", 1, "CONFIRMED")
        assert [state.state for state in plant.link.states] == ["online"]


async def test_a_wish_taken_back_while_the_device_is_away_is_not_written(plant, make):
    station = plant.station()
    station.reachable = False
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        await plant.put(make.wish("t", 7.0, 3))
        await plant.put(make.wish("t", None, 0))  # As the v1 manager withdraws.
        station.reachable = True
        await plant.clock.advance(2.1)
        assert plant.state().state == "online"
        assert station.writes == []
        await plant.put(make.wish("t", 7.0, 4))
        assert station.writes == [(1, 7.0)]


async def test_versions_of_another_epoch_begin_again(plant, make):
    station = plant.station()
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        await plant.put(make.wish("t", 7.0, 40))
        await plant.put(replace(make.wish("t", 5.0, 2), epoch="other"))
        await plant.put(replace(make.wish("t", 5.0, 2), epoch="other"))
        assert station.writes == [(1, 7.0), (1, 5.0)]
        assert plant.outcomes()[-1] == ("t", 2, "CONFIRMED")

import asyncio
import logging

import pytest

from dmi.errors import (
    AccessDeniedError,
    ConfigError,
    ConversionError,
    DeadlineError,
    NotFoundError,
    OutOfRangeError,
    RefusedError,
    UnavailableError,
)
from dmi.readings import Quality, Reading
from dmi.resources import Key
from mapper_sdk.sessions.writing import Progress


async def write(session, name, value):
    """Write a property, and give its reading then."""
    await session.write_all({name: value}, Progress())
    return session.point(name).latest


async def test_a_device_is_read_at_once_and_then_each_cycle(plant, make):
    plant.station().memory = {1: 20.5, 2: 7}
    async with plant.running():
        await plant.put(
            make.model(t={}, n={"type": "INT"}), make.device(t={"cell": 1}, n={"cell": 2})
        )
        assert plant.station().reads == [[1, 2]]
        assert plant.state().state == "online"
        await plant.clock.advance(3.1)
    assert plant.station().reads == [[1, 2]] * 4
    assert plant.values("t") == [20.5] * 4
    assert plant.values("n") == [7] * 4
    assert plant.station().closes == 1


async def test_readings_carry_the_time_of_their_read(plant, make):
    plant.station()
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        assert plant.link.readings[0][1].time == plant.clock.time()


async def test_each_cycle_is_read_by_itself(plant, make):
    plant.station()
    async with plant.running():
        await plant.put(
            make.model(a={}, b={}, c={}),
            make.device(a={"cell": 1, "cycle": 500}, b={"cell": 2}, c={"cell": 3, "cycle": 500}),
        )
        await plant.clock.advance(2.06)
    reads = plant.station().reads
    assert reads[0] == [1, 2, 3]
    assert reads.count([1, 3]) == 4
    assert reads.count([2]) == 2


async def test_a_device_that_is_away_is_offline_and_tried_again(plant, make):
    plant.station().reachable = False
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        state = plant.state()
        assert (state.state, state.reason, state.message) == (
            "offline",
            "unavailable",
            "nobody there",
        )
        assert plant.reasons("t") == ["unavailable"]
        await plant.clock.advance(1.1)
        assert plant.station().connects == 2
        plant.station().reachable = True
        await plant.clock.advance(2.1)
        assert plant.state().state == "online"
        assert plant.state().since == pytest.approx(plant.clock.time(), abs=2.1)
    assert plant.values("t")[:2] == [None, 0.0]
    assert [state.state for state in plant.link.states] == ["offline", "online"]


async def test_waits_grow_to_a_minute(plant, make):
    plant.station().reachable = False
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        await plant.clock.advance(60)
        early = plant.station().connects
        await plant.clock.advance(600)
    assert 5 <= early <= 9
    assert 10 <= plant.station().connects - early <= 21
    assert len(plant.link.states) == 1


async def test_a_lost_device_goes_offline_and_its_values_with_it(plant, make):
    plant.station().memory = {1: 5.0}
    async with plant.running():
        await plant.put(make.model(t={}, u={}), make.device(t={"cell": 1}, u={"cell": 2}))
        plant.station().reachable = False
        await plant.clock.advance(1.1)
        assert plant.state().state == "offline"
        latest = plant.session().plan.points["t"].latest
        assert (latest.value, latest.quality, latest.reason) == (
            None,
            Quality.BAD,
            "unavailable",
        )
        assert plant.values("t") == [5.0, None]
        assert plant.reasons("u") == ["", "unavailable"]
        assert plant.station().closes == 1
        plant.station().reachable = True
        await plant.clock.advance(2.1)
        assert plant.values("t")[2] == 5.0
        assert plant.state().state == "online"


async def test_an_answer_that_takes_too_long_is_a_deadline(plant, make, monkeypatch):
    monkeypatch.setattr(plant.mapper.driver_class, "patience", 0.02)
    plant.station()
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        plant.station().hold = asyncio.Event()
        plant.link.state_came.clear()
        await plant.clock.advance(1.1)
        async with asyncio.timeout(2):
            await plant.link.state_came.wait()
        assert plant.state().reason == "deadline"


async def test_a_driver_may_know_that_its_device_is_slow_to_connect(plant, make, monkeypatch):
    driver_class = plant.mapper.driver_class
    connect, begin = driver_class.connect, driver_class.__init__

    async def connect_slowly(self):
        await asyncio.sleep(0.05)
        await connect(self)

    def begin_patiently(self, link):
        begin(self, link)
        self.patience = 5.0

    monkeypatch.setattr(driver_class, "patience", 0.01)
    monkeypatch.setattr(driver_class, "connect", connect_slowly)
    monkeypatch.setattr(driver_class, "__init__", begin_patiently)
    plant.station()
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        plant.link.state_came.clear()
        async with asyncio.timeout(2):
            await plant.link.state_came.wait()
        assert plant.state().state == "online"


async def test_a_property_that_fails_alone_is_bad_alone(plant, make):
    plant.station().answers = lambda visits: [
        RefusedError("no such register") if visit.cell == 1 else 3.0 for visit in visits
    ]
    async with plant.running():
        await plant.put(make.model(t={}, u={}), make.device(t={"cell": 1}, u={"cell": 2}))
        assert plant.state().state == "online"
        assert plant.reasons("t") == ["refused"]
        assert plant.session().point("t").trouble == "no such register"
        assert plant.values("u") == [3.0]


async def test_a_device_whose_every_property_is_unreachable_is_offline(plant, make):
    answers = plant.station()
    answers.answers = lambda visits: [DeadlineError("silent") for _ in visits]
    async with plant.running():
        await plant.put(make.model(t={}, u={}), make.device(t={"cell": 1}, u={"cell": 2}))
        assert (plant.state().state, plant.state().reason) == ("offline", "deadline")


async def test_a_group_out_of_reach_does_not_take_the_device_down(plant, make):
    station = plant.station()
    async with plant.running():
        await plant.put(
            make.model(t={}, u={}),
            make.device(t={"cell": 1}, u={"cell": 2, "cycle": 60_000}),
        )
        station.answers = lambda visits: [
            DeadlineError("silent") if visit.cell == 1 else 1.0 for visit in visits
        ]
        reads = len(station.reads)
        await plant.clock.advance(1.06)
        # The other group is read at once, to learn whether the device is still there.
        assert [2] in station.reads[reads:]
        assert plant.state().state == "online"
        assert plant.reasons("t")[-1] == "deadline"
        station.answers = lambda visits: [DeadlineError("silent") for _ in visits]
        await plant.clock.advance(62)
        assert "offline" in [state.state for state in plant.link.states]


async def test_a_driver_with_a_bug_makes_its_own_device_unhealthy(plant, make, caplog):
    plant.station("a").error = ZeroDivisionError("oops")
    plant.station("b")
    async with plant.running():
        await plant.put(
            make.model(t={}),
            make.device("one", t={"cell": 1}),
            make.device("two", t={"cell": 1}, address="b"),
        )
        assert (plant.state("one").state, plant.state("one").reason) == (
            "unhealthy",
            "driver_bug",
        )
        assert plant.state("two").state == "online"
        assert "ZeroDivisionError: oops" in plant.state("one").message
        assert any(record.exc_info for record in caplog.records)
        plant.station("a").error = None
        await plant.clock.advance(61)
        assert plant.state("one").state == "online"
        assert len(plant.station("b").reads) > 50


@pytest.mark.parametrize("answer", [[], [1.0, 2.0], [object()]])
async def test_wrong_answers_are_a_bug_of_the_driver(plant, make, answer):
    plant.station().answers = lambda _visits: answer
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        assert plant.state().reason == "driver_bug"


async def test_an_os_error_counts_as_unavailable(plant, make):
    plant.station().error = ConnectionResetError("reset by peer")
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        assert (plant.state().state, plant.state().message) == ("offline", "reset by peer")


async def test_a_settings_error_waits_for_the_settings_to_change(plant, make):
    plant.station().error = ConfigError("no such port")
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        assert (plant.state().state, plant.state().reason) == ("unhealthy", "config")
        await plant.clock.advance(600)
        assert plant.station().connects == 1
        plant.station().error = None
        await plant.put(make.device(t={"cell": 2}))
        assert plant.state().state == "online"
        assert plant.station().reads[-1] == [2]


async def test_a_refused_login_is_tried_again_only_slowly(plant, make):
    plant.station().error = AccessDeniedError("wrong password")
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        assert plant.state().state == "unhealthy"
        await plant.clock.advance(29)
        assert plant.station().connects == 1
        await plant.clock.advance(32)
        assert plant.station().connects == 2


async def test_a_driver_that_cannot_close_holds_nobody_up(plant, make, caplog):
    plant.station()
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        driver = plant.station().drivers[0]

        async def close():
            raise ValueError("cannot")

        driver.close = close
        plant.link.served.remove_device(plant.session().plan.key)
        await plant.clock.settle()
        assert "does not close cleanly" in caplog.text


async def test_failures_in_a_row_are_logged_once_as_a_warning(plant, make, caplog):
    caplog.set_level(logging.DEBUG, "mapper_sdk.sessions.session")
    plant.station().reachable = False
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        await plant.clock.advance(30)
    levels = [record.levelname for record in caplog.records if "offline" in record.message]
    assert levels[0] == "WARNING"
    assert set(levels[1:]) == {"DEBUG"}


# ------------------------------------------------------------------ changes ----


async def test_a_faulty_property_is_served_as_bad_and_the_others_live(plant, make):
    plant.station()
    async with plant.running():
        await plant.put(make.model(t={}, u={}), make.device(t={"cell": 1}, u={"cell": "wrong"}))
        assert plant.state().state == "online"
        assert plant.reasons("u") == ["config"]
        await plant.clock.advance(2.1)
        assert plant.reasons("u") == ["config"]
        assert plant.station().reads == [[1]] * 3
        await plant.put(make.device(t={"cell": 1}, u={"cell": 2}))
        assert plant.values("u") == [None, 0.0]


async def test_a_property_that_becomes_faulty_turns_bad(plant, make):
    plant.station()
    async with plant.running():
        await plant.put(make.model(t={}, u={}), make.device(t={"cell": 1}, u={"cell": 2}))
        await plant.put(make.device(t={"cell": 1}, u={"cell": "wrong"}))
        assert plant.reasons("u") == ["", "config"]
        assert plant.station().connects == 1


async def test_a_changed_cycle_touches_only_the_timer(plant, make):
    plant.station()
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        point = plant.session().point("t")
        await plant.put(make.device(t={"cell": 1, "cycle": 100}))
        before = len(plant.station().reads)
        await plant.clock.advance(1.06)
        assert len(plant.station().reads) - before in (9, 10)
        assert plant.session().point("t") is point
        assert plant.station().connects == 1


async def test_changed_common_settings_apply_at_once_to_what_is_read_seldom(plant, make):
    plant.station().memory = {1: 5}
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1, "cycle": 3_600_000}))
        await plant.put(make.device(t={"cell": 1, "cycle": 3_600_000, "scale": 0.1}))
        assert plant.values("t") == [5.0, 0.5]
        assert plant.station().connects == 1


async def test_a_redirected_property_is_read_at_once(plant, make):
    plant.station().memory = {1: 5, 2: 6}
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1, "cycle": 60_000}))
        await plant.put(make.device(t={"cell": 2, "cycle": 60_000}))
        assert plant.values("t") == [5.0, 6.0]
        assert plant.station().connects == 1


async def test_another_address_reconnects(plant, make):
    plant.station("a").memory = {1: 1.0}
    plant.station("b").memory = {1: 2.0}
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        await plant.put(make.device(t={"cell": 1}, address="b"))
        assert (plant.station("a").closes, plant.station("b").connects) == (1, 1)
        assert plant.values("t") == [1.0, 2.0]


async def test_a_right_address_ends_the_waiting(plant, make):
    plant.station("a").reachable = False
    plant.station("b")
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        await plant.clock.advance(200)
        await plant.put(make.device(t={"cell": 1}, address="b"))
        assert plant.state().state == "online"


async def test_a_change_during_a_failing_connect_is_not_lost(plant, make):
    plant.station("a").hold = asyncio.Event()
    plant.station("a").reachable = False
    plant.station("b")
    async with plant.running():
        plant.station("a").reachable = True
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        await plant.put(make.device(t={"cell": 1}, address="b"))
        plant.station("a").reachable = False
        plant.station("a").hold.set()
        await plant.clock.settle()
        assert plant.state().state == "online"
        assert plant.station("b").connects == 1


async def test_a_removed_device_is_closed_and_silent(plant, make):
    plant.station()
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        key = plant.session().plan.key
        plant.link.served.remove_device(key)
        await plant.clock.settle()
        assert plant.station().closes == 1
        count = len(plant.link.readings)
        await plant.clock.advance(5)
        assert len(plant.link.readings) == count
        assert key not in plant.mapper.states
        with pytest.raises(NotFoundError, match="not known here"):
            plant.session()


async def test_a_device_that_comes_back_waits_for_its_old_session(plant, make):
    plant.station().hold = asyncio.Event()
    async with plant.running():
        device = make.device(t={"cell": 1})
        await plant.put(make.model(t={}), device)
        for _ in range(2):
            plant.link.served.remove_device(device.key)
            await plant.put(device)
        assert plant.station().connects == 1
        plant.station().hold.set()
        await plant.clock.settle()
        assert plant.station().connects == 2
        assert plant.state().state == "online"


async def test_a_device_without_its_model_is_unknown_and_its_values_bad(plant, make):
    plant.station()
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        plant.link.served.remove_model(make.model().key)
        await plant.clock.settle()
        assert (plant.state().state, plant.state().reason) == ("unknown", "no_model")
        assert plant.reasons("t")[-1] == "no_model"
        with pytest.raises(NotFoundError, match="no model"):
            plant.session()
        await plant.put(make.model(t={}))
        assert plant.state().state == "online"


# ----------------------------------------------------------- shared buses ----


async def test_a_dead_unit_does_not_stall_the_others_on_its_bus(plant, make):
    plant.station("a")
    plant.station("b").reachable = False
    async with plant.running():
        await plant.put(
            make.model(t={}),
            make.device("one", t={"cell": 1}, bus="line"),
            make.device("two", t={"cell": 1}, address="b", bus="line"),
        )
        await plant.clock.advance(120)
        assert plant.state("one").state == "online"
        assert len(plant.station("a").reads) >= 120
        assert plant.station("b").connects < 12


async def test_a_write_overtakes_its_own_waiting_poll_and_those_of_others(plant, make):
    order = []
    plant.station("a").hold = asyncio.Event()
    for name in "abcd":
        plant.station(name).on_write = lambda cell, value, name=name: order.append(name)
    async with plant.running():
        await plant.put(
            make.model(t={}),
            *(
                make.device(f"dev-{name}", t={"cell": 1}, address=name, bus="line")
                for name in "abcd"
            ),
        )
        plant.station("a").hold.set()
        await plant.clock.settle()
        plant.station("a").hold = asyncio.Event()
        await plant.clock.advance(1.06)  # a holds the bus; the polls of the others wait
        reads = {name: len(plant.station(name).reads) for name in "abcd"}
        writing = asyncio.create_task(write(plant.session("dev-d"), "t", 1.0))
        await plant.clock.settle()
        plant.station("b").hold = asyncio.Event()
        plant.station("a").hold.set()
        await plant.clock.settle()
        assert order == ["d"]
        assert len(plant.station("d").reads) == reads["d"] + 1  # its read-back
        plant.station("b").hold.set()
        assert (await writing).value == 0.0


# ----------------------------------------------------------------- requests ----


async def test_a_live_read_asks_the_device_and_shares_the_read(plant, make):
    plant.station().memory = {1: 1.0}
    async with plant.running():
        await plant.put(make.model(t={}, u={}), make.device(t={"cell": 1}, u={"cell": 2}))
        plant.station().memory = {1: 2.0}
        session = plant.session()
        reads = len(plant.station().reads)
        found = await asyncio.gather(*(session.read_now(["t"]) for _ in range(10)))
        assert [readings["t"].value for readings in found] == [2.0] * 10
        assert plant.station().reads[reads:] == [[1]]


async def test_a_live_read_of_a_device_that_is_away_fails_at_once(plant, make):
    plant.station().reachable = False
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        with pytest.raises(UnavailableError, match="default/dev: offline: nobody there"):
            await plant.session().read_now(["t"])
        with pytest.raises(NotFoundError):
            await plant.session().read_now(["x"])


async def test_a_live_read_that_loses_the_device_says_so(plant, make):
    plant.station()
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        plant.station().reachable = False
        with pytest.raises(UnavailableError, match="gone"):
            await plant.session().read_now(["t"])


async def test_who_asks_during_a_read_gets_the_next_one(plant, make):
    plant.station()
    async with plant.running():
        await plant.put(make.model(t={}, u={}), make.device(t={"cell": 1}, u={"cell": 2}))
        plant.station().hold = asyncio.Event()
        first = asyncio.create_task(plant.session().read_now(["t"]))
        await plant.clock.settle()
        second = asyncio.create_task(plant.session().read_now(["u"]))
        await plant.clock.settle()
        plant.station().hold.set()
        await asyncio.gather(first, second)
        assert plant.station().reads[-2:] == [[1], [2]]


async def test_a_faulty_property_cannot_be_read_or_written(plant, make):
    plant.station()
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": "x"}))
        with pytest.raises(ConfigError):
            await plant.session().read_now(["t"])
        with pytest.raises(ConfigError):
            await write(plant.session(), "t", 1.0)


async def test_a_local_write_is_checked_scaled_written_and_read_back(plant, make):
    plant.station()
    model = make.model(t={"maximum": "30"}, r={"accessMode": "ReadOnly"})
    async with plant.running():
        await plant.put(model, make.device(t={"cell": 1, "scale": 0.1}, r={"cell": 2}))
        reading = await write(plant.session(), "t", 20.3)
        assert reading == Reading(20.3, plant.clock.time())
        assert plant.station().writes == [(1, 203)]
        for name, value, error in (
            ("r", 1.0, AccessDeniedError),
            ("t", 31.0, OutOfRangeError),
            ("t", "warm", ConversionError),
            ("x", 1.0, NotFoundError),
        ):
            with pytest.raises(error):
                await write(plant.session(), name, value)
        assert plant.station().writes == [(1, 203)]
        assert plant.link.outcomes == []


async def test_a_refused_local_write_leaves_the_device_online(plant, make):
    def refuse(cell, value):
        raise RefusedError("locked")

    plant.station().on_write = refuse
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        with pytest.raises(RefusedError, match="locked"):
            await write(plant.session(), "t", 1.0)
        assert plant.state().state == "online"


async def test_a_requester_that_gives_up_costs_no_write(plant, make):
    plant.station()
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        plant.station().hold = asyncio.Event()
        reading = asyncio.create_task(plant.session().read_now(["t"]))
        await plant.clock.settle()
        writing = asyncio.create_task(write(plant.session(), "t", 1.0))
        await plant.clock.settle()
        writing.cancel()
        await plant.clock.settle()
        plant.station().hold.set()
        await reading
        await plant.clock.settle()
        assert plant.station().writes == []


async def test_requests_end_with_the_device(plant, make):
    plant.station()
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        plant.station().hold = asyncio.Event()
        session = plant.session()
        reading = asyncio.create_task(session.read_now(["t"]))
        await plant.clock.settle()
        writing = asyncio.create_task(write(session, "t", 1.0))
        late = asyncio.create_task(session.read_now(["t"]))
        await plant.clock.settle()
        plant.station().reachable = False
        plant.station().hold.set()
        for task in (reading, writing, late):
            with pytest.raises(UnavailableError):
                await task


async def test_draining_lets_go_of_devices_and_then_of_reports(plant, make):
    plant.station()
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        await plant.mapper.drain()
        assert plant.station().closes == 1
        assert plant.link.drained == 0
        plant.link.connected = True
        await plant.mapper.drain()
        assert plant.link.drained == 1


async def test_what_answers_for_every_point_that_it_is_gone_is_published_as_bad(plant, make):
    station = plant.station()
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        station.answers = lambda visits: [UnavailableError("gone") for _ in visits]
        await plant.clock.advance(1.2)
        assert plant.state().state == "offline"
        assert plant.reasons("t")[-1] == "unavailable"


async def test_a_device_removed_while_it_is_connected_leaves_nothing(plant, make):
    station = plant.station()
    station.hold = asyncio.Event()
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        assert station.reads == [[1]]
        plant.link.served.remove_device(Key("default", "dev"))
        station.hold.set()
        await plant.clock.settle()
        assert station.closes == 1
        assert plant.mapper.states == {}
        assert (plant.link.states, plant.link.readings) == ([], [])


async def test_a_device_refused_during_a_look_has_no_good_value_after_it(plant, make):
    station = plant.station()
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        station.hold = asyncio.Event()
        await plant.clock.advance(1.1)
        plant.link.served.remove_model(Key("default", "model"))
        station.hold.set()
        await plant.clock.settle()
        assert station.closes == 1
        assert plant.reasons("t")[-1] == "no_model"
        assert plant.state().reason == "no_model"


async def test_a_live_read_of_a_device_without_properties_has_nothing_to_wait_for(plant, make):
    plant.station()
    async with plant.running():
        await plant.put(make.model(t={}), make.device())
        async with asyncio.timeout(1):
            assert await plant.session().read_now([]) == {}


async def test_a_live_read_that_is_broken_off_is_told(plant, make):
    """A mapper that has to stop does not wait for a device that takes its time."""
    station = plant.station()
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        station.hold = asyncio.Event()
        reading = asyncio.create_task(plant.session().read_now(["t"]))
        await plant.clock.settle()
    with pytest.raises(UnavailableError, match="disconnected"):
        await reading


async def test_a_write_that_is_broken_off_is_told_and_may_be_done(plant, make):
    station, progress = plant.station(), Progress()
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        station.hold = asyncio.Event()
        writing = asyncio.create_task(plant.session().write_all({"t": 1.0}, progress))
        await plant.clock.settle()
    with pytest.raises(UnavailableError, match="disconnected"):
        await writing
    assert (progress.written, progress.unknown) == ([], ["t"])


async def test_a_write_that_waits_follows_the_declaration_of_its_turn(plant, make):
    station = plant.station()
    async with plant.running():
        await plant.put(make.model(t={}), make.device(t={"cell": 1}))
        station.hold = asyncio.Event()
        await plant.clock.advance(1.1)
        writing = asyncio.create_task(write(plant.session(), "t", 5.0))
        await plant.clock.settle()
        await plant.put(make.model(t={"accessMode": "ReadOnly"}))
        station.hold.set()
        with pytest.raises(AccessDeniedError):
            await writing
        assert station.writes == []


@pytest.mark.parametrize(
    ("changed", "error"), [({"u": {"cellar": 2}}, ConfigError), ({}, NotFoundError)]
)
async def test_a_live_read_that_waits_spares_a_property_that_is_gone(plant, make, changed, error):
    station = plant.station()
    async with plant.running():
        await plant.put(make.model(t={}, u={}), make.device(t={"cell": 1}, u={"cell": 2}))
        station.hold = asyncio.Event()
        await plant.clock.advance(1.1)
        reading = asyncio.create_task(plant.session().read_now(["u"]))
        await plant.clock.settle()
        await plant.put(make.device(t={"cell": 1}, **changed))
        seen = len(plant.values("u"))
        station.hold.set()
        with pytest.raises(error):
            await reading
        assert [state.state for state in plant.link.states] == ["online"]
        assert not any(plant.values("u")[seen:])


async def test_cycles_shorter_than_a_slot_end_when_they_change(plant, make):
    station = plant.station()
    async with plant.running():
        model = make.model(a={}, b={})
        await plant.put(model, make.device(a={"cell": 1, "cycle": 5}, b={"cell": 2, "cycle": 10}))
        await plant.put(make.device(a={"cell": 1}, b={"cell": 2}))
        station.reads.clear()
        await plant.clock.advance(1.0)
        assert len(station.reads) <= 2

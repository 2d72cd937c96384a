import pytest

from dmi.errors import UnavailableError
from dmi.readings import Quality, Reading


@pytest.fixture
def station(pushing_plant):
    pushing_plant.station().pushes = True
    return pushing_plant.station()


async def start(plant, make):
    await plant.put(make.model(t={}, u={}), make.device(t={"cell": 1, "scale": 0.1}, u={"cell": 2}))


async def test_pushed_answers_go_the_same_way(pushing_plant, station, make):
    plant = pushing_plant
    async with plant.running():
        await start(plant, make)
        assert station.subscriptions == [[1, 2]]
        assert station.reads == [[1, 2]]  # where it stands at the beginning
        station.publish(0, 20)
        station.publish(1, Reading(7, 123.0, Quality.UNCERTAIN, "stale"))
        station.publish(0, Reading(None, 124.0, Quality.BAD, "sensor"))
        await plant.clock.settle()
        assert plant.values("t") == [0.0, 2.0, None]
        assert plant.link.readings[-2][1] == Reading(7.0, 123.0, Quality.UNCERTAIN, "stale")
        assert plant.link.readings[-1][1] == Reading(None, 124.0, Quality.BAD, "sensor")


async def test_a_device_that_only_pushes_is_still_looked_at_now_and_then(
    pushing_plant, station, make
):
    plant = pushing_plant
    async with plant.running():
        await start(plant, make)
        await plant.clock.advance(9.9 * 3)
        assert station.reads[1:] in ([[1]] * 2, [[1]] * 3)
        station.reachable = False
        await plant.clock.advance(10.1)
        assert "offline" in [state.state for state in plant.link.states]
        assert plant.reasons("u")[-1] == "unavailable"


async def test_what_is_pushed_and_unchanged_is_repeated_after_the_longest_silence(
    pushing_plant, station, make
):
    plant, silence = pushing_plant, {"onChange": True, "maxSilence": 40_000}
    points = {"t": {"cell": 1}, "u": {"cell": 2} | silence, "v": {"cell": 3, "onChange": True}}
    async with plant.running():
        await plant.put(make.model(t={}, u={}, v={}), make.device(**points))
        station.publish(1, 5)
        station.memory[2] = 5
        await plant.clock.advance(39)
        assert plant.values("u") == [0.0, 5.0]
        await plant.clock.advance(11)
        assert plant.values("u") == [0.0, 5.0, 5.0]
        station.memory[2] = 6  # the device has sent nothing: it is found out all the same
        await plant.clock.advance(11)
        assert plant.values("u") == [0.0, 5.0, 5.0, 6.0]
        looks = [cells for cells in station.reads if 2 in cells]
        assert len(looks) in {6, 7}
        points["u"] |= {"maxSilence": 4_000}
        await plant.put(make.device(**points))
        await plant.clock.advance(10)
        assert plant.values("u")[4:] in ([6.0] * 2, [6.0] * 3)
        before = len(plant.values("u"))
        # Nobody answers for a device that is away.
        station.reachable = False
        station.publish(1, UnavailableError("link down"))
        await plant.clock.advance(60)
        assert plant.values("u")[before:] == [None]


async def test_a_pushed_loss_makes_the_session_look(pushing_plant, station, make):
    plant = pushing_plant
    async with plant.running():
        await start(plant, make)
        reads = len(station.reads)
        station.publish(0, UnavailableError("link down"))
        await plant.clock.settle()
        assert station.reads[reads:] == [[1]]
        assert plant.state().state == "online"
        station.reachable = False
        station.publish(0, UnavailableError("link down"))
        await plant.clock.settle()
        assert plant.state().state == "offline"


async def test_what_is_not_pushed_is_polled(pushing_plant, station, make):
    station.pushes = False
    plant = pushing_plant
    async with plant.running():
        await start(plant, make)
        await plant.clock.advance(2.1)
        assert station.reads == [[1, 2]] * 3


async def test_a_changed_visit_subscribes_anew(pushing_plant, station, make):
    plant = pushing_plant
    async with plant.running():
        await start(plant, make)
        await plant.put(make.device(t={"cell": 5}, u={"cell": 2}))
        assert station.subscriptions == [[1, 2], [5, 2]]
        assert station.reads[-1] == [5]
        await plant.put(make.device(u={"cell": 2}))
        assert station.subscriptions[-1] == [2]


async def test_late_pushes_of_an_old_connection_are_ignored(pushing_plant, station, make):
    plant = pushing_plant
    async with plant.running():
        await start(plant, make)
        old = station.publish
        await plant.put(make.device(u={"cell": 2}))
        old(0, 1.0)
        plant.link.served.remove_device(plant.session().plan.key)
        await plant.clock.settle()
        count = len(plant.link.readings)
        old(0, 1.0)
        station.publish(0, 1.0)
        await plant.clock.settle()
        assert len(plant.link.readings) == count


async def test_a_senseless_push_is_a_bug_of_the_driver(pushing_plant, station, make):
    plant = pushing_plant
    async with plant.running():
        await start(plant, make)
        station.publish(0, object())
        await plant.clock.settle()
        assert plant.state().reason == "driver_bug"


async def test_too_few_answers_to_a_subscription_are_a_bug(pushing_plant, station, make):
    plant = pushing_plant

    async def subscribe(self, visits, publish):
        return []

    plant.mapper.driver_class.subscribe = subscribe
    async with plant.running():
        await start(plant, make)
        assert plant.state().reason == "driver_bug"


async def test_a_wish_is_confirmed_by_a_push(pushing_plant, station, make):
    plant = pushing_plant
    station.on_write = lambda cell, value: None
    async with plant.running():
        await start(plant, make)
        await plant.put(make.wish("u", 5.0))
        station.publish(1, 5.0)
        await plant.clock.settle()
        assert plant.outcomes()[-1] == ("u", 1, "CONFIRMED")

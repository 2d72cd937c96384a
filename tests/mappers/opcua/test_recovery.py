"""The ladder: what happens to a subscription when something happens to its server."""

import asyncio
import time

import pytest
import pytest_asyncio
from asyncua import ua
from asyncua.server.monitored_item_service import MonitoredItemService

from dmi.errors import NotFoundError, UnavailableError
from dmi.readings import Reading
from mapper_sdk.sessions.bus import Buses
from mappers.opcua.config import OpcuaLink
from mappers.opcua.driver import OpcuaDriver
from mappers.opcua.session.ladder import Rung
from mappers.opcua.simulation.faults import Fault, FaultKind
from mappers.opcua.simulator import OpcuaSimulator
from mappers.opcua.visit import OpcuaVisit

# asyncua takes its time to build an address space, most of all on a busy machine.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]
at = OpcuaVisit.model_validate
PLANT = "nsu=urn:dmi-toolkit:plant;s="
FAST = {"timeout": 2, "publishingInterval": 20, "keepAlive": 0.2, "recoveryTime": 60}


class Ears:
    """What a driver has published, by index of the visit."""

    def __init__(self):
        self.heard = {}
        self.bell = asyncio.Event()

    def publish(self, index, answer):
        self.heard.setdefault(index, []).append(answer)
        self.bell.set()

    def forget(self):
        self.heard.clear()

    async def until(self, held):
        async with asyncio.timeout(30):
            while not held(self.heard):
                self.bell.clear()
                await self.bell.wait()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def _simulator():
    async with OpcuaSimulator(items=5) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def plant(_simulator):
    _simulator._delay = 0
    return _simulator


@pytest_asyncio.fixture(loop_scope="module")
async def join(plant):
    buses, drivers = Buses(), []
    OpcuaDriver.tally.clear()

    async def make(**settings):
        link = OpcuaLink.model_validate({"url": plant.url, **FAST, **settings})
        driver = OpcuaDriver(link)
        driver.bus = buses.acquire(driver.bus_key(link))
        drivers.append(driver)
        await driver.connect()
        return driver

    yield make
    for driver in drivers:
        await driver.close()


async def subscribed(driver, *names, **settings):
    ears = Ears()
    visits = [at({"nodeID": PLANT + name, **settings}) for name in names]
    assert list(await driver.subscribe(visits, ears.publish)) == [None] * len(names)
    await ears.until(lambda heard: len(heard) == len(names))
    ears.forget()
    return ears


def count(rung):
    return OpcuaDriver.tally[rung.value]


async def test_values_are_pushed_with_the_servers_time(join):
    ears = Ears()
    driver = await join()
    await driver.subscribe([at({"nodeID": PLANT + "Meter.Power"})], ears.publish)
    await ears.until(lambda heard: len(heard.get(0, [])) > 2)
    times = [answer.time for answer in ears.heard[0]]
    assert times == sorted(times)
    assert times[-1] == pytest.approx(time.time(), abs=5)


async def test_a_cut_connection_is_mended_and_nothing_is_missed(plant, join):
    driver = await join()
    ears = await subscribed(driver, "Rack.0")
    await ears.until(lambda heard: 0 in heard)
    plant.show(Fault(FaultKind.DROP))
    for _ in range(3):
        await plant.turn_racks()
    await ears.until(lambda heard: len(heard[0]) >= 5)
    values = [answer.value for answer in ears.heard[0]]
    assert values == [values[0] + n for n in range(len(values))]
    assert count(Rung.RESUME) == 1
    assert count(Rung.NEW_SESSION) == 0


async def test_a_silent_subscription_is_noticed_and_made_anew(plant, join):
    driver = await join()
    ears = await subscribed(driver, "Meter.Power", "Meter.Serial")
    plant.show(Fault(FaultKind.SILENT))
    await ears.until(lambda heard: 1 in heard)
    assert count(Rung.SILENT) == 1
    assert count(Rung.RECREATE) == 1


async def test_a_restarted_server_is_joined_again_though_its_indexes_moved(plant, join):
    driver = await join()
    ears = await subscribed(driver, "Meter.Power", "Meter.Serial")
    before = driver._peer.channel.namespaces["urn:dmi-toolkit:plant"]
    await plant.restart(padding=2)
    began = time.monotonic()
    await ears.until(lambda heard: 1 in heard)
    assert time.monotonic() - began < 10
    assert ears.heard[1][-1].value == "DMI-2026-000417"
    assert driver._peer.channel.namespaces["urn:dmi-toolkit:plant"] == before + 2
    assert count(Rung.NEW_SESSION) == count(Rung.RECREATE) == 1
    visit = at({"nodeID": PLANT + "Meter.Serial"})
    await driver.connect()
    assert (await driver.read([visit]))[0].value == "DMI-2026-000417"
    await plant.restart(padding=0)


async def test_nothing_is_done_to_the_node_that_has_an_old_index_now(plant, join):
    """Reading, writing, calling and events go by the new index without connecting again."""
    space = {"namespaceUri": "urn:dmi-toolkit:plant", "objectID": "s=Pump", "eventSource": "s=Pump"}
    driver, events, bell = await join(**space), [], asyncio.Event()

    def tell(event):
        events.append(event)
        bell.set()

    speed = at({"nodeID": PLANT + "Pump.Speed"})
    assert [method.name for method in await driver.methods()][-1] == "Run"
    await driver.listen(tell)
    ears = await subscribed(driver, "Pump.Speed")
    await driver.write(speed, 1000)
    await plant.restart(padding=1)
    await ears.until(lambda heard: 0 in heard and heard[0][-1].value == 1450)
    assert [answer.value for answer in await driver.read([speed])] == [1450]
    await driver.write(speed, 2900)
    assert await plant._nodes["Pump.Speed"].read_value() == 2900
    assert await driver.call("Run", {"speed": 2900, "seconds": 3600})
    async with asyncio.timeout(30):
        await bell.wait()
    assert events[0].fields["ConditionName"] == "Overheating"
    await driver.call("acknowledge", {"condition": PLANT + "Pump.Overheating"})
    await plant.restart(padding=0)


async def test_a_server_that_stays_away_is_given_up_and_said_so(plant, join):
    driver = await join(recoveryTime=0.3)
    ears = await subscribed(driver, "Meter.Power")
    await plant.stop()
    try:
        await ears.until(lambda heard: isinstance(heard.get(0, [0])[-1], UnavailableError))
        assert count(Rung.GAVE_UP) == 1
        with pytest.raises(UnavailableError):
            await driver.read([])
    finally:
        await plant.start()
    await driver.connect()
    assert isinstance((await driver.read([at({"nodeID": PLANT + "Meter.Power"})]))[0], Reading)


async def test_a_refused_item_is_told_and_tried_again(plant, join):
    driver = await join(retryRefused=0.3)
    ears = Ears()
    late = at({"browsePath": "2:Plant/2:Late"})
    assert await driver.subscribe([late], ears.publish) == [None]
    assert isinstance(ears.heard[0][0], NotFoundError)
    parent = plant._server.get_node("ns=2;s=Plant")
    await parent.add_variable("ns=2;s=Late", "2:Late", 7)
    await ears.until(lambda heard: isinstance(heard[0][-1], Reading))
    assert ears.heard[0][-1].value == 7


async def test_devices_share_a_session_and_big_ones_have_several(plant, join):
    one, other = await join(), await join(maxItems=2)
    assert one._peer is other._peer
    await subscribed(other, *(f"Rack.{n}" for n in range(5)))
    assert len({id(peer) for peer, _ in other._feeds}) == 3
    await one.close()
    assert len(await other.read([at({"nodeID": PLANT + "Rack.0"})])) == 1


async def test_a_broken_sensor_is_bad_by_the_servers_own_word(plant, join):
    driver = await join()
    ears = await subscribed(driver, "Boiler.Temperature")
    plant.show(Fault(FaultKind.BAD, 1))
    await ears.until(lambda heard: any(answer.value is None for answer in heard.get(0, ())))
    bad = next(answer for answer in ears.heard[0] if answer.value is None)
    assert bad.reason == "BadSensorFailure"
    await ears.until(lambda heard: heard[0][-1].value is not None)


async def test_a_slow_server_is_a_lost_one(plant, join):
    driver = await join(recoveryTime=0.3, timeout=0.5)
    plant.show(Fault(FaultKind.SLOW, 1))
    with pytest.raises(UnavailableError):
        await driver.read([at({"nodeID": "i=2258"})])
    plant._delay = 0


async def test_what_the_server_will_not_watch_is_read_instead(plant, join, monkeypatch):
    make = MonitoredItemService._create_data_change_monitored_item
    full = {"Rack.3", "Rack.4"}

    async def limited(self, request):
        if request.ItemToMonitor.NodeId.Identifier in full:
            result = ua.MonitoredItemCreateResult()
            result.StatusCode = ua.StatusCode(ua.StatusCodes.BadTooManyMonitoredItems)
            return result
        return await make(self, request)

    monkeypatch.setattr(MonitoredItemService, "_create_data_change_monitored_item", limited)
    driver, ears = await join(), Ears()
    visits = [at({"nodeID": f"{PLANT}Rack.{n}"}) for n in range(5)]
    refusals = await driver.subscribe(visits, ears.publish)
    assert [refusal is None for refusal in refusals] == [True, True, True, False, False]
    assert count(Rung.FEWER_ITEMS) == 2
    assert len(await driver.read(visits[3:])) == 2
    # Fewer still after a restart: the device must subscribe again, and says so.
    full.add("Rack.0")
    await plant.restart()
    await ears.until(lambda heard: isinstance(heard.get(0, [0])[-1], UnavailableError))
    with pytest.raises(UnavailableError, match="fewer items"):
        await driver.read(visits)

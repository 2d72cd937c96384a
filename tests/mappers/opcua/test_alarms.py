"""Alarms and conditions: told, told again, acknowledged and confirmed."""

import asyncio

import pytest
import pytest_asyncio
from asyncua import ua

from dmi.errors import ConversionError, DmiError, NotFoundError, RefusedError
from dmi.methods import checked_arguments
from mapper_sdk.sessions.bus import Bus
from mappers.opcua.conditions import Conditions
from mappers.opcua.config import OpcuaLink
from mappers.opcua.driver import OpcuaDriver
from mappers.opcua.session.ladder import Rung
from mappers.opcua.simulation.faults import Fault, FaultKind
from mappers.opcua.simulator import OpcuaSimulator

# asyncua takes its time to build an address space, most of all on a busy machine.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]
CONDITION = "nsu=urn:dmi-toolkit:plant;s=Pump.Overheating"


class Told:
    """The events that a driver has told of."""

    def __init__(self):
        self.events = []
        self.bell = asyncio.Event()

    def __call__(self, event):
        self.events.append(event)
        self.bell.set()

    async def next(self, **wanted):
        """The first event from here on that has these fields; those before are forgotten."""
        async with asyncio.timeout(8):
            while True:
                while self.events:
                    event = self.events.pop(0)
                    if all(event.fields.get(k) == v for k, v in wanted.items()):
                        return event
                self.bell.clear()
                await self.bell.wait()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def plant():
    async with OpcuaSimulator() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def join(plant):
    drivers = []
    OpcuaDriver.tally.clear()
    await plant._alarm.follow(hot=False)

    async def make(**settings):
        data = {"url": plant.url, "publishingInterval": 20, "keepAlive": 0.2, "timeout": 1}
        data |= {"namespaceUri": "urn:dmi-toolkit:plant", "eventSource": "s=Pump"}
        driver = OpcuaDriver(OpcuaLink.model_validate(data | settings))
        driver.bus = Bus()
        drivers.append(driver)
        await driver.connect()
        return driver

    yield make
    for driver in drivers:
        await driver.close()


async def heat(plant, hot):
    """Make the pump hot or cool; the simulator follows with its next step."""
    plant.plant.values["Pump.Speed"] = 2900 if hot else 1000
    await plant._nodes["Pump.Speed"].write_value(2900 if hot else 1000, ua.VariantType.UInt16)


async def test_an_alarm_from_its_beginning_to_its_end(plant, join):
    driver, told = await join(), Told()
    names = [method.name for method in await driver.methods()]
    assert names == ["acknowledge", "confirm"]
    await driver.listen(told)
    await heat(plant, True)
    began = await told.next(**{"ActiveState.Id": True})
    assert (began.kind, began.source, began.severity) == ("OffNormalAlarmType", "Pump", 700)
    assert began.message == "the pump is too hot"
    assert began.fields["AckedState.Id"] is False
    assert began.fields["Retain"] is True
    assert began.fields["ConditionName"] == "Overheating"
    assert began.fields["ConditionId"] == CONDITION
    given = {"condition": began.fields["ConditionId"], "eventId": began.fields["EventId"]}
    assert await driver.call("acknowledge", given | {"comment": "on my way"}) == {}
    seen = await told.next(**{"AckedState.Id": True})
    assert seen.fields["Comment"] == "on my way"
    with pytest.raises(NotFoundError, match="EventIdUnknown"):
        await driver.call("confirm", given)
    await heat(plant, False)
    await told.next(**{"ActiveState.Id": False})
    await driver.call("confirm", {"condition": CONDITION})
    over = await told.next(**{"ConfirmedState.Id": True})
    assert over.fields["Retain"] is False
    with pytest.raises(NotFoundError, match="nothing stands"):
        await driver.call("confirm", {"condition": CONDITION})


async def test_an_alarm_that_stands_is_told_to_who_comes_later(plant, join):
    await heat(plant, True)
    first, told = await join(), Told()
    await first.listen(told)
    stands = await told.next(**{"ActiveState.Id": True})
    second, later = await join(), Told()
    await second.listen(later)
    again = await later.next(**{"ActiveState.Id": True})
    assert again.fields["EventId"] == stands.fields["EventId"]
    await second.call("acknowledge", {"condition": CONDITION})
    await later.next(**{"AckedState.Id": True})
    with pytest.raises(RefusedError, match="AlreadyAcked"):
        await second.call("acknowledge", {"condition": CONDITION})


async def test_what_stood_before_is_not_told_twice_and_what_came_meanwhile_is(plant, join):
    driver, told = await join(), Told()
    await driver.listen(told)
    await heat(plant, True)
    await told.next(**{"ActiveState.Id": True})
    plant.show(Fault(FaultKind.SILENT))
    await heat(plant, False)
    await told.next(**{"ActiveState.Id": False})
    assert OpcuaDriver.tally[Rung.RECREATE.value] == 1
    plant.show(Fault(FaultKind.SILENT))
    async with asyncio.timeout(8):
        while OpcuaDriver.tally[Rung.RECREATE.value] < 2:  # noqa: ASYNC110 - a counter rings no bell
            await asyncio.sleep(0.01)
    await heat(plant, True)
    assert (await told.next()).fields["ActiveState.Id"] is True


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({}, ConversionError, "needs `condition`"),
        ({"condition": "Overheating"}, ConversionError, "no node id"),
        ({"condition": "nsu=urn:x;i=1"}, NotFoundError, "no namespace"),
        ({"condition": "i=2253"}, NotFoundError, "nothing stands"),
        ({"condition": "i=2253", "eventId": "?"}, ConversionError, "no Base64"),
        ({"condition": "i=99999999", "eventId": "AA=="}, DmiError, "BadNodeId"),
        ({"condition": CONDITION, "who": "me"}, ConversionError, "does not take who"),
    ],
)
async def test_calls_that_cannot_be(join, arguments, error, said):
    driver = await join()
    with pytest.raises(error, match=said):
        await driver.call("acknowledge", arguments)


async def test_an_object_is_free_to_have_such_methods_itself(plant, join):
    owner = plant._server.get_node("ns=2;s=Meter")

    async def own(parent):
        return [ua.Variant(7)]

    await owner.add_method(
        ua.NodeId("Meter.ack", 2), "2:acknowledge", own, [], [ua.VariantType.Int64]
    )
    driver = await join(objectID="s=Meter")
    assert [method.name for method in await driver.methods()] == ["acknowledge", "confirm"]
    assert list((await driver.call("acknowledge", {})).values()) == [7]


async def test_what_the_server_says_of_its_conditions():
    conditions, where = Conditions(), ua.NodeId("a", 2)

    def event(number, retain=True, **more):
        fields = {"ConditionId": where, "EventId": bytes([number]), "Retain": retain}
        return conditions.is_news(fields | more)

    def note(kind):
        return conditions.is_news({"EventType": ua.NodeId(kind)})

    assert event(1)
    assert not event(1)
    assert event(2)
    assert event(3, BranchId=ua.NodeId("old", 2))
    assert not event(2, BranchId=ua.NodeId())
    assert not note(ua.ObjectIds.RefreshStartEventType)
    assert not event(2)
    assert not note(ua.ObjectIds.RefreshEndEventType)
    assert not event(2)
    assert not note(ua.ObjectIds.RefreshStartEventType)
    assert not note(ua.ObjectIds.RefreshEndEventType)
    assert event(2)
    assert not conditions.take_request()
    assert not note(ua.ObjectIds.RefreshRequiredEventType)
    assert (conditions.take_request(), conditions.take_request()) == (True, False)
    assert event(4, retain=False)
    assert event(4)


async def test_arguments_may_come_as_they_were_told(plant, join):
    """As REST and the manager hand them over: bytes, and empty where nothing was given."""
    driver, told = await join(), Told()
    await driver.listen(told)
    await heat(plant, True)
    event = await told.next(**{"ActiveState.Id": True})
    offered = {method.name: method for method in await driver.methods()}
    given = {"condition": event.fields["ConditionId"], "eventId": event.fields["EventId"]}
    arguments = checked_arguments(offered["acknowledge"], given)
    assert isinstance(arguments["eventId"], bytes)
    await driver.call("acknowledge", arguments)
    await told.next(**{"AckedState.Id": True})
    await driver.call("confirm", {"condition": CONDITION, "eventId": "", "comment": ""})

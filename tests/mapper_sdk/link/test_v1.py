"""The v1 link against the real device manager."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from device_manager.dmi_service.server import serve
from device_manager.node import Node
from device_manager.records import StateRecord
from dmi.readings import Quality, Reading
from dmi.reports import DeviceState, Outcome, OutcomeStatus
from dmi.resources import Key
from mapper_sdk.link.outbox import Outbox
from mapper_sdk.link.v1 import V1Link

KILN = Key("plant", "kiln-1")


class Manager:
    """A device manager that can be stopped and started at its socket."""

    def __init__(self, socket, database) -> None:
        self.socket = socket
        self.database = database
        self.node: Node | None = None
        self.server = None
        self._stack = AsyncExitStack()

    async def start(self, *, lease: float = 10.0, objects=()) -> None:
        self.node = await Node.open(self.database)
        if objects:
            await self.node.apply(*objects, origin="api")
        self._stack.push_async_callback(self.node.close)
        self.server = await self._stack.enter_async_context(
            serve(self.node, self.socket, lease=lease, grace=0.0)
        )

    async def stop(self) -> None:
        await self._stack.aclose()
        self._stack = AsyncExitStack()

    def value(self, device: str = "kiln-1", name: str = "temperature") -> object:
        reported = self.node.twin(Key("plant", device), name).reported
        return reported.value if reported else None


@pytest.fixture
async def manager(socket_dir, tmp_path):
    manager = Manager(socket_dir / "m.sock", tmp_path / "store.db")
    yield manager
    await manager.stop()


@pytest.fixture
def link(manager, plant) -> V1Link:
    return V1Link(manager.socket, plant.registration)


@pytest.fixture
def linked(manager, link, served, plant, running, eventually):
    """A started manager with one device, and the link running."""

    @asynccontextmanager
    async def start(**options):
        await manager.start(**options)
        await manager.node.apply(plant.model(), plant.device(), origin="api")
        async with running(link, served):
            await eventually(lambda: "kiln-1" in served.names)
            yield link

    return start


async def test_lists_and_follows_what_is_wanted(linked, manager, served, plant, eventually):
    async with linked():
        assert served.told[-1] == "kept only" or "kiln-1" in served.names
        await manager.node.apply(plant.device("kiln-2"), origin="api")
        await eventually(lambda: "kiln-2" in served.names)
        await manager.node.set_desired(KILN, "temperature", 740.0)
        await eventually(lambda: (KILN, "temperature") in served.desired)
        wish = served.desired[KILN, "temperature"]
        assert (wish.value, wish.settled) == (740.0, False)
        assert wish.version > 0
        await manager.node.delete("Device", Key("plant", "kiln-2"), "api")
        await eventually(lambda: served.names == {"kiln-1"})


async def test_says_who_it_is(linked, manager, eventually):
    async with linked() as link:
        await eventually(lambda: link.connected)
        (session,) = manager.server.leases.sessions
        assert (session.mapper, session.record.protocol) == ("thermo-mapper/0", "thermo")
    assert not link.connected


async def test_what_is_drained_is_committed(linked, manager, plant):
    async with linked() as link:
        link.report([plant.reading(21.5), plant.reading("red", name="label")])
        link.report_state(DeviceState(KILN, "online", 1000.0))
        async with asyncio.timeout(10):
            await link.drain()
        assert manager.value() == 21.5
        assert manager.value(name="label") == "red"
        assert manager.node.state(KILN).state == "online"


async def test_a_value_after_a_fault_ends_good(linked, manager, plant):
    async with linked() as link:
        point = plant.point()
        link.report([(point, Reading(None, 1000.0, Quality.BAD, "unavailable"))])
        link.report([(point, Reading(22.0, 1001.0))])
        async with asyncio.timeout(10):
            await link.drain()
        assert manager.value() == 22.0


async def test_outcomes_settle_wishes(linked, manager, served, eventually):
    async with linked() as link:
        wish = await manager.node.set_desired(KILN, "temperature", 740.0)
        await eventually(lambda: (KILN, "temperature") in served.desired)
        link.report_outcome(
            Outcome(KILN, "temperature", wish.version, OutcomeStatus.CONFIRMED, 1000.0)
        )
        async with asyncio.timeout(10):
            await link.drain()
        desired = manager.node.twin(KILN, "temperature").desired
        assert desired.status is OutcomeStatus.CONFIRMED


async def test_a_mapper_may_start_before_its_manager(
    manager, link, served, plant, running, eventually, caplog
):
    async with running(link, served):
        link.report([plant.reading(1.0)])
        link.report_state(DeviceState(KILN, "online", 1000.0))
        await eventually(lambda: "trying again" in caplog.text)
        await manager.start()
        await manager.node.apply(plant.model(), plant.device(), origin="api")
        await eventually(lambda: "kiln-1" in served.names, seconds=10)
        await eventually(lambda: link.connected)
        async with asyncio.timeout(10):
            await link.drain()
    assert caplog.text.count("WARNING") == 1


async def test_a_restart_of_the_manager_heals_and_loses_nothing(
    linked, manager, served, plant, eventually
):
    async with linked() as link:
        link.report([plant.reading(1.0)])
        await link.drain()
        await manager.stop()
        await eventually(lambda: not link.connected)
        for value in (2.0, 3.0):
            link.report([plant.reading(value)])
        link.report_state(DeviceState(KILN, "offline", 1000.0))
        served.told.clear()
        await manager.start()
        async with asyncio.timeout(10):
            await link.drain()
        assert manager.value() == 3.0
        assert manager.node.state(KILN).state == "offline"
        await manager.node.apply(plant.device("kiln-2"), origin="api")
        await eventually(lambda: "kiln-2" in served.names)


async def test_another_store_means_a_fresh_list(linked, manager, served, plant, eventually):
    async with linked():
        await manager.stop()
        manager.database = manager.database.with_name("other.db")
        await manager.start()
        await manager.node.apply(plant.model(), plant.device("other"), origin="api")
        await eventually(lambda: served.names == {"other"}, seconds=10)


async def test_a_manager_that_gave_its_devices_up_hears_their_states_again(
    linked, manager, plant, eventually
):
    async with linked() as link:
        await eventually(lambda: link.connected)
        link.report_state(DeviceState(KILN, "online", 1000.0))
        link.report_state(DeviceState(Key("plant", "stranger"), "online", 1000.0))
        await link.drain()
        await manager.node.set_state(KILN, StateRecord("unknown", 2000.0))
        (session,) = manager.server.leases.sessions
        manager.server.leases.close(session, "for the test")
        await eventually(lambda: manager.node.state(KILN).state == "online")


async def test_a_manager_with_another_store_gets_the_latest_readings(
    linked, manager, plant, eventually
):
    async with linked() as link:
        point, reading = plant.reading(21.5)
        point.latest = reading
        link.report([(point, reading)])
        link.report_state(DeviceState(KILN, "online", 1000.0))
        await link.drain()
        await manager.stop()
        manager.database = manager.database.with_name("other.db")
        await manager.start(objects=[plant.model(), plant.device()])
        await eventually(lambda: manager.value() == 21.5)
        assert manager.node.state(KILN).state == "online"


async def test_registers_again_when_its_lease_ended(linked, manager, plant, eventually):
    async with linked() as link:
        await eventually(lambda: link.connected)
        (first,) = manager.server.leases.sessions
        manager.server.leases.close(first, "for the test")
        await eventually(lambda: manager.server.leases.sessions not in ([], [first]), seconds=10)
        link.report([plant.reading(5.0)])
        async with asyncio.timeout(10):
            await link.drain()
        assert manager.value() == 5.0


async def test_beats_keep_the_lease_and_tell_how_the_mapper_is(
    manager, served, plant, running, eventually
):
    link = V1Link(manager.socket, plant.registration)
    await manager.start(lease=0.3, objects=(plant.model(), plant.device()))
    async with running(link, served):
        await eventually(lambda: served.names == {"kiln-1"})
        (session,) = manager.server.leases.sessions
        for name, state in (("kiln-1", "offline"), ("gone", "offline")):
            link.report_state(DeviceState(Key("plant", name), state, 1.0))
        await eventually(lambda: session.gauges.get("devices_offline"))
        assert session.gauges == {
            "readings_waiting": 0,
            "readings_dropped": 0,
            "devices_online": 0,
            "devices_offline": 1,
            "devices_unhealthy": 0,
            "devices_unknown": 0,
        }
        # Each change shows with the next beat, a third of the lease later.
        for state in ("online", "unhealthy") * 4:
            link.report_state(DeviceState(KILN, state, 2.0))
            await eventually(lambda state=state: session.gauges[f"devices_{state}"])
        assert not session.over


async def test_refused_readings_are_said_once(linked, manager, plant, caplog, eventually):
    async with linked() as link:
        stranger = plant.reading(1.0, device="stranger")
        for _ in range(3):
            link.report([stranger, plant.reading(2.0)])
            async with asyncio.timeout(10):
                await link.drain()
        await eventually(lambda: link.refused == {stranger[0].handle})
        assert caplog.text.count("refuses its readings") == 1
        assert manager.value() == 2.0


async def test_what_found_no_room_is_counted_at_the_manager(
    manager, served, plant, running, eventually
):
    link = V1Link(manager.socket, plant.registration, outbox=Outbox(most_waiting=5000))
    points = [plant.point("kiln-1"), plant.point("kiln-1", "label")]
    for value in range(3000):
        link.report([(points[0], Reading(float(value), 1000.0)), (points[1], Reading("x", 1.0))])
    assert link.dropped["backlog"] > 0
    await manager.start()
    await manager.node.apply(plant.model(), plant.device(), origin="api")
    async with running(link, served):
        async with asyncio.timeout(10):
            await link.drain()
        assert manager.value() == 2999.0
        counted = manager.server.counters
    assert link.dropped["backlog"] in _numbers(counted)


def _numbers(counters: object) -> set[float]:
    """Every number somewhere in the counters."""
    found: set[float] = set()

    def walk(thing: object) -> None:
        if isinstance(thing, dict):
            for value in thing.values():
                walk(value)
        elif isinstance(thing, int | float):
            found.add(thing)

    for name in getattr(counters, "__slots__", None) or vars(counters):
        walk(getattr(counters, name))
    return found

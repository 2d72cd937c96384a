"""Commands over the v1 link, against the real device manager."""

import asyncio

import pytest

from dmi.methods import Method
from dmi.reports import DeviceState, Phase
from dmi.resources import Key
from mapper_sdk.link.v1 import V1Link
from tests.mapper_sdk.link.test_v1 import Manager

KILN = Key("plant", "kiln-1")
HEAT = Method("heat", "Heats.", {"to": {"type": "number"}}, {"took": {"type": "number"}})


class Callee:
    """A mapper's devices, as the test wants them."""

    def __init__(self):
        self.offered = {KILN: (HEAT,)}
        self.runs = 0
        self.hold = None
        self.results = {"took": 1.5}
        self.undecided = False

    def methods(self):
        return self.offered

    def is_undecided(self, _device):
        return self.undecided

    async def call(self, _device, _method, arguments, begin):
        begin()
        self.runs += 1
        self.arguments = arguments
        if self.hold is not None:
            await self.hold.wait()
        return self.results


@pytest.fixture
async def manager(socket_dir, tmp_path):
    manager = Manager(socket_dir / "m.sock", tmp_path / "store.db")
    yield manager
    await manager.stop()


@pytest.fixture
def callee():
    return Callee()


@pytest.fixture
async def link(manager, plant, callee, served, running):
    """A link that runs, to a manager that has one device."""
    await manager.start(objects=(plant.model(), plant.device()))
    link = V1Link(manager.socket, plant.registration)
    link.offer(callee)
    async with running(link, served):
        yield link


@pytest.fixture
def until_phase(manager, eventually):
    async def wait(record, phase):
        await eventually(lambda: manager.node.commands.find(record.id).phase is phase)
        return manager.node.commands.find(record.id)

    return wait


async def call(manager, **arguments):
    return await manager.node.commands.submit(KILN, "heat", arguments, 30)


async def test_a_command_is_run_and_its_results_come_back(link, manager, callee, until_phase):
    ended = await until_phase(await call(manager, to=900.0, soft=True), Phase.SUCCEEDED)
    assert ended.results == {"took": 1.5}
    assert callee.arguments == {"to": 900.0, "soft": True}


async def test_both_sides_forget_what_is_settled(link, manager, until_phase):
    await until_phase(await call(manager), Phase.SUCCEEDED)
    async with asyncio.timeout(5):
        await link.drain()


async def test_a_manager_that_starts_anew_gets_the_outcome(link, manager, callee, until_phase):
    callee.hold = asyncio.Event()
    record = await call(manager)
    await until_phase(record, Phase.RUNNING)
    await manager.stop()
    callee.hold.set()
    await manager.start()
    ended = await until_phase(record, Phase.SUCCEEDED)
    assert (ended.results, callee.runs) == ({"took": 1.5}, 1)


async def test_a_manager_that_starts_anew_waits_for_what_runs(link, manager, callee, until_phase):
    callee.hold = asyncio.Event()
    record = await call(manager)
    await until_phase(record, Phase.RUNNING)
    await manager.stop()
    await manager.start()
    fresh = await call(manager)
    callee.hold.set()
    await until_phase(record, Phase.SUCCEEDED)
    await until_phase(fresh, Phase.SUCCEEDED)
    assert callee.runs == 2


async def test_another_link_is_another_process(
    link, manager, callee, until_phase, plant, served, running
):
    callee.hold = asyncio.Event()
    record = await call(manager)
    await until_phase(record, Phase.RUNNING)
    second = V1Link(manager.socket, plant.registration)
    second.offer(Callee())
    async with running(second, served):
        assert (await until_phase(record, Phase.UNSUCCESSFUL)).reason == "outcome_unknown"


async def test_a_command_is_taken_back_before_it_begins(link, manager, callee, until_phase):
    callee.undecided = True
    record = await call(manager)
    await asyncio.sleep(0)
    manager.node.commands.cancel(record.id)
    await until_phase(record, Phase.CANCELLED)
    assert callee.runs == 0


async def test_commands_wait_for_a_device_to_be_decided(link, manager, callee, until_phase):
    callee.undecided = True
    record = await call(manager)
    await until_phase(record, Phase.ACCEPTED)
    callee.undecided = False
    link.report_state(DeviceState(KILN, "online", 1.0))
    await until_phase(record, Phase.SUCCEEDED)


@pytest.mark.parametrize(
    ("results", "reason"), [({"x": 2**70}, "conversion"), ({"x": "y" * 2**21}, "too_large")]
)
async def test_results_that_cannot_travel_are_left_out(
    link, manager, callee, until_phase, results, reason
):
    callee.results = results
    ended = await until_phase(await call(manager), Phase.SUCCEEDED)
    assert (ended.results, ended.reason) == ({}, reason)


async def test_the_manager_learns_what_devices_offer(link, manager, callee, eventually, plant):
    methods = manager.server.methods
    await eventually(lambda: methods.knows(KILN))
    kiln = manager.node.devices[KILN]
    assert methods.own(kiln) == [HEAT]
    other = Key("plant", "kiln-2")
    await manager.node.apply(plant.device("kiln-2"), origin="api")
    callee.offered = {KILN: (), other: (Method("bad", arguments={"a": {"type": object()}}),)}
    link.report_state(DeviceState(KILN, "online", 2.0))
    await eventually(lambda: methods.own(kiln) == [])
    # Schemas that are no JSON cost only their own device.
    assert not methods.knows(other)


async def test_what_devices_offer_is_told_again_in_each_session(link, manager, eventually):
    await eventually(lambda: manager.server.methods.knows(KILN))
    await manager.stop()
    await manager.start()
    await eventually(lambda: manager.server.methods.knows(KILN))


async def test_what_cannot_be_understood_is_answered(link, manager, until_phase, caplog):
    record = await manager.node.commands.submit(KILN, "", {}, 30)
    ended = await until_phase(record, Phase.UNSUCCESSFUL)
    assert (ended.reason, "names no method" in ended.message) == ("config", True)
    assert "cannot be understood" in caplog.text

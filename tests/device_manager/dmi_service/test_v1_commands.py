"""The command stream as a mapper of any language sees it: raw messages over a real socket."""

import asyncio
import time
from contextlib import asynccontextmanager

import grpc
import pytest

from device_manager.commands.records import OUTCOME_UNKNOWN
from dmi.proto.v1 import api_pb2 as pb
from dmi.proto.v1 import api_pb2_grpc as rpc
from dmi.reports import Phase
from dmi.resources import Key
from tests.device_manager.dmi_service.v1_mapper import key, mapper, serving, status_of, until
from tests.device_manager.plants import PUMP, device, model


@pytest.fixture
async def plant(node):
    await node.apply(model(), device(), origin="api")
    return node


@asynccontextmanager
async def commanding(line, process="p1", **who):
    """A registered mapper and its open command stream."""
    one = await mapper(line, **who)
    stream = rpc.DeviceCommandManagementStub(line).Execute()
    await stream.write(pb.CommandProgress(session=one.session, process=process))
    try:
        yield one, stream
    finally:
        stream.cancel()
        one.lease.cancel()


def said(order, phase, **more):
    progress = pb.Progress(phase=phase, time_us=int(time.time() * 1e6), **more)
    return pb.CommandProgress(id=order.id, progress=progress)


async def receive(stream):
    async with asyncio.timeout(5):
        return await stream.read()


async def silent(stream, command_id):
    """Nothing but what follows may come before the settling of this command."""
    order = await receive(stream)
    assert (order.id, order.settled) == (command_id, True)


async def test_a_command_from_its_order_to_its_end(plant):
    async with serving(plant) as (_, line, _), commanding(line) as (_, stream):
        record = await plant.commands.submit(PUMP, "start", {"speed": 5, "soft": True}, 30)
        order = await receive(stream)
        assert (order.id, order.device, order.method) == (record.id, key("pump"), "start")
        assert order.arguments["speed"].int == 5
        assert order.arguments["soft"].bool is True
        assert order.deadline_us == round(record.deadline * 1e6)
        await stream.write(said(order, pb.RUNNING, percent=10))
        await until(lambda: plant.commands.find(record.id).phase is Phase.RUNNING)
        done = said(order, pb.SUCCEEDED)
        done.results["flow"].double = 1.5
        await stream.write(done)
        await silent(stream, order.id)
    ended = plant.commands.find(record.id)
    assert (ended.phase, ended.mapper, ended.results) == (Phase.SUCCEEDED, "m/0", {"flow": 1.5})
    assert ended.started > 0


async def test_commands_that_were_made_before_wait_for_the_mapper(plant):
    record = await plant.commands.submit(PUMP, "start", {}, 30)
    late = await plant.commands.submit(PUMP, "start", {}, 0.001)
    async with serving(plant) as (_, line, _), commanding(line) as (_, stream):
        assert (await receive(stream)).id == record.id
        await until(lambda: plant.commands.find(late.id).phase is Phase.EXPIRED)


async def test_the_same_process_gets_an_open_command_again(plant):
    async with serving(plant) as (_, line, _):
        record = await plant.commands.submit(PUMP, "start", {}, 30)
        async with commanding(line) as (_, stream):
            first = await receive(stream)
        async with commanding(line) as (_, stream):
            again = await receive(stream)
            assert again == first
            await stream.write(said(again, pb.UNSUCCESSFUL, reason="refused", message="No."))
            await silent(stream, record.id)
        ended = plant.commands.find(record.id)
        assert (ended.reason, ended.message) == ("refused", "No.")


async def test_another_process_never_gets_what_may_have_run(plant):
    async with serving(plant) as (_, line, _):
        record = await plant.commands.submit(PUMP, "start", {}, 30)
        async with commanding(line) as (_, stream):
            await receive(stream)
        async with commanding(line, "p2") as (_, stream):
            fresh = await plant.commands.submit(PUMP, "stop", {}, 30)
            assert (await receive(stream)).id == fresh.id
        assert plant.commands.find(record.id).reason == OUTCOME_UNKNOWN


async def test_a_device_that_moves_leaves_its_command_where_it_was_sent(plant):
    async with serving(plant) as (server, line, _), commanding(line, instance="0") as (_, stream):
        record = await plant.commands.submit(PUMP, "start", {}, 30)
        order = await receive(stream)
        async with commanding(line, "q", instance="1") as (_, other):
            for number in range(8):
                await plant.apply(device(f"d{number}"), origin="api")
            theirs = next(
                key
                for key in plant.devices
                if server.leases.owner(key).record.instance == "1" and key != PUMP
            )
            fresh = await plant.commands.submit(theirs, "start", {}, 30)
            assert (await receive(other)).id == fresh.id
            await stream.write(said(order, pb.SUCCEEDED))
            await silent(stream, record.id)


async def test_a_command_is_taken_back(plant):
    async with serving(plant) as (_, line, _), commanding(line) as (_, stream):
        record = await plant.commands.submit(PUMP, "start", {}, 30)
        assert not (await receive(stream)).cancel
        plant.commands.cancel(record.id)
        order = await receive(stream)
        assert (order.id, order.cancel) == (record.id, True)
        await stream.write(said(order, pb.CANCELLED))
        await silent(stream, record.id)
        assert plant.commands.find(record.id).phase is Phase.CANCELLED


async def test_nothing_is_sent_before_the_disk_knows_of_it(plant, monkeypatch):
    async with serving(plant) as (_, line, _), commanding(line) as (_, stream):
        flushed = asyncio.Event()
        real = plant.commands.flush

        async def slow():
            await flushed.wait()
            await real()

        monkeypatch.setattr(plant.commands, "flush", slow)
        record = await plant.commands.submit(PUMP, "start", {}, 30)
        await until(lambda: plant.commands.find(record.id).process == "p1")
        reading = asyncio.ensure_future(receive(stream))
        done, _ = await asyncio.wait([reading], timeout=0.05)
        assert not done
        flushed.set()
        assert (await reading).id == record.id


async def test_what_makes_no_sense_is_counted(plant):
    async with serving(plant) as (server, line, _), commanding(line) as (_, stream):
        await stream.write(pb.CommandProgress(id="", progress=pb.Progress(phase=pb.RUNNING)))
        await until(lambda: server.counters.refused.get("unreadable"))
        # A command that nobody knows is settled at once, so that the mapper forgets it.
        await stream.write(said(pb.Command(id="old"), pb.SUCCEEDED))
        await silent(stream, "old")


@pytest.mark.parametrize(
    ("first", "code"),
    [
        (None, grpc.StatusCode.INVALID_ARGUMENT),
        (pb.CommandProgress(process="p"), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.CommandProgress(session="s", process=""), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.CommandProgress(session="s", process="p" * 200), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.CommandProgress(session="s", process="a-b"), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.CommandProgress(session="s", process="p"), grpc.StatusCode.UNAUTHENTICATED),
    ],
)
async def test_a_stream_begins_with_a_session_and_a_process(plant, first, code):
    async with serving(plant) as (_, line, _):
        stream = rpc.DeviceCommandManagementStub(line).Execute()
        if first is not None:
            await stream.write(first)
        await stream.done_writing()
        assert (await status_of(stream))[0] is code


async def test_a_mapper_that_has_no_more_to_say_ends_the_stream(plant):
    async with serving(plant) as (_, line, _), commanding(line) as (_, stream):
        await stream.done_writing()
        assert await receive(stream) is grpc.aio.EOF
        assert "p1" not in plant.commands.processes


async def test_mappers_tell_what_devices_offer(plant):
    async with serving(plant) as (server, line, _):
        one = await mapper(line)
        stub = rpc.DeviceCommandManagementStub(line)
        run = pb.Method(name="run", arguments='{"seconds": {"type": "number"}}')
        request = pb.ReportMethodsRequest(
            session=one.session,
            devices=[
                pb.DeviceMethods(device=key("pump"), methods=[run]),
                pb.DeviceMethods(device=key("nothing"), methods=[run]),
            ],
        )
        await stub.ReportMethods(request)
        (known,) = server.methods.own(plant.devices[PUMP])
        assert (known.name, known.arguments) == ("run", {"seconds": {"type": "number"}})
        assert server.counters.refused == {"unknown_device": 1}
        assert not server.methods.knows(Key("default", "nothing"))
        other = await mapper(line, name="other", protocol="ble")
        request.session = other.session
        del request.devices[1]
        await stub.ReportMethods(request)
        assert server.counters.refused["not_assigned"] == 1
        for wrong, code in (
            (pb.Method(name="m", arguments="x" * 2**21), grpc.StatusCode.RESOURCE_EXHAUSTED),
            (pb.Method(name=""), grpc.StatusCode.INVALID_ARGUMENT),
        ):
            request = pb.ReportMethodsRequest(session=one.session)
            request.devices.append(pb.DeviceMethods(device=key("pump"), methods=[wrong]))
            assert (await status_of(stub.ReportMethods(request)))[0] is code

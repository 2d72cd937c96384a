import asyncio

import grpc
import pytest

from device_manager.dmi_service.server import serve
from device_manager.records import StateRecord
from dmi.proto.v1 import api_pb2 as pb
from dmi.proto.v1 import api_pb2_grpc as rpc
from dmi.unix_socket import channel
from tests.device_manager.dmi_service.v1_mapper import (
    Mapper,
    mapper,
    round_of,
    serving,
    socket_path,
    status_of,
    until,
)
from tests.device_manager.plants import PUMP, device, model

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED


async def listed(line, protocol=""):
    stub = rpc.MapperManagementStub(line)
    answer = await stub.ListMappers(pb.ListMappersRequest(protocol=protocol))
    return list(answer.mappers)


async def test_registering_is_welcomed_and_listed(node):
    await node.apply(model(), device(), origin="api")
    async with serving(node, lease=7.0) as (_, line, _):
        one = await mapper(line)
        assert one.welcome.lease_ms == 7000
        assert one.welcome.epoch == node.epoch
        assert (await one.beat(devices_online=1)).HasField("beat")
        (status,) = await listed(line)
        assert status.registration == one.registration
        assert status.alive
        assert status.devices == 1
        assert await listed(line, "other") == []


async def test_gauges_of_the_last_beat_are_kept(node):
    async with serving(node) as (server, line, _):
        one = await mapper(line)
        await one.beat(devices_online=12)
        await one.beat()
        assert server.leases.find(one.session).gauges == {"devices_online": 12}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "a/b"),
        ("name", "x" * 300),
        ("protocol", ""),
        ("protocol", " "),
        ("instance", "a\nb"),
        ("link_schema", "x" * 2_000_000),
    ],
)
async def test_a_registration_that_cannot_be_is_refused(node, field, value):
    async with serving(node) as (server, line, _):
        one = Mapper(line)
        setattr(one.registration, field, value)
        await one.lease.write(pb.MapperBeat(registration=one.registration))
        code, _ = await status_of(one.lease)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert server.leases.sessions == []


async def test_the_first_message_must_be_a_registration(node):
    async with serving(node) as (_, line, _):
        beat, silent = Mapper(line), Mapper(line)
        await beat.lease.write(pb.MapperBeat())
        await silent.lease.done_writing()
        for one in (beat, silent):
            code, text = await status_of(one.lease)
            assert code is grpc.StatusCode.INVALID_ARGUMENT
            assert "registration" in text


async def test_missing_beats_end_the_lease_and_every_stream_of_it(node):
    await node.apply(model(), device(), origin="api")
    async with serving(node, lease=0.2) as (server, line, _):
        one = await mapper(line)
        watch = one.watch()
        await round_of(watch)
        reports, _ = await one.report()
        for stream in (one.lease, watch, reports):
            assert (await status_of(stream))[0] is UNAUTHENTICATED
        assert server.leases.sessions == []
        assert (await status_of(one.watch()))[0] is UNAUTHENTICATED
        await until(lambda: not node.mappers["m/0"].alive)


async def test_beats_keep_the_lease(node):
    async with serving(node, lease=0.3) as (server, line, _):
        one = await mapper(line)
        for _ in range(8):
            await asyncio.sleep(0.06)
            assert (await one.beat()).HasField("beat")
        assert len(server.leases.sessions) == 1


async def test_registering_again_ends_the_older_session(node):
    async with serving(node) as (server, line, _):
        old = await mapper(line)
        watch = old.watch()
        await round_of(watch)
        new = await mapper(line)
        assert (await status_of(old.lease))[0] is UNAUTHENTICATED
        assert (await status_of(watch))[0] is UNAUTHENTICATED
        assert [session.id for session in server.leases.sessions] == [new.session]


async def test_devices_of_a_mapper_that_is_gone_are_unknown(node):
    await node.apply(model(), device(), device("other", protocol="ble"), origin="api")
    await node.set_state(PUMP, StateRecord("online", 5.0))
    other = device("other").key
    await node.set_state(other, StateRecord("online", 5.0))
    async with serving(node) as (_, line, _):
        one = await mapper(line)
        assert node.state(PUMP).state == "online"
        await one.leave()
        await until(lambda: node.state(PUMP).state == "unknown")
        assert node.state(PUMP).reason == "mapper_gone"
        assert node.state(PUMP).last_online >= 5.0
        assert node.state(other).state == "online", "its mapper has a lease to come back in"


async def test_a_mapper_that_is_gone_was_last_seen_at_its_last_beat(node):
    async with serving(node) as (server, line, _):
        one = await mapper(line)
        registered = node.mappers["m/0"].last_seen
        await one.beat()
        beat = server.leases.find(one.session).record.last_seen
        assert beat > registered
        await one.leave()
        await until(lambda: not node.mappers["m/0"].alive)
        assert node.mappers["m/0"].last_seen == beat


async def test_what_no_mapper_comes_back_for_within_a_lease_is_unknown(node):
    await node.apply(model(), device(), origin="api")
    await node.set_state(PUMP, StateRecord("online", 5.0))
    async with serving(node, lease=0.1):
        await until(lambda: node.state(PUMP).state == "unknown")


async def test_another_instance_takes_over_without_a_state_in_between(node):
    await node.apply(model(), device(), origin="api")
    await node.set_state(PUMP, StateRecord("online", 5.0))
    async with serving(node) as (server, line, _):
        one = await mapper(line, instance="a")
        two = await mapper(line, instance="b")
        await one.leave()
        await until(lambda: not node.mappers["m/a"].alive)
        assert node.state(PUMP).state == "online"
        assert server.leases.owner(PUMP).id == two.session


async def leave_when_told(one):
    notice = await one.lease.read()
    await one.leave()
    return notice.goodbye.reason


async def test_goodbye_before_the_manager_stops(node):
    loop = asyncio.get_running_loop()
    with socket_path() as path:
        async with channel(path) as line, asyncio.TaskGroup() as group:
            async with serve(node, path, grace=10.0):
                told = group.create_task(leave_when_told(await mapper(line)))
                began = loop.time()
            assert loop.time() - began < 5.0, "it waits only for those who stay"
    assert "stopping" in told.result()


async def test_a_manager_that_stops_takes_nobody_for_gone(node):
    await node.apply(model(), device(), origin="api")
    await node.set_state(PUMP, StateRecord("online", 5.0))
    with socket_path() as path:
        async with (
            channel(path) as line,
            asyncio.TaskGroup() as group,
            serve(node, path, grace=10.0),
        ):
            group.create_task(leave_when_told(await mapper(line)))
    assert node.state(PUMP).state == "online"


async def test_a_mapper_that_stays_is_cut_off_after_the_grace(node):
    with socket_path() as path:
        async with channel(path) as line:
            async with serve(node, path, grace=0.05):
                one = await mapper(line)
            assert (await status_of(one.lease))[0] is not grpc.StatusCode.OK
        assert not path.exists()

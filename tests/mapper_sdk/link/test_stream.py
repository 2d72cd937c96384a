import asyncio

import grpc
import pytest

from dmi.errors import DmiError, NotFoundError, UnavailableError
from dmi.proto.v1 import api_pb2 as pb
from dmi.proto.v1 import api_pb2_grpc as rpc
from dmi.unix_socket import bind, channel
from mapper_sdk.link.stream import one_error, open_stream


class Refusing(rpc.DeviceDataManagementServicer):
    async def Report(self, requests, context):
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")
        yield pb.ReportAck()


class Ending(rpc.DeviceDataManagementServicer):
    async def Report(self, requests, context):
        yield pb.ReportAck(sequence=7)


@pytest.fixture
def served_by(socket_dir):
    async def start(servicer):
        server = grpc.aio.server()
        rpc.add_DeviceDataManagementServicer_to_server(servicer, server)
        bind(server, socket_dir / "m.sock")
        await server.start()
        return server

    return start


@pytest.fixture
async def method(socket_dir):
    async with channel(socket_dir / "m.sock") as manager:
        yield rpc.DeviceDataManagementStub(manager).Report


async def test_a_refused_call_says_why_to_reader_and_writer(served_by, method, eventually):
    server = await served_by(Refusing())
    async with open_stream(method, "report") as stream:
        with pytest.raises(NotFoundError, match="report: no such thing"):
            await stream.receive()
        with pytest.raises(NotFoundError, match="report: no such thing"):
            await stream.send(pb.ReportBatch())
    await server.stop(None)


async def test_the_end_of_a_call_is_an_error(served_by, method):
    server = await served_by(Ending())
    async with open_stream(method, "report") as stream:
        assert (await stream.receive()).sequence == 7
        with pytest.raises(UnavailableError, match="ended the call"):
            await stream.receive()
    await server.stop(None)


async def test_a_broken_connection_is_unavailable(served_by, method):
    class Hanging(rpc.DeviceDataManagementServicer):
        async def Report(self, requests, context):
            yield pb.ReportAck(sequence=1)
            await context.read()

    server = await served_by(Hanging())
    async with open_stream(method, "report") as stream:
        await stream.receive()
        await server.stop(None)
        with pytest.raises(UnavailableError):
            await stream.receive()
        with pytest.raises(UnavailableError):
            await stream.send(pb.ReportBatch())


async def test_one_error_leaves_where_all_were_expected():
    inner = ExceptionGroup("", [NotFoundError("first"), UnavailableError("second")])
    with pytest.raises(DmiError, match="first"), one_error():
        raise ExceptionGroup("", [inner, UnavailableError("third")])


async def test_a_bug_stays_visible_among_expected_errors():
    group = ExceptionGroup("", [NotFoundError("x"), ExceptionGroup("", [ValueError("bug")])])
    with pytest.raises(ExceptionGroup) as raised, one_error():
        raise group
    assert raised.value is group


async def test_a_call_that_breaks_while_it_is_cancelled_hides_no_cancellation():
    async def break_when_cancelled():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as cancelled:
            raise UnavailableError("broken at the same moment") from cancelled

    async def link():
        with one_error():
            async with asyncio.TaskGroup() as group:
                group.create_task(break_when_cancelled())
                await asyncio.Event().wait()

    task = asyncio.create_task(link())
    await settle()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def settle():
    """Let every task run until it waits."""
    for _ in range(5):
        await asyncio.sleep(0)

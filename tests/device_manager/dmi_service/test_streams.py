import asyncio

import grpc
import pytest

from device_manager.dmi_service import streams
from device_manager.dmi_service.streams import receive, send
from dmi.errors import UnavailableError
from dmi.proto.v1 import api_pb2 as pb


class Context:
    """A call that is over, which the library has not noticed yet."""

    def __init__(self, error=None):
        self.tried = asyncio.Event()
        self.error = error or grpc.aio.InternalError("Failed execute_batch")

    async def write(self, _):
        await self.read()

    async def read(self):
        self.tried.set()
        raise self.error


def sending(context):
    return send(context, pb.ReportAck(sequence=1))


@pytest.mark.parametrize("do", [sending, receive])
async def test_a_failure_waits_for_the_library_to_end_the_call(do):
    context = Context()
    doing = asyncio.create_task(do(context))
    await context.tried.wait()
    await asyncio.sleep(0)
    assert not doing.done()
    doing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await doing


@pytest.mark.parametrize("do", [sending, receive])
async def test_a_failure_that_nobody_notices_is_told(do, monkeypatch):
    monkeypatch.setattr(streams, "NOTICED_S", 0.01)
    with pytest.raises(UnavailableError, match="over"):
        await do(Context())


@pytest.mark.parametrize("do", [sending, receive])
async def test_a_bug_of_ours_stays_one(do):
    with pytest.raises(grpc.aio.UsageError):
        await do(Context(grpc.aio.UsageError("after the end")))

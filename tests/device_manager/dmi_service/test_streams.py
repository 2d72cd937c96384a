import asyncio

import grpc
import pytest

from device_manager.dmi_service import streams
from device_manager.dmi_service.streams import send
from dmi.errors import UnavailableError
from dmi.proto.v1 import api_pb2 as pb


class Context:
    """A call whose peer is gone, which the library has not noticed yet."""

    def __init__(self):
        self.tried = asyncio.Event()

    async def write(self, _):
        self.tried.set()
        raise grpc.aio.InternalError("Failed execute_batch")


async def test_a_failed_write_waits_for_the_library_to_end_the_call():
    context = Context()
    sending = asyncio.create_task(send(context, pb.ReportAck(sequence=1)))
    await context.tried.wait()
    await asyncio.sleep(0)
    assert not sending.done()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending


async def test_a_failed_write_that_nobody_notices_is_told(monkeypatch):
    monkeypatch.setattr(streams, "NOTICED_S", 0.01)
    with pytest.raises(UnavailableError, match="gone"):
        await send(Context(), pb.ReportAck(sequence=1))

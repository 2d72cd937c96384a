"""A v1 mapper by hand: raw messages over a real socket."""

import asyncio
import tempfile
import time
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import grpc

from device_manager.dmi_service.server import serve
from dmi.proto.v1 import api_pb2 as pb
from dmi.proto.v1 import api_pb2_grpc as rpc
from dmi.unix_socket import channel

LEASE = 20.0


@contextmanager
def socket_path():
    """A path that is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="dmi") as folder:
        yield Path(folder) / "dmi.sock"


@asynccontextmanager
async def serving(node, **settings):
    """The DMI of a node on a socket, and a channel to it."""
    with socket_path() as path:
        settings = {"lease": LEASE, "grace": 1.0, **settings}
        async with serve(node, path, **settings) as server, channel(path) as line:
            yield server, line, path


class Mapper:
    """One session."""

    def __init__(self, line, name="m", protocol="modbus", instance="0"):
        self.line = line
        self.registration = pb.Registration(
            name=name, protocol=protocol, instance=instance, version="1.0", abilities=[1, 2]
        )
        self.devices = rpc.DeviceManagementStub(line)
        self.data = rpc.DeviceDataManagementStub(line)
        self.lease = rpc.MapperManagementStub(line).Register()
        self.welcome = None

    async def register(self):
        await self.lease.write(pb.MapperBeat(registration=self.registration))
        self.welcome = (await self.lease.read()).welcome
        return self

    @property
    def session(self):
        return self.welcome.session

    async def beat(self, **gauges):
        await self.lease.write(pb.MapperBeat(gauges=gauges))
        return await self.lease.read()

    def watch(self, version=0, epoch=None):
        epoch = self.welcome.epoch if epoch is None else epoch
        request = pb.WatchRequest(session=self.session, resume_version=version, epoch=epoch)
        return self.devices.Watch(request)

    async def report(self, stream_id="s"):
        """A stream of reports, and the sequence that was committed."""
        stream = self.data.Report()
        opening = pb.Opening(session=self.session, stream_id=stream_id)
        await stream.write(pb.ReportBatch(opening=opening))
        return stream, (await stream.read()).sequence

    async def leave(self):
        await self.lease.done_writing()
        while await self.lease.read() is not grpc.aio.EOF:
            pass


async def mapper(line, **who):
    return await Mapper(line, **who).register()


async def round_of(watch):
    """Events up to and with the next Synced, as short words."""
    words = []
    while True:
        event = await watch.read()
        assert event is not grpc.aio.EOF
        words.append(word(event))
        if event.HasField("synced"):
            return words, event.version


def word(event):
    kind = event.WhichOneof("event")
    match kind:
        case "model_put" | "device_put":
            return f"{kind} {getattr(event, kind).key.name}"
        case "model_gone" | "device_gone":
            return f"{kind} {getattr(event, kind).name}"
        case "desired_put":
            put = event.desired_put
            value = getattr(put.value, put.value.WhichOneof("kind") or "", None)
            settled = " settled" if put.settled else ""
            return f"desired {put.device.name}.{put.property}={value!r}{settled}"
    return kind


def key(name, namespace="default"):
    return pb.Key(namespace=namespace, name=name)


def bind(handle, device="pump", name="speed"):
    return pb.Binding(handle=handle, device=key(device), property=name)


def now_us():
    return int(time.time() * 1e6)


def ints(*values, handle=1):
    return pb.IntColumn(
        handle=[handle] * len(values), time_us=[now_us()] * len(values), value=list(values)
    )


async def status_of(call):
    """How a call ends: code and text."""
    try:
        async with asyncio.timeout(5):
            if hasattr(call, "read"):
                while await call.read() is not grpc.aio.EOF:
                    pass
            else:
                await call
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details()
    return await call.code(), await call.details()


async def until(condition, *, seconds=5.0):
    """Wait for something that nothing announces."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "it never became true"
        await asyncio.sleep(0.005)

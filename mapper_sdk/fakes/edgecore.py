"""A stock EdgeCore as its mappers meet it: DMI v1beta1 on a real Unix socket, warts included."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self, TypeVar

import grpc
from google.protobuf.message import Message

from dmi.clock import Clock, SystemClock
from dmi.errors import ConversionError
from dmi.proto.v1beta1 import api_pb2 as pb
from dmi.proto.v1beta1 import api_pb2_grpc as rpc
from dmi.resources import Device, DeviceModel, Key, merge_defaults
from mapper_sdk.fakes.devicetwin import FakeDeviceTwin
from mapper_sdk.fakes.wire import device_to_wire, model_to_wire

__all__ = ["Call", "FakeEdgeCore", "FakeLimiter"]

_CALL_SECONDS = 10.0
_AUTHORITY = ("grpc.default_authority", "localhost")

Request = TypeVar("Request", bound=Message)


@dataclass(frozen=True, slots=True)
class Call:
    """One call that reached the DMI server.

    Attributes:
        time: When, on the monotonic clock.
        name: MapperRegister, ReportDeviceStatus or ReportDeviceStates.
        subject: Name of the mapper or device.
        refused: The limiter said no.
        twins: How many twins it carried.
    """

    time: float
    name: str
    subject: str
    refused: bool
    twins: int = 0


class FakeLimiter:
    """A token bucket as `golang.org/x/time/rate`: it starts full, and who finds it empty fails."""

    def __init__(self, clock: Clock, rate: float = 1.0, burst: int = 100) -> None:
        self._clock = clock
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._last = clock.monotonic()

    @property
    def tokens(self) -> float:
        """How many calls it would admit now."""
        passed = self._clock.monotonic() - self._last
        return min(float(self._burst), self._tokens + passed * self._rate)

    def allow(self) -> bool:
        """Take a token if there is one."""
        self._tokens, self._last = self.tokens, self._clock.monotonic()
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def drain(self, keep: float = 0.0) -> None:
        """Leave so many tokens, as if other mappers of the node had been busy."""
        self._tokens, self._last = keep, self._clock.monotonic()


class FakeEdgeCore(rpc.DeviceManagerServiceServicer):
    """Use it by `async with`; then `path` answers, and what mappers did can be read off.

    It behaves as KubeEdge v1.23 does: one limiter for all calls and mappers, OK for values
    that DeviceTwin then drops, a crash on nil twin parts, one connection per call to a
    mapper, one mapper per protocol, and a stored mapper row that is never updated.

    Attributes:
        path: Its socket, always `dmi.sock` in real life. Each start makes another inode.
        limiter: One call per second, burst 100; shared by all rpcs.
        devicetwin: What was kept of the reports, and what was dropped.
        calls: Every call that came.
        crashes: Why it went down, once per crash; it stays down until `restart`.
        failures: Calls to mappers that failed, as EdgeCore would log them.
        mappers: Mappers by name, as the last registration of this life said.
        rows: The same in SQLite, which survives restarts: inserted, never updated.
    """

    def __init__(self, path: Path, *, clock: Clock | None = None) -> None:
        self.path = path
        self._clock: Clock = clock or SystemClock()
        self.limiter = FakeLimiter(self._clock)
        self.devicetwin = FakeDeviceTwin(self._clock)
        self.calls: list[Call] = []
        self.crashes: list[str] = []
        self.failures: list[str] = []
        self.mappers: dict[str, pb.MapperInfo] = {}
        self.rows: dict[str, pb.MapperInfo] = {}
        self._models: dict[Key, DeviceModel] = {}
        self._devices: dict[Key, Device] = {}
        self._addresses: dict[str, str] = {}
        self._server: grpc.aio.Server | None = None
        self._panicked = asyncio.Event()
        self._changed = asyncio.Condition()
        self._worker = asyncio.Lock()
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        """Start serving."""
        await self._group.__aenter__()
        self._watchdog = self._group.create_task(self._fall_over())
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop for good."""
        self._watchdog.cancel()
        await self.stop()
        await self._group.__aexit__(kind, error, trace)

    # ------------------------------------------------------------- life ----

    async def start(self) -> None:
        """Serve on a new inode: bind a temporary name, then rename it over the socket."""
        server = grpc.aio.server()
        rpc.add_DeviceManagerServiceServicer_to_server(self, server)
        temporary = self.path.with_name(f"{secrets.token_hex(4)}.sock")
        server.add_insecure_port(f"unix:{temporary}")
        await server.start()
        temporary.rename(self.path)
        self._server = server

    async def stop(self) -> None:
        """Go away at once, leaving the socket file behind as a killed process does."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(None)

    async def restart(self) -> None:
        """Stop and come back with a full bucket and with what SQLite kept."""
        await self.stop()
        self.limiter = FakeLimiter(self._clock)
        self.mappers = dict(self.rows)
        self._addresses = {m.protocol: m.address.decode() for m in self.rows.values()}
        await self.start()

    @property
    def running(self) -> bool:
        """Whether it serves."""
        return self._server is not None

    async def until(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        """Return once `condition` holds; it is looked at after each call and change.

        Raises:
            TimeoutError: It does not hold after `seconds` of real time.
        """
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(condition)

    # ------------------------------------------------- from mappers: DMI ----

    async def MapperRegister(
        self, request: pb.MapperRegisterRequest, context: "_Context"
    ) -> pb.MapperRegisterResponse:
        """Register a mapper, and answer with its devices if it wants them."""
        if not request.HasField("mapper"):
            await self._panic("MapperRegister: nil mapper")
        mapper = request.mapper
        admitted = await self._admit("MapperRegister", mapper.name)
        if not admitted:
            await _fail(
                context, f"fail to register mapper because of too many request: {mapper.name}"
            )
        if not mapper.protocol:
            await _fail(
                context, f"fail to register mapper {mapper.name} because the protocol is nil"
            )
        self.rows.setdefault(mapper.name, mapper)
        self.mappers[mapper.name] = mapper
        answer = pb.MapperRegisterResponse()
        if request.withData:
            for device in self._devices.values():
                self._add_device(answer, device, mapper.protocol)
            self._addresses[mapper.protocol] = mapper.address.decode()
        await self._tell()
        return answer

    async def ReportDeviceStatus(
        self, request: pb.ReportDeviceStatusRequest, context: "_Context"
    ) -> pb.ReportDeviceStatusResponse:
        """Queue the twins of one device for DeviceTwin."""
        twins = request.reportedDevice.twins
        if not await self._admit("ReportDeviceStatus", request.deviceName, len(twins)):
            reason = "fail to report device status because of too many request"
            await _fail(context, f"{reason}: {request.deviceName}")
        if not twins:
            await _fail(context, "ReportDeviceStatusRequest does not have twin data")
        for twin in twins:
            if not (twin.HasField("reported") and twin.HasField("observedDesired")):
                await self._panic(f"ReportDeviceStatus: nil part of twin {twin.propertyName}")
        key = Key(request.deviceNamespace, request.deviceName)
        for twin in twins:
            self.devicetwin.update_twin(
                key, twin.propertyName, twin.reported.value, twin.observedDesired.value
            )
        await self._tell()
        return pb.ReportDeviceStatusResponse()

    async def ReportDeviceStates(
        self, request: pb.ReportDeviceStatesRequest, context: "_Context"
    ) -> pb.ReportDeviceStatesResponse:
        """Queue the state of one device for DeviceTwin."""
        if not await self._admit("ReportDeviceStates", request.deviceName):
            reason = "fail to report device states because of too many request"
            await _fail(context, f"{reason}: {request.deviceName}")
        if not request.deviceName or not request.state:
            await _fail(context, "ReportDeviceStatesRequest is invalid data")
        key = Key(request.deviceNamespace, request.deviceName)
        self.devicetwin.update_state(key, request.state)
        await self._tell()
        return pb.ReportDeviceStatesResponse()

    # --------------------------------------------------- from the cloud ----

    async def put_model(self, model: DeviceModel) -> None:
        """The cloud sends a model: CreateDeviceModel the first time, then UpdateDeviceModel."""
        known = model.key in self._models
        self._models[model.key] = model
        wire = model_to_wire(model)
        if known:
            await self._call(model.spec.protocol, "UpdateDeviceModel", _model(wire, new=False))
        else:
            await self._call(model.spec.protocol, "CreateDeviceModel", _model(wire, new=True))

    async def put_device(self, device: Device) -> None:
        """The cloud sends a device: RegisterDevice the first time, UpdateDevice on a change."""
        known = self._devices.get(device.key)
        self._devices[device.key] = device
        self.devicetwin.known.add(device.key)
        if known is not None and _same(known, device):
            return
        wire = self._wire(device)
        if wire is None:
            return
        protocol = device.spec.protocol.protocol_name
        if known is None:
            await self._call(protocol, "RegisterDevice", pb.RegisterDeviceRequest(device=wire))
        else:
            await self._call(protocol, "UpdateDevice", pb.UpdateDeviceRequest(device=wire))

    async def delete_device(self, key: Key) -> None:
        """The cloud deletes a device; if the mapper fails, it stays in the cache for ever."""
        device = self._devices[key]
        self.devicetwin.known.discard(key)
        request = pb.RemoveDeviceRequest(deviceName=key.name, deviceNamespace=key.namespace)
        if await self._call(device.spec.protocol.protocol_name, "RemoveDevice", request):
            del self._devices[key]

    def forget_device(self, key: Key) -> None:
        """Lose a device without telling its mapper, as if deleted while EdgeCore was down."""
        del self._devices[key]
        self.devicetwin.known.discard(key)

    async def delete_model(self, key: Key) -> None:
        """The cloud deletes a model; if the mapper fails, it stays in the cache."""
        model = self._models[key]
        request = pb.RemoveDeviceModelRequest(modelName=key.name, modelNamespace=key.namespace)
        if await self._call(model.spec.protocol, "RemoveDeviceModel", request):
            del self._models[key]

    # ---------------------------------------------------------- inside ----

    def _add_device(self, answer: pb.MapperRegisterResponse, device: Device, protocol: str) -> None:
        """Append a device and, for each device again, its model."""
        if device.spec.protocol.protocol_name != protocol:
            return
        wire = self._wire(device)
        if wire is not None:
            answer.deviceList.append(wire)
            answer.modelList.append(model_to_wire(self._models[device.model_key]))

    def _wire(self, device: Device) -> pb.Device | None:
        """The device with its model's defaults; None, with a log line, if that cannot be."""
        model = self._models.get(device.model_key)
        if model is None:
            self.failures.append(
                f"device model {device.model_key} not found in cache for device {device.key}"
            )
            return None
        try:
            return device_to_wire(merge_defaults(device, model))
        except ConversionError as error:
            self.failures.append(f"device {device.key}: {error}")
            return None

    async def _call(self, protocol: str, method: str, request: Message) -> bool:
        """Dial the protocol's mapper for one call; one at a time for the whole node."""
        address = self._addresses.get(protocol)
        if address is None:
            self.failures.append(f"fail to get dmi client of protocol {protocol}")
            return False
        async with (
            self._worker,
            grpc.aio.insecure_channel(f"unix:{address}", options=[_AUTHORITY]) as channel,
        ):
            stub = rpc.DeviceMapperServiceStub(channel)
            call: Callable[..., Awaitable[Message]] = getattr(stub, method)
            try:
                await call(request, timeout=_CALL_SECONDS)
            except grpc.aio.AioRpcError as error:
                self.failures.append(f"{method}: {error.code().name}: {error.details()}")
                return False
        return True

    async def _admit(self, name: str, subject: str, twins: int = 0) -> bool:
        admitted = self.limiter.allow()
        now = self._clock.monotonic()
        self.calls.append(Call(now, name, subject, not admitted, twins))
        await self._tell()
        return admitted

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _panic(self, why: str) -> NoReturn:
        """Take the whole process down, as a Go panic without a recovery handler does."""
        self.crashes.append(why)
        self._panicked.set()
        never: asyncio.Future[NoReturn] = asyncio.get_running_loop().create_future()
        await never

    async def _fall_over(self) -> None:
        while True:
            await self._panicked.wait()
            self._panicked.clear()
            await self.stop()
            await self._tell()


_Context = grpc.aio.ServicerContext[Message, Message]


async def _fail(context: _Context, text: str) -> NoReturn:
    """Answer as a plain Go error does: UNKNOWN, with its text."""
    await context.abort(grpc.StatusCode.UNKNOWN, text)


def _model(wire: pb.DeviceModel, *, new: bool) -> Message:
    if new:
        return pb.CreateDeviceModelRequest(model=wire)
    return pb.UpdateDeviceModelRequest(model=wire)


def _same(one: Device, other: Device) -> bool:
    """Whether two specs are equal after sorting properties and methods by name."""

    def normal(device: Device) -> dict[str, object]:
        spec = device.spec.model_dump()
        spec["properties"].sort(key=lambda prop: prop["name"])
        spec["methods"].sort(key=lambda method: method["name"])
        return spec

    return normal(one) == normal(other)

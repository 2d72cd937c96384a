"""A v1beta1 mapper by hand, as careless as a Go one: it reads every part unchecked."""

import asyncio
from contextlib import asynccontextmanager

import grpc

from dmi.proto.v1beta1 import api_pb2 as pb
from dmi.proto.v1beta1 import api_pb2_grpc as rpc
from tests.device_manager.dmi_service.v1_mapper import socket_path, until


class GoMapper(rpc.DeviceMapperServiceServicer):
    """What it was told; `refuse` maps a call's name to how often it is still refused."""

    def __init__(self, path):
        self.path = path
        self.calls = []
        self.devices = {}
        self.models = {}
        self.refuse = {}
        self.hang = asyncio.Event()
        self.hang.set()

    async def _take(self, name, context):
        self.calls.append(name)
        await self.hang.wait()
        if self.refuse.get(name, 0) > 0:
            self.refuse[name] -= 1
            await context.abort(grpc.StatusCode.UNKNOWN, f"{name} failed, sorry")

    async def CreateDeviceModel(self, request, context):
        await self._take("CreateDeviceModel", context)
        self.models[request.model.name] = request.model
        return pb.CreateDeviceModelResponse()

    async def UpdateDeviceModel(self, request, context):
        await self._take("UpdateDeviceModel", context)
        self.models[request.model.name] = request.model
        return pb.UpdateDeviceModelResponse()

    async def RemoveDeviceModel(self, request, context):
        await self._take("RemoveDeviceModel", context)
        self.models.pop(request.modelName, None)
        return pb.RemoveDeviceModelResponse()

    async def RegisterDevice(self, request, context):
        await self._take("RegisterDevice", context)
        self._put(request.device)
        return pb.RegisterDeviceResponse()

    async def UpdateDevice(self, request, context):
        await self._take("UpdateDevice", context)
        self._put(request.device)
        return pb.UpdateDeviceResponse()

    async def RemoveDevice(self, request, context):
        await self._take("RemoveDevice", context)
        if request.deviceName not in self.devices:
            await context.abort(grpc.StatusCode.UNKNOWN, "device not found")
        del self.devices[request.deviceName]
        return pb.RemoveDeviceResponse()

    def _put(self, device):
        assert device.spec.HasField("protocol")
        assert device.spec.deviceModelReference in self.models, "a device before its model"
        for prop in device.spec.properties:
            assert prop.HasField("desired")
            assert prop.HasField("visitors")
            assert prop.visitors.HasField("configData")
        self.devices[device.name] = device

    def take(self, answer):
        """What a registration was answered."""
        self.models = {model.name: model for model in answer.modelList}
        self.devices = {}
        for device in answer.deviceList:
            self._put(device)

    def desired(self, device="pump", name="speed"):
        properties = self.devices[device].spec.properties
        return next(prop.desired.value for prop in properties if prop.name == name)

    def registration(self, **parts):
        fields = {
            "name": "go",
            "version": "1",
            "api_version": "v1beta1",
            "protocol": "modbus",
            "address": str(self.path).encode(),
            "state": "ok",
            **parts,
        }
        return pb.MapperRegisterRequest(withData=True, mapper=pb.MapperInfo(**fields))

    async def called(self, name, times=1):
        await until(lambda: self.calls.count(name) >= times, seconds=10)


@asynccontextmanager
async def go_mapper():
    """One that listens."""
    with socket_path() as path:
        mapper = GoMapper(path.with_name("go.sock"))
        async with listening(mapper):
            yield mapper


@asynccontextmanager
async def listening(mapper):
    server = grpc.aio.server()
    rpc.add_DeviceMapperServiceServicer_to_server(mapper, server)
    server.add_insecure_port(f"unix:{mapper.path}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


def twins(*values, device="pump", name="speed", time="", desired=""):
    return pb.ReportDeviceStatusRequest(
        deviceName=device,
        deviceNamespace="default",
        reportedDevice=pb.DeviceStatus(
            twins=[
                pb.Twin(
                    propertyName=name,
                    observedDesired=pb.TwinProperty(value=desired),
                    reported=pb.TwinProperty(value=value, metadata={"timestamp": time}),
                )
                for value in values
            ]
        ),
    )


def manager(line):
    return rpc.DeviceManagerServiceStub(line)

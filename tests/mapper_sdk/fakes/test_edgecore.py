"""The fake must have EdgeCore's faults, or what passes against it proves nothing."""

import asyncio
from pathlib import Path

import grpc
import pytest

from dmi.proto.v1beta1 import api_pb2 as pb
from dmi.proto.v1beta1 import api_pb2_grpc as rpc
from dmi.resources import Device, DeviceModel, Key
from mapper_sdk.testing import FakeEdgeCore

KILN = Key("plant", "kiln-7")


def model(name: str = "kiln", protocol: str = "thermo") -> DeviceModel:
    return DeviceModel.model_validate(
        {
            "metadata": {"name": name, "namespace": "plant"},
            "spec": {
                "protocol": protocol,
                "properties": [
                    {
                        "name": "temperature",
                        "type": "FLOAT",
                        "accessMode": "ReadWrite",
                        "maximum": "900",
                        "visitors": {"configData": {"register": 16777217, "signed": True}},
                    }
                ],
                "protocolConfigData": {"port": 502},
            },
        }
    )


def device(name: str = "kiln-7", desired: str = "", **visitor: object) -> Device:
    return Device.model_validate(
        {
            "metadata": {"name": name, "namespace": "plant"},
            "spec": {
                "deviceModelRef": {"name": "kiln"},
                "nodeName": "edge-1",
                "protocol": {"protocolName": "thermo", "configData": {"host": "h"}},
                "properties": [
                    {
                        "name": "temperature",
                        "reportToCloud": True,
                        "visitors": {"configData": visitor},
                        "pushMethod": {
                            "mqtt": {"address": "tcp://b:1883", "topic": "t", "qos": 1},
                            "dbMethod": {"influxdb2": {"influxdb2DataConfig": {"tag": {"a": "b"}}}},
                        },
                        **({"desired": {"value": desired}} if desired else {}),
                    }
                ],
                "methods": [{"name": "heat", "propertyNames": ["temperature"]}],
                "stateReport": {"reportToCloud": True, "reportCycle": 500},
            },
        }
    )


class Mapper(rpc.DeviceMapperServiceServicer):
    """Records what EdgeCore calls."""

    def __init__(self) -> None:
        self.got: list[tuple[str, object]] = []
        self.fail = False

    async def _take(self, name, request, context):
        if self.fail:
            await context.abort(grpc.StatusCode.UNKNOWN, "no")
        self.got.append((name, request))

    async def RegisterDevice(self, request, context):
        await self._take("RegisterDevice", request, context)
        return pb.RegisterDeviceResponse(deviceName=request.device.name)

    async def UpdateDevice(self, request, context):
        await self._take("UpdateDevice", request, context)
        return pb.UpdateDeviceResponse()

    async def RemoveDevice(self, request, context):
        await self._take("RemoveDevice", request, context)
        return pb.RemoveDeviceResponse()

    async def CreateDeviceModel(self, request, context):
        await self._take("CreateDeviceModel", request, context)
        return pb.CreateDeviceModelResponse()

    async def UpdateDeviceModel(self, request, context):
        await self._take("UpdateDeviceModel", request, context)
        return pb.UpdateDeviceModelResponse()

    async def RemoveDeviceModel(self, request, context):
        await self._take("RemoveDeviceModel", request, context)
        return pb.RemoveDeviceModelResponse()


@pytest.fixture
async def edgecore(fake_edgecore: FakeEdgeCore):
    async with fake_edgecore:
        yield fake_edgecore


@pytest.fixture
async def channel(edgecore):
    async with grpc.aio.insecure_channel(
        f"unix:{edgecore.path}", options=[("grpc.default_authority", "localhost")]
    ) as channel:
        yield channel


@pytest.fixture
def stub(channel):
    return rpc.DeviceManagerServiceStub(channel)


@pytest.fixture
async def mapper(socket_dir: Path):
    servicer = Mapper()
    server = grpc.aio.server()
    rpc.add_DeviceMapperServiceServicer_to_server(servicer, server)
    servicer.address = f"{socket_dir}/mapper.sock"
    server.add_insecure_port(f"unix:{servicer.address}")
    await server.start()
    yield servicer
    await server.stop(None)


def info(address: str = "/nowhere.sock", protocol: str = "thermo") -> pb.MapperInfo:
    return pb.MapperInfo(name="thermo-mapper", protocol=protocol, address=address.encode())


def report(value: str = "1", name: str = "temperature", device: str = "kiln-7"):
    twin = pb.Twin(
        propertyName=name,
        reported=pb.TwinProperty(value=value),
        observedDesired=pb.TwinProperty(value="740"),
    )
    return pb.ReportDeviceStatusRequest(
        deviceName=device,
        deviceNamespace="plant",
        reportedDevice=pb.DeviceStatus(twins=[twin]),
    )


async def test_one_bucket_for_all_calls_and_its_refusals(edgecore, stub, fake_clock):
    await edgecore.put_device(device())
    for _ in range(98):
        await stub.ReportDeviceStatus(report())
    await stub.ReportDeviceStates(
        pb.ReportDeviceStatesRequest(deviceName="kiln-7", deviceNamespace="plant", state="ok")
    )
    await stub.MapperRegister(pb.MapperRegisterRequest(mapper=info()))
    texts = []
    for call in (
        stub.MapperRegister(pb.MapperRegisterRequest(mapper=info())),
        stub.ReportDeviceStatus(report()),
        stub.ReportDeviceStates(pb.ReportDeviceStatesRequest(deviceName="kiln-7", state="ok")),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        assert refused.value.code() is grpc.StatusCode.UNKNOWN
        texts.append(refused.value.details())
    assert texts == [
        "fail to register mapper because of too many request: thermo-mapper",
        "fail to report device status because of too many request: kiln-7",
        "fail to report device states because of too many request: kiln-7",
    ]
    await fake_clock.advance(1)
    await stub.ReportDeviceStatus(report())
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.ReportDeviceStatus(report())
    assert [c.refused for c in edgecore.calls].count(True) == 4


async def test_answers_ok_and_drops_what_devicetwin_refuses(edgecore, stub):
    await edgecore.put_device(device())
    for value in ("21.5", "a b", "x" * 513, "", "x" * 512):
        await stub.ReportDeviceStatus(report(value))
    await stub.ReportDeviceStatus(report(name="air temperature"))
    await stub.ReportDeviceStatus(report(device="stranger"))
    bad_desired = report()
    bad_desired.reportedDevice.twins[0].observedDesired.value = "50 %"
    await stub.ReportDeviceStatus(bad_desired)
    assert [d.reason for d in edgecore.devicetwin.dropped] == [
        "value",
        "value",
        "property_name",
        "unknown_device",
        "expected",
    ]
    kept = edgecore.devicetwin.twins[KILN]["temperature"]
    assert (kept.reported, kept.expected, len(kept.times)) == ("x" * 512, "740", 3)


@pytest.mark.parametrize(("word", "kept"), [("Online", True), ("disconnected", False)])
async def test_state_words(edgecore, stub, word, kept):
    await edgecore.put_device(device())
    await stub.ReportDeviceStates(
        pb.ReportDeviceStatesRequest(deviceName="kiln-7", deviceNamespace="plant", state=word)
    )
    assert (KILN in edgecore.devicetwin.states) is kept


@pytest.mark.parametrize("namespace", ["dev", "e", "device"])
async def test_loses_namespaces_that_are_part_of_its_topics(edgecore, stub, namespace):
    thing = device()
    metadata = thing.metadata.model_copy(update={"namespace": namespace})
    await edgecore.put_device(thing.model_copy(update={"metadata": metadata}))
    lost = report()
    lost.deviceNamespace = namespace
    await stub.ReportDeviceStatus(lost)
    assert edgecore.devicetwin.dropped[0].reason == "namespace"


@pytest.mark.parametrize("half", ["reported", "observedDesired"])
async def test_a_nil_twin_part_takes_it_down(edgecore, stub, half):
    poison = report()
    poison.reportedDevice.twins[0].ClearField(half)
    with pytest.raises(grpc.aio.AioRpcError) as lost:
        await stub.ReportDeviceStatus(poison)
    assert lost.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    await edgecore.until(lambda: not edgecore.running)
    assert len(edgecore.crashes) == 1


async def test_nil_mapper_takes_it_down(edgecore, stub):
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.MapperRegister(pb.MapperRegisterRequest(withData=True))
    assert edgecore.crashes == ["MapperRegister: nil mapper"]


@pytest.mark.parametrize(
    ("method", "request_", "text"),
    [
        (
            "MapperRegister",
            pb.MapperRegisterRequest(mapper=info(protocol="")),
            "fail to register mapper thermo-mapper because the protocol is nil",
        ),
        (
            "ReportDeviceStatus",
            pb.ReportDeviceStatusRequest(deviceName="kiln-7"),
            "ReportDeviceStatusRequest does not have twin data",
        ),
        (
            "ReportDeviceStates",
            pb.ReportDeviceStatesRequest(deviceName="kiln-7"),
            "ReportDeviceStatesRequest is invalid data",
        ),
    ],
)
async def test_incomplete_calls_are_errors(edgecore, stub, method, request_, text):
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await getattr(stub, method)(request_)
    assert (error.value.code(), error.value.details()) == (grpc.StatusCode.UNKNOWN, text)


async def test_registering_with_data_gives_devices_and_models_in_pairs(edgecore, stub):
    await edgecore.put_model(model())
    await edgecore.put_device(device("kiln-7", register=3))
    await edgecore.put_device(device("kiln-8"))
    await edgecore.put_device(device("nested", deep={"a": 1}))
    answer = await stub.MapperRegister(pb.MapperRegisterRequest(mapper=info(), withData=True))
    assert [d.name for d in answer.deviceList] == ["kiln-7", "kiln-8"]
    assert [m.name for m in answer.modelList] == ["kiln", "kiln"]
    assert answer.modelList[0].spec.properties[0].maximum == "900"
    first, second = (d.spec.properties[0] for d in answer.deviceList)
    assert second.HasField("desired")
    assert second.pushMethod.mqtt.topic == "t"
    assert second.pushMethod.dbMethod.influxdb2.influxdb2DataConfig.tag == {"a": "b"}
    register = second.visitors.configData.data["register"]
    assert register.type_url == "type.googleapis.com/google.protobuf.FloatValue"
    assert register.value == b"\x0d\x00\x00\x80\x4b"  # 16777216: 32 bits lost the 1
    assert first.visitors.configData.data["register"].value == b"\x0d\x00\x00\x40\x40"
    assert set(answer.deviceList[0].spec.protocol.configData.data) == {"host", "port"}
    assert answer.deviceList[0].status.reportCycle == 500
    assert answer.deviceList[0].spec.methods[0].propertyNames == ["temperature"]
    assert "does not support converting to any" in edgecore.failures[-1]


async def test_calls_the_mapper_for_each_change(edgecore, stub, mapper):
    await stub.MapperRegister(pb.MapperRegisterRequest(mapper=info(mapper.address), withData=True))
    await edgecore.put_model(model())
    await edgecore.put_model(model())
    await edgecore.put_device(device())
    await edgecore.put_device(device())
    await edgecore.put_device(device(desired="740"))
    await edgecore.delete_device(KILN)
    await edgecore.delete_model(Key("plant", "kiln"))
    assert [name for name, _ in mapper.got] == [
        "CreateDeviceModel",
        "UpdateDeviceModel",
        "RegisterDevice",
        "UpdateDevice",
        "RemoveDevice",
        "RemoveDeviceModel",
    ]
    assert mapper.got[3][1].device.spec.properties[0].desired.value == "740"


async def test_without_data_no_client_is_made(edgecore, stub, mapper):
    await edgecore.put_model(model())
    await stub.MapperRegister(pb.MapperRegisterRequest(mapper=info(mapper.address)))
    await edgecore.put_device(device())
    assert mapper.got == []
    assert edgecore.failures[-1] == "fail to get dmi client of protocol thermo"


async def test_a_device_ahead_of_its_model_is_not_sent(edgecore, stub, mapper):
    await stub.MapperRegister(pb.MapperRegisterRequest(mapper=info(mapper.address), withData=True))
    await edgecore.put_device(device())
    await edgecore.put_model(model())
    assert [name for name, _ in mapper.got] == ["CreateDeviceModel"]


async def test_a_failed_removal_brings_the_device_back(edgecore, stub, mapper):
    request = pb.MapperRegisterRequest(mapper=info(mapper.address), withData=True)
    await stub.MapperRegister(request)
    await edgecore.put_model(model())
    await edgecore.put_device(device())
    mapper.fail = True
    await edgecore.delete_device(KILN)
    await edgecore.delete_model(Key("plant", "kiln"))
    answer = await stub.MapperRegister(request)
    assert [d.name for d in answer.deviceList] == ["kiln-7"]
    assert edgecore.failures[0] == "RemoveDevice: UNKNOWN: no"


async def test_restart_makes_an_inode_and_remembers_the_first_row(edgecore, stub, mapper):
    inode = edgecore.path.stat().st_ino
    edgecore.limiter.drain()
    await edgecore.restart()
    assert edgecore.path.stat().st_ino != inode
    assert edgecore.limiter.tokens == 100
    async with grpc.aio.insecure_channel(f"unix:{edgecore.path}") as again:
        fresh = rpc.DeviceManagerServiceStub(again)
        await fresh.MapperRegister(pb.MapperRegisterRequest(mapper=info("/old"), withData=True))
        await fresh.MapperRegister(
            pb.MapperRegisterRequest(mapper=info(mapper.address), withData=True)
        )
    assert edgecore.mappers["thermo-mapper"].address.decode() == mapper.address
    await edgecore.restart()
    assert edgecore.mappers["thermo-mapper"].address == b"/old"
    await edgecore.put_model(model())
    assert edgecore.failures[-1].startswith("CreateDeviceModel: UNAVAILABLE")


async def test_until_gives_up(edgecore):
    with pytest.raises(TimeoutError):
        await edgecore.until(lambda: False, seconds=0.01)


async def test_stays_down_after_stop(edgecore, stub):
    await edgecore.stop()
    assert edgecore.path.exists()
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await asyncio.wait_for(stub.ReportDeviceStatus(report()), 5)
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE

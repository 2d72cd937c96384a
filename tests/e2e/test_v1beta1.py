"""DMI v1beta1 between real processes: our mapper, foreign mappers, a stock EdgeCore."""

import asyncio
import socket

import grpc
import pytest

from dmi.proto.v1beta1 import api_pb2 as pb
from dmi.resources import Device, DeviceModel, Key
from dmi.unix_socket import channel
from mapper_sdk.testing import FakeEdgeCore
from tests.device_manager.dmi_service.go_mapper import GoMapper, listening, manager, twins
from tests.device_manager.dmi_service.v1_mapper import status_of
from tests.e2e.node import BOILER_MODEL, TANK_MODEL, boiler, device, model, tank
from tests.e2e.programs import until

pytestmark = [
    pytest.mark.process,
    # Several interpreters start; the governor spends one call a second once its burst is used.
    pytest.mark.timeout(60),
]

FOREIGN_MODEL = model("pumps", "go", speed="INT")
FOREIGN = device("pump", "pumps", "go", speed={})


async def test_a_mapper_linked_by_v1beta1_does_the_main_job(stage):
    simulator = await stage.simulator()
    port = simulator.ready["port"]
    stage.write("model.yaml", BOILER_MODEL)
    stage.write("boiler.yaml", boiler(port, cycle=500))
    program, rest = await stage.manager()
    mapper = await stage.mapper("--link", "v1beta1", driver="modbus")
    await rest.until_reported("boiler", "temperature")
    await rest.until_state("boiler", "online")
    (record,) = (await rest.get("/api/v1/mappers"))["items"]
    assert (record["api"], record["devices"]) == ("v1beta1", 1)
    assert record["address"] == str(stage.folder / "modbus-mapper.sock")

    answer = await rest.put_desired("boiler", "setpoint", 44, wait=8)
    assert answer.status_code == 200
    assert answer.json()["desired"]["status"] == "confirmed"
    assert answer.json()["reported"]["value"] == 44.0

    # A device more and a device less come by calls to the mapper's own socket.
    stage.write("second.yaml", boiler(port, "second", cycle=500))
    await rest.until_reported("second", "temperature")
    (stage.devices / "second.yaml").unlink()
    own = stage.rest_of(mapper)

    async def alone():
        return [item["name"] for item in (await own.get("/api/v1/devices"))["items"]] == ["boiler"]

    await until("the mapper has let go of it", alone)

    # A manager that was killed is found again by its new socket.
    program.kill()
    await program.start()
    answer = await rest.put_desired("boiler", "setpoint", 46, wait=8)
    assert answer.json()["desired"]["status"] == "confirmed"
    # So is a mapper that was killed; its own socket is taken over from its dead self.
    await mapper.restart()
    answer = await rest.put_desired("boiler", "setpoint", 48, wait=8)
    assert answer.json()["desired"]["status"] == "confirmed"


async def test_a_foreign_mapper_beside_one_of_ours(stage):
    stage.write("tank.yaml", TANK_MODEL, tank())
    stage.write("pump.yaml", FOREIGN_MODEL, FOREIGN)
    program, rest = await stage.manager()
    await stage.mapper()
    foreign = GoMapper(stage.folder / "go.sock")
    async with listening(foreign), channel(stage.socket) as line:
        foreign.take(await manager(line).MapperRegister(foreign.registration(protocol="go")))
        assert set(foreign.devices) == {"pump"}
        await manager(line).ReportDeviceStatus(twins("41"))
        assert (await rest.twin("pump", "speed"))["reported"]["value"] == 41
        await rest.until_reported("tank", "level")

        assert (await rest.put_desired("pump", "speed", 42)).status_code == 202
        await foreign.called("UpdateDevice")
        assert foreign.desired() == "42"
        await rest.until_settled("pump", "speed", "written")
        await manager(line).ReportDeviceStatus(twins("42", desired="42"))
        assert (await rest.twin("pump", "speed"))["desired"]["status"] == "confirmed"

        # After kill -9 of the manager the mapper, which knows nothing of it, is called again.
        program.kill()
        await program.start()
        assert (await rest.put_desired("pump", "speed", 43)).status_code == 202
        await until("the new wish is told", lambda: foreign.desired() == "43")
        await rest.until_reported("tank", "level")


async def test_a_foreign_mapper_that_dies_in_the_middle_of_a_call(stage):
    stage.write("tank.yaml", TANK_MODEL, tank())
    stage.write("pump.yaml", FOREIGN_MODEL, FOREIGN)
    _, rest = await stage.manager()
    await stage.mapper()
    foreign = GoMapper(stage.folder / "go.sock")
    async with channel(stage.socket) as line:
        async with listening(foreign):
            foreign.take(await manager(line).MapperRegister(foreign.registration(protocol="go")))
            foreign.hang.clear()
            await rest.put_desired("pump", "speed", 7)
            await foreign.called("UpdateDevice")
        # It is gone, and has never answered; others are served meanwhile.
        answer = await rest.put_desired("tank", "setpoint", 3, wait=5)
        assert answer.json()["desired"]["status"] == "confirmed"

        async def told():
            records = (await rest.get("/api/v1/mappers", protocol="go"))["items"]
            return not records[0]["alive"]

        await until("the manager says that it is away", told)
        foreign.hang.set()
        foreign.calls.clear()
        async with listening(foreign):
            await until("the wish is told again", lambda: foreign.desired() == "7", 10)


async def test_callers_that_break_off_or_speak_nonsense_disturb_nobody(stage):
    stage.write("tank.yaml", TANK_MODEL, tank())
    program, rest = await stage.manager()
    await stage.mapper()
    await rest.until_reported("tank", "level")
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    headers_cut_short = bytes([0, 0, 200, 1, 4, 0, 0, 0, 1]) + b"\x83\x86"
    for said in (b"", b"GET / HTTP/1.1\r\n\r\n", preface, preface + headers_cut_short, b"\0" * 999):
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(stage.socket))
            caller.sendall(said)
    async with channel(stage.socket) as line:
        call = manager(line).ReportDeviceStatus(twins(*["1"] * 1000, device="tank", name="level"))
        await asyncio.sleep(0)
        call.cancel()
    answer = await rest.put_desired("tank", "setpoint", 3, wait=5)
    assert answer.json()["desired"]["status"] == "confirmed"
    assert program.running


NIL_FIELDS = {
    "no mapper": ("MapperRegister", pb.MapperRegisterRequest(withData=True)),
    "an empty mapper": (
        "MapperRegister",
        pb.MapperRegisterRequest(withData=True, mapper=pb.MapperInfo()),
    ),
    "no device": ("ReportDeviceStatus", pb.ReportDeviceStatusRequest()),
    "no status": (
        "ReportDeviceStatus",
        pb.ReportDeviceStatusRequest(deviceName="tank", deviceNamespace="default"),
    ),
    "a twin of nothing": (
        "ReportDeviceStatus",
        pb.ReportDeviceStatusRequest(
            deviceName="tank",
            deviceNamespace="default",
            reportedDevice=pb.DeviceStatus(twins=[pb.Twin()]),
        ),
    ),
    "no reported half": (
        "ReportDeviceStatus",
        pb.ReportDeviceStatusRequest(
            deviceName="tank",
            deviceNamespace="default",
            reportedDevice=pb.DeviceStatus(
                twins=[pb.Twin(propertyName="level", observedDesired=pb.TwinProperty(value="1"))]
            ),
        ),
    ),
    "no state": ("ReportDeviceStates", pb.ReportDeviceStatesRequest()),
}
"""What crashes a stock EdgeCore, or is swallowed by it."""


async def test_nil_fields_are_refused_with_words(stage):
    stage.write("tank.yaml", TANK_MODEL, tank())
    program, rest = await stage.manager()
    await stage.mapper()
    await rest.until_reported("tank", "level")
    async with channel(stage.socket) as line:
        for what, (method, request) in NIL_FIELDS.items():
            code, text = await status_of(getattr(manager(line), method)(request))
            assert code is grpc.StatusCode.INVALID_ARGUMENT, what
            assert text, what
    assert program.running
    answer = await rest.put_desired("tank", "setpoint", 4, wait=5)
    assert answer.json()["desired"]["status"] == "confirmed"


async def test_a_mapper_linked_straight_to_edgecore(stage):
    simulator = await stage.simulator()
    thing = Device.model_validate(boiler(simulator.ready["port"], cycle=200))
    async with FakeEdgeCore(stage.socket) as edgecore:
        await edgecore.put_model(DeviceModel.model_validate(BOILER_MODEL))
        await edgecore.put_device(thing)
        mapper = await stage.mapper(driver="modbus")
        kept, key = edgecore.devicetwin, Key("default", "boiler")
        names = {"temperature", "setpoint", "burner"}
        await edgecore.until(lambda: kept.twins.get(key, {}).keys() == names)
        await edgecore.until(lambda: key in kept.states and kept.states[key].state == "online")

        # The cloud wishes something: EdgeCore sends the whole device again.
        edgecore.failures.clear()
        wished = boiler(simulator.ready["port"], cycle=200)
        wished["spec"]["properties"][1]["desired"] = {"value": "51.5"}
        await edgecore.put_device(Device.model_validate(wished))
        assert edgecore.failures == []
        own = stage.rest_of(mapper)

        async def has_it():
            found = await own.get("/api/v1/devices/default/boiler/properties/setpoint")
            return found["value"] == 51.5

        await until("the device has it", has_it)

        # Another EdgeCore at the same path: it knows the mapper's row, and nothing else.
        before = identity_of(stage.socket)
        await edgecore.restart()
        assert identity_of(stage.socket) != before
        calls = len(edgecore.calls)
        await edgecore.until(
            lambda: any(call.name == "MapperRegister" for call in edgecore.calls[calls:]), 5
        )
        await edgecore.until(
            lambda: any(call.name == "ReportDeviceStatus" for call in edgecore.calls[calls:]), 5
        )
        assert edgecore.crashes == []
        assert kept.dropped == []
        assert [call for call in edgecore.calls if call.refused] == []
        assert await mapper.stop() == 0


def identity_of(path):
    found = path.stat()
    return found.st_ino, found.st_mtime_ns


async def test_a_mapper_started_before_edgecore(stage):
    mapper = await stage.mapper()
    async with FakeEdgeCore(stage.socket) as edgecore:
        await edgecore.put_model(DeviceModel.model_validate(TANK_MODEL))
        await edgecore.until(lambda: "virtual-mapper" in edgecore.mappers, 5)
        # The device comes by a call, after the mapper; its model was made before, and is
        # told to nobody any more.
        await edgecore.put_device(Device.model_validate(tank(cycle=200)))
        key = Key("default", "tank")
        await edgecore.until(lambda: key in edgecore.devicetwin.twins, 8)
        assert edgecore.crashes == []
    assert mapper.running

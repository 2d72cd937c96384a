import asyncio
import time
from dataclasses import replace

import grpc
import pytest

from device_manager.records import MapperRecord, StateRecord
from dmi.proto.v1 import api_pb2 as v1
from dmi.proto.v1beta1 import api_pb2 as pb
from dmi.readings import Quality
from dmi.reports import OutcomeStatus
from dmi.resources import Device
from tests.device_manager.dmi_service.go_mapper import (
    GoMapper,
    go_mapper,
    listening,
    manager,
    twins,
)
from tests.device_manager.dmi_service.v1_mapper import (
    bind,
    ints,
    mapper,
    round_of,
    serving,
    socket_path,
    status_of,
    until,
)
from tests.device_manager.plants import MODEL, PUMP, device, model

INVALID = grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture
async def plant(node):
    await node.apply(model(), device(speed="5", label=None), origin="api")
    return node


def reported(node, name="speed"):
    return node.twin(PUMP, name).reported


def wish(node, name="speed"):
    return node.twin(PUMP, name).desired


async def test_registering_is_answered_with_models_and_devices(plant):
    await plant.apply(device("two"), device("tag", protocol="ble"), origin="api")
    async with serving(plant) as (server, line, _), go_mapper() as go:
        answer = await manager(line).MapperRegister(go.registration())
        assert [one.name for one in answer.modelList] == ["pumps"]
        assert [one.name for one in answer.deviceList] == ["pump", "two"]
        go.take(answer)
        assert go.desired() == "5"
        assert plant.mappers["go/0"].api == "v1beta1"
        assert plant.mappers["go/0"].alive
        assert server.counters.registered == {"v1beta1": 1}
        await until(lambda: server.reconciler.pending("modbus") == 0)
        assert go.calls == [], "the answer held everything"


async def test_without_data_everything_comes_by_calls(plant):
    async with serving(plant) as (_, line, _), go_mapper() as go:
        request = go.registration()
        request.withData = False
        assert await manager(line).MapperRegister(request) == pb.MapperRegisterResponse()
        await go.called("RegisterDevice")
        assert go.calls == ["CreateDeviceModel", "RegisterDevice"]
        await until(lambda: wish(plant).status is OutcomeStatus.WRITTEN)


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"protocol": ""}, "protocol"),
        ({"name": ""}, "name"),
        ({"name": "a/b"}, "name"),
        ({"address": b""}, "address"),
        ({"address": b"relative.sock"}, "absolute"),
        ({"address": b"\xff"}, "UTF-8"),
        ({"address": b"/" + b"a" * 107}, "107"),
    ],
)
async def test_a_registration_that_cannot_be_is_refused(plant, parts, told):
    async with serving(plant) as (_, line, _), go_mapper() as go:
        call = manager(line).MapperRegister(go.registration(**parts))
        code, text = await status_of(call)
        assert code is INVALID
        assert told in text
        assert not plant.mappers


async def test_a_registration_without_a_mapper_crashes_nobody(plant):
    async with serving(plant) as (_, line, _):
        code, text = await status_of(manager(line).MapperRegister(pb.MapperRegisterRequest()))
        assert code is INVALID
        assert "mapper" in text


async def test_every_change_is_called_in_until_it_has_converged(plant):
    async with serving(plant) as (server, line, _), go_mapper() as go:
        go.take(await manager(line).MapperRegister(go.registration()))
        go.refuse = {"UpdateDevice": 2}
        await plant.set_desired(PUMP, "speed", 9)
        await go.called("UpdateDevice", 2)
        assert wish(plant).status is OutcomeStatus.PENDING
        assert "sorry" in server.reconciler.errors("modbus")["Device default/pump"]
        await until(lambda: go.desired() == "9", seconds=10)
        await until(lambda: wish(plant).status is OutcomeStatus.WRITTEN)
        await until(lambda: server.reconciler.pending("modbus") == 0)
        assert server.reconciler.errors("modbus") == {}
        await plant.apply(device("two"), origin="api")
        await go.called("RegisterDevice")
        await plant.apply(model(speed="INT", label="STRING", extra="INT"), origin="api")
        await go.called("UpdateDeviceModel")
        await plant.delete("Device", device("two").key, "api")
        await go.called("RemoveDevice")
        assert list(go.devices) == ["pump"]
        await plant.delete("Device", PUMP, "api")
        await plant.delete("DeviceModel", MODEL, "api")
        await until(lambda: not go.devices and not go.models)
        assert server.counters.calls["UpdateDevice", "refused"] == 2


async def test_a_device_that_the_mapper_does_not_know_counts_as_removed(plant):
    async with serving(plant) as (server, line, _), go_mapper() as go:
        await manager(line).MapperRegister(go.registration())
        await plant.delete("Device", PUMP, "api")
        await go.called("RemoveDevice")
        await until(lambda: server.reconciler.pending("modbus") == 0)


async def test_a_device_that_this_contract_cannot_carry_harms_no_other(plant):
    odd = device("odd").to_json()
    odd["spec"]["properties"][0]["collectCycle"] = 2**63
    await plant.apply(Device.model_validate(odd), origin="api")
    async with serving(plant) as (server, line, _), go_mapper() as go:
        answer = await manager(line).MapperRegister(go.registration())
        assert [one.name for one in answer.deviceList] == ["pump"]
        await until(lambda: "Device default/odd" in server.reconciler.errors("modbus"))


async def test_an_answer_that_is_too_long_for_a_go_mapper_comes_by_calls(plant):
    huge = [device(f"d{n}", config={"text": "x" * 1_000_000}) for n in range(5)]
    await plant.apply(*huge, origin="api")
    async with serving(plant) as (_, line, _), go_mapper() as go:
        answer = await manager(line).MapperRegister(go.registration())
        assert answer == pb.MapperRegisterResponse()
        await go.called("RegisterDevice", 6)
        assert len(go.devices) == 6


async def test_a_mapper_that_hangs_delays_nobody_else(plant):
    await plant.apply(device("tag", protocol="ble"), origin="api")
    tag = device("tag").key
    async with serving(plant) as (_, line, _), go_mapper() as stuck, go_mapper() as well:
        stuck.take(await manager(line).MapperRegister(stuck.registration()))
        well.take(await manager(line).MapperRegister(well.registration(name="w", protocol="ble")))
        stuck.hang.clear()
        await plant.set_desired(PUMP, "speed", 9)
        await stuck.called("UpdateDevice")
        await plant.set_desired(tag, "speed", 3)
        await until(lambda: well.desired("tag") == "3")
        report = twins("9")
        await manager(line).ReportDeviceStatus(report)
        assert reported(plant).value == 9
        stuck.hang.set()
        await until(lambda: stuck.desired() == "9")


async def test_a_mapper_that_is_away_gets_everything_when_it_is_back(plant):
    with socket_path() as path:
        go = GoMapper(path.with_name("go.sock"))
        async with serving(plant) as (_, line, _):
            async with listening(go):
                go.take(await manager(line).MapperRegister(go.registration()))
            await plant.set_desired(PUMP, "speed", 9)
            await until(lambda: not plant.mappers["go/0"].alive)
            async with listening(go):
                await until(lambda: go.desired() == "9", seconds=10)
                await until(lambda: plant.mappers["go/0"].alive)


async def test_a_report_is_typed_timed_and_confirms_the_wish(plant):
    async with serving(plant) as (server, line, _):
        moment = int((time.time() - 3) * 1000)
        await manager(line).ReportDeviceStatus(twins("5", time=str(moment)))
        assert reported(plant).value == 5
        assert reported(plant).quality is Quality.GOOD
        assert reported(plant).time == pytest.approx(moment / 1000)
        assert wish(plant).status is OutcomeStatus.CONFIRMED
        await manager(line).ReportDeviceStatus(twins("6", desired="1"))
        assert reported(plant).value == 6
        assert wish(plant).status is OutcomeStatus.CONFIRMED, "what was confirmed stays so"
        assert wish(plant).value == 5, "the mapper's echo is no wish"
        assert server.counters.readings == {"v1beta1": 2}


@pytest.mark.parametrize("stamp", ["", "soon", "-5", "0000000000000", "9999999999999", "1" * 30])
async def test_a_time_that_cannot_be_becomes_the_present(plant, stamp):
    async with serving(plant) as (_, line, _):
        await manager(line).ReportDeviceStatus(twins("5", time=stamp))
    assert abs(reported(plant).time - time.time()) < 5


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (twins("fast"), INVALID),
        (twins(""), INVALID),
        (twins("5", "x"), INVALID),
        (twins(), INVALID),
        (twins("1", device=""), INVALID),
        (twins("1", name=""), INVALID),
        (twins("1", device="nobody"), grpc.StatusCode.NOT_FOUND),
        (twins("1", name="color"), grpc.StatusCode.NOT_FOUND),
        (pb.ReportDeviceStatusRequest(), INVALID),
        (pb.ReportDeviceStatusRequest(deviceName="pump", deviceNamespace="default"), INVALID),
        (
            pb.ReportDeviceStatusRequest(
                deviceName="pump",
                deviceNamespace="default",
                reportedDevice=pb.DeviceStatus(twins=[pb.Twin(propertyName="speed")]),
            ),
            INVALID,
        ),
    ],
)
async def test_a_report_that_cannot_be_is_refused_whole(plant, request_, code):
    async with serving(plant) as (_, line, _):
        assert (await status_of(manager(line).ReportDeviceStatus(request_)))[0] is code
    assert reported(plant) is None


async def test_a_report_before_its_model_is_refused(node):
    await node.apply(device(), origin="api")
    async with serving(node) as (_, line, _):
        code, text = await status_of(manager(line).ReportDeviceStatus(twins("1")))
    assert code is grpc.StatusCode.NOT_FOUND
    assert "model" in text


@pytest.mark.parametrize(
    ("word", "state"),
    [("online", "online"), ("OK", "online"), ("Offline", "offline"), ("unhealthy", "unhealthy")],
)
async def test_states(plant, word, state):
    async with serving(plant) as (_, line, _):
        said = {"deviceName": "pump", "deviceNamespace": "default"}
        await manager(line).ReportDeviceStates(pb.ReportDeviceStatesRequest(state=word, **said))
        assert plant.state(PUMP).state == state
        for strange, code in (
            (pb.ReportDeviceStatesRequest(state="dancing", **said), INVALID),
            (pb.ReportDeviceStatesRequest(**said), INVALID),
            (pb.ReportDeviceStatesRequest(state="ok"), INVALID),
            (
                pb.ReportDeviceStatesRequest(deviceName="nobody", state="ok"),
                grpc.StatusCode.NOT_FOUND,
            ),
        ):
            assert (await status_of(manager(line).ReportDeviceStates(strange)))[0] is code


async def test_a_mapper_that_registers_without_end_is_told_to_stop(plant):
    async with serving(plant) as (_, line, _), go_mapper() as go:
        codes = [
            (await status_of(manager(line).MapperRegister(go.registration())))[0] for _ in range(60)
        ]
        assert codes[0] is grpc.StatusCode.OK
        assert codes[-1] is grpc.StatusCode.RESOURCE_EXHAUSTED
        other = go.registration(name="other")
        assert (await status_of(manager(line).MapperRegister(other)))[0] is grpc.StatusCode.OK


async def test_two_versions_side_by_side(plant):
    tag = device("tag", protocol="ble")
    await plant.apply(tag, origin="api")
    async with serving(plant) as (_, line, _), go_mapper() as go:
        go.take(await manager(line).MapperRegister(go.registration()))
        one = await mapper(line, name="ble", protocol="ble")
        words, _ = await round_of(one.watch())
        assert words == ["relist", "model_put pumps", "device_put tag", "synced"]
        assert list(go.devices) == ["pump"]
        stream, _ = await one.report()
        binding = bind(1, device="tag")
        await stream.write(v1.ReportBatch(sequence=1, bindings=[binding], ints=ints(4)))
        await asyncio.gather(stream.read(), manager(line).ReportDeviceStatus(twins("7")))
        assert reported(plant).value == 7
        assert plant.twin(tag.key, "speed").reported.value == 4


async def test_a_v1_mapper_takes_a_protocol_over_and_leaves_it(plant):
    async with serving(plant) as (_, line, _), go_mapper() as go:
        go.take(await manager(line).MapperRegister(go.registration()))
        one = await mapper(line)
        await until(lambda: not go.devices)
        one.lease.cancel()
        await until(lambda: list(go.devices) == ["pump"])


async def test_devices_of_a_mapper_whose_socket_is_gone_are_unknown(plant):
    await plant.set_state(PUMP, StateRecord("online", 5.0))
    async with serving(plant, lease=0.1) as (_, line, _):
        async with go_mapper() as go:
            await manager(line).MapperRegister(go.registration())
            await asyncio.sleep(0.4)
            assert plant.mappers["go/0"].alive, "somebody listens"
            assert plant.state(PUMP).state == "online"
        await until(lambda: plant.state(PUMP).state == "unknown")
        assert not plant.mappers["go/0"].alive
        await manager(line).ReportDeviceStatus(twins("7"))
        assert plant.mappers["go/0"].alive, "whoever reports lives"


async def test_an_address_of_the_past_that_cannot_be_one_stops_nothing(plant):
    record = MapperRecord("go", "modbus", "0", "1", "v1beta1", address="/" + "a" * 200)
    await plant.put_mapper(replace(record, alive=True))
    async with serving(plant, lease=0.1) as (_, line, _):
        await until(lambda: not plant.mappers["go/0"].alive)
        await manager(line).ReportDeviceStatus(twins("7"))


async def test_who_registers_while_others_are_noted_to_be_gone_keeps_its_address(
    plant, monkeypatch
):
    for name in ("a", "b"):
        record = MapperRecord(name, "other", "0", "1", "v1beta1", address=f"/nowhere/{name}")
        await plant.put_mapper(replace(record, alive=True))
    real = plant.put_mapper

    async def put(record):
        await real(record)
        if record.name == "a":
            await real(replace(plant.mappers["b/0"], address="/nowhere/else"))

    monkeypatch.setattr(plant, "put_mapper", put)
    async with serving(plant, lease=0.1):
        await until(lambda: not plant.mappers["b/0"].alive)
    assert plant.mappers["b/0"].address == "/nowhere/else"


@pytest.mark.parametrize("authority", ["localhost", "%2Frun%2Fdmi.sock", "/run/dmi.sock"])
async def test_every_authority_that_clients_send_is_served(plant, authority):
    options = [("grpc.default_authority", authority)]
    async with (
        serving(plant) as (_, _, path),
        grpc.aio.insecure_channel(f"unix:{path}", options=options) as line,
    ):
        await manager(line).ReportDeviceStatus(twins("7"))
    assert reported(plant).value == 7

"""The v1beta1 link against a stock EdgeCore's fake."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import grpc
import pytest

from dmi.errors import ConfigError
from dmi.proto.v1beta1 import api_pb2 as pb
from dmi.proto.v1beta1 import api_pb2_grpc as rpc
from dmi.readings import Quality, Reading
from dmi.reports import DeviceState, Outcome, OutcomeStatus
from dmi.resources import DataType, Key
from mapper_sdk.link.v1beta1 import V1Beta1Link
from mapper_sdk.testing import FakeEdgeCore

KILN = Key("plant", "kiln-1")
STATE = {"reportToCloud": True}


@pytest.fixture
def edgecore(socket_dir) -> FakeEdgeCore:
    """On real time: what is compressed is tested in `tests/dmi/test_governor.py`."""
    return FakeEdgeCore(socket_dir / "dmi.sock")


@pytest.fixture
def registration(plant, socket_dir):
    return replace(plant.registration, address=f"{socket_dir}/thermo.sock")


@pytest.fixture
def link(edgecore, registration) -> V1Beta1Link:
    return V1Beta1Link(edgecore.path, registration)


@pytest.fixture
def linked(edgecore, link, served, plant, running, eventually):
    """EdgeCore with one model and one device, and the link running."""

    @asynccontextmanager
    async def start(device=None):
        async with edgecore:
            await edgecore.put_model(plant.model())
            await edgecore.put_device(device or plant.device(stateReport=STATE))
            async with running(link, served):
                await eventually(lambda: link.connected)
                yield link

    return start


def kept(edgecore: FakeEdgeCore, device: Key = KILN, name: str = "temperature"):
    return edgecore.devicetwin.twins.get(device, {}).get(name)


async def test_registers_and_takes_what_it_is_given(linked, edgecore, served, registration, plant):
    async with linked(plant.device(desired="740")):
        assert served.names == {"kiln-1"}
        assert len(served.models) == 1
        assert served.desired[KILN, "temperature"].value == "740"
        info = edgecore.mappers["thermo-mapper"]
        assert info.address.decode() == registration.address
        assert (info.protocol, info.version, info.state) == ("thermo", "1.0", "ok")


async def test_takes_every_change(linked, edgecore, served, plant, eventually):
    async with linked():
        edgecore.failures.clear()
        await edgecore.put_device(plant.device("kiln-2"))
        assert served.names == {"kiln-1", "kiln-2"}
        await edgecore.put_device(plant.device(desired="740", stateReport=STATE))
        assert served.desired[KILN, "temperature"].value == "740"
        await edgecore.put_device(plant.device(stateReport=STATE))
        assert served.desired[KILN, "temperature"].value is None
        await edgecore.put_model(plant.model(maximum="950"))
        (model,) = served.models.values()
        assert model.spec.properties[0].maximum == "950"
        await edgecore.delete_device(Key("plant", "kiln-2"))
        await edgecore.delete_model(Key("plant", "kiln"))
        assert served.names == {"kiln-1"}
        assert served.models == {}
        assert edgecore.failures == []


async def test_an_unchanged_wish_is_not_told_again(linked, edgecore, served, plant):
    async with linked(plant.device(desired="740")):
        await edgecore.put_device(plant.device(desired="740", methods=[{"name": "m"}]))
        told = [line for line in served.told if line.startswith("desired")]
        assert told == ["desired kiln-1 temperature '740'"]


async def test_reports_twins_with_both_halves(linked, edgecore, plant):
    async with linked(plant.device(desired="740")) as link:
        link.report([plant.reading(739.5), plant.reading("red", name="label")])
        async with asyncio.timeout(10):
            await link.drain()
        twin = kept(edgecore)
        assert (twin.reported, twin.expected) == ("739.5", "740")
        assert kept(edgecore, name="label").reported == "red"
        assert link.acknowledged == 2
        assert edgecore.crashes == []


async def test_reports_only_what_may_go_to_the_cloud(linked, edgecore, plant):
    async with linked() as link:
        private = plant.point(name="label")
        private.to_cloud = False
        link.report([(private, Reading("secret", 1.0)), plant.reading(1.0)])
        async with asyncio.timeout(10):
            await link.drain()
        assert kept(edgecore, name="label") is None
        assert kept(edgecore).reported == "1"


async def test_what_has_no_text_is_not_sent(linked, edgecore, plant):
    async with linked() as link:
        point = plant.point()
        link.report([(point, Reading(None, 1.0, Quality.BAD, "unavailable"))])
        blob = plant.point(name="label")
        blob.type = DataType.BYTES
        link.report([(blob, Reading(b"\xff\xfe", 1.0))])
        async with asyncio.timeout(10):
            await link.drain()
        assert edgecore.devicetwin.twins == {}
        assert link.dropped == {"conversion": 1}


async def test_what_edgecore_would_drop_is_counted_here(linked, edgecore, plant):
    async with linked() as link:
        link.report([plant.reading("21 °C", name="label")])
        async with asyncio.timeout(10):
            await link.drain()
        assert link.dropped == {"charset": 1}
        assert edgecore.devicetwin.dropped == []


async def test_states_go_where_the_device_says_so(linked, edgecore, plant):
    async with linked(plant.device()) as link:
        link.report_state(DeviceState(KILN, "online", 1.0))
        link.report_state(DeviceState(Key("plant", "stranger"), "online", 1.0))
        async with asyncio.timeout(10):
            await link.drain()
        assert edgecore.devicetwin.states == {}
        await edgecore.put_device(plant.device(stateReport=STATE))
        async with asyncio.timeout(10):
            await link.drain()
        assert edgecore.devicetwin.states[KILN].state == "online"


@pytest.mark.parametrize("died", [True, False])
async def test_registers_again_with_a_new_edgecore(linked, edgecore, plant, eventually, died):
    """With or without the loss of a connection in use; the socket has another inode."""
    async with linked() as link:
        link.report([plant.reading(1.0)])
        link.report_state(DeviceState(KILN, "online", 1.0))
        async with asyncio.timeout(10):
            await link.drain()
        edgecore.devicetwin.twins.clear()
        edgecore.devicetwin.states.clear()
        if died:
            await edgecore.stop()
            link.report([plant.reading(2.0)])
            await eventually(lambda: not link.connected)
        await edgecore.put_model(plant.model("other"))
        await edgecore.restart()
        edgecore.mappers.clear()
        await eventually(lambda: "thermo-mapper" in edgecore.mappers, seconds=10)
        await eventually(lambda: link.connected)
        link.report([plant.reading(3.0)])
        async with asyncio.timeout(10):
            await link.drain()
        assert kept(edgecore).reported == "3"
        assert edgecore.devicetwin.states[KILN].state == "online"
        assert not [call for call in edgecore.calls if call.refused]


async def test_a_device_deleted_meanwhile_is_gone_after_the_restart(
    linked, edgecore, served, plant, eventually
):
    async with linked() as link:
        await edgecore.put_device(plant.device("kiln-2"))
        link.report_state(DeviceState(Key("plant", "kiln-2"), "online", 1.0))
        await edgecore.stop()
        edgecore.forget_device(Key("plant", "kiln-2"))
        await edgecore.restart()
        await eventually(lambda: served.names == {"kiln-1"}, seconds=10)
        await eventually(lambda: link.connected)


async def test_a_mapper_may_start_before_edgecore(
    edgecore, link, served, plant, running, eventually, caplog
):
    async with running(link, served):
        await eventually(lambda: "trying again" in caplog.text)
        async with edgecore:
            await eventually(lambda: link.connected, seconds=10)
            await edgecore.put_model(plant.model())
            await edgecore.put_device(plant.device())
            assert served.names == {"kiln-1"}
    assert caplog.text.count("WARNING") == 1


async def test_waits_when_others_have_emptied_the_bucket(
    edgecore, link, served, plant, running, eventually
):
    async with edgecore:
        await edgecore.put_model(plant.model())
        await edgecore.put_device(plant.device())
        edgecore.limiter.drain()
        async with running(link, served):
            await eventually(lambda: link.connected, seconds=12)
            refused = [call for call in edgecore.calls if call.refused]
            assert 1 <= len(refused) <= 2
            edgecore.limiter.drain()
            link.report([plant.reading(1.0)])
            await eventually(lambda: kept(edgecore) is not None, seconds=12)


async def test_a_report_that_the_manager_never_takes_is_given_up(
    linked, edgecore, plant, eventually, caplog
):
    async with linked() as link:
        original = edgecore.devicetwin.update_twin

        def locked(device, name, reported, expected):
            if device == KILN:
                raise RuntimeError("database is locked")
            original(device, name, reported, expected)

        edgecore.devicetwin.update_twin = locked
        await edgecore.put_device(plant.device("kiln-2"))
        link.report([plant.reading(1.0)])
        link.report([plant.reading(2.0, device="kiln-2")])
        await eventually(lambda: kept(edgecore, Key("plant", "kiln-2")) is not None)
        async with asyncio.timeout(10):
            await link.drain()
        assert link.dropped == {"rejected": 1}
        assert "given up" in caplog.text
        assert link.connected


async def test_answers_get_device_with_twins(linked, registration, plant):
    async with linked(plant.device(desired="740")) as link:
        point, reading = plant.reading(739.5)
        point.latest = reading
        link.report([(point, reading)])
        async with grpc.aio.insecure_channel(f"unix:{registration.address}") as channel:
            mapper = rpc.DeviceMapperServiceStub(channel)
            answer = await mapper.GetDevice(
                pb.GetDeviceRequest(deviceName="kiln-1", deviceNamespace="plant")
            )
            (twin,) = answer.device.status.twins
            assert (twin.reported.value, twin.observedDesired.value) == ("739.5", "740")
            assert twin.reported.metadata["type"] == "double"
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await mapper.GetDevice(pb.GetDeviceRequest(deviceName="nobody"))
            assert error.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("RegisterDevice", pb.RegisterDeviceRequest()),
        ("UpdateDevice", pb.UpdateDeviceRequest()),
        ("RemoveDevice", pb.RemoveDeviceRequest()),
        ("CreateDeviceModel", pb.CreateDeviceModelRequest()),
        ("UpdateDeviceModel", pb.UpdateDeviceModelRequest()),
        ("RemoveDeviceModel", pb.RemoveDeviceModelRequest()),
        ("GetDevice", pb.GetDeviceRequest()),
    ],
)
async def test_empty_calls_are_refused_with_words(linked, registration, served, method, request_):
    async with (
        linked(),
        grpc.aio.insecure_channel(f"unix:{registration.address}") as channel,
    ):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await getattr(rpc.DeviceMapperServiceStub(channel), method)(request_)
        assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "missing" in error.value.details()
        assert served.names == {"kiln-1"}


async def test_a_device_that_cannot_be_read_harms_no_other(
    edgecore, link, served, plant, running, eventually, caplog
):
    nameless = plant.device("nameless").spec.properties[0].model_copy(update={"name": ""})
    async with edgecore:
        await edgecore.put_model(plant.model())
        await edgecore.put_device(_with_property(plant.device("nameless"), nameless))
        await edgecore.put_device(plant.device())
        async with running(link, served):
            await eventually(lambda: link.connected)
            assert served.names == {"kiln-1"}
    assert "cannot be understood" in caplog.text


def _with_property(device, prop):
    spec = device.spec.model_copy(update={"properties": [prop]})
    return device.model_copy(update={"spec": spec})


async def test_refused_wishes_are_said(link, caplog):
    for status in OutcomeStatus:
        link.report_outcome(Outcome(KILN, "temperature", 0, status, 1.0, "refused", "too hot"))
    assert caplog.text.count("too hot") == 2


async def test_our_own_socket_must_be_usable(edgecore, plant, served, tmp_path):
    link = V1Beta1Link(edgecore.path, replace(plant.registration, address=str(tmp_path)))
    with pytest.raises(ConfigError):
        await link.run(served)

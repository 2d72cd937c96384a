from contextlib import asynccontextmanager
from typing import ClassVar

import pytest
from pydantic import BaseModel

from device_manager.dmi_service.server import serve
from device_manager.node import Node
from dmi.convert.v1 import registration_to_v1
from dmi.errors import ConfigError
from dmi.proto.v1 import api_pb2 as pb
from mapper_sdk.config import MapperConfig
from mapper_sdk.driver import Alarming, Driver, Subscribing
from mapper_sdk.link.auto import AutoLink
from mapper_sdk.link.connect import make_link, registration_of
from mapper_sdk.link.files import FilesLink
from mapper_sdk.link.v1 import V1Link
from mapper_sdk.link.v1beta1 import V1Beta1Link
from mapper_sdk.testing import FakeEdgeCore


class Settings(BaseModel):
    host: str = "h"


class ThermoDriver(Driver[Settings, Settings], Subscribing[Settings]):
    protocol_name: ClassVar[str] = "thermo"
    link_model = Settings
    visit_model = Settings

    async def connect(self): ...

    async def read(self, visits):
        return []

    async def write(self, visit, value): ...

    async def close(self): ...

    async def subscribe(self, visits, publish):
        return []


@pytest.fixture
def config(socket_dir) -> MapperConfig:
    return MapperConfig(manager_socket=socket_dir / "dmi.sock")


def changed(config: MapperConfig, **settings: object) -> MapperConfig:
    return config.model_copy(update=settings)


def test_the_settings_choose_the_link(config, tmp_path):
    def kind(**settings) -> type:
        return type(make_link(changed(config, **settings), ThermoDriver))

    assert kind() is AutoLink
    assert kind(link="v1", devices=tmp_path) is V1Link
    assert kind(link="v1beta1") is V1Beta1Link
    assert kind(link="files", devices=tmp_path) is FilesLink
    assert kind(devices=tmp_path) is FilesLink
    with pytest.raises(ConfigError, match="devices"):
        kind(link="files")


def test_a_mapper_is_named_after_its_protocol_unless_told_otherwise(config, socket_dir):
    plain = registration_of(ThermoDriver, config)
    assert (plain.name, plain.protocol, plain.instance) == ("thermo-mapper", "thermo", "0")
    assert plain.address == f"{socket_dir}/thermo-mapper.sock"
    assert plain.abilities == ("read", "write", "subscribe")
    assert '"host"' in plain.link_schema
    assert plain.version == ""
    told = changed(config, name="n", protocol="p", instance="7", socket=socket_dir / "own.sock")
    other = registration_of(ThermoDriver, told)
    assert (other.name, other.protocol, other.instance) == ("n", "p", "7")
    assert other.address == f"{socket_dir}/own.sock"


@asynccontextmanager
async def a_v1_manager(config, plant):
    node = await Node.open(config.manager_socket.with_name("store.db"))
    try:
        async with serve(node, config.manager_socket, grace=0.0):
            await node.apply(plant.model(), plant.device(), origin="api")
            yield
    finally:
        await node.close()


@asynccontextmanager
async def an_edgecore(config, plant):
    async with FakeEdgeCore(config.manager_socket) as edgecore:
        await edgecore.put_model(plant.model())
        await edgecore.put_device(plant.device())
        yield


@pytest.mark.parametrize(("manager", "before"), [(a_v1_manager, True), (an_edgecore, False)])
@pytest.mark.parametrize("early", [True, False])
async def test_takes_the_newest_version_that_is_answered(
    config, plant, served, running, eventually, manager, before, early, caplog
):
    caplog.set_level("INFO")
    link = make_link(config, ThermoDriver)
    if early:
        async with running(link, served):
            await eventually(lambda: "trying again" in caplog.text)
            async with manager(config, plant):
                await eventually(lambda: link.connected, seconds=10)
    else:
        async with manager(config, plant), running(link, served):
            await eventually(lambda: served.names == {"kiln-1"}, seconds=10)
            link.report([plant.reading(1.0)])
            await link.drain()
            assert link.dropped == {}
    assert ("knows DMI v1beta1" in caplog.text) is not before


@pytest.mark.parametrize(
    ("first", "second"), [(a_v1_manager, an_edgecore), (an_edgecore, a_v1_manager)]
)
async def test_follows_when_a_manager_of_another_kind_takes_the_socket(
    config, plant, served, running, eventually, first, second, caplog
):
    caplog.set_level("INFO")
    link = make_link(config, ThermoDriver)
    async with running(link, served):
        async with first(config, plant):
            await eventually(lambda: served.names == {"kiln-1"}, seconds=10)
        served.told.clear()
        async with second(config, plant):
            await eventually(lambda: "device kiln-1" in served.told and link.connected, seconds=10)
            # Everything of the manager before is given up first.
            assert served.told.index("kept only") < served.told.index("device kiln-1")
            assert served.names == {"kiln-1"}
            link.report([plant.reading(1.0)])
            await link.drain()
            assert link.acknowledged == 1
    known = [word for word in caplog.text.split() if word in ("v1", "v1beta1")]
    assert known == (["v1", "v1beta1"] if first is a_v1_manager else ["v1beta1", "v1"])


async def test_stays_what_it_is_when_its_manager_starts_anew(
    config, plant, served, running, eventually, caplog
):
    caplog.set_level("INFO")
    link = make_link(config, ThermoDriver)
    async with running(link, served):
        for _ in range(2):
            async with FakeEdgeCore(config.manager_socket) as edgecore:
                await eventually(lambda: edgecore.mappers and link.connected, seconds=10)
    assert caplog.text.count("knows DMI v1beta1") == 1


@pytest.mark.parametrize(
    ("choice", "dropped", "escaped"), [("withhold", {"charset": 1}, 0), ("replace", {}, 1)]
)
def test_the_charset_is_the_operators_choice(config, plant, choice, dropped, escaped):
    link = make_link(changed(config, link="v1beta1", charset=choice), ThermoDriver)
    link.report([plant.reading("21 C", name="label")])
    assert (link.dropped, link.governor.escaped) == (dropped, escaped)


def test_a_driver_that_tells_of_events_says_so(config):
    class AlarmDriver(ThermoDriver, Alarming):
        async def listen(self, tell): ...

    said = registration_of(AlarmDriver, config)
    assert said.abilities == ("read", "write", "subscribe", "events")
    assert registration_to_v1(said).abilities[-1] == pb.Ability.EVENTS

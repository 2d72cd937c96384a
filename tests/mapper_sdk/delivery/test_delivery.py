"""Readings of a whole mapper on their way to targets: by settings and by pushMethod."""

import asyncio
import time
from contextlib import asynccontextmanager
from itertools import pairwise
from random import Random

import pytest

from dmi.errors import ConfigError, UnavailableError
from dmi.resources import Device, Key
from mapper_sdk.delivery.config import DeliveryConfig
from mapper_sdk.delivery.manner import Tools
from mapper_sdk.delivery.routing.targets import Targets
from mapper_sdk.delivery.service import Delivery
from mapper_sdk.delivery.status import Condition
from mapper_sdk.sinks.kinds import sink_class
from tests.mapper_sdk.conftest import Plant, make_device, make_model
from tests.mapper_sdk.delivery.fake_sink import FakeServer, make_fake_kind

DEV = Key("default", "dev")


class Town:
    """A mapper with scripted devices, and fake targets by address."""

    def __init__(self, **settings):
        self.servers = {}
        self.plant = Plant()
        self.plant.station()
        self.kinds = {name: make_fake_kind(self.server, name) for name in ("fake", "mqtt")}
        self.delivery = None
        self.configure(**settings)

    def configure(self, **settings):
        mapper = self.plant.mapper
        self.delivery = Delivery(
            DeliveryConfig.model_validate(settings),
            lambda key: mapper.plan_of(key),
            mapper.poller,
            mapper.clock,
            class_of=self.class_of,
        )
        mapper.deliver_by(self.delivery)

    def class_of(self, kind):
        return self.kinds.get(kind) or sink_class(kind)

    def server(self, address):
        return self.servers.setdefault(address, FakeServer())

    @asynccontextmanager
    async def running(self):
        async with self.plant.running():
            task = asyncio.create_task(self.delivery.run())
            await self.plant.clock.settle()
            try:
                yield self
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def advance(self, seconds):
        for _ in range(round(seconds * 10)):
            await self.plant.clock.advance(0.1)
            await asyncio.sleep(0.001 if self.delivery.targets() else 0)

    async def until(self, condition):
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline
            await self.advance(0.1)

    def properties(self, address):
        return {name for _, name, _ in self.server(address).taken}

    def status(self, name):
        (found,) = [status for status in self.delivery.targets() if status.name == name]
        return found


def sink(name="one", address="here", **more):
    return {"name": name, "kind": "fake", "target": {"address": address}, **more}


def pushing(name="dev", report=1000, labels=None, cell=1, **pushes):
    """A device with the properties `a`, `b`, ... each with a pushMethod.mqtt or other blocks."""
    device = make_device(name, **{prop: {"cell": cell} for prop in pushes}).model_dump(
        by_alias=True, exclude_none=True
    )
    device["metadata"]["labels"] = labels or {}
    for prop in device["spec"]["properties"]:
        prop["reportCycle"] = report
        push = pushes[prop["name"]]
        if push is not None:
            prop["pushMethod"] = push
    return Device.model_validate(device)


def mqtt(address="broker", topic=""):
    return {"mqtt": {"address": address, "topic": topic}}


# ------------------------------------------------------------------ rules ----


async def test_a_sink_gets_everything_once():
    town = Town(sinks=[sink()])
    town.plant.station().memory = {1: 5, 2: 6}
    async with town.running():
        await town.plant.put(make_model(p={}, q={}), make_device(p={"cell": 1}, q={"cell": 2}))
        await town.advance(5)
        server = town.server("here")
        assert town.properties("here") == {"p", "q"}
        assert 8 <= server.count <= 12
        assert server.doubles() == 0
        values = {prop: value for (_, prop, _), (_, value) in server.values.items()}
        assert values == {"p": 5.0, "q": 6.0}
        assert town.status("one").delivered == server.count


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        ([{"property": "t*"}], {"temp", "tank"}),
        ([{"property": "temp"}, {"property": "level"}], {"temp", "level"}),
        ([{"device": "d?v"}], {"temp", "tank", "level"}),
        ([{"device": "default/*"}], {"temp", "tank", "level"}),
        ([{"device": "other/*"}], set()),
        ([{"model": "model", "labels": {"site": "1"}}], {"temp", "tank", "level"}),
        ([{"model": "other"}], set()),
        ([{"labels": {"site": "2"}}], set()),
        ([{"property": "temp", "labels": {"site": "2"}}, {"property": "tank"}], {"tank"}),
        ([], set()),
    ],
)
async def test_a_sink_gets_what_is_selected(select, expected):
    town = Town(sinks=[sink(select=select)])
    async with town.running():
        await town.plant.put(
            make_model(temp={}, tank={}, level={}),
            pushing(labels={"site": "1"}, temp=None, tank=None, level=None),
        )
        await town.advance(3)
        assert town.properties("here") == expected


async def test_by_report_cycle_a_sink_gets_the_newest():
    town = Town(sinks=[sink(pace="report", batch={"seconds": 0}), sink("all", "there")])
    station = town.plant.station()
    station.answers = lambda visits: [len(station.reads) for _ in visits]
    async with town.running():
        await town.plant.put(make_model(p={}), pushing(report=5000, p=None))
        await town.advance(22)
        assert 20 <= town.server("there").count <= 23
        assert 4 <= town.server("here").count <= 6


async def test_sinks_with_one_target_and_one_place_bring_a_reading_once(caplog):
    """Two rules may select it both; the second one's manner of serving is not used."""
    town = Town(sinks=[sink("one", select=[{"property": "p"}]), sink("two", queue=5)])
    town.plant.station().memory = {1: 5, 2: 6}
    async with town.running():
        await town.plant.put(make_model(p={}, q={}), make_device(p={"cell": 1}, q={"cell": 2}))
        await town.advance(4)
        server = town.server("here")
        assert town.properties("here") == {"p", "q"}
        assert server.doubles() == 0
    assert "the sinks 'one' and 'two' have one target" in caplog.text


async def test_what_several_rules_select_comes_at_the_quickest_pace():
    town = Town(sinks=[sink("one", pace="report"), sink("two")])
    async with town.running():
        await town.plant.put(make_model(p={}), pushing(report=10_000, p=None))
        await town.advance(5)
        assert town.server("here").count >= 4


async def test_one_target_in_two_spellings_has_one_spool(tmp_path):
    """Whichever Device comes first after a restart."""
    for spelling in ("BROKER", "broker"):
        town = Town(folder=tmp_path)
        town.server("broker").error = UnavailableError("away")
        async with town.running():
            await town.plant.put(make_model(p={}), pushing(p=mqtt(spelling)))
            await town.advance(3)
    assert len(list(tmp_path.glob("pushed-mqtt-*.spool"))) == 1


async def test_equal_settings_are_one_target():
    town = Town(
        sinks=[
            sink("one", select=[{"property": "p"}], place={"table": "x"}),
            sink("two", select=[{"property": "q"}], place={"table": "y"}),
        ]
    )
    async with town.running():
        await town.plant.put(make_model(p={}, q={}), make_device(p={"cell": 1}, q={"cell": 2}))
        await town.advance(3)
        assert [status.name for status in town.delivery.targets()] == ["one"]
        tables = {prop: table for (_, prop, _), (table, _) in town.server("here").values.items()}
        assert tables == {"p": "x", "q": "y"}
        assert town.server("here").opens == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (sink(target={"addres": "x"}), "delivery.sinks[0].target.addres: unknown field"),
        (sink(place={"tabel": "x"}), "delivery.sinks[0].place.tabel: unknown field"),
        ({"name": "x", "kind": "what"}, "there is no kind of sink 'what'"),
        ({"name": "x", "kind": "no_module:Sink"}, "the sink no_module:Sink cannot be loaded"),
        ({"name": "x", "kind": "json:loads"}, "has no class loads that is a Sink"),
    ],
)
def test_wrong_settings_are_said_with_their_path(settings, words):
    with pytest.raises(ConfigError) as caught:
        Town(sinks=[settings])
    assert words in str(caught.value)


# ------------------------------------------------------------- pushMethod ----


async def test_a_property_goes_where_its_device_says_and_where_settings_say():
    town = Town(sinks=[sink(select=[{"property": "p"}])])
    async with town.running():
        await town.plant.put(
            make_model(p={}, q={}, r={}),
            pushing(p=mqtt(topic="x"), q=mqtt("other"), r=None),
        )
        await town.advance(4)
        assert town.properties("here") == {"p"}
        assert town.properties("broker") == {"p"}
        assert town.properties("other") == {"q"}
        names = [status.name for status in town.delivery.targets()]
        assert names == ["mqtt broker", "mqtt other", "one"]
        assert {table for table, _ in town.server("broker").values.values()} == {"x"}


async def test_pushing_follows_the_report_cycle():
    town = Town()
    async with town.running():
        await town.plant.put(make_model(p={}), pushing(report=4000, p=mqtt()))
        await town.advance(21)
        assert 4 <= town.server("broker").count <= 6
        times = sorted(time for _, _, time in town.server("broker").taken)
        assert all(3.5 <= b - a <= 5 for a, b in pairwise(times))


async def test_equal_cycles_of_reading_and_reporting_do_not_beat():
    town = Town()
    async with town.running():
        await town.plant.put(make_model(p={}), pushing(p=mqtt()))
        await town.advance(20)
        assert 18 <= town.server("broker").count <= 21


async def test_what_changed_last_comes_when_the_cycle_is_over():
    town = Town()
    station = town.plant.station()
    station.memory = {1: 1}
    model = make_model(p={})
    device = pushing(report=10_000, p=mqtt())
    device.spec.properties[0].visitors.config_data["onChange"] = True
    async with town.running():
        await town.plant.put(model, device)
        await town.advance(2)
        station.memory = {1: 2}
        await town.advance(2)
        station.memory = {1: 3}
        await town.advance(4)
        assert [value for _, value in town.server("broker").values.values()] == [1.0]
        await town.advance(5)
        assert [value for _, value in town.server("broker").values.values()] == [1.0, 3.0]


async def test_a_bad_push_method_is_a_problem_of_its_property_alone(caplog):
    town = Town()
    bad = {"otel": {"endpointURL": "http://127.0.0.1:1"}, **mqtt()}
    town.kinds["otel"] = make_fake_kind(town.server, "otel")
    town.kinds["otel"].pushed = classmethod(lambda cls, declared: ({"port": 1}, {}))
    async with town.running():
        await town.plant.put(make_model(p={}, q={}), pushing(p=bad, q=mqtt()))
        await town.advance(3)
        problem = town.delivery.problems()[DEV]["p"]
        assert problem.startswith("spec.properties[0].pushMethod.otel.port: unknown field")
        assert list(town.delivery.problems()[DEV]) == ["p"]
        assert town.properties("broker") == {"p", "q"}
        assert caplog.text.count("pushMethod.otel") == 1
        await town.plant.put(pushing(p=mqtt(), q=mqtt()))
        await town.advance(3)
        assert town.delivery.problems() == {}


async def test_a_changed_device_goes_elsewhere_and_its_old_target_is_let_go():
    town = Town()
    async with town.running():
        await town.plant.put(make_model(p={}), pushing(p=mqtt("one")))
        await town.advance(2)
        await town.plant.put(pushing(p=mqtt("two")))
        await town.advance(3)
        count = town.server("one").count
        await town.advance(61)
        assert town.server("one").count == count
        assert town.server("two").count > 55
        assert [status.name for status in town.delivery.targets()] == ["mqtt two"]
        await town.plant.put(pushing(p=mqtt("one")))
        await town.advance(3)
        assert town.server("one").count > count


async def test_settings_are_added_to_what_devices_name():
    town = Town(
        pushed=[
            {"kind": "mqtt", "address": "bro*", "set": {"password": "env:X"}},
            {"kind": "http", "address": "*", "set": {"password": "env:Y"}},
        ]
    )
    async with town.running():
        await town.plant.put(make_model(p={}, q={}), pushing(p=mqtt(), q=mqtt("x")))
        await town.advance(3)
        given = [town.server(name).target.password for name in ("broker", "x")]
        assert given == ["env:X", ""]


@pytest.mark.parametrize(
    ("allow", "expected"),
    [
        ("off", set()),
        (False, set()),
        ([{"kind": "http"}], set()),
        ([{"kind": "mqtt", "address": "bro*"}], {"p"}),
        ([{}], {"p"}),
    ],
)
async def test_devices_may_only_name_what_is_allowed(allow, expected):
    town = Town(allow=allow)
    async with town.running():
        await town.plant.put(make_model(p={}), pushing(p=mqtt()))
        await town.advance(3)
        assert town.properties("broker") == expected
        if not expected:
            problem = town.delivery.problems()[DEV]["p"]
            assert problem == (
                "spec.properties[0].pushMethod.mqtt: mqtt to broker is not allowed by this mapper"
            )


async def test_a_password_in_an_address_that_is_not_allowed_is_not_repeated():
    town = Town(allow=[])
    declared = {"mqtt": {"address": "tcp://u:hunter2/x@broker"}}
    async with town.running():
        await town.plant.put(make_model(p={}), pushing(p=declared))
        await town.advance(3)
        assert "mqtt to broker is not allowed" in town.delivery.problems()[DEV]["p"]
        assert "hunter2" not in town.delivery.problems()[DEV]["p"]


async def test_a_library_that_is_missing_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "paho", None)
    monkeypatch.delitem(__import__("sys").modules, "mapper_sdk.sinks.mqtt.sink", raising=False)
    monkeypatch.delitem(
        __import__("sys").modules, "mapper_sdk.sinks.mqtt.connection", raising=False
    )
    monkeypatch.setitem(__import__("sys").modules, "paho.mqtt", None)
    monkeypatch.setitem(__import__("sys").modules, "paho.mqtt.client", None)
    with pytest.raises(ConfigError, match=r'pip install "dmi-toolkit\[mqtt\]"'):
        sink_class("mqtt")


async def test_two_databases_of_one_server_never_meet():
    town = Town()
    town.kinds["mqtt"].pushed = classmethod(
        lambda cls, declared: ({"address": "db", "password": declared.topic}, {})
    )
    async with town.running():
        await town.plant.put(make_model(p={}, q={}), pushing(p=mqtt(topic="1"), q=mqtt(topic="2")))
        await town.advance(2)
        names = [status.name for status in town.delivery.targets()]
        assert len(set(names)) == 2
        assert names[0] == "mqtt db"


# ---------------------------------------------------------- what is known ----


async def test_a_dead_target_harms_no_other_and_its_gaps_are_known():
    town = Town(sinks=[sink("dead", "dead", queue=5), sink()])
    town.server("dead").error = UnavailableError("gone")
    async with town.running():
        await town.plant.put(make_model(p={}), make_device(p={"cell": 1}))
        await town.advance(20)
        assert town.server("here").count >= 18
        status = town.status("dead")
        assert (status.condition, status.queued) == (Condition.STORING, 5)
        assert status.lost["queue_full"] + 5 >= town.server("here").count - 1
        (gap,) = town.delivery.gaps()
        assert (gap.target, gap.device, gap.property) == ("dead", DEV, "p")
        assert gap.reason == "queue_full"
        for query in (
            {"target": "one"},
            {"device": Key("x", "y")},
            {"property_": "q"},
            {"since": gap.last + 1},
            {"limit": 0},
        ):
            assert town.delivery.gaps(**query) == []
        query = {"target": "dead", "device": DEV, "property_": "p", "since": gap.last}
        assert town.delivery.gaps(**query) == [gap]
        families = {family.name: family for family in town.delivery.metrics()}
        lost = families["dmi_mapper_target_lost_readings"].samples
        assert [(s.labels["target"], s.labels["reason"]) for s in lost] == [("dead", "queue_full")]
        errors = families["dmi_mapper_target_errors"].samples
        assert errors[0].labels == {"target": "dead", "kind": "fake", "reason": "unavailable"}
        conditions = families["dmi_mapper_target_condition"].samples
        assert [s.labels["condition"] for s in conditions if s.value] == ["storing", "live"]


async def test_faults_of_a_device_that_cannot_be_served_are_delivered():
    town = Town(sinks=[sink()])
    async with town.running():
        await town.plant.put(make_model(p={}), make_device(p={"cell": 1}))
        await town.advance(2)
        town.plant.station().reachable = False
        await town.advance(3)
        assert None in [value for _, value in town.server("here").values.values()]


# ------------------------------------------------------------------- disk ----


async def test_nothing_is_lost_between_two_processes(tmp_path):
    settings = {"folder": str(tmp_path / "d"), "sinks": [sink()]}
    town = Town(**settings)
    town.server("here").error = UnavailableError("gone")
    async with town.running():
        await town.plant.put(make_model(p={}), make_device(p={"cell": 1}))
        await town.advance(5)
    assert (tmp_path / "d").stat().st_mode & 0o777 == 0o700
    assert {f.stat().st_mode & 0o777 for f in (tmp_path / "d").iterdir()} == {0o600}
    again = Town(**settings)
    async with again.running():
        await again.until(lambda: again.server("here").count >= 4)
        await again.until(lambda: again.status("one").condition is Condition.LIVE)


async def test_a_folder_belongs_to_one_mapper(tmp_path):
    town = Town(folder=str(tmp_path))
    with pytest.raises(ConfigError, match="is in use by another mapper"):
        Town(folder=str(tmp_path))
    async with town.running():
        pass
    Town(folder=str(tmp_path))


async def test_a_folder_that_cannot_be_made_means_memory(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    town = Town(folder=str(tmp_path / "file" / "x"), sinks=[sink()])
    assert "kept in memory only" in caplog.text
    async with town.running():
        await town.plant.put(make_model(p={}), make_device(p={"cell": 1}))
        await town.advance(3)
        assert town.server("here").count


async def test_a_spool_without_a_target_is_shown_and_given_up_in_time(tmp_path):
    settings = {"folder": str(tmp_path), "sinks": [sink("gone", spool={"age": 3600})]}
    town = Town(**settings)
    town.server("here").error = UnavailableError("gone")
    async with town.running():
        await town.plant.put(make_model(p={}), make_device(p={"cell": 1}))
        await town.advance(5)
    later = Town(folder=str(tmp_path))
    async with later.running():
        await later.until(lambda: later.delivery.targets() and later.status("gone").spooled)
        status = later.status("gone")
        assert (status.kind, status.address, status.error) == (
            "fake",
            "here",
            "no longer configured",
        )
        assert status.spooled >= 4
        later.plant.clock.set_time(later.plant.clock.time() + 4000)
        await later.until(lambda: later.status("gone").spooled == 0)
        gaps = later.delivery.gaps(target="gone")
        assert sum(gap.count for gap in gaps if gap.reason == "too_old") == status.spooled


async def test_targets_may_come_back_while_their_spools_are_looked_at(tmp_path):
    """As when a mapper starts: Devices arrive while what is in the folder is opened."""
    town = Town(folder=tmp_path)
    brokers = ("one", "two", "three")
    for broker in brokers:
        town.server(broker).error = UnavailableError("away")
    async with town.running():
        pushes = {broker: mqtt(broker) for broker in brokers}
        await town.plant.put(make_model(one={}, two={}, three={}), pushing(**pushes))
        await town.advance(3)
    mapper = town.plant.mapper
    config = DeliveryConfig(folder=tmp_path)
    tools = Tools(mapper.poller, mapper.clock, Random())  # noqa: S311 - spreads retries
    targets = Targets(config, tools, town.class_of)
    targets.adopt_orphans()
    looking = asyncio.create_task(targets.look_after_orphans())
    await asyncio.sleep(0)
    workers = [targets.pushed(town.kinds["mqtt"], {"address": one}, ()) for one in brokers]
    await looking
    for worker in workers:
        await worker.backlog.look()
        assert worker.backlog.count
    targets.close()


async def test_a_pushed_target_takes_its_spool_back(tmp_path):
    town = Town(folder=str(tmp_path))
    town.server("broker").error = UnavailableError("gone")
    async with town.running():
        await town.plant.put(make_model(p={}), pushing(p=mqtt()))
        await town.advance(5)
    again = Town(folder=str(tmp_path))
    async with again.running():
        await again.until(lambda: "mqtt broker" in {t.name for t in again.delivery.targets()})
        assert again.status("mqtt broker").error == "no longer configured"
        again.plant.station().reachable = False
        await again.plant.put(make_model(p={}), pushing(p=mqtt()))
        await again.until(lambda: again.server("broker").count >= 4)
        assert again.status("mqtt broker").error == ""


async def test_an_empty_spool_without_a_target_is_removed(tmp_path):
    town = Town(folder=str(tmp_path), sinks=[sink(spool={"always": True})])
    async with town.running():
        await town.plant.put(make_model(p={}), make_device(p={"cell": 1}))
        await town.advance(5)
        town.plant.station().hold = asyncio.Event()
        await town.until(lambda: town.status("one").condition is Condition.LIVE)
        await town.until(lambda: not (town.status("one").queued or town.status("one").spooled))
    assert (tmp_path / "one.spool").exists()
    later = Town(folder=str(tmp_path))
    async with later.running():
        await later.until(lambda: not (tmp_path / "one.spool").exists())


async def test_a_spool_that_is_off_still_keeps_the_ledger(tmp_path):
    settings = {"folder": str(tmp_path), "sinks": [sink(spool="off", queue=3)]}
    town = Town(**settings)
    town.server("here").error = UnavailableError("gone")
    async with town.running():
        await town.plant.put(make_model(p={}), make_device(p={"cell": 1}))
        await town.advance(8)
        assert (town.status("one").spooled, town.status("one").queued) == (0, 3)
    again = Town(**settings)
    async with again.running():
        await again.until(again.delivery.gaps)
        assert {gap.reason for gap in again.delivery.gaps()} == {"queue_full", "stopped"}

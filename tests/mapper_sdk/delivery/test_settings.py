"""The block `delivery` of a mapper's file, and what a process makes of it."""

import asyncio
import json

import pytest

from dmi.errors import ConfigError
from dmi.resources import Key
from mapper_sdk.config import load_config, parse_options
from mapper_sdk.delivery.routing.push import address_of, merged
from mapper_sdk.program import make_delivery
from mapper_sdk.sinks.kinds import KINDS, sink_class
from tests.mapper_sdk.conftest import Plant, make_device, make_model


def load(tmp_path, text, *argv, environment=None):
    file = tmp_path / "mapper.yaml"
    file.write_text(text)
    return load_config(parse_options(["--config", str(file), *argv], "x"), environment or {})


def test_a_block_of_the_file_has_sinks_and_rules(tmp_path):
    found = load(
        tmp_path,
        """
history: /var/lib/past.db
delivery:
  folder: /var/lib/spool
  sinks:
    - name: broker
      kind: mqtt
      target: {address: tcp://127.0.0.1}
      select: [{labels: {site: "1"}}]
      batch: {size: 10, seconds: 1}
      spool: {bytes: 512MiB, age: 3600}
    - {name: file, kind: jsonl, target: {path: /tmp/x}, spool: off}
  pushed: [{address: "tcp://10.*", set: {password: env:X}}]
  allow: off
""",
    ).delivery
    broker, file = found.sinks
    assert (broker.spool.bytes, broker.spool.age, broker.batch.size) == (2**29, 3600, 10)
    assert broker.select[0].labels == {"site": "1"}
    assert file.spool is None
    assert file.select[0].device == "*"
    assert found.allow == ()
    assert found.pushed[0].set == {"password": "env:X"}


def test_elsewhere_it_is_json(tmp_path):
    text = '{"sinks": [{"name": "x", "kind": "jsonl"}]}'
    assert load(tmp_path, "", "--delivery", text).delivery.sinks[0].name == "x"
    environment = {"DMI_MAPPER_DELIVERY": text}
    assert load(tmp_path, "", environment=environment).delivery.sinks[0].name == "x"
    assert load(tmp_path, "").delivery is None
    with pytest.raises(ConfigError, match="--delivery: delivery: must be JSON here"):
        load(tmp_path, "", "--delivery", "{")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sink: []", "delivery.sink: unknown field (did you mean 'sinks'?)"),
        ("sinks: [{kind: mqtt}]", "delivery.sinks[0].name: is missing"),
        ("sinks: [{name: a b, kind: mqtt}]", "delivery.sinks[0].name: may have letters"),
        ("sinks: [{name: pushed-x, kind: mqtt}]", "delivery.sinks[0].name: must be ASCII"),
        ("sinks: [{name: ä, kind: mqtt}]", "delivery.sinks[0].name: must be ASCII"),
        ("sinks: [{name: x, kind: a}, {name: x, kind: b}]", "delivery.sinks: several sinks"),
        ("sinks: [{name: x, kind: a, queue: 0}]", "delivery.sinks[0].queue: must be 1 or more"),
        ("sinks: [{name: x, kind: a, spool: {bytes: much}}]", "delivery.sinks[0].spool.bytes: "),
        ("sinks: [{name: x, kind: a, pace: slow}]", "delivery.sinks[0].pace: must be one of"),
        ("pushed: [{set: {}}]", "delivery.pushed[0].address: is missing"),
        ("allow: [{kinds: x}]", "delivery.allow[0].kinds: unknown field"),
    ],
)
def test_a_mistake_is_said_with_its_path(tmp_path, text, words):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"delivery: {{{text}}}")
    assert words in str(caught.value)
    assert "mapper.yaml" in str(caught.value)


def test_what_does_not_go_together_is_said_with_its_path(tmp_path):
    broker = "kind: mqtt, target: {address: a}, place: {payload: sparkplug}"
    found = load(tmp_path, f"delivery: {{sinks: [{{name: x, {broker}}}]}}")
    with pytest.raises(ConfigError, match=r"delivery\.sinks\[0\]\.place: payload sparkplug needs"):
        make_delivery(found, Plant().mapper)


@pytest.mark.parametrize(
    ("settings", "address"),
    [
        ({"address": "tcp://user:secret@host:1883"}, "tcp://host:1883"),
        ({"url": "http://host/api/x?token=secret"}, "http://host/api/x"),
        ({"url": "user:secret@host"}, "host"),
        ({"servers": ["a:9092", "u:secret@b:9092"]}, "a:9092,b:9092"),
        ({"path": "/var/lib/x.db"}, "/var/lib/x.db"),
        ({"host": "db", "port": 5}, "db:5"),
        ({"host": "db"}, "db"),
        ({"x": "secret"}, ""),
    ],
)
def test_an_address_has_no_secrets(settings, address):
    assert address_of(settings) == address


def test_settings_are_merged_block_by_block():
    one = {"a": 1, "tls": {"ca": "x", "key": "y"}, "l": [1]}
    more = {"tls": {"ca": "z"}, "l": [2], "b": 2}
    assert merged(one, more) == {"a": 1, "tls": {"ca": "z", "key": "y"}, "l": [2], "b": 2}
    assert one["tls"]["ca"] == "x"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_there(kind):
    found = sink_class(kind)
    assert found.kind == kind
    fields = found.place_model.model_fields.values()
    assert not [field for field in fields if field.is_required()]


async def test_a_mapper_keeps_the_past_and_writes_a_file(tmp_path):
    lines, past = tmp_path / "out.jsonl", tmp_path / "past.db"
    config = load(
        tmp_path,
        f"""
history: {past}
historyDays: 36500
delivery:
  folder: {tmp_path / "spool"}
  sinks: [{{name: file, kind: jsonl, target: {{path: {lines}}}, batch: {{seconds: 0}}}}]
""",
    )
    plant = Plant()
    plant.station().memory = {1: 7}
    delivery = make_delivery(config, plant.mapper)
    plant.mapper.deliver_by(delivery)
    async with plant.running():
        task = asyncio.create_task(delivery.run())
        await plant.put(make_model(p={}), make_device(p={"cell": 1}))
        async with asyncio.timeout(10):
            while not all(status.delivered >= 3 for status in delivery.targets()):
                await plant.clock.advance(0.2)
                await asyncio.sleep(0.002)
        await plant.mapper.drain()
        delivered = {status.name: status.delivered for status in delivery.targets()}
        readings = await delivery.history.readings(
            Key("default", "dev"), "p", 0.0, plant.clock.time() + 1, 100
        )
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    written = [json.loads(line) for line in lines.read_text().splitlines()]
    assert len(written) == delivered["file"]
    # The first two have one time on this clock, so they are one reading of the past.
    times = {line["time"] for line in written}
    assert [reading.value for reading in readings] == [7.0] * len(times)


async def test_an_sqlite_sink_is_the_past_where_no_other_is_named(tmp_path):
    sink = f"{{name: history, kind: sqlite, target: {{path: {tmp_path / 'x.db'}}}}}"
    text = f"delivery: {{sinks: [{sink}]}}"
    plant = Plant()
    assert make_delivery(load(tmp_path, text), plant.mapper).history is not None
    assert make_delivery(load(tmp_path, ""), plant.mapper).history is None
    with pytest.raises(ConfigError, match="history: a sink of `delivery` is named 'history'"):
        make_delivery(load(tmp_path, f"history: {tmp_path / 'y.db'}\n{text}"), plant.mapper)

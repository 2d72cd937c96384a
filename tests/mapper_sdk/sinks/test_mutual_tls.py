"""Sinks whose servers show a certificate and ask for one."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from dmi.errors import ConfigError, DmiError
from dmi.readings import Reading
from mapper_sdk.delivery.contract import make_route, opened
from mapper_sdk.delivery.sink import Sink
from mapper_sdk.sinks.influxdb2 import Influxdb2Sink, Influxdb2Target
from mapper_sdk.sinks.kafka import KafkaSink, KafkaTarget
from mapper_sdk.sinks.otel import OtelSink, OtelTarget
from mapper_sdk.sinks.redis import RedisSink, RedisTarget
from mapper_sdk.sinks.tdengine import TDengineSink, TDengineTarget
from tests.servers.certificates import make_certificates
from tests.servers.influxdb2 import FakeInflux
from tests.servers.kafka import FakeKafka
from tests.servers.otlp import FakeReceiver
from tests.servers.redis import Redis
from tests.servers.tdengine import FakeTDengine

Make = Callable[[dict], Sink]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def context(files):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(files.server, files.server_key)
    made.load_verify_locations(files.authority)
    made.verify_mode = ssl.CERT_REQUIRED
    return made


@asynccontextmanager
async def serving(kind, context, files) -> AsyncIterator[Make]:
    """Run a server of a kind; give what makes a sink for it."""
    if kind == "redis":
        with Redis(certificates=files) as server:
            yield lambda tls: RedisSink(RedisTarget(address=server.address, tls=tls, timeout=3))
        return
    fakes = {"influxdb2": FakeInflux, "kafka": FakeKafka, "otel": FakeReceiver}
    fake = fakes.get(kind, FakeTDengine)(tls=context)
    await fake.start()
    try:
        yield _maker(kind, fake)
    finally:
        await fake.kill()


def _maker(kind, fake) -> Make:
    password = "env:SINK_SECRET"  # noqa: S105 - only where it is
    if kind == "influxdb2":
        own = {"url": fake.url, "org": "plant", "bucket": "readings", "token": password}
        return lambda tls: Influxdb2Sink(Influxdb2Target(**own, tls=tls, timeout=3))
    if kind == "otel":
        return lambda tls: OtelSink(OtelTarget(url=fake.url, tls=tls, timeout=3))
    if kind == "kafka":
        return lambda tls: KafkaSink(KafkaTarget(servers=(fake.address,), tls=tls, timeout=3))
    own = {"address": fake.address, "database": "plant", "password": password}
    return lambda tls: TDengineSink(TDengineTarget(**own, tls=tls, timeout=3))


async def outcome(sink):
    """Open and send; give the error, if there is one."""
    try:
        async with opened(sink):
            assert not await sink.send([(make_route(sink.place_model()), Reading(1.5, 1.79e9))])
    except DmiError as error:
        return error
    return None


@pytest.mark.process
@pytest.mark.parametrize("kind", ["influxdb2", "otel", "redis", "tdengine", "kafka"])
async def test_both_sides_are_known(kind, context, files, monkeypatch):
    monkeypatch.setenv("SINK_SECRET", "t0ken" if kind == "influxdb2" else "taosdata")
    known = {"ca": files.authority, "certificate": files.client, "key": files.client_key}
    async with serving(kind, context, files) as make:
        assert await outcome(make(known)) is None
        # A stranger's certificate stays wrong until a human mends it.
        error = await outcome(make({"certificate": files.client, "key": files.client_key}))
        assert isinstance(error, ConfigError), error
        assert await outcome(make({"ca": files.authority})) is not None

"""The contract of sinks, kept by a small honest one and broken by worse ones."""

import pytest

from mapper_sdk.testing import SinkContract
from tests.mapper_sdk.delivery.store_server import StoreServer, StoreSink, StoreTarget

pytest_plugins = ["pytester"]


class TestHonestSink(SinkContract):
    @pytest.fixture
    async def server(self):
        server = StoreServer()
        await server.start()
        yield server
        await server.kill()

    @pytest.fixture
    def sink(self, server):
        return StoreSink(StoreTarget(port=server.port))

    async def arrived(self, server, route):
        mine = (route.place.table, route.source.device, route.source.property)
        found = [(key[3], reading) for key, reading in server.rows.items() if key[:3] == mine]
        return [reading for _, reading in sorted(found, key=lambda pair: pair[0])]


WORSE = {
    "stores numbers as text": (
        "def row(self, route, reading):\n"
        "    key, reading = super().row(route, reading)\n"
        "    return key, Reading(str(reading.value), reading.time, reading.quality)",
        "test_keeps_each_type_as_it_is",
    ),
    "keeps no quality": (
        "def row(self, route, reading):\n"
        "    key, reading = super().row(route, reading)\n"
        "    return key, Reading(reading.value, reading.time)",
        "test_keeps_quality_and_reason",
    ),
    "doubles": (
        "n = 0\n"
        "def row(self, route, reading):\n"
        "    key, reading = super().row(route, reading)\n"
        "    self.n += 1\n"
        "    return (*key, self.n), reading",
        "test_the_same_again_changes_nothing",
    ),
    "acknowledges what it does not send": (
        "async def send(self, items):\n    await super().send(items[:3])\n    return {}",
        "test_many_arrive_each_once",
    ),
    "mixes up names": (
        "def row(self, route, reading):\n"
        "    (t, d, p, time), reading = super().row(route, reading)\n"
        "    return (t, d, p.replace('/', ' '), time), reading",
        "test_names_of_any_characters_do_no_harm",
    ),
    "lets errors of the socket escape": (
        "async def open(self):\n"
        "    self._streams = await asyncio.open_connection('127.0.0.1', self.target.port)",
        "test_failed_open_is_unavailable_and_holds_nothing",
    ),
    "explains no setting": (
        "class place_model(Settings):\n    table: str = 't'",
        "test_says_what_it_is",
    ),
}


@pytest.mark.parametrize("fault", WORSE)
def test_a_worse_sink_is_found_out(pytester, monkeypatch, fault):
    body, test = WORSE[fault]
    indented = body.replace("\n", "\n    ")
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function")
    pytester.makepyfile(
        "import asyncio\n"
        "from dmi.readings import Reading\n"
        "from mapper_sdk.delivery.sink import Settings\n"
        "from tests.mapper_sdk.delivery.test_contract import *\n"
        f"class Worse(StoreSink):\n    {indented}\n"
        "class TestWorse(TestHonestSink):\n"
        "    patience = 0.3\n"
        "    @pytest.fixture\n"
        "    def sink(self, server):\n"
        "        return Worse(StoreTarget(port=server.port))\n"
        "del TestHonestSink, test_a_worse_sink_is_found_out\n"
    )
    monkeypatch.syspath_prepend(str(pytester._request.config.rootpath))
    result = pytester.runpytest_inprocess("-q", "-k", test, "-p", "no:cacheprovider")
    result.assert_outcomes(failed=1, deselected=11)

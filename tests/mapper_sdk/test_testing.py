"""The driver contract, kept by a small honest driver and broken by worse ones."""

import asyncio
import json
from collections.abc import Sequence
from typing import ClassVar

import pytest
from pydantic import BaseModel

from dmi.errors import NotFoundError, UnavailableError
from dmi.readings import Reading
from mapper_sdk.driver import Driver
from mapper_sdk.testing import DriverContract

pytest_plugins = ["pytester"]


class Where(BaseModel):
    port: int


class Cell(BaseModel):
    name: str


class KeyValueServer:
    """A device that speaks JSON lines over TCP."""

    def __init__(self) -> None:
        self.values: dict[str, object] = {"setpoint": 1, "fixed": 2, "other": 3}
        self.writes = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in self._writers:
                writer.transport.abort()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader, writer) -> None:
        self._writers.add(writer)
        try:
            while line := await reader.readline():
                writer.write(json.dumps(self._answer(json.loads(line))).encode() + b"\n")
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def _answer(self, request):
        if isinstance(request, dict):
            self.writes += 1
            self.values.update(request)
            return True
        return [self.values.get(name) for name in request]


class KeyValueDriver(Driver[Where, Cell]):
    protocol_name: ClassVar[str] = "key-value"
    link_model = Where
    visit_model = Cell
    _streams = None

    async def connect(self) -> None:
        try:
            self._streams = await asyncio.open_connection("127.0.0.1", self.link.port)
        except OSError as error:
            raise UnavailableError(str(error)) from error

    async def read(self, visits: Sequence[Cell]):
        found = await self._ask([visit.name for visit in visits])
        return [
            NotFoundError("no such cell") if value is None else Reading(value, 1.0)
            for value in found
        ]

    async def write(self, visit: Cell, value: object) -> None:
        await self._ask({visit.name: value})

    async def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _ask(self, question: object):
        reader, writer = self._streams
        try:
            writer.write(json.dumps(question).encode() + b"\n")
            await writer.drain()
            line = await reader.readline()
        except OSError as error:
            raise UnavailableError(str(error)) from error
        if not line:
            raise UnavailableError("the device hung up")
        return json.loads(line)


class TestKeyValueDriver(DriverContract):
    @pytest.fixture
    async def simulator(self):
        server = KeyValueServer()
        await server.start()
        yield server
        await server.stop()

    @pytest.fixture
    def driver(self, simulator):
        return KeyValueDriver(Where(port=simulator.port))

    @pytest.fixture
    def visit(self):
        return Cell(name="setpoint")

    @pytest.fixture
    def visits(self):
        return [Cell(name="fixed"), Cell(name="other")]

    @pytest.fixture
    def bad_visit(self):
        return Cell(name="missing")


_FAULTS = {
    "read_reversed": "test_answers_in_the_order_asked",
    "read_too_few": "test_one_answer_per_visit",
    "read_writes": "test_reading_never_writes",
    "forgets_writes": "test_reads_back_what_it_wrote",
    "leaks_errors": "test_lost_link_is_unavailable",
    "connect_leaks_errors": "test_failed_connect_is_unavailable_and_holds_nothing",
    "connect_holds_a_task": "test_failed_connect_is_unavailable_and_holds_nothing",
    "close_raises": "test_close_twice_and_without_connect",
    "bad_visit_fails_all": "test_a_refused_visit_fails_alone",
    "never_heals": "test_heals_by_connecting_again",
    "nameless": "test_says_what_it_serves",
}


@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_the_contract_finds_faulty_drivers_and_only_those(pytester, mode):
    """Each fault fails the test that is about it; without a fault nothing fails."""
    pytester.makeini(
        f"[pytest]\nasyncio_mode = {mode}\nasyncio_default_fixture_loop_scope = function\n"
    )
    classes = [
        f"class Test_{fault}(Contract):\n    fault = {fault!r}\n" for fault in [*_FAULTS, "none"]
    ]
    pytester.makepyfile(_FAULTY + "\n\n" + "\n\n".join(classes))
    outcome = pytester.inline_run("-q", "-p", "no:cacheprovider", "-p", "no:cov")
    passed, skipped, failed = outcome.listoutcomes()
    failures = {tuple(report.nodeid.split("::")[1:]) for report in failed}
    for fault, test in _FAULTS.items():
        assert (f"Test_{fault}", test) in failures
    healthy = [report.nodeid for report in passed if "Test_none" in report.nodeid]
    assert len(healthy) == 11
    assert skipped == []


def test_the_plugin_is_cheap_and_offers_its_fixtures(pytester):
    """Every pytest run in the user's environment loads it."""
    pytester.makepyfile(
        """
        import sys

        def test_it(fake_clock, socket_dir):
            assert not {"grpc", "fastapi", "pymodbus"} & set(sys.modules)
            assert len(str(socket_dir / "manager.sock")) < 60
            assert fake_clock.monotonic() == 0
        """
    )
    pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_there_is_nothing_else_in_the_module():
    import mapper_sdk.testing

    assert mapper_sdk.testing.FakeEdgeCore.__name__ == "FakeEdgeCore"
    with pytest.raises(AttributeError, match="FakeNothing"):
        _ = mapper_sdk.testing.FakeNothing


_FAULTY = """
import asyncio

import pytest
from pydantic import BaseModel

from dmi.errors import NotFoundError, UnavailableError
from mapper_sdk.driver import Driver
from mapper_sdk.testing import DriverContract

class Empty(BaseModel):
    name: str = ""


class Device:
    def __init__(self):
        self.values = {"a": 1, "b": 2, "c": 3}
        self.writes = 0
        self.up = True

    async def start(self):
        self.up = True

    async def stop(self):
        self.up = False


class FaultyDriver(Driver[Empty, Empty]):
    protocol_name = "faulty"
    fault = ""
    link_model = Empty
    visit_model = Empty
    device = None
    lost = False
    tasks = []

    def check(self):
        if self.fault == "never_heals" and self.lost:
            raise UnavailableError("still gone")
        if not self.device.up:
            self.lost = True
            raise OSError("gone") if self.fault == "leaks_errors" else UnavailableError("gone")

    async def connect(self):
        if self.fault == "connect_holds_a_task":
            self.tasks.append(asyncio.ensure_future(asyncio.sleep(30)))
        if self.fault == "connect_leaks_errors" and not self.device.up:
            raise OSError("gone")
        self.check()

    async def read(self, visits):
        self.check()
        if self.fault == "read_writes":
            self.device.writes += 1
        answers = []
        for visit in visits:
            if visit.name in self.device.values:
                answers.append(self.device.values[visit.name])
            elif self.fault == "bad_visit_fails_all":
                raise NotFoundError("no such thing")
            else:
                answers.append(NotFoundError("no such thing"))
        if self.fault == "read_reversed" and len(visits) > 1:
            return answers[:1] * len(answers)
        return answers[:-1] if self.fault == "read_too_few" else answers

    async def write(self, visit, value):
        self.check()
        self.device.writes += 1
        if self.fault != "forgets_writes":
            self.device.values[visit.name] = value

    async def close(self):
        if self.fault == "close_raises":
            raise RuntimeError("closed already")


class Contract(DriverContract):
    fault = ""

    @pytest.fixture
    def simulator(self):
        return Device()

    @pytest.fixture
    def driver(self, simulator):
        driver = FaultyDriver(Empty())
        driver.device = simulator
        driver.fault = self.fault
        if self.fault == "nameless":
            driver.protocol_name = ""
        return driver

    @pytest.fixture
    def visit(self):
        return Empty(name="a")

    @pytest.fixture
    def visits(self):
        return [Empty(name="b"), Empty(name="c")]

    @pytest.fixture
    def bad_visit(self):
        return Empty(name="z")
"""

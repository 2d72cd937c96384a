"""For authors of drivers and sinks: contracts to inherit, fakes, and a pytest plugin for them.

Installing the toolkit makes pytest load this module, so it imports next to nothing.
"""

# ruff: noqa: S101 - a contract is made of assertions, and pytest rewrites them here too

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from dmi.errors import DmiError, UnavailableError
from mapper_sdk.fakes.clock import FakeClock

if TYPE_CHECKING:
    from pydantic import BaseModel

    from dmi.readings import Value
    from mapper_sdk.delivery.contract import SinkContract, TargetServer
    from mapper_sdk.driver import Answer, Driver
    from mapper_sdk.fakes.edgecore import FakeEdgeCore

__all__ = [
    "DriverContract",
    "FakeClock",
    "FakeEdgeCore",
    "Simulator",
    "SinkContract",
    "TargetServer",
]

_PATIENCE = 10.0


def __getattr__(name: str) -> object:
    """Import what is heavy only when somebody asks for it."""
    if name == "FakeEdgeCore":
        from mapper_sdk.fakes.edgecore import FakeEdgeCore

        return FakeEdgeCore
    if name in ("SinkContract", "TargetServer"):
        from mapper_sdk.delivery import contract

        return getattr(contract, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@pytest.fixture
def fake_clock() -> FakeClock:
    """A clock that stands still until the test advances it."""
    return FakeClock()


@pytest.fixture
def socket_dir() -> Iterator[Path]:
    """A new folder with a path short enough for Unix sockets (108 bytes on Linux)."""
    path = Path(tempfile.mkdtemp(prefix="dmi-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def fake_edgecore(socket_dir: Path, fake_clock: FakeClock) -> "FakeEdgeCore":
    """A stock EdgeCore, not started; use it by `async with`. Its limiter runs on `fake_clock`."""
    from mapper_sdk.fakes.edgecore import FakeEdgeCore

    return FakeEdgeCore(socket_dir / "dmi.sock", clock=fake_clock)


class Simulator(Protocol):
    """What the contract needs of a simulated device."""

    async def start(self) -> None:
        """Answer from now on, at the address it had before."""

    async def stop(self) -> None:
        """Vanish: drop connections, and refuse further ones."""


@pytest.mark.asyncio
class DriverContract:
    """What the toolkit expects of a driver, as tests: inherit it and give it fixtures.

    Fixtures to define in the inheriting class (sync or async):
        simulator: A running simulated device; see `Simulator`.
        driver: A driver for it, not connected. The contract connects and closes it.
        visit: A visit that can be written and then reads back the same.
        visits: Optional: several visits whose values do not move by themselves.
        bad_visit: Optional: a visit that the device refuses to read.

    Attributes:
        value: What is written to `visit`; override it to fit.
        other_value: A second one, different from it.
    """

    value: "Value" = 42
    other_value: "Value" = 43

    @pytest.fixture
    def visits(self, visit: "BaseModel") -> "Sequence[BaseModel]":
        """Override it with several steady visits."""
        return [visit]

    @pytest.fixture
    def bad_visit(self) -> "BaseModel | None":
        """Override it with a visit that the device refuses."""
        return None

    def writes_seen(self, simulator: Simulator) -> int | None:
        """How many writes reached the device so far; None when the simulator cannot tell."""
        seen = getattr(simulator, "writes", None)
        return seen if isinstance(seen, int) else None

    async def test_says_what_it_serves(self, driver: "Driver[BaseModel, BaseModel]") -> None:
        """The class names its protocol and its two models of settings."""
        assert driver.protocol_name
        assert isinstance(driver.link_model.model_json_schema(), dict)
        assert isinstance(driver.visit_model.model_json_schema(), dict)

    async def test_failed_connect_is_unavailable_and_holds_nothing(
        self, driver: "Driver[BaseModel, BaseModel]", simulator: Simulator
    ) -> None:
        """No device: UnavailableError in time, no task left behind; later it connects."""
        await simulator.stop()
        before = asyncio.all_tasks()
        _share_nothing(driver)
        with pytest.raises(UnavailableError):
            async with asyncio.timeout(_PATIENCE):
                await driver.connect()
        await asyncio.sleep(0)
        assert asyncio.all_tasks() <= before
        await simulator.start()
        async with _connected(driver):
            pass

    async def test_one_answer_per_visit(
        self, driver: "Driver[BaseModel, BaseModel]", visits: "Sequence[BaseModel]"
    ) -> None:
        """As many answers as visits, none of them an error; nothing asked, nothing answered."""
        async with _connected(driver):
            answers = await driver.read([*visits, *visits])
            assert len(answers) == 2 * len(visits)
            assert not [a for a in answers if isinstance(a, DmiError)]
            assert list(await driver.read([])) == []

    async def test_answers_in_the_order_asked(
        self, driver: "Driver[BaseModel, BaseModel]", visits: "Sequence[BaseModel]"
    ) -> None:
        """The same visits backwards give the same values backwards."""
        async with _connected(driver):
            forward = [_bare(a) for a in await driver.read(visits)]
            backward = [_bare(a) for a in await driver.read(list(reversed(visits)))]
            alone = [_bare((await driver.read([visit]))[0]) for visit in visits]
        assert forward == list(reversed(backward)) == alone

    async def test_reads_back_what_it_wrote(
        self, driver: "Driver[BaseModel, BaseModel]", visit: "BaseModel"
    ) -> None:
        """A write has happened when `write` returns, each time."""
        async with _connected(driver):
            for value in (self.value, self.other_value, self.value):
                await driver.write(visit, value)
                assert [_bare(a) for a in await driver.read([visit])] == [value]

    async def test_reading_never_writes(
        self,
        driver: "Driver[BaseModel, BaseModel]",
        simulator: Simulator,
        visits: "Sequence[BaseModel]",
        visit: "BaseModel",
    ) -> None:
        """Connecting and reading leave the device as it was."""
        before = self.writes_seen(simulator)
        if before is None:
            pytest.skip("the simulator does not count writes")
        async with _connected(driver):
            await driver.read([visit, *visits])
            await driver.read(visits)
            assert self.writes_seen(simulator) == before
            await driver.write(visit, self.value)
            assert self.writes_seen(simulator) != before

    async def test_a_refused_visit_fails_alone(
        self,
        driver: "Driver[BaseModel, BaseModel]",
        visit: "BaseModel",
        bad_visit: "BaseModel | None",
    ) -> None:
        """Its own answer is an error; its neighbours' answers are values."""
        if bad_visit is None:
            pytest.skip("no visit is refused by this device")
        async with _connected(driver):
            answers = await driver.read([visit, bad_visit, visit])
        assert [isinstance(a, DmiError) for a in answers] == [False, True, False]

    async def test_lost_link_is_unavailable(
        self, driver: "Driver[BaseModel, BaseModel]", simulator: Simulator, visit: "BaseModel"
    ) -> None:
        """Reading and writing a vanished device raise UnavailableError in time."""
        async with _connected(driver):
            await driver.read([visit])
            await simulator.stop()
            with pytest.raises(UnavailableError):
                async with asyncio.timeout(_PATIENCE):
                    await driver.read([visit])
            with pytest.raises(UnavailableError):
                async with asyncio.timeout(_PATIENCE):
                    await driver.write(visit, self.value)

    async def test_heals_by_connecting_again(
        self, driver: "Driver[BaseModel, BaseModel]", simulator: Simulator, visit: "BaseModel"
    ) -> None:
        """After a loss, `close` and `connect` on the same object are enough."""
        async with _connected(driver):
            await simulator.stop()
            with pytest.raises(UnavailableError):
                async with asyncio.timeout(_PATIENCE):
                    await driver.read([visit])
        await simulator.start()
        async with _connected(driver):
            assert not [a for a in await driver.read([visit]) if isinstance(a, DmiError)]

    async def test_a_cancelled_read_does_no_lasting_harm(
        self, driver: "Driver[BaseModel, BaseModel]", visit: "BaseModel"
    ) -> None:
        """The session cancels a read that is too late, closes, connects, and reads on."""
        async with _connected(driver):
            read = asyncio.ensure_future(driver.read([visit]))
            await asyncio.sleep(0)
            read.cancel()
            await asyncio.gather(read, return_exceptions=True)
        async with _connected(driver):
            assert len(await driver.read([visit])) == 1

    async def test_close_twice_and_without_connect(
        self, driver: "Driver[BaseModel, BaseModel]"
    ) -> None:
        """Closing never raises."""
        _share_nothing(driver)
        await driver.close()
        async with _connected(driver):
            pass
        await driver.close()


@asynccontextmanager
async def _connected(driver: "Driver[BaseModel, BaseModel]") -> AsyncIterator[None]:
    _share_nothing(driver)
    await driver.connect()
    try:
        yield
    finally:
        await driver.close()


def _share_nothing(driver: "Driver[BaseModel, BaseModel]") -> None:
    """Give a driver that has no bus one of its own, as the session would."""
    if not hasattr(driver, "bus"):
        from mapper_sdk.sessions.bus import Bus

        driver.bus = Bus()


def _bare(answer: "Answer") -> "Value | DmiError | None":
    """The value inside an answer; an error stays one and equals nothing else."""
    from dmi.readings import Reading

    return answer.value if isinstance(answer, Reading) else answer

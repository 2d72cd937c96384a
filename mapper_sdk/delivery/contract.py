"""What the toolkit expects of a sink, as tests; `mapper_sdk.testing` offers it."""

# ruff: noqa: S101 - a contract is made of assertions

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, ClassVar, Protocol

import pytest
from pydantic import BaseModel

from dmi.clock import SystemClock
from dmi.errors import DmiError, UnavailableError
from dmi.readings import Quality, Reading, Value
from dmi.resources import DataType, Key
from mapper_sdk.delivery.disk.backlog import Backlog
from mapper_sdk.delivery.disk.keeper import Keeper
from mapper_sdk.delivery.disk.spool import Limits, Spool
from mapper_sdk.delivery.inbox import Chunk
from mapper_sdk.delivery.ledger import Ledger
from mapper_sdk.delivery.manner import Manner, Tools
from mapper_sdk.delivery.sink import Item, Route, Sink, Source
from mapper_sdk.delivery.worker import Worker
from mapper_sdk.sessions.polling import Poller

__all__ = ["SinkContract", "TargetServer"]

_STEP = 0.02
_START = 1_790_000_000.0

AnySink = Sink[Any, Any]
AnyRoute = Route[Any]


class TargetServer(Protocol):
    """What the contract needs of the server that a sink speaks to."""

    async def start(self) -> None:
        """Serve, with the address and the data from before. Nothing happens when it does."""

    async def kill(self) -> None:
        """End at once, as by `kill -9`."""


@pytest.mark.asyncio
class SinkContract:
    """Inherit it, give it fixtures and `arrived`; every test applies.

    Fixtures to define in the inheriting class (sync or async):
        server: A running server; see `TargetServer`. May be shared by a module.
        sink: A sink for it, not opened, whose target nobody else writes to. The contract
            opens and closes it.
        place: Optional: where readings go; by default the place model's defaults.

    Attributes:
        values: What is stored and read back, by declared type; leave out no type that the
            target can hold.
        tells_apart: The target can tell that a reading came before; where its protocol
            cannot, the same reading may arrive twice, and the docs say so.
        holds_bad: BAD readings arrive too, without a value.
        time_step: How exactly the target keeps times, in seconds.
        many: How many readings the larger tests send.
        patience: How long anything may take, in seconds.
    """

    values: ClassVar[Mapping[DataType, Sequence[Value]]] = {
        DataType.INT: (0, -1, 2**53 + 1, 2**63 - 1, -(2**63)),
        DataType.FLOAT: (0.0, -2.5, 1e-3, 3.0),
        DataType.DOUBLE: (0.1, -1e300, 5e-324, 4.0),
        DataType.BOOLEAN: (True, False),
        DataType.STRING: ("", "plain", "a 'b' \"c\" \\ , = {} <x>", "line\nbreak", "žluťoučký 🐎"),
        DataType.BYTES: (b"", b"\x00\xff\xfe"),
    }
    tells_apart: ClassVar[bool] = True
    holds_bad: ClassVar[bool] = True
    time_step: ClassVar[float] = 0.001
    many: ClassVar[int] = 500
    patience: ClassVar[float] = 15.0

    async def arrived(self, server: Any, route: AnyRoute) -> Sequence[Reading]:  # noqa: ANN401 - the subclass knows its server
        """Give what the target holds of one route, oldest first, as often as it holds it.

        Values have the type in which the target holds them: a number that was stored as text
        must come back as text here.
        """
        raise NotImplementedError

    def expected(self, route: AnyRoute, reading: Reading) -> Reading:
        """Override it where the target keeps less than the whole reading, and the docs say so."""
        return reading

    @pytest.fixture
    def place(self, sink: AnySink) -> BaseModel:
        """Override it where the defaults do not fit."""
        return sink.place_model()

    # --------------------------------------------------------------- tests ----

    async def test_says_what_it_is(self, sink: AnySink) -> None:
        """It has a kind; each setting is explained; a place needs no settings."""
        assert sink.kind
        assert sink.batch > 0
        sink.place_model()
        for model in (sink.target_model, sink.place_model):
            assert isinstance(model.model_json_schema(), dict)
            unexplained = [name for name, f in model.model_fields.items() if not f.description]
            assert not unexplained

    async def test_closes_without_open_and_twice(self, sink: AnySink) -> None:
        """Closing never raises."""
        await sink.close()
        async with opened(sink):
            pass
        await sink.close()

    async def test_failed_open_is_unavailable_and_holds_nothing(
        self, sink: AnySink, server: TargetServer
    ) -> None:
        """No server: UnavailableError in time, no task left behind; later it opens."""
        await server.kill()
        before = asyncio.all_tasks()
        try:
            with pytest.raises(UnavailableError):
                await self._open_and_send(sink)
            await sink.close()
            await asyncio.sleep(0)
            assert asyncio.all_tasks() <= before
        finally:
            await server.start()
        async with opened(sink):
            pass

    async def test_nothing_to_send_is_sent(self, sink: AnySink) -> None:
        """An empty batch is well."""
        async with opened(sink):
            assert not await sink.send([])

    async def test_keeps_each_type_as_it_is(
        self, sink: AnySink, server: TargetServer, place: BaseModel
    ) -> None:
        """Numbers are numbers, and each reading has the time that it came with."""
        wanted: list[tuple[AnyRoute, list[Reading]]] = []
        async with opened(sink):
            for type_, values in self.values.items():
                route = make_route(place, f"p-{type_.value.lower()}", type_)
                readings = [Reading(v, _START + n) for n, v in enumerate(values)]
                assert not await sink.send([(route, reading) for reading in readings])
                wanted.append((route, readings))
            for route, readings in wanted:
                await self.check(server, route, readings)

    async def test_keeps_quality_and_reason(
        self, sink: AnySink, server: TargetServer, place: BaseModel
    ) -> None:
        """UNCERTAIN readings arrive with their value, BAD ones without, or not at all."""
        route = make_route(place)
        readings = [
            Reading(1.5, _START),
            Reading(2.5, _START + 1, Quality.UNCERTAIN, "out_of_range"),
            Reading(None, _START + 2, Quality.BAD, "unavailable"),
            Reading(3.5, _START + 3),
        ]
        async with opened(sink):
            assert not await sink.send([(route, reading) for reading in readings])
            if not self.holds_bad:
                readings = [reading for reading in readings if reading.value is not None]
            await self.check(server, route, readings)

    async def test_many_arrive_each_once(
        self, sink: AnySink, server: TargetServer, place: BaseModel
    ) -> None:
        """A batch over several devices and properties arrives whole, in the order of time."""
        routes = [make_route(place, f"p{n % 2}", device=f"dev-{n // 2}") for n in range(4)]
        by_route = {id(route): list[Reading]() for route in routes}
        items: list[Item[Any]] = []
        for n in range(self.many):
            route, reading = routes[n % 4], Reading(n / 2, _START + n / 4)
            items.append((route, reading))
            by_route[id(route)].append(reading)
        async with opened(sink):
            for start in range(0, len(items), sink.batch):
                assert not await sink.send(items[start : start + sink.batch])
            for route in routes:
                await self.check(server, route, by_route[id(route)])

    async def test_the_same_again_changes_nothing(
        self, sink: AnySink, server: TargetServer, place: BaseModel
    ) -> None:
        """A batch whose acknowledgement was lost is sent a second time."""
        route = make_route(place)
        readings = [Reading(float(n), _START + n) for n in range(5)]
        items = [(route, reading) for reading in readings]
        async with opened(sink):
            assert not await sink.send(items)
            assert not await sink.send(items)
            await sink.close()
            await sink.open()
            assert not await sink.send(items)
            await self.check(server, route, readings)

    async def test_names_of_any_characters_do_no_harm(
        self, sink: AnySink, server: TargetServer, place: BaseModel
    ) -> None:
        """Each name has readings of its own, or is refused; none reaches another's."""
        names = ("a b", "a/b", "a'b\";--", "a`b\\", "a,b=c", "a#+$b", "ü", "%s{}", "A B")
        routes = [make_route(place, name) for name in names]
        async with opened(sink):
            refused: set[int] = set()
            for n, route in enumerate(routes):
                try:
                    failed = await sink.send([(route, Reading(float(n), _START))])
                except DmiError as error:
                    failed = {0: error}
                if failed:
                    assert not failed[0].retryable, failed[0]
                    refused.add(n)
            for n, route in enumerate(routes):
                if n not in refused:
                    await self.check(server, route, [Reading(float(n), _START)])

    async def test_lost_server_is_retryable_and_heals(
        self, sink: AnySink, server: TargetServer, place: BaseModel
    ) -> None:
        """Sends to a killed server fail for now; after `close` and `open` they go on."""
        route = make_route(place)
        readings = [Reading(float(n), _START + n) for n in range(4)]
        async with opened(sink):
            assert not await sink.send([(route, readings[0])])
            await self.check(server, route, readings[:1])
            await server.kill()
            try:
                with pytest.raises(UnavailableError):
                    await self._send(sink, [(route, reading) for reading in readings[1:]])
                await sink.close()
            finally:
                await server.start()
            await sink.open()
            assert not await sink.send([(route, reading) for reading in readings[1:]])
            await self.check(server, route, readings)

    async def test_a_cancelled_send_does_no_lasting_harm(
        self, sink: AnySink, server: TargetServer, place: BaseModel
    ) -> None:
        """The worker cancels a send that is too late, closes, opens, and sends it again."""
        route = make_route(place)
        readings = [Reading(float(n), _START + n) for n in range(20)]
        items = [(route, reading) for reading in readings]
        async with opened(sink):
            send = asyncio.ensure_future(sink.send(items))
            await asyncio.sleep(0)
            send.cancel()
            await asyncio.gather(send, return_exceptions=True)
            await sink.close()
            await sink.open()
            assert not await sink.send(items)
            await self.check(server, route, readings)

    async def test_nothing_is_lost_when_the_server_is_killed_in_mid_flow(
        self, sink: AnySink, server: TargetServer, place: BaseModel, tmp_path: Path
    ) -> None:
        """With its worker and a spool: readings flow on while the server dies and comes back."""
        route = make_route(place)
        readings = [Reading(float(n), _START + n) for n in range(self.many)]
        third = self.many // 3
        async with serving(sink, tmp_path) as worker:
            await self._feed(worker, route, readings[:third])
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(server.kill())
                    group.create_task(self._feed(worker, route, readings[third : 2 * third]))
            finally:
                await server.start()
            await self._feed(worker, route, readings[2 * third :])

            async def sent() -> bool:
                return worker.is_empty

            assert await until(sent, 2 * self.patience), worker.status()
            assert not worker.status().lost
        await self.check(server, route, readings)

    # ------------------------------------------------------------- details ----

    async def _feed(self, worker: Worker, route: AnyRoute, readings: Sequence[Reading]) -> None:
        for start in range(0, len(readings), 10):
            part = readings[start : start + 10]
            worker.put(Chunk([route] * len(part), part))
            await asyncio.sleep(0.01)

    async def check(
        self, server: TargetServer, route: AnyRoute, readings: Sequence[Reading]
    ) -> None:
        """Wait until these readings have arrived; then they must be all, each as it was sent."""
        wanted = [self.expected(route, reading) for reading in readings]
        found: Sequence[Reading] = ()

        async def complete() -> bool:
            nonlocal found
            found = await self.arrived(server, route)
            return len(self._distinct(found)) >= len(wanted)

        await until(complete, self.patience)
        if not self.tells_apart:
            found = self._distinct(found)
        assert [self._bare(reading) for reading in found] == [self._bare(r) for r in wanted]

    def _distinct(self, readings: Sequence[Reading]) -> list[Reading]:
        """Each time once, oldest first."""
        by_time = {self._bare(reading)[0]: reading for reading in readings}
        return [by_time[moment] for moment in sorted(by_time)]

    def _bare(self, reading: Reading) -> tuple[int, type, Value | None, Quality, str]:
        """What is compared; `True == 1 == 1.0` is not enough."""
        steps = round((reading.time - _START) / self.time_step)
        value = reading.value
        return steps, type(value), value, reading.quality, reading.reason

    async def _open_and_send(self, sink: AnySink) -> None:
        """Find out that nobody is there, at `open` or, without a connection, at `send`."""
        async with asyncio.timeout(self.patience):
            await sink.open()
        await self._send(sink, [(make_route(sink.place_model()), Reading(1.0, _START))])

    async def _send(self, sink: AnySink, items: Sequence[Item[Any]]) -> None:
        """Send, and raise also what was only answered."""
        async with asyncio.timeout(self.patience):
            failed = await sink.send(items)
        for error in failed.values():
            raise error


def make_route(
    place: BaseModel,
    property_: str = "p",
    type_: DataType = DataType.DOUBLE,
    device: str = "dev-1",
) -> AnyRoute:
    """Give one property's way to a place of its own kind; `place` itself is not shared."""
    source = Source(
        Key("default", device), property_, type_, "kWh", "meter", {"site": "a b", "line": "7"}
    )
    return Route(source, place.model_copy())


@asynccontextmanager
async def opened(sink: AnySink) -> AsyncIterator[None]:
    """Open a sink for the block; an unready server counts as a mistake of the fixture."""
    await sink.open()
    try:
        yield
    finally:
        await sink.close()


@asynccontextmanager
async def serving(sink: AnySink, folder: Path) -> AsyncIterator[Worker]:
    """Run the worker of a sink, with a spool in that folder, on the machine's own time."""
    clock = SystemClock()
    poller = Poller(clock)
    ledger = Ledger(sink.kind)
    spool = Spool(folder / "contract.spool", ledger, Limits(2**30, 3600.0), {"name": sink.kind})
    backlog = Backlog(Keeper(spool, clock), sink.kind, clock)
    manner = Manner(size=min(sink.batch, 100), linger=0.02, timeout=10.0)
    tools = Tools(poller, clock, Random(7))  # noqa: S311 - spreads retries
    worker = Worker(sink.kind, "", sink, manner, ledger, backlog, tools)
    try:
        async with asyncio.TaskGroup() as group:
            jobs = [group.create_task(poller.run()), group.create_task(worker.run())]
            yield worker
            for job in jobs:
                job.cancel()
    finally:
        worker.stow()


async def until(condition: Callable[[], Awaitable[bool]], patience: float) -> bool:
    """Return when it holds, or when patience is over; say whether it holds."""
    deadline = time.monotonic() + patience
    while not await condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_STEP)
    return True

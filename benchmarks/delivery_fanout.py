"""What five sinks cost a whole mapper, beside one and none; what a dead one costs the others."""

import asyncio
import contextlib
import socket
import statistics
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from benchmarks.broker import run_broker
from benchmarks.delivering import Watch, run_delivering, sink
from benchmarks.measured import Figures, Measured, progress
from benchmarks.null_sink import KIND
from benchmarks.processes import scratch_folder

__all__ = ["TARGET", "measure"]

TARGET: Final = (
    "five sinks cost at most 2 x what one does; a dead one changes the others' rate by under 5 %"
)

_MOST_COST: Final = 2.0
_MOST_CHANGE: Final = 5.0  # percent
_REAL_SHARE: Final = 2
"""Real targets get so many times less: all five at once must not be too much for one core."""
_Sinks = Sequence[Mapping[str, object]]


async def measure(*, quick: bool) -> Measured:
    """Run the same mapper again and again, each time with other sinks."""
    rounds, devices, seconds = (1, 20, 0.5) if quick else (2, 1000, 10.0)
    async with scratch_folder() as folder:
        runs = _Runs(folder, devices, seconds)
        for _ in range(rounds):
            for name, count in (("none", 0), ("one", 1), ("five", 5)):
                await runs.run(name, _nulls(count))
        async with _hanging() as port:
            await runs.run("refused", [*_nulls(4), _http("dead", _closed_port())])
            await runs.run("hanging", [*_nulls(4), _http("dead", port)])
        runs.devices //= _REAL_SHARE
        async with _real(folder) as real:
            await runs.run("real none", [])
            alone = real[:1] if quick else real
            for one in alone:
                await runs.run(f"real {one['name']}", [one])
            await runs.run("real five", real)
            names = [f"real {one['name']}" for one in alone]
    costs = runs.costs()
    changes = {
        f"{dead}_changes_others_percent": runs.change(dead, "five")
        for dead in ("refused", "hanging")
    }
    ratio = round(costs["five"] / costs["one"], 2)
    spent = [costs[name] for name in names]
    more = costs["real five"] - costs["real none"]
    apart = sum(one - costs["real none"] for one in spent)
    figures: dict[str, float] = {
        "five_to_one": ratio,
        "five_cpu_us_per_reading": costs["five"],
        "one_cpu_us_per_reading": costs["one"],
        **changes,
        "others_readings_per_s_with_none_dead": runs.rate("five"),
        "real_five_cpu_us_per_reading": costs["real five"],
        "real_five_to_dearest": round(costs["real five"] / max(spent), 2),
        # Below 1: what all share is paid once. Above: they are in each other's way.
        "real_five_to_sum": round(more / apart, 2) if apart else 0,
        **{f"{name.replace(' ', '_')}_cpu_us_per_reading": costs[name] for name in names},
        "lost": runs.lost,
    }
    bare: Figures = {
        "none_cpu_us_per_reading": costs["none"],
        "real_none_cpu_us_per_reading": costs["real none"],
    }
    met = ratio <= _MOST_COST and all(abs(change) < _MOST_CHANGE for change in changes.values())
    return Measured(figures, met, bare)


class _Runs:
    """Mappers that differ in their sinks alone; what was found, by the name of the run.

    Attributes:
        devices: How many each serves, of ten properties that are read once a second.
        lost: Readings that a sink which was not dead never got.
    """

    def __init__(self, folder: Path, devices: int, seconds: float) -> None:
        self.devices = devices
        self.lost = 0
        self._folder = folder
        self._seconds = seconds
        self._found: dict[str, list[dict[str, float]]] = {}
        self._count = 0

    async def run(self, name: str, sinks: _Sinks) -> None:
        """Run a mapper with these sinks for a while."""
        progress(f"delivery_fanout: {name}")
        self._count += 1
        folder = self._folder / str(self._count)
        async with run_delivering(folder, self.devices, 1000, sinks, grace=1) as delivering:
            await asyncio.sleep(min(2.0, self._seconds))
            watch = Watch(delivering)
            await asyncio.sleep(self._seconds)
            self._found.setdefault(name, []).append(watch.end())
            for target, status in delivering.targets().items():
                if target != "dead":
                    self.lost += sum(status["lost"].values())

    def costs(self) -> dict[str, float]:
        """Microseconds of CPU per reading, of each run the median of its rounds."""
        return {
            name: round(statistics.median(one["cpu_us_per_reading"] for one in found), 2)
            for name, found in self._found.items()
        }

    def rate(self, name: str) -> float:
        """Readings a second that a sink which was not dead got."""
        rates = [
            rate
            for one in self._found[name]
            for word, rate in one.items()
            if word.startswith("delivered_null")
        ]
        return statistics.median(rates)

    def change(self, name: str, beside: str) -> float:
        """How much lower or higher the others' rate is than in another run, in percent."""
        return round((self.rate(name) / self.rate(beside) - 1) * 100, 2)


def _nulls(count: int) -> _Sinks:
    return [sink(f"null-{number}", KIND, {"number": number}) for number in range(count)]


def _http(name: str, port: int) -> Mapping[str, object]:
    return sink(name, "http", {"url": f"http://127.0.0.1:{port}/"})


def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def _hanging() -> AsyncIterator[int]:
    """A server that lets everybody connect and answers nobody."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@asynccontextmanager
async def _real(folder: Path) -> AsyncIterator[_Sinks]:
    """One sink to each of five real targets."""
    # This server is one of the tests; it is nothing that the benchmarks own.
    from tests.servers.redis import Redis

    receiver = await asyncio.start_server(_receive, "127.0.0.1", 0)
    async with receiver, run_broker(folder) as broker:
        with Redis() as redis:
            yield [
                sink("sqlite", "sqlite", {"path": str(folder / "sink.db")}),
                sink("jsonl", "jsonl", {"path": str(folder / "sink.jsonl")}),
                sink("mqtt", "mqtt", {"address": f"127.0.0.1:{broker}"}),
                _http("http", receiver.sockets[0].getsockname()[1]),
                sink("redis", "redis", {"address": redis.address}),
            ]


async def _receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take every request and keep nothing.

    Source:
        RFC 9112, section 6.3: how long a request is.
    """
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            place = head.index(b"content-length:") + 15
            await reader.readexactly(int(head[place : head.index(b"\r\n", place)]))
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            await writer.drain()
    writer.close()

"""Points a second through the InfluxDB sink, beside the same lines, made before, over bare HTTP."""

import asyncio
import shutil
import signal
import socket
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp

from benchmarks.measured import Measured, progress
from benchmarks.processes import scratch_folder
from dmi.errors import UnavailableError
from dmi.readings import Reading
from dmi.resources import DataType, Key
from mapper_sdk.delivery.sink import Item, Route, Source
from mapper_sdk.sinks.influxdb2 import Influxdb2Place, Influxdb2Sink, Influxdb2Target

__all__ = ["TARGET", "measure"]

TARGET: Final = (
    "at least 100,000 points/s, and 0.7 x the same lines, made before, over aiohttp in turns"
)

_LEAST_RATE: Final = 100_000
_LEAST_RATIO: Final = 0.7
_DEVICES: Final = 10_000
_LINES: Final = 2500  # of a bare request; as many as the sink puts into one
_START: Final = 1_790_000_000.0
_PATIENCE: Final = 20.0

_Batch = list[Item[Influxdb2Place]]


async def measure(*, quick: bool) -> Measured:
    """Write in turns, so that whatever disturbs the machine disturbs both."""
    turns = 4 if quick else 80
    async with scratch_folder() as folder, _database(folder) as url:
        routes = _routes(500 if quick else _DEVICES)
        sink = Influxdb2Sink(Influxdb2Target(url=url, bucket="bench"))
        await sink.open()
        try:
            async with aiohttp.ClientSession() as session:
                rates, bare, written = await _in_turns(sink, session, url, routes, turns)
                kept = await _count(session, url)
        finally:
            await sink.close()
    figures = {
        "points_per_s": round(statistics.median(rates)),
        # Of neighbouring turns: the machine is the same for both.
        "ratio": round(statistics.median(r / b for r, b in zip(rates, bare, strict=True)), 2),
        "lost": written - kept,
    }
    met = figures["points_per_s"] >= _LEAST_RATE and figures["ratio"] >= _LEAST_RATIO
    return Measured(figures, met, {"points_per_s": round(statistics.median(bare))})


def _routes(devices: int) -> list[Route[Influxdb2Place]]:
    place = Influxdb2Place()
    return [
        Route(
            Source(Key("default", f"meter-{n}"), "power", DataType.DOUBLE, "W", "meter"),
            place.model_copy(),
        )
        for n in range(devices)
    ]


async def _in_turns(
    sink: Influxdb2Sink,
    session: aiohttp.ClientSession,
    url: str,
    routes: Sequence[Route[Influxdb2Place]],
    turns: int,
) -> tuple[list[float], list[float], int]:
    """Rates of the sink, rates of bare HTTP, and how many points the sink has written."""
    rates, bare = [], []
    path = f"{url}/api/v2/write?org=&bucket=bench&precision=us"
    for turn in range(turns + 1):
        if turn % 40 == 0:
            progress(f"influx_lines: turn {turn} of {turns}")
        batch: _Batch = [(r, Reading(turn + 0.5, _START + turn)) for r in routes]
        bodies = _bodies(routes, turn)
        begin = time.perf_counter()
        failed = await sink.send(batch)
        middle = time.perf_counter()
        for body in bodies:
            async with session.post(path, data=body) as answer:
                await answer.read()
                answer.raise_for_status()
        end = time.perf_counter()
        assert not failed
        if turn:  # the first one opens connections and makes the series
            rates.append(len(routes) / (middle - begin))
            bare.append(len(routes) / (end - middle))
    return rates, bare, len(routes) * (turns + 1)


def _bodies(routes: Sequence[Route[Influxdb2Place]], turn: int) -> list[bytes]:
    """What the sink makes of a batch, of other devices, by hand."""
    moment = round((_START + turn) * 1e6)
    lines = [
        f"meter,device=bare-{route.source.device.name},namespace=default"
        f" power={turn + 0.5!r},power_quality=0i {moment}"
        for route in routes
    ]
    starts = range(0, len(lines), _LINES)
    return ["\n".join(lines[start : start + _LINES]).encode() for start in starts]


async def _count(session: aiohttp.ClientSession, url: str) -> int:
    """How many points of the sink the database has."""
    await (await session.get(f"{url}/internal/force_flush")).read()
    query: dict[str, Any] = {
        "query": 'sum(count_over_time(meter_power{device!~"bare-.*"}[1d]))',
        "time": str(_START + 3600),
    }
    async with session.get(f"{url}/api/v1/query", params=query) as answer:
        found = await answer.json()
    return int(found["data"]["result"][0]["value"][1])


@asynccontextmanager
async def _database(folder: Path) -> AsyncIterator[str]:
    """VictoriaMetrics, the only server of the v2 write API that is easily had."""
    binary = shutil.which("victoria-metrics")
    if binary is None:
        raise UnavailableError("victoria-metrics is not installed")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with (folder / "victoria.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            binary,
            f"-storageDataPath={folder / 'data'}",
            f"-httpListenAddr=127.0.0.1:{port}",
            "-retentionPeriod=100y",
            stdout=log,
            stderr=log,
        )
    try:
        await _answers(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def _answers(port: int) -> None:
    async with asyncio.timeout(_PATIENCE):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return

"""Readings through the HTTP sink, 1,000 a request, beside bare aiohttp with the same bodies."""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Final

import aiohttp
import orjson
from aiohttp import web

from benchmarks.measured import Measured, progress
from benchmarks.processes import program, scratch_folder
from dmi.readings import Reading
from dmi.resources import DataType, Key
from mapper_sdk.delivery.sink import Item, Route, Source
from mapper_sdk.sinks.http.settings import HttpPlace, HttpTarget
from mapper_sdk.sinks.http.sink import HttpSink
from mapper_sdk.sinks.payloads import reading_object

__all__ = ["TARGET", "measure"]

TARGET: Final = "10,000 readings a second under 30 % of a core"

_MOST_CORE: Final = 0.3
_RATE: Final = 10_000


async def measure(*, quick: bool) -> Measured:
    """Batches of 1,000 readings in turns; what JSON and requests alone cost stands beside."""
    rounds, batches = (1, 3) if quick else (7, 50)
    async with scratch_folder() as folder:
        command = ["-m", "benchmarks.http_sink"]
        async with program(command, folder / "receiver.log") as receiver:
            sink = HttpSink(HttpTarget(url=receiver.ready["url"]))
            await sink.open()
            items = _readings(sink.batch)
            ours: list[tuple[float, float]] = []
            bare: list[tuple[float, float]] = []
            for turn in range(rounds):
                progress(f"http_sink: round {turn + 1} of {rounds}")
                ours.append(await _through_sink(sink, items, batches))
                bare.append(await _through_aiohttp(receiver.ready["url"], items, batches))
            await sink.close()
    count = batches * len(items)
    rate, cpu = _medians(ours, count)
    bare_rate, bare_cpu = _medians(bare, count)
    figures = {
        "readings_per_s": rate,
        "cpu_us_per_reading": cpu,
        "cpu_ratio": round(bare_cpu / cpu, 2),
        "core_percent_at_10000_per_s": round(cpu * _RATE / 1e4, 1),
    }
    bare_figures = {"readings_per_s": bare_rate, "cpu_us_per_reading": bare_cpu}
    return Measured(figures, cpu * _RATE / 1e6 <= _MOST_CORE, bare_figures)


def _readings(count: int) -> list[Item[HttpPlace]]:
    place = HttpPlace()
    routes = [
        Route(
            Source(
                Key("default", f"device-{n // 10}"), f"property-{n % 10}", DataType.DOUBLE, "°C"
            ),
            place,
        )
        for n in range(count)
    ]
    return [(route, Reading(n / 7, 1_790_000_000.0 + n)) for n, route in enumerate(routes)]


async def _through_sink(
    sink: HttpSink, items: Sequence[Item[HttpPlace]], batches: int
) -> tuple[float, float]:
    """Wall and CPU seconds."""
    begin, cpu = time.perf_counter(), time.process_time()
    for _ in range(batches):
        failed = await sink.send(items)
        assert not failed, failed
    return time.perf_counter() - begin, time.process_time() - cpu


async def _through_aiohttp(
    url: str, items: Sequence[Item[HttpPlace]], batches: int
) -> tuple[float, float]:
    """The same of the libraries alone: objects that exist already, orjson, aiohttp."""
    objects = [reading_object(route.source, reading) for route, reading in items]
    async with aiohttp.ClientSession() as session:
        begin, cpu = time.perf_counter(), time.process_time()
        for _ in range(batches):
            async with session.post(url, data=orjson.dumps(objects)) as response:
                await response.read()
                assert response.ok
        return time.perf_counter() - begin, time.process_time() - cpu


def _medians(rounds: Sequence[tuple[float, float]], count: int) -> tuple[int, float]:
    """Readings per second, and microseconds of CPU for each."""
    wall = statistics.median(taken for taken, _ in rounds)
    cpu = statistics.median(taken for _, taken in rounds)
    return round(count / wall), round(cpu / count * 1e6, 2)


async def _receive() -> None:
    """Take what is posted, until cancelled."""

    async def take(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(status=204)

    app = web.Application(client_max_size=2**26)
    app.router.add_post("/", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    print(json.dumps({"url": f"http://{host}:{port}"}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        asyncio.run(_receive())
    except KeyboardInterrupt:
        sys.exit(0)

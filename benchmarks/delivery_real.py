"""What five sinks to real targets cost a whole mapper at once, beside each of them alone."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from benchmarks.broker import run_broker
from benchmarks.delivering import Runs, Sinks, http_sink, sink
from benchmarks.measured import Measured
from benchmarks.processes import scratch_folder

__all__ = ["TARGET", "measure"]

TARGET: Final = "SQLite, JSON lines, MQTT, HTTP and Redis at once cost at most 1.25 x their sum"

_MOST_COST: Final = 1.25


async def measure(*, quick: bool) -> Measured:
    """Run the same mapper with none of them, with each alone, and with all."""
    devices, seconds = (20, 0.5) if quick else (500, 10.0)
    async with scratch_folder() as folder, _real(folder) as real:
        runs = Runs("delivery_real", folder, devices, seconds)
        await runs.run("none", [])
        alone = real[:1] if quick else real
        for one in alone:
            await runs.run(str(one["name"]), [one])
        await runs.run("five", real)
    costs = runs.costs()
    none, five = costs.pop("none"), costs.pop("five")
    apart = sum(cost - none for cost in costs.values())
    ratio = round((five - none) / apart, 2) if apart > 0 else 0.0
    figures: dict[str, float] = {
        "five_to_sum": ratio,
        "five_to_dearest": round(five / max(costs.values()), 2),
        "five_cpu_us_per_reading": five,
        **{f"{name}_cpu_us_per_reading": cost for name, cost in costs.items()},
        # Less than was read: that target does not keep up here, and its cost is too low.
        **runs.delivered("five"),
        "lost": runs.lost,
    }
    return Measured(figures, ratio <= _MOST_COST, {"none_cpu_us_per_reading": none})


@asynccontextmanager
async def _real(folder: Path) -> AsyncIterator[Sinks]:
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
                http_sink("http", receiver.sockets[0].getsockname()[1]),
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

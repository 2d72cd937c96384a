"""What five sinks cost a whole mapper, beside one and none; what a dead one costs the others."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from benchmarks.delivering import Runs, Sinks, http_sink, sink
from benchmarks.measured import Measured
from benchmarks.null_sink import KIND
from benchmarks.processes import scratch_folder

__all__ = ["TARGET", "measure"]

TARGET: Final = (
    "five sinks cost at most 2 x what one does; a dead one changes the others' rate by under 5 %"
)

_MOST_COST: Final = 2.0
_MOST_CHANGE: Final = 5.0  # percent


async def measure(*, quick: bool) -> Measured:
    """Run the same mapper again and again, each time with other sinks."""
    rounds, devices, seconds = (1, 20, 0.5) if quick else (2, 1000, 10.0)
    async with scratch_folder() as folder:
        runs = Runs("delivery_fanout", folder, devices, seconds)
        for _ in range(rounds):
            for name, count in (("none", 0), ("one", 1), ("five", 5)):
                await runs.run(name, _nulls(count))
        async with _hanging() as port:
            await runs.run("refused", [*_nulls(4), http_sink("dead", _closed_port())])
            await runs.run("hanging", [*_nulls(4), http_sink("dead", port)])
    costs = runs.costs()
    changes = {
        f"{dead}_changes_others_percent": runs.change(dead, "five")
        for dead in ("refused", "hanging")
    }
    ratio = round(costs["five"] / costs["one"], 2)
    figures: dict[str, float] = {
        "five_to_one": ratio,
        "five_cpu_us_per_reading": costs["five"],
        "one_cpu_us_per_reading": costs["one"],
        **changes,
        "others_readings_per_s_with_none_dead": runs.rate("five"),
        "lost": runs.lost,
    }
    met = ratio <= _MOST_COST and all(abs(change) < _MOST_CHANGE for change in changes.values())
    return Measured(figures, met, {"none_cpu_us_per_reading": costs["none"]})


def _nulls(count: int) -> Sinks:
    return [sink(f"null-{number}", KIND, {"number": number}) for number in range(count)]


def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def _hanging() -> AsyncIterator[int]:
    """A server that lets everybody connect and answers nobody."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]

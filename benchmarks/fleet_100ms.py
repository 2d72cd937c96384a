"""1,000 devices of ten properties, each read ten times a second."""

from typing import Final

from benchmarks.columns import bare_columns
from benchmarks.fleet import watch_fleet
from benchmarks.measured import Measured
from benchmarks.processes import scratch_folder

__all__ = ["TARGET", "measure"]

TARGET: Final = "at least 50,000 readings a second arrive, none lost, late ticks counted"

_LEAST: Final = 50_000


async def measure(*, quick: bool) -> Measured:
    """Watch it for half a minute."""
    number, seconds = (20, 1.0) if quick else (1000, 30.0)
    async with scratch_folder() as folder:
        found = await watch_fleet(folder, number=number, collect_ms=100, seconds=seconds)
        bare = bare_columns(folder, 5000, 2 if quick else 100)
    met = found["readings_per_s"] >= _LEAST and not found["lost"] and not found["dropped"]
    return Measured(found, met, bare)

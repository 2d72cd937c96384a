"""What one reading costs in the mapper, from the timer to the manager's acknowledgement."""

from typing import Final

from benchmarks.columns import bare_columns
from benchmarks.fleet import watch_fleet
from benchmarks.measured import Measured
from benchmarks.processes import scratch_folder

__all__ = ["TARGET", "measure"]

TARGET: Final = "one reading costs under 20 us of CPU in the mapper"

_MOST_US: Final = 20.0


async def measure(*, quick: bool) -> Measured:
    """Take the whole process's CPU time by the readings that arrived, at 20,000 a second."""
    number, seconds = (20, 1.0) if quick else (1000, 20.0)
    async with scratch_folder() as folder:
        found = await watch_fleet(folder, number=number, collect_ms=500, seconds=seconds)
        bare = bare_columns(folder, 1000, 10 if quick else 200)
    names = ("mapper_cpu_us_per_reading", "manager_cpu_us_per_reading", "readings_per_s")
    figures = {name: found[name] for name in names}
    return Measured(figures, figures["mapper_cpu_us_per_reading"] < _MOST_US, bare)

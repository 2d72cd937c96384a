"""1,000 devices of ten properties, each read once a second."""

from typing import Final

from benchmarks.columns import bare_columns
from benchmarks.fleet import watch_fleet
from benchmarks.measured import Measured
from benchmarks.processes import scratch_folder

__all__ = ["TARGET", "measure"]

TARGET: Final = (
    "10,000 readings a second arrive, 99.9 % of ticks on time, mapper under 30 % of a core"
    " and 150 MiB"
)

_ON_TIME_PERCENT: Final = 99.9
_MOST_CPU_PERCENT: Final = 30
_MOST_MIB: Final = 150


async def measure(*, quick: bool) -> Measured:
    """Watch it for a minute."""
    number, seconds = (20, 1.0) if quick else (1000, 60.0)
    async with scratch_folder() as folder:
        found = await watch_fleet(folder, number=number, collect_ms=1000, seconds=seconds)
        bare = bare_columns(folder, 500, 20 if quick else 500)
    met = (
        # Both ends of the time may cut a message in two.
        found["readings_per_s"] >= 0.995 * found["readings_wanted_per_s"]
        and not found["lost"]
        and found["ticks_on_time_percent"] >= _ON_TIME_PERCENT
        and found["mapper_cpu_percent"] < _MOST_CPU_PERCENT
        and found["mapper_peak_mib"] < _MOST_MIB
    )
    return Measured(found, met, bare)

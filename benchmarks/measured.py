"""What one benchmark has to say, and how it says how far it is."""

import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Figures", "Measured", "percentiles", "progress"]

Figures = Mapping[str, "float | int | str | bool | Mapping[str, float | int]"]
"""Numbers by name; the unit is the end of the name."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The outcome of one benchmark.

    Attributes:
        figures: What the toolkit needed or achieved.
        bare: The same of the bare libraries, measured in the same run.
        met: Whether the target was reached.
    """

    figures: Figures
    met: bool
    bare: Figures = field(default_factory=dict)


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Median, 99th percentile and longest of some durations, in milliseconds."""
    ordered = sorted(seconds)
    last = len(ordered) - 1
    return {
        "p50_ms": round(statistics.median(ordered) * 1e3, 2),
        "p99_ms": round(ordered[min(last, round(0.99 * last))] * 1e3, 2),
        "max_ms": round(ordered[last] * 1e3, 2),
    }


def progress(text: str) -> None:
    """Say on stderr how far it is."""
    sys.stderr.write(f"  {text}\n")
    sys.stderr.flush()

"""What one look at a property yields: a value with its time, quality and reason."""

from dataclasses import dataclass
from enum import IntEnum

__all__ = ["QUALITIES", "Quality", "Reading", "Value"]

Value = int | float | bool | str | bytes


class Quality(IntEnum):
    """How far a value may be trusted; the numbers are those of `dmi.v1.Quality`."""

    GOOD = 0
    UNCERTAIN = 1
    BAD = 2


QUALITIES = tuple(quality.name.lower() for quality in Quality)
"""The word for each quality, by its number, wherever it reads as text."""


@dataclass(slots=True)
class Reading:
    """One value of one property at one moment. Never changed after it was made.

    Attributes:
        value: In the unit that the model declares; None when nothing could be read.
        time: When the device had this value, in seconds since 1970-01-01 UTC. The
            protocol's own source time where it has one, else the end of the read.
        quality: BAD exactly when `value` is None.
        reason: Why the quality is not GOOD: the `reason` word of a `DmiError`, or
            the protocol's own word; empty when GOOD.
    """

    value: Value | None
    time: float
    quality: Quality = Quality.GOOD
    reason: str = ""

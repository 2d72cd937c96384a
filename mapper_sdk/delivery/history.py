"""The past of a property, as an embedded sink keeps it and REST shows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from dmi.readings import Quality, Reading
from dmi.resources import Key

__all__ = ["Function", "History", "Span"]


class Function(StrEnum):
    """How the readings of one interval become one value."""

    MIN = "min"
    MAX = "max"
    MEAN = "mean"
    LAST = "last"


@dataclass(frozen=True, slots=True)
class Span:
    """One interval of a downsampled past. Intervals without readings are left out.

    Attributes:
        time: When it begins, in seconds since 1970; a multiple of the step.
        value: None when no good number was read in it.
        count: Good readings in it.
        quality: The worst of its readings.
    """

    time: float
    value: float | int | bool | str | bytes | None
    count: int
    quality: Quality


class History(Protocol):
    """Whoever keeps the past."""

    async def readings(
        self, device: Key, property_: str, start: float, end: float, limit: int
    ) -> Sequence[Reading]:
        """Give what was read at `start` <= time < `end`, oldest first, at most `limit`.

        Raises:
            UnavailableError: The store cannot be read now.
        """

    async def spans(
        self,
        device: Key,
        property_: str,
        start: float,
        end: float,
        step: float,
        function: Function,
        limit: int,
    ) -> Sequence[Span]:
        """Give the same downsampled to intervals of `step` seconds.

        Raises:
            ConversionError: `function` needs numbers and these are none.
            UnavailableError: The store cannot be read now.
        """

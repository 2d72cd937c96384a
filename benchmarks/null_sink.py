"""A target in the mapper's own process that costs next to nothing, so that only the way there does.

Named in settings as `benchmarks.null_sink:NullSink`.
"""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final

from pydantic import Field

from dmi.errors import DmiError, UnavailableError
from mapper_sdk.delivery.sink import Item, Settings, Sink

__all__ = ["KIND", "NullPlace", "NullSink", "NullTarget"]

KIND: Final = "benchmarks.null_sink:NullSink"

_ONE_OF: Final = 10


class NullTarget(Settings):
    """Which one of several it is, and what it does."""

    number: int = Field(default=0, description="Tells targets apart.")
    switch: Path | None = Field(
        default=None, description="A file; while it is missing, the target is away."
    )
    notes: Path | None = Field(
        default=None,
        description="Gets, at the end, source time and age on arrival of one reading in ten.",
    )


class NullPlace(Settings):
    """There is nothing to choose."""


class NullSink(Sink[NullTarget, NullPlace]):
    """Takes everything and keeps nothing."""

    kind = "null"
    target_model = NullTarget
    place_model = NullPlace

    ages: ClassVar[list[tuple[float, float]]] = []

    async def open(self) -> None:
        """Reach the target, if it is there."""
        self._look()

    async def send(self, items: Sequence[Item[NullPlace]]) -> Mapping[int, DmiError]:
        """Take all of it, if the target is there."""
        self._look()
        if self.target.notes is not None:
            now = time.time()
            self.ages.extend((reading.time, now - reading.time) for _, reading in items[::_ONE_OF])
        return {}

    async def close(self) -> None:
        """Write the notes."""
        if self.target.notes is not None:
            self.target.notes.write_text(json.dumps(self.ages))

    def _look(self) -> None:
        if self.target.switch is not None and not self.target.switch.exists():
            raise UnavailableError("switched off")

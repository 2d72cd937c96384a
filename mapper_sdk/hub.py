"""The fan-out: one list of readings a tick, to everybody who wants them."""

import logging
from collections.abc import Callable

from dmi.clock import Clock
from dmi.errors import DmiError
from dmi.readings import Reading
from mapper_sdk.devices.plan import Point

__all__ = ["Batch", "Hub", "Offer"]

log = logging.getLogger(__name__)

Batch = list[tuple[Point, Reading]]
"""The readings of one look at a device. Shared by all consumers: nobody changes it."""

Offer = Callable[[Batch], None]
"""Takes a batch and returns at once: keeps it, or drops it and counts that. Never waits."""


class Hub:
    """Passes on what has changed enough, as each point's `gate` says.

    Attributes:
        published: Readings passed on.
        withheld: Readings held back because they had not changed enough.
        refused: By consumer, readings that it did not take.
        clock: Tells when a silence has lasted long enough.
    """

    def __init__(self, clock: Clock) -> None:
        self.published = 0
        self.withheld = 0
        self.refused: dict[str, int] = {}
        self.clock = clock
        self._consumers: list[tuple[str, Offer]] = []

    def add(self, name: str, offer: Offer) -> None:
        """Give everything to one consumer more; its name is for counting."""
        self._consumers.append((name, offer))
        self.refused[name] = 0

    def publish(self, batch: Batch) -> None:
        """Hand a batch to every consumer. One that refuses it does not affect the others."""
        total = len(batch)
        for point, _ in batch:
            if point.gate is not None:
                batch = self._passing(batch)
                break
        self.published += len(batch)
        self.withheld += total - len(batch)
        if not batch:
            return
        for name, offer in self._consumers:
            try:
                offer(batch)
            except DmiError as error:
                if not self.refused[name]:
                    log.warning("%s refuses readings: %s", name, error)
                self.refused[name] += len(batch)

    def _passing(self, batch: Batch) -> Batch:
        now = self.clock.monotonic()
        return [
            (point, reading)
            for point, reading in batch
            if point.gate is None or point.gate.passes(reading, now)
        ]

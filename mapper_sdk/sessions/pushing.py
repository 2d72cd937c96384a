"""What a device sends by itself, gathered for one turn of the event loop."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeAlias

from mapper_sdk.devices.plan import Point
from mapper_sdk.driver import Answer

__all__ = ["Pushed", "Pushes"]

Pushed: TypeAlias = list[tuple[Point, Answer]]


class Pushes:
    """Gathers answers, and hands those of one turn of the loop on together."""

    def __init__(self, hand_on: Callable[[Pushed], None]) -> None:
        """Start with none."""
        self._hand_on = hand_on
        self._gathered: Pushed = []

    def publisher(
        self, points: Sequence[Point], is_current: Callable[[], bool]
    ) -> Callable[[int, Answer], None]:
        """Give what a driver calls with the index of a point and its answer.

        Args:
            points: In the order of the driver's subscription.
            is_current: Whether that driver is still the one of the device.
        """

        def publish(index: int, answer: Answer) -> None:
            if not is_current():
                return
            if not self._gathered:
                asyncio.get_running_loop().call_soon(self._flush)
            self._gathered.append((points[index], answer))

        return publish

    def _flush(self) -> None:
        gathered, self._gathered = self._gathered, []
        self._hand_on(gathered)

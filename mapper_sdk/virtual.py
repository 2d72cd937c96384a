"""Devices that exist only here, to try things out.

Served by `dmi mapper mapper_sdk.virtual:VirtualDriver`.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from dmi.errors import RefusedError, UnavailableError
from dmi.readings import Value
from mapper_sdk.driver import Answer, Driver

__all__ = ["VirtualDriver", "VirtualLink", "VirtualVisit"]


class VirtualLink(BaseModel):
    """How a virtual device behaves."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    latency: float = Field(default=0.0, ge=0, description="Seconds that each exchange takes.")
    reachable: bool = Field(default=True, description="Whether the device can be reached at all.")
    start: int = Field(default=0, description="Where its counters begin.")


class VirtualVisit(BaseModel):
    """What one property of a virtual device shows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shape: Literal["memory", "sine", "counter", "toggle"] = Field(
        default="memory",
        description="memory: what was written last; sine: a wave around 0; counter: more by "
        "`step` at each read; toggle: true and false in turn.",
    )
    initial: int | float | bool | str = Field(default=0, description="First value of a memory.")
    amplitude: float = Field(default=1.0, description="Greatest value of a wave.")
    period: float = Field(default=60.0, gt=0, description="Seconds of one wave.")
    step: int | float = Field(default=1, description="What a counter counts by.")


class VirtualDriver(Driver[VirtualLink, VirtualVisit]):
    """One virtual device; what is written to it is gone when it is closed."""

    protocol_name: ClassVar[str] = "virtual"
    link_model = VirtualLink
    visit_model = VirtualVisit

    def __init__(self, link: VirtualLink) -> None:
        super().__init__(link)
        self._memory: dict[VirtualVisit, Value] = {}
        self._count = link.start
        self._shapes: dict[str, Callable[[VirtualVisit], Value]] = {
            "memory": lambda visit: self._memory.get(visit, visit.initial),
            "sine": _sine,
            "counter": lambda visit: self._count * visit.step,
            "toggle": lambda _visit: self._count % 2 == 0,
        }

    async def connect(self) -> None:
        """Succeed, if the device is declared reachable."""
        if not self.link.reachable:
            raise UnavailableError("declared unreachable")

    async def read(self, visits: Sequence[VirtualVisit]) -> Sequence[Answer]:
        """Give what each shape is at this moment."""
        if self.link.latency:
            await asyncio.sleep(self.link.latency)
        self._count += 1
        shapes = self._shapes
        return [shapes[visit.shape](visit) for visit in visits]

    async def write(self, visit: VirtualVisit, value: Value) -> None:
        """Remember the value, where the shape is a memory."""
        if visit.shape != "memory":
            raise RefusedError(f"a {visit.shape} cannot be written")
        self._memory[visit] = value

    async def close(self) -> None:
        """Forget what was written."""
        self._memory.clear()


def _sine(visit: VirtualVisit) -> float:
    return visit.amplitude * math.sin(time.monotonic() * 2 * math.pi / visit.period)

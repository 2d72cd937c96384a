"""The virtual device: a driver that answers at once with computed values, and its device files.

What is measured with it is the toolkit alone: `dmi mapper benchmarks.virtual:VirtualDriver`.
"""

import atexit
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from pydantic import BaseModel

from dmi.errors import RefusedError
from dmi.readings import Value
from mapper_sdk.driver import Answer, Driver

__all__ = [
    "COUNT_VARIABLE",
    "SETPOINT",
    "VirtualDriver",
    "VirtualLink",
    "VirtualVisit",
    "devices",
    "model",
]

SETPOINT: Final = "setpoint"
"""The one property that can be written."""

COUNT_VARIABLE: Final = "DMI_BENCHMARK_COUNT"
"""Names the file that the process writes at its end: how many values its drivers gave."""

_MODEL: Final = "virtual"
_KINDS: Final = (
    "DOUBLE",
    "DOUBLE",
    "DOUBLE",
    "INT",
    "DOUBLE",
    "DOUBLE",
    "DOUBLE",
    "INT",
    "BOOLEAN",
)


class VirtualLink(BaseModel):
    """How a virtual device is reached; devices with different seeds read differently."""

    seed: int = 0


class VirtualVisit(BaseModel):
    """Which value is meant, and of which type it is."""

    index: int = 0
    kind: str = "DOUBLE"


class VirtualDriver(Driver[VirtualLink, VirtualVisit]):
    """Values that differ at each read; what was written to the first one stays."""

    protocol_name: ClassVar = "virtual"
    link_model: ClassVar = VirtualLink
    visit_model: ClassVar = VirtualVisit
    given: ClassVar[int] = 0

    async def connect(self) -> None:
        """Begin to count."""
        self._reads = self.link.seed
        self._setpoint = 0

    async def read(self, visits: Sequence[VirtualVisit]) -> Sequence[Answer]:
        """Compute everything; there is no device to wait for."""
        self._reads += 1
        VirtualDriver.given += len(visits)
        return [self._compute(visit, self._reads) for visit in visits]

    def _compute(self, visit: VirtualVisit, reads: int) -> Value:
        if visit.kind == "DOUBLE":
            return reads * 0.25 + visit.index
        if visit.index == 0:
            return self._setpoint
        if visit.kind == "INT":
            return reads + visit.index
        return reads % 2 == 0

    async def write(self, visit: VirtualVisit, value: Value) -> None:
        """Keep the setpoint."""
        if visit.index or not isinstance(value, int):
            raise RefusedError("only the setpoint can be written")
        self._setpoint = value

    async def close(self) -> None:
        """Nothing is held."""


@atexit.register
def _write_count() -> None:
    if file := os.environ.get(COUNT_VARIABLE):
        Path(file).write_text(str(VirtualDriver.given))


def _properties(number: int) -> list[tuple[str, str]]:
    """Names and types; the first is the setpoint."""
    measured = [(f"value-{i}", _KINDS[(i - 1) % len(_KINDS)]) for i in range(1, number)]
    return [(SETPOINT, "INT"), *measured]


def model(properties: int) -> dict[str, Any]:
    """The DeviceModel of virtual devices with so many properties."""
    return {
        "apiVersion": "devices.kubeedge.io/v1beta1",
        "kind": "DeviceModel",
        "metadata": {"name": _MODEL},
        "spec": {
            "protocol": VirtualDriver.protocol_name,
            "properties": [
                {
                    "name": name,
                    "type": kind,
                    "accessMode": "ReadWrite" if name == SETPOINT else "ReadOnly",
                    "visitors": {
                        "protocolName": VirtualDriver.protocol_name,
                        "configData": {"index": index, "kind": kind},
                    },
                }
                for index, (name, kind) in enumerate(_properties(properties))
            ],
        },
    }


def devices(number: int, properties: int, collect_ms: int) -> list[dict[str, Any]]:
    """Devices `virtual-0` and so on, all read in the same cycle."""
    return [
        {
            "apiVersion": "devices.kubeedge.io/v1beta1",
            "kind": "Device",
            "metadata": {"name": f"virtual-{seed}"},
            "spec": {
                "deviceModelRef": {"name": _MODEL},
                "nodeName": "benchmark",
                "protocol": {
                    "protocolName": VirtualDriver.protocol_name,
                    "configData": {"seed": seed},
                },
                "properties": [
                    {"name": name, "collectCycle": collect_ms, "reportToCloud": True}
                    for name, _ in _properties(properties)
                ],
            },
        }
        for seed in range(number)
    ]

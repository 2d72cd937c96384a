"""Virtual devices: the driver that computes its values, counted, and its device files.

What is measured with it is the toolkit alone: `dmi mapper benchmarks.virtual:CountedDriver`.
"""

import atexit
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from mapper_sdk.driver import Answer
from mapper_sdk.virtual import VirtualDriver, VirtualVisit

__all__ = ["COUNT_VARIABLE", "SETPOINT", "CountedDriver", "devices", "model"]

SETPOINT: Final = "setpoint"
"""The one property that can be written."""

COUNT_VARIABLE: Final = "DMI_BENCHMARK_COUNT"
"""Names the file that the process writes at its end: how many values its drivers gave."""

_MODEL: Final = "virtual"
_SETPOINT: Final[dict[str, Any]] = {"shape": "memory"}
_DOUBLE: Final[dict[str, Any]] = {"shape": "counter", "step": 0.25}
_INT: Final[dict[str, Any]] = {"shape": "counter"}
_BOOLEAN: Final[dict[str, Any]] = {"shape": "toggle"}
# Of ten properties one is the setpoint, six are DOUBLE, two INT and one BOOLEAN.
_MEASURED: Final = (
    *(("DOUBLE", _DOUBLE),) * 3,
    ("INT", _INT),
    *(("DOUBLE", _DOUBLE),) * 3,
    ("INT", _INT),
    ("BOOLEAN", _BOOLEAN),
)


class CountedDriver(VirtualDriver):
    """A virtual device, of whose values it is known how many were given."""

    given: ClassVar[int] = 0

    async def read(self, visits: Sequence[VirtualVisit]) -> Sequence[Answer]:
        """Compute everything; there is no device to wait for."""
        CountedDriver.given += len(visits)
        return await super().read(visits)


@atexit.register
def _write_count() -> None:
    if file := os.environ.get(COUNT_VARIABLE):
        Path(file).write_text(str(CountedDriver.given))


def _properties(number: int) -> list[tuple[str, str, dict[str, Any]]]:
    """Names, types and settings; the first is the setpoint."""
    measured = [(f"value-{i}", *_MEASURED[(i - 1) % len(_MEASURED)]) for i in range(1, number)]
    return [(SETPOINT, "INT", _SETPOINT), *measured]


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
                        "configData": settings,
                    },
                }
                for name, kind, settings in _properties(properties)
            ],
        },
    }


def devices(count: int, properties: int, collect_ms: int) -> list[dict[str, Any]]:
    """Devices `virtual-0` and so on, all read in the same cycle."""
    return [
        {
            "apiVersion": "devices.kubeedge.io/v1beta1",
            "kind": "Device",
            "metadata": {"name": f"virtual-{number}"},
            "spec": {
                "deviceModelRef": {"name": _MODEL},
                "nodeName": "benchmark",
                "protocol": {
                    "protocolName": VirtualDriver.protocol_name,
                    "configData": {"start": number},
                },
                "properties": [
                    {"name": name, "collectCycle": collect_ms, "reportToCloud": True}
                    for name, _, _ in _properties(properties)
                ],
            },
        }
        for number in range(count)
    ]

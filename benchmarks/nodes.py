"""A device manager and a mapper of virtual devices, as users start them, with default settings."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.measured import progress
from benchmarks.processes import Program, program, until
from benchmarks.virtual import COUNT_VARIABLE, devices, model

__all__ = ["PROPERTIES", "Fleet", "metrics", "run_fleet", "run_manager", "run_mapper"]

PROPERTIES: Final = 10
"""Of each virtual device."""

_START_SECONDS: Final = 120.0
_APPLY_SECONDS: Final = 60.0


def run_manager(folder: Path) -> AbstractAsyncContextManager[Program]:
    """`dmi manager` without devices; everything of it lies in the folder."""
    command = ["-m", "dmi_cli", "manager", "--ready-json", "--api", "127.0.0.1:0"]
    command += ["--data-dir", str(folder / "manager"), "--socket", str(folder / "dmi.sock")]
    return program(command, folder / "manager.log")


def run_mapper(folder: Path) -> AbstractAsyncContextManager[Program]:
    """`dmi mapper` of virtual devices, linked to the manager of the same folder."""
    command = ["-m", "dmi_cli", "mapper", "benchmarks.virtual:CountedDriver", "--ready-json"]
    command += ["--manager-socket", str(folder / "dmi.sock"), "--rest", "127.0.0.1:0"]
    count = {COUNT_VARIABLE: str(folder / "given")}
    return program(command, folder / "mapper.log", environment=count)


@dataclass(frozen=True, slots=True)
class Fleet:
    """A manager and a mapper with many devices.

    Attributes:
        api: Address of the manager's REST API.
        rest: Address of the mapper's.
    """

    manager: Program
    mapper: Program
    api: str
    rest: str


@asynccontextmanager
async def run_fleet(
    folder: Path, number: int, collect_ms: int, *, settle: float
) -> AsyncIterator[Fleet]:
    """Run both with so many devices of ten properties.

    The block begins `settle` seconds after every property has been read once.
    """
    progress(f"starting {number} devices of {PROPERTIES} properties, each {collect_ms} ms")
    async with run_manager(folder) as manager, run_mapper(folder) as mapper:
        fleet = Fleet(manager, mapper, manager.ready["api"], mapper.ready["rest"])
        await _apply(fleet.api, number, collect_ms)
        total = number * PROPERTIES
        await until(
            lambda: metrics(fleet.api)["dmi_readings_total"] >= total,
            _START_SECONDS,
            f"{total} readings committed",
        )
        await asyncio.sleep(settle)
        yield fleet


async def _apply(api: str, number: int, collect_ms: int) -> None:
    items = [model(PROPERTIES), *devices(number, PROPERTIES, collect_ms)]
    body = {"apiVersion": "v1", "kind": "List", "items": items}
    async with httpx.AsyncClient(timeout=_APPLY_SECONDS, trust_env=False) as client:
        answer = await client.post(f"{api}/api/v1/apply", json=body)
        answer.raise_for_status()


def metrics(address: str) -> Mapping[str, float]:
    """Numbers of `/metrics` by name, each the sum over its labels; 0 for what is not there yet.

    A sample whose only label tells outcomes apart is there as `name{value}` too.
    """
    text = httpx.get(f"{address}/metrics", trust_env=False).raise_for_status().text
    found: defaultdict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] += sample.value
            if len(sample.labels) == 1:
                (label,) = sample.labels.values()
                found[f"{sample.name}{{{label}}}"] = sample.value
    return found

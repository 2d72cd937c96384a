"""A mapper of virtual devices that delivers to sinks, as users start it, without any manager."""

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from benchmarks.measured import progress
from benchmarks.nodes import PROPERTIES, metrics
from benchmarks.processes import Program, program, until
from benchmarks.virtual import COUNT_VARIABLE, devices, model

__all__ = ["Delivering", "Runs", "Sinks", "Watch", "http_sink", "run_delivering", "sink"]

Sinks = Sequence[Mapping[str, object]]
"""Settings of sinks."""

_START_SECONDS: Final = 120.0
_TICKS: Final = "dmi_mapper_ticks_total"
_PUBLISHED: Final = "dmi_mapper_reported_readings_total"


def sink(name: str, kind: str, target: Mapping[str, object], **more: object) -> dict[str, object]:
    """Settings of one sink, for everything there is."""
    return {"name": name, "kind": kind, "target": dict(target), **more}


def http_sink(name: str, port: int) -> Mapping[str, object]:
    """Settings of a sink that posts to a port of this machine."""
    return sink(name, "http", {"url": f"http://127.0.0.1:{port}/"})


@dataclass(frozen=True, slots=True)
class Delivering:
    """A mapper with sinks.

    Attributes:
        rest: Address of its REST API.
        count_file: Says, after its end, how many values its drivers gave.
    """

    mapper: Program
    rest: str
    count_file: Path

    def targets(self) -> dict[str, dict[str, Any]]:
        """How each target does, by name, as REST tells it."""
        answer = httpx.get(f"{self.rest}/api/v1/targets", trust_env=False).raise_for_status()
        return {target["name"]: target for target in answer.json()["items"]}

    def published(self) -> int:
        """Readings that were handed out so far."""
        return round(metrics(self.rest)[_PUBLISHED])

    async def stop(self) -> int:
        """Stop the mapper as an operator does; give how many values its drivers gave."""
        await self.mapper.stop()
        return int(self.count_file.read_text())


class Watch:
    """What a mapper does from one moment to another."""

    def __init__(self, delivering: Delivering) -> None:
        self._delivering = delivering
        self._before, self._begin = self._sample(), time.monotonic()

    def end(self) -> dict[str, float]:
        """Rates and costs since it was made; what each target took is `delivered_NAME_per_s`."""
        after, taken = self._sample(), time.monotonic() - self._begin
        passed = {name: after[name] - self._before.get(name, 0.0) for name in after}
        published = passed.pop("published")
        cpu = passed.pop("cpu")
        late = {name: round(passed.pop(name)) for name in ("ticks_late", "ticks_skipped")}
        return {
            "seconds": round(taken, 2),
            "readings_per_s": round(published / taken),
            "cpu_percent": round(100 * cpu / taken, 1),
            "cpu_us_per_reading": round(cpu / max(1, published) * 1e6, 2),
            **late,
            **{f"delivered_{name}_per_s": round(n / taken) for name, n in passed.items()},
        }

    def _sample(self) -> dict[str, float]:
        figures = metrics(self._delivering.rest)
        return {
            "published": figures[_PUBLISHED],
            "ticks_late": figures[f"{_TICKS}{{late}}"],
            "ticks_skipped": figures[f"{_TICKS}{{skipped}}"],
            "cpu": self._delivering.mapper.cpu_seconds(),
            **{name: one["delivered"] for name, one in self._delivering.targets().items()},
        }


@asynccontextmanager
async def run_delivering(
    folder: Path,
    number: int,
    collect_ms: int,
    sinks: Sinks = (),
    **settings: object,
) -> AsyncIterator[Delivering]:
    """Run a mapper of so many devices of ten properties, for the length of the block.

    It begins when every property has been read once.

    Args:
        folder: For all files of it; a new one for each mapper.
        number: How many devices.
        collect_ms: How often each is read.
        sinks: Settings of its sinks; their spools lie in the folder.
        settings: Others of the mapper.
    """
    delivery = {"folder": str(folder / "spool"), "sinks": list(sinks)}
    declared, config = _write(folder, number, collect_ms, {"delivery": delivery, **settings})
    command = ["-m", "dmi_cli", "mapper", "benchmarks.virtual:CountedDriver", "--ready-json"]
    command += ["--config", str(config), "--devices", str(declared), "--rest", "127.0.0.1:0"]
    count_file, log = folder / "given", folder / "mapper.log"
    async with program(command, log, environment={COUNT_VARIABLE: str(count_file)}) as mapper:
        found = Delivering(mapper, mapper.ready["rest"], count_file)
        total = number * PROPERTIES
        await until(lambda: found.published() >= total, _START_SECONDS, f"{total} readings")
        yield found


def _write(
    folder: Path, number: int, collect_ms: int, settings: Mapping[str, object]
) -> tuple[Path, Path]:
    """Make the files of devices and of settings."""
    folder.mkdir(exist_ok=True)
    items = [model(PROPERTIES), *devices(number, PROPERTIES, collect_ms)]
    declared = folder / "devices.json"
    declared.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    config = folder / "mapper.yaml"
    config.write_text(json.dumps(settings, default=str))
    return declared, config


class Runs:
    """Mappers that differ in their sinks alone; what was found, by the name of the run.

    Attributes:
        devices: How many each serves, of ten properties that are read once a second.
        lost: Readings that a sink which was not dead never got.
    """

    def __init__(self, title: str, folder: Path, devices: int, seconds: float) -> None:
        self.devices = devices
        self.lost = 0
        self._title = title
        self._folder = folder
        self._seconds = seconds
        self._found: dict[str, list[dict[str, float]]] = {}
        self._count = 0

    async def run(self, name: str, sinks: Sinks) -> None:
        """Run a mapper with these sinks for a while."""
        progress(f"{self._title}: {name}")
        self._count += 1
        folder = self._folder / str(self._count)
        async with run_delivering(folder, self.devices, 1000, sinks, grace=1) as delivering:
            await asyncio.sleep(min(2.0, self._seconds))
            watch = Watch(delivering)
            await asyncio.sleep(self._seconds)
            self._found.setdefault(name, []).append(watch.end())
            for target, status in delivering.targets().items():
                if target != "dead":
                    self.lost += sum(status["lost"].values())

    def costs(self) -> dict[str, float]:
        """Microseconds of CPU per reading, of each run the median of its rounds."""
        return {
            name: round(statistics.median(one["cpu_us_per_reading"] for one in found), 2)
            for name, found in self._found.items()
        }

    def delivered(self, name: str) -> dict[str, float]:
        """Readings a second that each target took in the last round of a run."""
        found = self._found[name][-1]
        return {word: rate for word, rate in found.items() if word.startswith("delivered_")}

    def rate(self, name: str) -> float:
        """Readings a second that a sink which was not dead got."""
        rates = [
            rate
            for one in self._found[name]
            for word, rate in one.items()
            if word.startswith("delivered_null")
        ]
        return statistics.median(rates)

    def change(self, name: str, beside: str) -> float:
        """How much lower or higher the others' rate is than in another run, in percent."""
        return round((self.rate(name) / self.rate(beside) - 1) * 100, 2)

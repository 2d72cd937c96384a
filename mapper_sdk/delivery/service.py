"""All of a mapper's targets together: readings go in, and what can be known of them comes out."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final

from dmi.clock import Clock
from dmi.errors import ConfigError
from dmi.resources import Key
from mapper_sdk.delivery.config import DeliveryConfig, SinkConfig
from mapper_sdk.delivery.history import History
from mapper_sdk.delivery.inbox import Chunk
from mapper_sdk.delivery.manner import Tools
from mapper_sdk.delivery.routing.pacing import Pacer
from mapper_sdk.delivery.routing.router import DeviceWays, Router, Rule
from mapper_sdk.delivery.routing.targets import SinkClassOf, Targets
from mapper_sdk.delivery.status import Gap, TargetStatus
from mapper_sdk.delivery.worker import Worker
from mapper_sdk.devices.plan import Plan
from mapper_sdk.hub import Batch
from mapper_sdk.sessions.polling import Poller
from mapper_sdk.sinks.kinds import sink_class

if TYPE_CHECKING:
    from prometheus_client.core import Metric

__all__ = ["Delivery", "PlanOf", "history_sink"]

PlanOf = Callable[[Key], Plan | None]
"""Gives a device's plan as it is now; None when it is not served."""

_ROUND: Final = 1.0
_ORPHANS: Final = 60


class Delivery:
    """Brings readings to every target that settings and Devices name.

    Attributes:
        history: The embedded store of the past; None where there is none.
    """

    def __init__(
        self,
        config: DeliveryConfig,
        plan_of: PlanOf,
        poller: Poller,
        clock: Clock,
        *,
        history: SinkConfig | None = None,
        rng: Random | None = None,
        class_of: SinkClassOf = sink_class,
    ) -> None:
        """Make the workers that settings name; nothing is reached yet.

        Args:
            config: The settings.
            plan_of: Where the devices' plans are.
            poller: The mapper's timer.
            clock: The mapper's clock.
            history: The embedded sink whose past is `history`; it gets everything. Without
                one, it is the first of the settings' SQLite sinks.
            rng: Randomness for tests; spreads retries, decides nothing secret.
            class_of: Gives the class of a kind of sink.

        Raises:
            ConfigError: Settings are wrong; the text has the path in the file.
        """
        self._plan_of = plan_of
        self._clock = clock
        tools = Tools(poller, clock, rng or Random())  # noqa: S311 - spreads retries
        self._targets = Targets(config, tools, class_of)
        self._pacer = Pacer(poller, clock)
        self._poller = poller
        rules = []
        for index, sink in enumerate(config.sinks):
            path = ("delivery", "sinks", index)
            rules.append(Rule(sink, *self._targets.configured(sink, path)))
        if history is not None:
            if any(sink.name == history.name for sink in config.sinks):
                raise ConfigError(f"history: a sink of `delivery` is named {history.name!r}, too")
            rules.append(Rule(history, *self._targets.configured(history, ("history",))))
        past = history or next((sink for sink in config.sinks if sink.kind == "sqlite"), None)
        self.history: History | None = _history_of(past) if past is not None else None
        self._router = Router(rules, self._targets, class_of)
        self._lasting = {rule.worker for rule in rules}
        self._devices: dict[Key, DeviceWays] = {}
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[Worker, asyncio.Task[None]] = {}

    # ------------------------------------------------------------- readings ----

    def offer(self, batch: Batch) -> None:
        """Take the readings of one look at a device, and return at once."""
        device = batch[0][0].device
        plan = self._plan_of(device)
        ways = self._devices.get(device)
        if plan is not None and (
            ways is None or ways.plan is not plan or ways.revision != plan.revision
        ):
            ways = self._find_ways(device, plan, ways)
        if ways is None or not ways.ways:
            return
        points, readings = zip(*batch, strict=True)
        lanes, paced = ways.spread(points)
        for worker, routes, pick in lanes:
            worker.put(Chunk(routes, readings if pick is None else pick(readings)))
        if paced:
            self._pacer.offer([(way, readings[index]) for index, way in paced])

    async def run(self) -> None:
        """Deliver until cancelled; what is left then goes to disk."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for worker in self._targets.workers.values():
                    self._start(worker)
                await self._look_after_all()
        finally:
            self._group = None
            self._targets.close()

    async def drain(self) -> None:
        """Return when what was read so far is delivered, or cannot be now."""
        async with asyncio.TaskGroup() as group:
            for worker in list(self._targets.workers.values()):
                group.create_task(worker.drain(), name=f"drain {worker.name}")

    # -------------------------------------------------------- what is known ----

    def targets(self) -> list[TargetStatus]:
        """How each target does now, by name; with those that are only left on disk."""
        return sorted(
            (one.status() for one in self._targets.known()), key=lambda status: status.name
        )

    def gaps(
        self,
        target: str | None = None,
        device: Key | None = None,
        property_: str | None = None,
        since: float | None = None,
        limit: int = 1000,
    ) -> list[Gap]:
        """What was lost, newest first; of a spool that was damaged, no device is known.

        Args:
            target: Of this target only.
            device: Of this device only.
            property_: Of properties of this name only.
            since: Only gaps that last until this source time or later, seconds since 1970.
            limit: Most gaps to give.
        """
        found = [
            gap
            for one in self._targets.known()
            if target in (None, one.ledger.target)
            for gap in one.ledger.gaps()
            if device in (None, gap.device)
            and property_ in (None, gap.property)
            and (since is None or gap.last >= since)
        ]
        found.sort(key=lambda gap: (gap.last, gap.noted), reverse=True)
        return found[:limit]

    def problems(self) -> Mapping[Key, Mapping[str, str]]:
        """Why a property does not go where its Device's `pushMethod` says, by device.

        Each text begins with the path in the Device, as other problems of properties do.
        """
        return {key: ways.problems for key, ways in self._devices.items() if ways.problems}

    def problems_of(self, device: Key) -> Mapping[str, str]:
        """The same of one device."""
        ways = self._devices.get(device)
        return ways.problems if ways is not None else {}

    def metrics(self) -> "Iterator[Metric]":
        """Give the present figures of all targets for Prometheus."""
        from mapper_sdk.delivery.metrics import families

        workers = self._targets.workers.values()
        yield from families(self.targets(), {w.name: w.courier.errors for w in workers})

    # -------------------------------------------------------------- details ----

    def _find_ways(self, device: Key, plan: Plan, before: DeviceWays | None) -> DeviceWays:
        ways = self._devices[device] = self._router.ways(plan, before)
        for worker in dict.fromkeys(ways.workers()):
            self._start(worker)
        return ways

    def _start(self, worker: Worker) -> None:
        if self._group is not None and worker not in self._tasks:
            task = self._group.create_task(worker.run(), name=f"target {worker.name}")
            self._tasks[worker] = task

    async def _look_after_all(self) -> None:
        rounds = 0
        while True:
            await self._rest(_ROUND)
            for worker in list(self._targets.workers.values()):
                await worker.look_after()
            if rounds % _ORPHANS == 0:
                self._forget_devices()
                await self._let_go_of_unused()
                self._targets.adopt_orphans()
                await self._targets.look_after_orphans()
            rounds += 1

    def _forget_devices(self) -> None:
        for device in [key for key in self._devices if self._plan_of(key) is None]:
            del self._devices[device]

    async def _let_go_of_unused(self) -> None:
        """End workers that no property leads to any more, when nothing waits for them."""
        used = Counter(w for ways in self._devices.values() for w in ways.workers())
        for worker, task in list(self._tasks.items()):
            if worker in self._lasting or used[worker] or not worker.is_empty:
                continue
            self._targets.forget(worker)
            task.cancel()
            await asyncio.wait([task])
            del self._tasks[worker]
            worker.stow()

    async def _rest(self, seconds: float) -> None:
        bell = asyncio.Event()

        def ring() -> bool:
            bell.set()
            return True

        self._poller.after(seconds, ring)
        await bell.wait()


def history_sink(file: Path, days: float, size: int) -> SinkConfig:
    """Give the settings of the embedded sink that keeps the past of everything.

    Args:
        file: Where it is kept.
        days: How long.
        size: How much, in MiB.
    """
    target = {"path": str(file), "keepDays": days, "maxSize": size, "moveDamagedAside": True}
    return SinkConfig.model_validate(
        {"name": "history", "kind": "sqlite", "target": target, "spool": "off"}
    )


def _history_of(sink: SinkConfig) -> History:
    from mapper_sdk.sinks.sqlite import SqliteSink, SqliteTarget

    return SqliteSink(SqliteTarget.model_validate(sink.target)).history()

"""Keeping every v1beta1 mapper in step with what is wanted, each at its own pace."""

import asyncio
import logging
import random
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field, replace

from device_manager.node import Node
from device_manager.reconciling.delivery import DEVICE, MODEL, Delivery
from device_manager.reconciling.operations import Executor, digest, wanted_devices, wanted_models
from device_manager.records import MapperRecord
from dmi.clock import Clock, SystemClock
from dmi.errors import UnavailableError
from dmi.resources import Device, DeviceModel

__all__ = ["Inventory", "Reconciler"]

log = logging.getLogger(__name__)

V1BETA1 = "v1beta1"


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything a mapper should hold, ready to be sent: defaults merged, desired values in."""

    models: list[DeviceModel] = field(default_factory=list)
    devices: list[Device] = field(default_factory=list)


class Reconciler:
    """Compares what is wanted with what each mapper holds, and makes the calls between.

    The contract routes by protocol alone, so there is one mapper for each; the last that
    registered. It is given nothing while mappers of DMI v1 serve the protocol. A mapper that
    hangs delays nobody but itself.
    """

    def __init__(
        self,
        node: Node,
        executor: Executor,
        clock: Clock | None = None,
        *,
        deadline: float = 10.0,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Prepare; `run` does the work.

        Args:
            node: What is wanted, and what the mappers hold.
            executor: Makes the calls.
            clock: For delays.
            deadline: How long a call may take, in seconds; 10 is EdgeCore's.
            chance: From 0 up to 1; spreads delays.
        """
        self._node = node
        self._executor = executor
        self._clock = clock or SystemClock()
        self._deadline = deadline
        self._chance = chance
        self._group: asyncio.TaskGroup | None = None
        self._deliveries: dict[str, tuple[Delivery, asyncio.Task[None]]] = {}
        self._given_away: AbstractSet[str] = frozenset()

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for record in self._latest():
                    self._start(record)
                await self._follow()
        finally:
            self._group = None
            self._deliveries.clear()

    async def register(self, record: MapperRecord, *, with_data: bool) -> Inventory:
        """A mapper has started, or started again; from now on it is kept in step.

        Args:
            record: Its name, protocol and address.
            with_data: It takes everything from the answer, so nothing needs to be sent
                again; without, everything is sent by calls.

        Returns:
            What to answer; empty without data.
        """
        record = replace(record, alive=True, last_seen=self._clock.time())
        protocol = record.protocol
        self._stop(protocol)
        # Not on disk yet, but it will be; the mapper is served meanwhile.
        with suppress(UnavailableError):
            await self._node.put_mapper(record)
        inventory = Inventory()
        if protocol in self._given_away:
            log.warning("mapper %s gets nothing: one of DMI v1 serves %s", record.name, protocol)
        elif with_data:
            models = wanted_models(self._node, protocol)
            inventory = Inventory(
                list(models.values()), list(wanted_devices(self._node, protocol).values())
            )
        held = {(MODEL, model.key): digest(model) for model in inventory.models}
        held |= {(DEVICE, device.key): digest(device) for device in inventory.devices}
        self._node.actual.replace(protocol, held)
        self._start(record)
        return inventory

    def give_way(self, protocols: AbstractSet[str]) -> None:
        """Mappers of DMI v1 serve these protocols now, and no others."""
        self._given_away = protocols
        for protocol, (delivery, _) in self._deliveries.items():
            delivery.give_way(protocol in protocols)

    def pending(self, protocol: str) -> int:
        """How many objects the mapper of a protocol is not known to have in step."""
        known = self._deliveries.get(protocol)
        return known[0].pending if known is not None else 0

    def errors(self, protocol: str) -> dict[str, str]:
        """What the mapper of a protocol does not take, and why; by kind and key."""
        known = self._deliveries.get(protocol)
        if known is None:
            return {}
        return {f"{kind} {key}": text for (kind, key), text in known[0].errors.items()}

    def _latest(self) -> list[MapperRecord]:
        """The mapper of each protocol that was seen last."""
        latest: dict[str, MapperRecord] = {}
        for record in sorted(self._node.mappers.values(), key=_last_seen):
            if record.api == V1BETA1:
                latest[record.protocol] = record
        return list(latest.values())

    def _start(self, record: MapperRecord) -> None:
        # Two registrations may have crossed while the first waited for its commit.
        self._stop(record.protocol)
        if self._group is None:
            return
        delivery = Delivery(
            self._node,
            record,
            self._executor,
            self._clock,
            deadline=self._deadline,
            chance=self._chance,
            gives_way=record.protocol in self._given_away,
        )
        task = self._group.create_task(delivery.run(), name=f"deliver to {record.name}")
        self._deliveries[record.protocol] = delivery, task

    def _stop(self, protocol: str) -> None:
        known = self._deliveries.pop(protocol, None)
        if known is not None:
            known[1].cancel()

    async def _follow(self) -> None:
        """Tell every delivery what has changed, for ever."""
        version = self._node.version
        while True:
            await self._node.wait_change(version)
            changes = self._node.changes_since(version)
            version = self._node.version
            for delivery, _ in self._deliveries.values():
                if changes is None:
                    delivery.touch_all()
                else:
                    delivery.touch(changes)


def _last_seen(record: MapperRecord) -> float:
    return record.last_seen

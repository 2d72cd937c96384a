"""Mappers that are gone, and their devices, whose state becomes unknown."""

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from device_manager.dmi_service.leases import Leases
from device_manager.node import Node, mapper_id
from device_manager.records import MapperRecord, StateRecord
from dmi.clock import Clock
from dmi.errors import DmiError
from dmi.resources import Key
from dmi.unix_socket import is_served

__all__ = ["Orphans"]

log = logging.getLogger(__name__)


class Orphans:
    """Keeps the books true when mappers go: their records and their devices' states.

    A v1 mapper lives as long as its lease. A v1beta1 mapper lives while somebody accepts
    connections on its socket, or has just reported.
    """

    def __init__(self, node: Node, leases: Leases, clock: Clock) -> None:
        self._node = node
        self._leases = leases
        self._clock = clock

    async def run(self) -> None:
        """Look at each coming and going, and once a lease, until cancelled.

        Mappers of the manager's former life have one lease to come back in; only then
        are their devices given up.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            heard = self._leases.traffic.rung
            try:
                await self._look(everyone=loop.time() - began >= self._leases.seconds)
            except DmiError as error:
                log.warning("what is gone cannot be noted now: %s", error)
            try:
                async with asyncio.timeout(self._leases.seconds):
                    await self._leases.traffic.wait(heard)
            except TimeoutError:
                continue

    async def _look(self, *, everyone: bool) -> None:
        for name in list(self._node.mappers):
            # As it is now: it may have registered again while the one before was written down.
            record = self._node.mappers.get(name)
            if record is not None and (everyone or self._leases.has_served(record.protocol)):
                alive = self._lives(record)
                if record.alive != alive:
                    # Beats are not written to disk: what is there is the registration.
                    beat = self._leases.last_seen.get(mapper_id(record), 0.0)
                    seen = max(record.last_seen, beat)
                    await self._node.put_mapper(replace(record, alive=alive, last_seen=seen))
        for key in list(self._orphans(everyone=everyone)):
            # Somebody may have taken over while the one before was written down.
            if self._leases.owner(key) is None and key in self._node.devices:
                await self._node.set_state(key, self._gone(key))

    def _lives(self, record: MapperRecord) -> bool:
        if record.api == "v1":
            return any(session.mapper == mapper_id(record) for session in self._leases.sessions)
        recent = self._clock.time() - record.last_seen < self._leases.seconds
        return recent or is_served(Path(record.address))

    def _orphans(self, *, everyone: bool) -> Iterator[Key]:
        others = {r.protocol for r in self._node.mappers.values() if r.api != "v1" and r.alive}
        for key, device in self._node.devices.items():
            protocol = device.spec.protocol.protocol_name
            if (
                protocol not in others
                and (everyone or self._leases.has_served(protocol))
                and self._leases.owner(key) is None
                and self._node.state(key).state != "unknown"
            ):
                yield key

    def _gone(self, key: Key) -> StateRecord:
        return replace(
            self._node.state(key),
            state="unknown",
            since=self._clock.time(),
            reason="mapper_gone",
            message="no mapper serves this device now",
        )

"""Lets commands end that no mapper will answer: too late, of a deleted device, of a dead mapper."""

import asyncio
from collections.abc import Iterator
from typing import Final

from device_manager.commands.book import CommandBook
from device_manager.commands.records import CommandRecord
from device_manager.commands.wishing import PROCESS
from device_manager.dmi_service.leases import Leases
from device_manager.node import Node
from dmi.clock import Clock
from dmi.reports import Phase

__all__ = ["PATIENCE", "CommandKeeper"]

PATIENCE: Final = 60.0
"""Seconds after its deadline that a command waits for word of the mapper that was given it."""
_LONGEST_NAP: Final = 30.0
_SHORTEST_NAP: Final = 0.01


class CommandKeeper:
    """Looks after what is open, at each change and at each deadline."""

    def __init__(
        self, node: Node, leases: Leases, clock: Clock, *, patience: float = PATIENCE
    ) -> None:
        self._node = node
        self._book: CommandBook = node.commands
        self._leases = leases
        self._clock = clock
        self._patience = patience

    async def run(self) -> None:
        """Look after the commands until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            while True:
                heard = self._book.bell.rung
                self.look()
                try:
                    async with asyncio.timeout(self._nap()):
                        await self._book.bell.wait(heard)
                except TimeoutError:
                    continue

    async def _follow(self) -> None:
        """Who serves a device may be another one now; whoever sends commands must look again."""
        heard = 0
        while True:
            heard = await self._leases.bell.wait(heard)
            if self._book.open:
                self._book.bell.ring()

    def look(self) -> None:
        """End what must end now."""
        now = self._clock.time()
        for record in list(self._book.open.values()):
            if record.process:
                self._look_at_given(record, now)
            elif record.device not in self._node.devices:
                text = f"device {record.device} was deleted"
                self._book.end(record, Phase.UNSUCCESSFUL, "not_found", text)
            elif record.deadline <= now:
                text = "no mapper served the device before the deadline"
                self._book.end(record, Phase.EXPIRED, "deadline", text)

    def _look_at_given(self, record: CommandRecord, now: float) -> None:
        if record.process == PROCESS or now < record.deadline + self._patience:
            return
        if record.process not in self._book.processes:
            self._book.lose(record, f"mapper {record.mapper} went away and did not come back")
        elif record.phase is Phase.ACCEPTED:
            self._book.lose(record, f"mapper {record.mapper} has never said what became of it")

    def _nap(self) -> float:
        now = self._clock.time()
        return max(_SHORTEST_NAP, min((*self._moments(now), _LONGEST_NAP)))

    def _moments(self, now: float) -> Iterator[float]:
        """How many seconds from now something ends."""
        for record in self._book.open.values():
            if record.process == PROCESS:
                continue  # `Wishing` looks after those
            if not record.process:
                yield record.deadline - now
            elif record.phase is Phase.ACCEPTED or record.process not in self._book.processes:
                yield record.deadline + self._patience - now

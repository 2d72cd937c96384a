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

__all__ = ["GRACE", "PATIENCE", "CommandKeeper"]

PATIENCE: Final = 60.0
"""Seconds after its deadline that a command waits for word of the mapper that was given it."""
GRACE: Final = 10.0
"""Seconds between the first look that finds a command overdue and its end."""
_LONGEST_NAP: Final = 30.0
_SHORTEST_NAP: Final = 0.01


class CommandKeeper:
    """Looks after what is open, at each change and at each deadline."""

    def __init__(
        self,
        node: Node,
        leases: Leases,
        clock: Clock,
        *,
        patience: float = PATIENCE,
        grace: float = GRACE,
    ) -> None:
        self._node = node
        self._book: CommandBook = node.commands
        self._leases = leases
        self._clock = clock
        self._patience = patience
        self._grace = grace
        self._noticed: dict[str, float] = {}

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
        self._noticed = {one: at for one, at in self._noticed.items() if one in self._book.open}
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
        if record.process == PROCESS or not self._is_overdue(record, now):
            self._noticed.pop(record.id, None)
            return
        # This process may have been stopped for a while itself: what has come since is not read
        # yet, and a mapper that was given up reconnects.
        noticed = self._noticed.setdefault(record.id, self._clock.monotonic())
        if self._clock.monotonic() < noticed + self._grace:
            return
        del self._noticed[record.id]
        if record.process in self._book.processes:
            self._book.lose(record, f"mapper {record.mapper} has never said what became of it")
        else:
            self._book.lose(record, f"mapper {record.mapper} went away and did not come back")

    def _is_overdue(self, record: CommandRecord, now: float) -> bool:
        """Whether the mapper that was given a command should have said more by now."""
        if record.phase is Phase.RUNNING and record.process in self._book.processes:
            return False
        return now >= record.deadline + self._patience

    def _nap(self) -> float:
        now = self._clock.time()
        return max(_SHORTEST_NAP, min((*self._moments(now), _LONGEST_NAP)))

    def _moments(self, now: float) -> Iterator[float]:
        """How many seconds from now something ends, or must be looked at again."""
        for record in self._book.open.values():
            if record.id in self._noticed:
                yield self._noticed[record.id] + self._grace - self._clock.monotonic()
            elif not record.process:
                yield record.deadline - now
            elif record.process != PROCESS and not (
                record.phase is Phase.RUNNING and record.process in self._book.processes
            ):
                yield record.deadline + self._patience - now

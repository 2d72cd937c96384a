"""Declared methods of devices behind v1beta1 mappers: their arguments become desired values."""

import asyncio
from collections.abc import Iterable
from typing import Final

from device_manager.commands.records import OUTCOME_UNKNOWN, CommandRecord
from device_manager.dmi_service.leases import Leases
from device_manager.node import Node, mapper_id
from device_manager.records import Wish
from dmi.clock import Clock
from dmi.errors import DmiError, UnavailableError
from dmi.readings import Value
from dmi.reports import CommandProgress, OutcomeStatus, Phase

__all__ = ["PROCESS", "Wishing"]

PROCESS: Final = "v1beta1-wishes"
"""Stands for the mapper's process; no real one can have this name."""

_LOOK_AGAIN: Final = 0.05
_READ_BACK: Final = 30.0
"""Seconds that the device has to report what was written."""
_REFUSALS: Final = frozenset({OutcomeStatus.REJECTED, OutcomeStatus.FAILED})


class Wishing:
    """Carries out commands where DMI v1beta1 knows nothing but desired values.

    The values stay desired afterwards: a v1beta1 mapper writes what is desired again when
    it likes, so anything else would not last. A wish that its mapper has not taken by the
    deadline is taken back. All is read off the wishes, so a restart changes nothing.
    """

    def __init__(self, node: Node, leases: Leases, clock: Clock) -> None:
        self._node = node
        self._book = node.commands
        self._leases = leases
        self._clock = clock

    async def run(self) -> None:
        """Carry out what comes, until cancelled."""
        self._book.processes.add(PROCESS)
        while True:
            heard = self._book.bell.rung
            waiting = await self.look()
            try:
                # Nothing announces a mapper that registers, or what became of one wish.
                async with asyncio.timeout(_LOOK_AGAIN if waiting else None):
                    await self._book.bell.wait(heard)
            except TimeoutError:
                continue

    async def look(self) -> bool:
        """Bring each command as far as it can come now; say whether one waits for something."""
        self._book.take_settled(PROCESS)  # nobody has to be told
        waiting = False
        for record in list(self._book.open.values()):
            if record.process == PROCESS:
                await self._follow(record)
            elif not record.process and self._is_declared(record):
                await self._begin(record)
            else:
                continue
            waiting = True
        return waiting

    def _is_declared(self, record: CommandRecord) -> bool:
        device = self._node.devices.get(record.device)
        return device is not None and any(one.name == record.method for one in device.spec.methods)

    def _mapper(self, record: CommandRecord) -> str:
        """The living v1beta1 mapper of a device that no v1 mapper serves; empty for none."""
        if self._leases.owner(record.device) is not None:
            return ""
        protocol = self._node.devices[record.device].spec.protocol.protocol_name
        for known in self._node.mappers.values():
            if known.api == "v1beta1" and known.protocol == protocol and known.alive:
                return mapper_id(known)
        return ""

    async def _begin(self, record: CommandRecord) -> None:
        mapper = self._mapper(record)
        if not mapper or record.deadline <= self._clock.time():
            return
        try:
            for name, value in record.arguments.items():
                await self._node.set_desired(record.device, name, value)
        except UnavailableError:
            return  # the disk takes nothing now; tried again until the deadline
        except DmiError as error:
            await self._take_back(record, record.arguments)
            if record.id in self._book.open:
                self._book.end(record, Phase.UNSUCCESSFUL, error.reason, str(error))
            return
        if self._book.open.get(record.id) is record:
            self._book.give(record, mapper, PROCESS)
        else:
            await self._take_back(record, record.arguments)

    async def _follow(self, record: CommandRecord) -> None:
        wishes = [self._wish(record, name, value) for name, value in record.arguments.items()]
        known = [wish for wish in wishes if wish is not None]
        statuses = {wish.status for wish in known}
        now = self._clock.time()
        if len(known) < len(wishes):
            text = "somebody else has set or cleared a property meanwhile"
            self._say(record, Phase.UNSUCCESSFUL, "conflict", text)
        elif refused := [wish for wish in known if wish.status in _REFUSALS]:
            self._say(record, Phase.UNSUCCESSFUL, refused[0].reason, refused[0].message)
        elif statuses == {OutcomeStatus.CONFIRMED}:
            self._say(record, Phase.SUCCEEDED, results=dict(record.arguments))
        elif statuses != {OutcomeStatus.PENDING}:
            self._run_on(record, known, now)
        elif record.cancelling or record.deadline <= now:
            await self._give_up(record)

    def _run_on(self, record: CommandRecord, wishes: Iterable[Wish], now: float) -> None:
        """The mapper has taken a wish: the device must read it back."""
        self._say(record, Phase.RUNNING)
        latest = max(record.deadline, *(wish.settled_at for wish in wishes))
        if now > latest + _READ_BACK:
            text = "the mapper has taken it, and the device has not reported it since"
            self._say(record, Phase.UNSUCCESSFUL, OUTCOME_UNKNOWN, text)

    async def _give_up(self, record: CommandRecord) -> None:
        await self._take_back(record, record.arguments)
        if record.cancelling:
            self._say(record, Phase.CANCELLED, "cancelled", "it was taken back before it began")
        else:
            text = "the mapper did not take it before the deadline"
            self._say(record, Phase.EXPIRED, "deadline", text)

    async def _take_back(self, record: CommandRecord, names: Iterable[str]) -> None:
        for name in names:
            wish = self._wish(record, name, record.arguments[name])
            if wish is not None and wish.status is OutcomeStatus.PENDING:
                try:
                    await self._node.clear_desired(record.device, name)
                except DmiError:
                    continue  # the device is gone, or the disk full: the wish stays one

    def _wish(self, record: CommandRecord, name: str, value: Value) -> Wish | None:
        """The wish that this command made; None when it is not there any more."""
        twin = self._node.twins(record.device).get(name)
        wish = twin.desired if twin is not None else None
        same = wish is not None and (type(wish.value), wish.value) == (type(value), value)
        return wish if same and wish is not None and wish.time >= record.created else None

    def _say(
        self,
        record: CommandRecord,
        phase: Phase,
        reason: str = "",
        message: str = "",
        results: dict[str, Value] | None = None,
    ) -> None:
        now = self._clock.time()
        progress = CommandProgress(record.id, phase, now, 0, reason, message, results or {})
        self._book.hear(PROCESS, progress)

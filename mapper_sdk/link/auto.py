"""The link of whichever version the manager at the socket answers."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

import grpc

from dmi.errors import DmiError, UnavailableError, UnsupportedError
from dmi.proto.v1 import api_pb2 as pb
from dmi.proto.v1 import api_pb2_grpc as rpc
from dmi.readings import Reading
from dmi.reports import DeviceState, Outcome
from dmi.status import from_grpc
from dmi.unix_socket import Identity, channel, identity
from mapper_sdk.devices.plan import Point
from mapper_sdk.link.base import Link, Served
from mapper_sdk.link.patience import Patience
from mapper_sdk.sessions.backoff import Backoff
from mapper_sdk.sessions.calling import Callee

__all__ = ["AutoLink"]

log = logging.getLogger(__name__)

_ANSWER_SECONDS: Final = 2.0
_LOOK_EVERY: Final = 0.25

_NAMES: Final = {True: "v1", False: "v1beta1"}

Maker = Callable[[], Link]
"""Makes a link that has served nothing yet."""


class AutoLink(Link):
    """Asks the manager for the newest version first, then is the link of that version.

    It asks again when another socket appears, so a mapper follows when the node's device
    manager takes the place of its EdgeCore, or the other way round. Then all devices begin
    anew; readings that the link before had not delivered are gone with it, and so are its
    counts.
    """

    def __init__(self, socket: Path, *, v1: Maker, v1beta1: Maker) -> None:
        """Prepare.

        Args:
            socket: The manager's.
            v1: Makes the link that is used where the manager knows DMI v1.
            v1beta1: Makes the one that is used where it does not.
        """
        # Not `super().__init__()`: the attributes of a link are those of the chosen one.
        self._socket = socket
        self._makers = {True: v1, False: v1beta1}
        # Nothing is served before the version is known, so nothing can be reported before.
        self._chosen = v1()
        self.callee = None
        self._seen: Identity | None = None
        # Randomness against thundering herds needs no cryptography.
        backoff = Backoff(Random(), first=0.1, longest=2.0)  # noqa: S311
        self._patience = Patience(socket, backoff, log)

    @property
    def connected(self) -> bool:
        """Whether the chosen link is."""
        return self._chosen.connected

    @connected.setter
    def connected(self, value: bool) -> None:
        self._chosen.connected = value

    @property
    def acknowledged(self) -> int:
        """What the other side of the chosen link has taken over."""
        return self._chosen.acknowledged

    @acknowledged.setter
    def acknowledged(self, value: int) -> None:
        self._chosen.acknowledged = value

    @property
    def dropped(self) -> dict[str, int]:
        """What the chosen link dropped."""
        return self._chosen.dropped

    @dropped.setter
    def dropped(self, value: dict[str, int]) -> None:
        self._chosen.dropped = value

    def offer(self, callee: Callee) -> None:
        """Let the manager call methods, where the chosen link can carry that."""
        self.callee = callee
        self._chosen.offer(callee)

    def report(self, batch: list[tuple[Point, Reading]]) -> None:
        """Take the readings of one look at a device."""
        self._chosen.report(batch)

    def report_state(self, state: DeviceState) -> None:
        """Take a device's new state."""
        self._chosen.report_state(state)

    def report_outcome(self, outcome: Outcome) -> None:
        """Take what became of a wish."""
        self._chosen.report_outcome(outcome)

    async def drain(self) -> None:
        """Return when everything taken so far is delivered."""
        await self._chosen.drain()

    async def run(self, served: Served) -> None:
        """Serve until cancelled; waits for a manager that is not there.

        Raises:
            ExceptionGroup: Of ConfigError: the chosen link cannot be used as it is set.
        """
        knows_v1 = await self._asked()
        if not knows_v1:
            self._choose(knows_v1)
        while True:
            log.info("the manager at %s knows DMI %s", self._socket, _NAMES[knows_v1])
            async with asyncio.TaskGroup() as group:
                serving = group.create_task(self._chosen.run(served), name="chosen link")
                await self._until_other(knows_v1)
                serving.cancel()
            knows_v1 = not knows_v1
            self._choose(knows_v1)
            served.keep_only(frozenset(), frozenset())

    def _choose(self, knows_v1: bool) -> None:
        self._chosen = self._makers[knows_v1]()
        if self.callee is not None:
            self._chosen.offer(self.callee)

    async def _until_other(self, knows_v1: bool) -> None:
        """Return when a manager of the other kind answers at the socket."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            found = identity(self._socket)
            if found in (None, self._seen):
                continue
            try:
                async with channel(self._socket) as manager:
                    answer = await _answers_v1(manager)
            except DmiError as error:
                # The chosen link complains enough.
                log.debug("%s; asking again", error)
                continue
            self._seen = found
            if answer is not knows_v1:
                return

    async def _asked(self) -> bool:
        """Whether the manager knows DMI v1, as soon as there is one that answers."""
        async with channel(self._socket) as manager:
            while True:
                self._patience.begin()
                self._seen = identity(self._socket)
                try:
                    return await _answers_v1(manager)
                except DmiError as error:
                    self._patience.complain(error)
                await self._patience.wait()


async def _answers_v1(manager: grpc.aio.Channel) -> bool:
    """Whether there is a service of v1; EdgeCore's limiter does not see this question."""
    question = pb.ListMappersRequest(protocol="-")
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            await rpc.MapperManagementStub(manager).ListMappers(question)
    except TimeoutError as error:
        raise UnavailableError("the manager does not answer") from error
    except grpc.aio.AioRpcError as error:
        reason = from_grpc(error, "ask for the manager's version")
        if isinstance(reason, UnsupportedError):
            return False
        raise reason from error
    return True

"""The link to a device manager that speaks DMI v1."""

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Set as AbstractSet
from pathlib import Path
from random import Random
from typing import Final

import grpc

from dmi.convert.batch import encode_batch
from dmi.convert.v1 import registration_to_v1
from dmi.errors import DmiError, UnavailableError
from dmi.proto.v1 import api_pb2 as pb
from dmi.proto.v1 import api_pb2_grpc as rpc
from dmi.readings import Reading
from dmi.reports import STATES, DeviceState, Outcome, Registration
from dmi.resources import Key
from dmi.unix_socket import channel
from mapper_sdk.devices.plan import Point
from mapper_sdk.link.base import Link, Served
from mapper_sdk.link.outbox import Outbox, Sealed
from mapper_sdk.link.patience import Patience
from mapper_sdk.link.stream import Stream, one_error, open_stream
from mapper_sdk.link.v1_commands import Commands
from mapper_sdk.link.v1_watch import Watch
from mapper_sdk.sessions.backoff import Backoff
from mapper_sdk.sessions.calling import Callee
from mapper_sdk.sessions.executing import Executor

__all__ = ["V1Link"]

log = logging.getLogger(__name__)

_GATHER: Final = 0.05
_WELCOME: Final = 2.5
_FLUSH: Final = 1.0

Reports = Stream[pb.ReportBatch, pb.ReportAck]
Lease = Stream[pb.MapperBeat, pb.MapperNotice]


class V1Link(Link):
    """Registers, watches and reports over one kept channel; begins again when any of it ends.

    Readings gather for up to 50 ms, the first after a silence go at once, and so do states
    and outcomes. Batches keep their numbers over connections, so each is applied once. A
    manager that lost us has given our devices up, so each session begins with their states;
    one that has lost its store gets their latest readings too.

    Attributes:
        refused: Handles of points whose readings the manager did not take.
    """

    def __init__(
        self,
        socket: Path,
        registration: Registration,
        *,
        outbox: Outbox | None = None,
        rng: Random | None = None,
    ) -> None:
        """Prepare; nothing is opened before `run`.

        Args:
            socket: The manager's.
            registration: Who this mapper is.
            outbox: Where reports wait; by default one of the usual size.
            rng: Randomness of the waits between attempts.
        """
        super().__init__()
        self.refused: set[int] = set()
        self._socket = socket
        self._registration = registration
        self._outbox = outbox or Outbox()
        self.dropped = self._outbox.dropped
        self._stream_id = secrets.token_hex(16)
        self._executor = Executor()
        self._commands = Commands(self._executor, self._stream_id)
        self._states: dict[Key, DeviceState] = {}
        self._points: dict[int, Point] = {}
        self._epoch = ""
        # Randomness against thundering herds needs no cryptography.
        rng = rng or Random()  # noqa: S311
        self._patience = Patience(socket, Backoff(rng, first=0.1, longest=2.0), log)

    # ------------------------------------------------------------ reports ----

    def report(self, batch: list[tuple[Point, Reading]]) -> None:
        """Take the readings of one look at a device."""
        self._outbox.add(batch)

    def report_state(self, state: DeviceState) -> None:
        """Take a device's new state."""
        self._states[state.device] = state
        self._outbox.add_state(state)
        self._executor.decided.ring()

    def report_outcome(self, outcome: Outcome) -> None:
        """Take what became of a wish."""
        self._outbox.add_outcome(outcome)

    def offer(self, callee: Callee) -> None:
        """Let the manager call methods."""
        super().offer(callee)
        self._executor.callee = callee

    async def drain(self) -> None:
        """Begin no command any more; return when the manager has all that was taken so far."""
        self._executor.stop()
        await self._outbox.drained()
        await self._executor.settled()

    # ------------------------------------------------------------ session ----

    async def run(self, served: Served) -> None:
        """Serve until cancelled; waits for a manager that is not there, and for its return."""
        watch = Watch(served)
        async with channel(self._socket) as manager, asyncio.TaskGroup() as group:
            # A command goes on when the session breaks in which it came.
            group.create_task(self._executor.run(), name="commands")
            while True:
                self._patience.begin()
                try:
                    await self._session(manager, watch)
                except DmiError as error:
                    self._patience.complain(error)
                finally:
                    self.connected = False
                await self._patience.wait()

    async def _session(self, manager: grpc.aio.Channel, watch: Watch) -> None:
        """Hold one lease for as long as everything works."""
        with one_error():
            async with open_stream(
                rpc.MapperManagementStub(manager).Register, "register with the manager"
            ) as lease:
                welcome = await self._register(lease)
                self._repeat(welcome.epoch, watch.devices)
                self.connected = True
                self._patience.worked("linked to the manager at %s", self._socket)
                seconds = welcome.lease_ms / 1000
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._listen(lease, seconds))
                    group.create_task(watch.follow(manager, welcome.session, welcome.epoch))
                    group.create_task(self._report(manager, welcome.session))
                    group.create_task(self._commands.follow(manager, welcome.session))
                    await self._beat(lease, watch.devices, seconds / 3)

    async def _register(self, lease: Lease) -> pb.Welcome:
        try:
            async with asyncio.timeout(_WELCOME):
                await lease.send(pb.MapperBeat(registration=registration_to_v1(self._registration)))
                notice = await lease.receive()
        except TimeoutError as error:
            raise UnavailableError(f"no manager answers at {self._socket}") from error
        if not notice.HasField("welcome"):
            raise UnavailableError("the manager did not say welcome")
        return notice.welcome

    def _repeat(self, epoch: str, devices: AbstractSet[Key]) -> None:
        """Tell a manager anew what it may have lost."""
        self._states = {key: state for key, state in self._states.items() if key in devices}
        for state in self._states.values():
            self._outbox.add_state(state)
        if self._epoch not in ("", epoch):
            points = [point for point in self._points.values() if point.device in devices]
            self._points = {point.handle: point for point in points}
            latest = [(point, point.latest) for point in points if point.latest is not None]
            if latest:
                self._outbox.add(latest)
        self._epoch = epoch

    async def _beat(self, lease: Lease, devices: AbstractSet[Key], seconds: float) -> None:
        """Keep the lease, and say how we are."""
        while True:
            await asyncio.sleep(seconds)
            states = Counter(s.state for key, s in self._states.items() if key in devices)
            gauges = {
                "readings_waiting": self._outbox.waiting,
                "readings_dropped": sum(self.dropped.values()),
                **{f"devices_{state}": states[state] for state in STATES},
            }
            await lease.send(pb.MapperBeat(gauges=gauges))
            # A device may have been connected anew without another word about its state.
            self._executor.decided.ring()

    async def _listen(self, lease: Lease, seconds: float) -> None:
        """Hear the manager's answers to our beats; silence means that it hangs."""
        while True:
            try:
                async with asyncio.timeout(seconds):
                    notice = await lease.receive()
            except TimeoutError as error:
                raise UnavailableError(f"the manager was silent for {seconds:g} s") from error
            if notice.HasField("goodbye"):
                await self._flush()
                raise UnavailableError(f"the manager stops: {notice.goodbye.reason}")

    async def _flush(self) -> None:
        """Use the last moment of a manager that is about to stop."""
        try:
            async with asyncio.timeout(_FLUSH):
                await self._outbox.drained()
        except TimeoutError:
            log.debug("the manager stops before everything was delivered")

    # ---------------------------------------------------------- delivery ----

    async def _report(self, manager: grpc.aio.Channel, session: str) -> None:
        method = rpc.DeviceDataManagementStub(manager).Report
        async with open_stream(method, "report to the manager") as stream:
            opening = pb.Opening(session=session, stream_id=self._stream_id)
            await stream.send(pb.ReportBatch(opening=opening))
            self._acknowledged(await stream.receive())
            async with asyncio.TaskGroup() as group:
                group.create_task(self._deliver(stream))
                group.create_task(self._hear(stream))

    async def _deliver(self, stream: Reports) -> None:
        bound: set[int] = set()
        for sealed in list(self._outbox.unacked):
            await stream.send(self._encode(sealed, bound))
        while True:
            await self._outbox.ready()
            await stream.send(self._encode(self._outbox.seal(), bound))
            await self._outbox.linger(_GATHER)

    async def _hear(self, stream: Reports) -> None:
        while True:
            self._acknowledged(await stream.receive())

    def _acknowledged(self, ack: pb.ReportAck) -> None:
        self._outbox.acknowledge(ack.sequence)
        self.acknowledged = self._outbox.acknowledged
        for handle in ack.refused:
            point = self._points.get(handle)
            if point is not None and handle not in self.refused:
                self.refused.add(handle)
                log.warning("%s %s: the manager refuses its readings", point.device, point.name)

    def _encode(self, sealed: Sealed, bound: set[int]) -> pb.ReportBatch:
        """Write a message, with names for the handles that this stream has not seen."""
        fresh = {point.handle: point for point, _ in sealed.readings if point.handle not in bound}
        bound.update(fresh)
        self._points.update(fresh)
        return encode_batch(
            sealed.sequence,
            [(point.handle, reading) for point, reading in sealed.readings],
            bindings=[(handle, point.device, point.name) for handle, point in fresh.items()],
            states=sealed.states,
            outcomes=sealed.outcomes,
            dropped=sealed.dropped,
        )

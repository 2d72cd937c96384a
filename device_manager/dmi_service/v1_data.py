"""DeviceDataManagement of DMI v1: reports in, acknowledged after commit; twins out."""

import asyncio
import logging

from device_manager.dmi_service.batches import Batch, read_batch
from device_manager.dmi_service.bindings import Bindings
from device_manager.dmi_service.counters import Counters, count
from device_manager.dmi_service.leases import Leases, Session
from device_manager.dmi_service.streams import EOF, Context, Turns, expected, receive, send
from device_manager.node import Node
from device_manager.records import TwinRecord
from dmi.clock import Clock
from dmi.convert.v1 import key_to_v1, microseconds, value_to_v1
from dmi.errors import ConfigError, UnavailableError
from dmi.proto.v1 import api_pb2 as pb
from dmi.proto.v1 import api_pb2_grpc as rpc
from dmi.readings import Quality
from dmi.reports import OutcomeStatus
from dmi.resources import Key
from dmi.status import grpc_errors
from dmi.values import INT_MAX

__all__ = ["DataService"]

log = logging.getLogger(__name__)

_MOST_AHEAD = 8
_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 2.0
_LONGEST_STREAM_ID = 128


class DataService(rpc.DeviceDataManagementServicer):
    """Takes the reports of v1 mappers."""

    def __init__(self, node: Node, leases: Leases, counters: Counters, clock: Clock) -> None:
        self._node = node
        self._leases = leases
        self._counters = counters
        self._clock = clock
        self._turns = Turns()

    async def Report(self, _requests: object, context: Context) -> None:
        """Take one mapper's reports until it has no more."""
        async with grpc_errors(context):
            opening = await _opening(context)
            session = self._leases.find(opening.session)
            async with session.stream(), self._turns.turn(opening.stream_id):
                bindings = Bindings(self._node, self._leases, session)
                stream = _ReportStream(self, opening.stream_id, session, bindings, context)
                await stream.run()

    async def GetTwins(self, request: pb.GetTwinsRequest, context: Context) -> pb.GetTwinsResponse:
        """Say the last known twins."""
        async with grpc_errors(context):
            devices = [Key(key.namespace, key.name) for key in request.devices]
            twins = [
                _twin(twin)
                for device in devices or sorted(self._node.devices)
                for twin in self._node.twins(device).values()
            ]
        return pb.GetTwinsResponse(twins=twins)

    async def commit(self, stream_id: str, batch: Batch, mapper: str) -> None:
        """Return once the batch is in the store; tries for as long as that takes.

        What the batch holds is counted here, so that nothing counts twice that is sent again.
        """
        wait = _FIRST_WAIT_S
        while True:
            try:
                await self._node.apply_report(
                    stream_id, batch.sequence, batch.readings, batch.states, batch.outcomes
                )
            except UnavailableError as error:
                level = logging.WARNING if wait == _FIRST_WAIT_S else logging.DEBUG
                log.log(level, "reports wait for the store: %s", error)
                await self._clock.sleep(wait)
                wait = min(wait * 2, _LONGEST_WAIT_S)
            else:
                break
        count(self._counters.batches, "v1", batch.messages)
        count(self._counters.readings, "v1", len(batch.readings))
        for reason, number in batch.losses.items():
            count(self._counters.refused, reason, number)
        for reason, number in batch.dropped.items():
            self._counters.drop(mapper, reason, number)

    def read(self, message: pb.ReportBatch, bindings: Bindings) -> Batch:
        """Read one message."""
        refused = bindings.add(message.bindings)
        bindings.refresh()
        batch = read_batch(message, bindings, self._clock.time())
        batch.refused[:0] = refused
        return batch

    def committed(self, stream_id: str) -> int:
        """The last sequence that is in the store."""
        return self._node.committed_sequence(stream_id)

    def taken(self, stream_id: str) -> int:
        """The last sequence that is in the store or on its way there."""
        return self._node.taken_sequence(stream_id)


class _ReportStream:
    """One stream: it reads ahead while the store commits, and merges what it read.

    Everything read so far is committed under the last sequence of it, so that a commit
    that fails can never be overtaken by a later one. What an earlier stream had taken is
    never merged with what it had not: it would be applied again.
    """

    def __init__(
        self,
        service: DataService,
        stream_id: str,
        session: Session,
        bindings: Bindings,
        context: Context,
    ) -> None:
        self._service = service
        self._id = stream_id
        self._session = session
        self._bindings = bindings
        self._context = context
        self._taken = 0
        self._read: asyncio.Queue[Batch | None] = asyncio.Queue(_MOST_AHEAD)

    async def run(self) -> None:
        """Serve until the mapper ends the stream.

        Raises:
            DmiError: A message contradicts itself or is too big.
        """
        committed = self._service.committed(self._id)
        self._taken = self._service.taken(self._id)
        await send(self._context, pb.ReportAck(sequence=committed))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._commit_all())
                await self._read_all(committed)
        except ExceptionGroup as group:
            raise expected(group) from group

    async def _read_all(self, committed: int) -> None:
        last = 0
        while (message := await receive(self._context)) is not EOF:
            if message.sequence == 0 or (last and message.sequence != last + 1):
                raise ConfigError(f"sequence {message.sequence} came after {last}")
            if message.sequence > INT_MAX:
                raise ConfigError(f"sequence {message.sequence} is more than {INT_MAX}")
            last = message.sequence
            batch = self._service.read(message, self._bindings)
            if batch.sequence <= committed:
                # Sent again, and known: only its bindings count.
                batch = Batch(committed, messages=0, refused=batch.refused)
            await self._read.put(batch)
        await self._read.put(None)

    async def _commit_all(self) -> None:
        while (batch := await self._read.get()) is not None:
            more = True
            while more and batch.sequence != self._taken and not self._read.empty():
                later = self._read.get_nowait()
                if later is None:
                    more = False
                else:
                    batch.add(later)
            await self._service.commit(self._id, batch, self._session.mapper)
            ack = pb.ReportAck(sequence=batch.sequence, refused=batch.refused)
            await send(self._context, ack)
            if not more:
                return


async def _opening(context: Context) -> pb.Opening:
    first = await receive(context)
    if first is EOF or not first.HasField("opening"):
        raise ConfigError("the first message must carry an opening")
    opening: pb.Opening = first.opening
    if not 0 < len(opening.stream_id) <= _LONGEST_STREAM_ID:
        raise ConfigError(f"stream_id must have 1 to {_LONGEST_STREAM_ID} characters")
    return opening


def _twin(twin: TwinRecord) -> pb.TwinValue:
    reported, wish = twin.reported, twin.desired
    value = reported.value if reported else None
    return pb.TwinValue(
        device=key_to_v1(twin.device),
        property=twin.property,
        reported=None if value is None else value_to_v1(value),
        time_us=microseconds(reported.time) if reported else 0,
        quality=(reported.quality if reported else Quality.GOOD).name,
        reason=reported.reason if reported else "",
        desired=value_to_v1(wish.value) if wish else None,
        desired_version=wish.version if wish else 0,
        desired_status=(wish.status if wish else OutcomeStatus.PENDING).name,
    )

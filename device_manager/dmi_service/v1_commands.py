"""DeviceCommandManagement of DMI v1: commands down, what becomes of them up."""

import asyncio
import logging
from collections.abc import Iterator
from typing import Final

from device_manager.commands.book import CommandBook
from device_manager.commands.methods import Methods
from device_manager.commands.records import CommandRecord
from device_manager.dmi_service.counters import Counters, count
from device_manager.dmi_service.leases import Leases, Session
from device_manager.dmi_service.streams import EOF, Context, Turns, expected, receive, send
from device_manager.node import Node
from dmi.clock import Clock
from dmi.convert.v1_commands import command_to_v1, methods_from_v1, progress_from_v1
from dmi.errors import ConfigError, OverloadedError, UnavailableError
from dmi.proto.v1 import api_pb2 as pb
from dmi.proto.v1 import api_pb2_grpc as rpc
from dmi.reports import Command
from dmi.resources import Key
from dmi.status import grpc_errors

__all__ = ["CommandService"]

log = logging.getLogger(__name__)

_LONGEST_PROCESS: Final = 128
_MOST_METHODS: Final = 1000
_LONGEST_SCHEMAS: Final = 1024 * 1024
_FIRST_WAIT_S: Final = 0.1
_LONGEST_WAIT_S: Final = 2.0


class CommandService(rpc.DeviceCommandManagementServicer):
    """Gives commands to v1 mappers, each to one process of one mapper."""

    def __init__(
        self, node: Node, leases: Leases, methods: Methods, counters: Counters, clock: Clock
    ) -> None:
        self._node = node
        self._leases = leases
        self._methods = methods
        self._counters = counters
        self._clock = clock
        self._turns = Turns()

    async def Execute(self, _requests: object, context: Context) -> None:
        """Give one mapper its commands until it has no more to say."""
        async with grpc_errors(context):
            session, process = await self._opening(context)
            async with session.stream(), self._turns.turn(session.mapper):
                stream = _Stream(self, session, process, context)
                await stream.run()

    async def _opening(self, context: Context) -> tuple[Session, str]:
        first = await receive(context)
        if first is EOF or not first.session:
            raise ConfigError("the first message must carry a session")
        process = first.process
        if not (process.isascii() and process.isalnum() and len(process) <= _LONGEST_PROCESS):
            raise ConfigError(f"process must be 1 to {_LONGEST_PROCESS} letters and digits")
        return self._leases.find(first.session), process

    async def ReportMethods(
        self, request: pb.ReportMethodsRequest, context: Context
    ) -> pb.ReportMethodsResponse:
        """Take what devices themselves offer to call."""
        async with grpc_errors(context):
            session = self._leases.find(request.session)
            for said in request.devices:
                if Key(said.device.namespace, said.device.name) not in self._node.devices:
                    count(self._counters.refused, "unknown_device")
                    continue
                self._tell(session, said)
        return pb.ReportMethodsResponse()

    def _tell(self, session: Session, said: pb.DeviceMethods) -> None:
        size = sum(len(one.arguments) + len(one.results) for one in said.methods)
        if len(said.methods) > _MOST_METHODS or size > _LONGEST_SCHEMAS:
            raise OverloadedError(f"{said.device.name} offers too many methods, or too long ones")
        device, methods = methods_from_v1(said)
        if self._leases.owner(device) is session:
            self._methods.tell(device, methods)
        else:
            count(self._counters.refused, "not_assigned")

    @property
    def book(self) -> CommandBook:
        """The commands of this node."""
        return self._node.commands

    def is_due(self, record: CommandRecord, session: Session) -> bool:
        """Whether a command is to be given to the mapper of this session now."""
        return (
            not record.process
            and record.deadline > self._clock.time()
            and self._leases.owner(record.device) is session
        )

    async def flush(self) -> None:
        """Return once everything said of commands is in the store; tries for so long."""
        wait = _FIRST_WAIT_S
        while True:
            try:
                return await self.book.flush()
            except UnavailableError as error:
                level = logging.WARNING if wait == _FIRST_WAIT_S else logging.DEBUG
                log.log(level, "commands wait for the store: %s", error)
                await self._clock.sleep(wait)
                wait = min(wait * 2, _LONGEST_WAIT_S)

    def hear(self, process: str, message: pb.CommandProgress) -> None:
        """Take what a mapper says; what makes no sense is counted."""
        try:
            progress = progress_from_v1(message)
        except ConfigError:
            count(self._counters.refused, "unreadable")
            return
        self.book.hear(process, progress)


class _Stream:
    """One mapper's stream. What is sent is worked out anew at each ring, never queued."""

    def __init__(
        self, service: CommandService, session: Session, process: str, context: Context
    ) -> None:
        self._service = service
        self._session = session
        self._process = process
        self._context = context
        self._sent: dict[str, bool] = {}

    async def run(self) -> None:
        """Serve until the mapper ends the stream."""
        with self._service.book.stream(self._session.mapper, self._process):
            try:
                async with asyncio.TaskGroup() as group:
                    writing = group.create_task(self._write())
                    while (message := await receive(self._context)) is not EOF:
                        self._service.hear(self._process, message)
                    writing.cancel()
            except ExceptionGroup as group:
                raise expected(group) from group

    async def _write(self) -> None:
        book = self._service.book
        while True:
            heard = book.bell.rung
            for record in list(book.open.values()):
                if self._service.is_due(record, self._session):
                    book.give(record, self._session.mapper, self._process)
            orders = list(self._orders(book))
            if orders:
                await self._service.flush()
            for order in orders:
                await send(self._context, command_to_v1(order))
            await book.bell.wait(heard)

    def _orders(self, book: CommandBook) -> Iterator[Command]:
        for command_id in book.take_settled(self._process):
            self._sent.pop(command_id, None)
            yield Command(command_id, Key("", ""), "", settled=True)
        for record in book.given_to(self._process):
            if self._sent.get(record.id) is not record.cancelling:
                self._sent[record.id] = record.cancelling
                yield record.order

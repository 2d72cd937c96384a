"""The command stream of the v1 link: orders down, what becomes of them and methods up."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import grpc

from dmi.convert.v1_commands import command_from_v1, methods_to_v1, progress_to_v1
from dmi.errors import ConfigError, ConversionError, UnsupportedError
from dmi.methods import Method
from dmi.proto.v1 import api_pb2 as pb
from dmi.proto.v1 import api_pb2_grpc as rpc
from dmi.reports import CommandProgress
from dmi.resources import Key
from dmi.status import from_grpc
from mapper_sdk.link.stream import Stream, open_stream
from mapper_sdk.sessions.executing import Executor

__all__ = ["Commands"]

log = logging.getLogger(__name__)

_GATHER: Final = 0.1
_MOST_AT_ONCE: Final = 100
"""Devices whose methods are told in one call."""

Orders = Stream[pb.CommandProgress, pb.Command]


class Commands:
    """Serves commands over as many sessions as it takes."""

    def __init__(self, executor: Executor, process: str) -> None:
        """Prepare.

        Args:
            executor: Runs what comes.
            process: Name of this process, unlike that of any other.
        """
        self._executor = executor
        self._process = process

    async def follow(self, manager: grpc.aio.Channel, session: str) -> None:
        """Serve one session; returns only where the manager knows no commands.

        Args:
            manager: Channel to it.
            session: As its welcome names it.

        Raises:
            DmiError: The stream has ended; the class says why.
        """
        stub = rpc.DeviceCommandManagementStub(manager)
        try:
            async with open_stream(stub.Execute, "take commands") as stream:
                await stream.send(pb.CommandProgress(session=session, process=self._process))
                async with asyncio.TaskGroup() as group:
                    told: dict[str, CommandProgress] = {}
                    group.create_task(self._tell(stream, told))
                    group.create_task(self._tell_methods(stub, session))
                    while True:
                        self._take(await stream.receive(), told)
        except* UnsupportedError:
            log.info("this manager knows no commands")

    def _take(self, message: pb.Command, told: dict[str, CommandProgress]) -> None:
        # Who says it again wants the answer again.
        told.pop(message.id, None)
        try:
            self._executor.take(command_from_v1(message))
        except ConfigError as error:
            log.error("the manager sent a command that cannot be understood: %s", error)
            if message.id:
                self._executor.refuse(message.id, error.reason, str(error))
        self._executor.news.ring()

    async def _tell(self, stream: Orders, told: dict[str, CommandProgress]) -> None:
        """Say how far each command has come: always the latest only, so nothing piles up."""
        executor = self._executor
        while True:
            heard = executor.news.rung
            for command_id in [known for known in told if known not in executor.open]:
                del told[command_id]
            for command_id, progress in list(executor.open.items()):
                if told.get(command_id) is not progress:
                    told[command_id] = progress
                    await stream.send(_encoded(progress))
            await executor.news.wait(heard)

    async def _tell_methods(self, stub: "rpc.DeviceCommandManagementStub", session: str) -> None:
        """Say what devices offer, each time that is another list than before."""
        told: dict[Key, Sequence[Method]] = {}
        executor = self._executor
        while True:
            heard = executor.decided.rung
            there = executor.callee.methods() if executor.callee is not None else {}
            fresh = {key: own for key, own in there.items() if told.get(key) != own}
            items = list(fresh.items())
            for start in range(0, len(items), _MOST_AT_ONCE):
                portion = items[start : start + _MOST_AT_ONCE]
                await _report(stub, session, portion)
                told.update(portion)
            # All devices are looked at, so not for each of many that connect at once.
            await asyncio.sleep(_GATHER)
            await executor.decided.wait(heard)


async def _report(
    stub: "rpc.DeviceCommandManagementStub",
    session: str,
    portion: Sequence[tuple[Key, Sequence[Method]]],
) -> None:
    request = pb.ReportMethodsRequest(session=session)
    for device, methods in portion:
        try:
            request.devices.append(methods_to_v1(device, methods))
        except ConfigError as error:
            log.error("device %s: %s", device, error)
    try:
        await stub.ReportMethods(request)
    except grpc.aio.AioRpcError as error:
        raise from_grpc(error, "report methods") from error


def _encoded(progress: CommandProgress) -> pb.CommandProgress:
    """A message; results that cannot be sent are left out, and that is said."""
    try:
        return progress_to_v1(progress)
    except ConversionError as error:
        text = f"its results cannot be sent: {error.message}"
        return progress_to_v1(replace(progress, results={}, reason=error.reason, message=text))

"""The manager's one DMI socket, with every version of the contract side by side."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc

from device_manager.commands.keeper import CommandKeeper
from device_manager.commands.methods import Methods
from device_manager.commands.wishing import Wishing
from device_manager.dmi_service.counters import Counters
from device_manager.dmi_service.leases import Leases
from device_manager.dmi_service.orphans import Orphans
from device_manager.dmi_service.v1 import add_v1
from device_manager.dmi_service.v1_devices import DeviceService
from device_manager.dmi_service.v1beta1 import ManagerService
from device_manager.dmi_service.v1beta1_calls import MapperCalls
from device_manager.node import Node
from device_manager.reconciling.reconciler import Reconciler
from dmi.clock import Clock, SystemClock
from dmi.proto.v1beta1 import api_pb2_grpc as v1beta1
from dmi.unix_socket import bind, server_options

__all__ = ["LARGEST_REQUEST", "DmiServer", "serve"]

log = logging.getLogger(__name__)

LARGEST_REQUEST: Final = 16 * 1024 * 1024
"""Bytes of one message from a mapper; longer ones are answered RESOURCE_EXHAUSTED."""


@dataclass(frozen=True, slots=True)
class DmiServer:
    """What the running services know, for REST and metrics.

    Attributes:
        leases: The living v1 mappers, and who serves what.
        counters: What was counted.
        devices: Holds what discovery found.
        methods: What can be called.
        reconciler: Keeps the v1beta1 mappers in step.
    """

    leases: Leases
    counters: Counters
    devices: DeviceService
    methods: Methods
    reconciler: Reconciler


@asynccontextmanager
async def serve(
    node: Node,
    path: Path,
    *,
    lease: float = 10.0,
    grace: float = 3.0,
    clock: Clock | None = None,
) -> AsyncIterator[DmiServer]:
    """Serve the DMI on a Unix socket for the length of the block.

    At the end every mapper is told goodbye and has `grace` to end its streams.

    Args:
        node: Whose devices are served.
        path: Of the socket; its directory is made when missing.
        lease: How long the manager waits for a v1 mapper's beat, in seconds.
        grace: In seconds.
        clock: For times that are kept.

    Raises:
        ConfigError: The path cannot be a socket of ours.
        ConflictError: Another process serves there.
    """
    clock = clock or SystemClock()
    leases = Leases(node, seconds=lease, clock=clock)
    counters = Counters()
    limits = {**dict(server_options()), "grpc.max_receive_message_length": LARGEST_REQUEST}
    server = grpc.aio.server(options=list(limits.items()))
    methods = Methods(node)
    devices = add_v1(server, node, leases, methods, counters, clock)
    calls = MapperCalls(node, counters, clock)
    reconciler = Reconciler(node, calls, clock)
    service = ManagerService(node, reconciler, counters, clock)
    v1beta1.add_DeviceManagerServiceServicer_to_server(service, server)
    bind(server, path)
    await server.start()
    log.info("serving the DMI on %s", path)
    try:
        async with asyncio.TaskGroup() as group:
            jobs = [
                leases.follow(),
                Orphans(node, leases, clock).run(),
                reconciler.run(),
                CommandKeeper(node, leases, clock).run(),
                Wishing(node, leases, clock).run(),
                _give_way(leases, reconciler),
            ]
            tasks = [group.create_task(job) for job in jobs]
            try:
                yield DmiServer(leases, counters, devices, methods, reconciler)
            finally:
                # First these: that mappers leave now does not mean that they are gone.
                for task in tasks:
                    task.cancel()
                leases.say_goodbye("the device manager is stopping")
                await server.stop(grace)
    finally:
        await server.stop(None)
        await calls.close()


async def _give_way(leases: Leases, reconciler: Reconciler) -> None:
    """Keep v1beta1 mappers from serving what v1 mappers serve, until cancelled."""
    heard = 0
    while True:
        heard = await leases.traffic.wait(heard)
        reconciler.give_way(leases.protocols)

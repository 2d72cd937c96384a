"""DMI v1 on a gRPC server: mappers, devices, data and commands."""

import grpc

from device_manager.commands.methods import Methods
from device_manager.dmi_service.counters import Counters
from device_manager.dmi_service.leases import Leases
from device_manager.dmi_service.v1_commands import CommandService
from device_manager.dmi_service.v1_data import DataService
from device_manager.dmi_service.v1_devices import DeviceService
from device_manager.dmi_service.v1_mappers import MapperService
from device_manager.node import Node
from dmi.clock import Clock
from dmi.proto.v1 import api_pb2_grpc as rpc

__all__ = ["add_v1"]


def add_v1(
    server: grpc.aio.Server,
    node: Node,
    leases: Leases,
    methods: Methods,
    counters: Counters,
    clock: Clock,
) -> DeviceService:
    """Serve v1. Calls of services that are not served are answered UNIMPLEMENTED.

    Returns:
        The device service, which holds what discovery found.
    """
    devices = DeviceService(node, leases)
    rpc.add_MapperManagementServicer_to_server(MapperService(node, leases, counters), server)
    rpc.add_DeviceManagementServicer_to_server(devices, server)
    data = DataService(node, leases, counters, clock)
    rpc.add_DeviceDataManagementServicer_to_server(data, server)
    commands = CommandService(node, leases, methods, counters, clock)
    rpc.add_DeviceCommandManagementServicer_to_server(commands, server)
    return devices

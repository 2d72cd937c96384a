"""What a v1beta1 mapper answers on its own socket: the calls of EdgeCore."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import grpc

from dmi.convert.v1beta1 import (
    device_from_v1beta1,
    device_to_v1beta1,
    key_from_v1beta1,
    model_from_v1beta1,
)
from dmi.errors import ConfigError, ConflictError, NotFoundError
from dmi.proto.v1beta1 import api_pb2 as pb
from dmi.proto.v1beta1 import api_pb2_grpc as rpc
from dmi.resources import Key
from dmi.status import grpc_errors
from dmi.unix_socket import bind, server_options
from mapper_sdk.link.wanted import Wanted

__all__ = ["MapperService", "TwinsOf", "serve_mapper"]

log = logging.getLogger(__name__)

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
TwinsOf = Callable[[Key], list[pb.Twin]]
"""Gives the last known twins of a device, both halves set."""


class MapperService(rpc.DeviceMapperServiceServicer):
    """Takes devices and models; each call is fine at any time and any number of times."""

    def __init__(
        self,
        wanted: Wanted,
        *,
        twins_of: TwinsOf,
        changed: Callable[[Key], None],
        gone: Callable[[Key], None],
    ) -> None:
        """Prepare.

        Args:
            wanted: Where devices and models go.
            twins_of: Answers GetDevice.
            changed: Called with each device that was put.
            gone: Called with each device that was removed.
        """
        self._wanted = wanted
        self._twins_of = twins_of
        self._changed = changed
        self._gone = gone

    async def RegisterDevice(
        self, request: pb.RegisterDeviceRequest, context: Context
    ) -> pb.RegisterDeviceResponse:
        """Take a device."""
        key = await self._put_device(request.device, context)
        return pb.RegisterDeviceResponse(deviceName=key.name, deviceNamespace=key.namespace)

    async def UpdateDevice(
        self, request: pb.UpdateDeviceRequest, context: Context
    ) -> pb.UpdateDeviceResponse:
        """Take a changed device."""
        await self._put_device(request.device, context)
        return pb.UpdateDeviceResponse()

    async def RemoveDevice(
        self, request: pb.RemoveDeviceRequest, context: Context
    ) -> pb.RemoveDeviceResponse:
        """Serve a device no longer."""
        async with grpc_errors(context):
            key = key_from_v1beta1(request.deviceNamespace, request.deviceName)
            self._wanted.remove_device(key)
            self._gone(key)
        return pb.RemoveDeviceResponse()

    async def CreateDeviceModel(
        self, request: pb.CreateDeviceModelRequest, context: Context
    ) -> pb.CreateDeviceModelResponse:
        """Take a model."""
        key = await self._put_model(request.model, context)
        return pb.CreateDeviceModelResponse(
            deviceModelName=key.name, deviceModelNamespace=key.namespace
        )

    async def UpdateDeviceModel(
        self, request: pb.UpdateDeviceModelRequest, context: Context
    ) -> pb.UpdateDeviceModelResponse:
        """Take a changed model."""
        await self._put_model(request.model, context)
        return pb.UpdateDeviceModelResponse()

    async def RemoveDeviceModel(
        self, request: pb.RemoveDeviceModelRequest, context: Context
    ) -> pb.RemoveDeviceModelResponse:
        """Forget a model."""
        async with grpc_errors(context):
            self._wanted.remove_model(key_from_v1beta1(request.modelNamespace, request.modelName))
        return pb.RemoveDeviceModelResponse()

    async def GetDevice(
        self, request: pb.GetDeviceRequest, context: Context
    ) -> pb.GetDeviceResponse:
        """Say what is served, with the last known twins."""
        async with grpc_errors(context):
            key = key_from_v1beta1(request.deviceNamespace, request.deviceName)
            device = self._wanted.devices.get(key)
            if device is None:
                raise NotFoundError("is not served here", device=str(key))
            message = device_to_v1beta1(device)
            message.status.twins.extend(self._twins_of(key))
        return pb.GetDeviceResponse(device=message)

    async def _put_device(self, message: pb.Device, context: Context) -> Key:
        async with grpc_errors(context):
            device = device_from_v1beta1(message)
            self._wanted.put_device(device)
            self._changed(device.key)
        return device.key

    async def _put_model(self, message: pb.DeviceModel, context: Context) -> Key:
        async with grpc_errors(context):
            model = model_from_v1beta1(message)
            self._wanted.put_model(model)
        return model.key


@asynccontextmanager
async def serve_mapper(service: MapperService, path: Path) -> AsyncIterator[None]:
    """Listen for EdgeCore's calls for the length of the block.

    Raises:
        ConfigError: The path cannot be a socket of ours, or another process serves there.
    """
    server = grpc.aio.server(options=server_options())
    rpc.add_DeviceMapperServiceServicer_to_server(service, server)
    try:
        bind(server, path)
    except ConflictError as error:
        raise ConfigError(str(error)) from error
    await server.start()
    log.info("listening for the device manager on %s", path)
    try:
        yield
    finally:
        await server.stop(None)

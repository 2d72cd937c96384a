"""Following what a v1 manager wants served: a list, then changes, resumed where it broke off."""

import logging
from dataclasses import replace
from typing import Final

import grpc

from dmi.convert.v1 import desired_from_v1, device_from_v1, key_from_v1, model_from_v1
from dmi.errors import ConfigError, UnavailableError
from dmi.proto.v1 import api_pb2 as pb
from dmi.proto.v1 import api_pb2_grpc as rpc
from dmi.resources import Key
from dmi.status import from_grpc
from mapper_sdk.link.base import Served

__all__ = ["Watch"]

log = logging.getLogger(__name__)

_WHAT: Final = "watch devices"


class Watch:
    """Passes on to `served` what the manager says, over as many calls as it takes.

    Attributes:
        version: Up to where everything was passed on; 0 when the list is needed again.
        epoch: Store of the manager in which that version was seen.
        devices: Those that were put and are not gone.
    """

    def __init__(self, served: Served) -> None:
        self.version = 0
        self.epoch = ""
        self.devices: set[Key] = set()
        self._served = served
        self._listed: tuple[set[Key], set[Key]] | None = None
        self._epoch = ""

    async def follow(self, channel: grpc.aio.Channel, session: str, epoch: str) -> None:
        """Watch until the call ends.

        Args:
            channel: To the manager.
            session: As its welcome names it.
            epoch: Of the store that it has now, as the welcome names it.

        Raises:
            DmiError: It has ended; the class says why.
        """
        self._listed, self._epoch = None, epoch
        request = pb.WatchRequest(session=session, resume_version=self.version, epoch=self.epoch)
        call = rpc.DeviceManagementStub(channel).Watch(request)
        try:
            async for event in call:
                self.take(event)
        except grpc.aio.AioRpcError as error:
            raise from_grpc(error, _WHAT) from error
        finally:
            call.cancel()
        raise UnavailableError(f"{_WHAT}: the manager ended the call")

    def take(self, event: pb.WatchEvent) -> None:
        """Pass on one event. One that makes no sense is logged and costs only itself."""
        kind = event.WhichOneof("event")
        try:
            if kind == "relist":
                self.version, self._listed = 0, (set(), set())
            elif kind == "synced":
                self._synced(event)
            elif kind is not None:
                self._pass_on(kind, event)
        except ConfigError as error:
            log.error("the manager sent what cannot be understood: %s", error)

    def _pass_on(self, kind: str, event: pb.WatchEvent) -> None:
        if kind == "model_put":
            self._hold(0, event.model_put.key)
            self._served.put_model(model_from_v1(event.model_put))
        elif kind == "device_put":
            self._hold(1, event.device_put.key)
            self.devices.add(key_from_v1(event.device_put.key))
            self._served.put_device(device_from_v1(event.device_put))
        elif kind == "desired_put":
            desired = desired_from_v1(event.desired_put)
            self._served.put_desired(replace(desired, epoch=self._epoch))
        elif kind == "device_gone":
            key = key_from_v1(event.device_gone)
            self.devices.discard(key)
            self._served.remove_device(key)
        elif kind == "model_gone":
            self._served.remove_model(key_from_v1(event.model_gone))

    def _hold(self, which: int, key: pb.Key) -> None:
        """Note that the list holds an object, even if it cannot be understood."""
        if self._listed is not None:
            self._listed[which].add(key_from_v1(key))

    def _synced(self, event: pb.WatchEvent) -> None:
        if self._listed is not None:
            self.devices &= self._listed[1]
            self._served.keep_only(*self._listed)
            self._listed = None
        # Only here: what came between is complete only now.
        self.version, self.epoch = event.version, event.synced.epoch

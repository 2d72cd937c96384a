"""DeviceManagement of DMI v1: what a mapper must serve, and what its drivers found."""

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Any

import orjson

from device_manager.dmi_service.leases import Leases, Session
from device_manager.dmi_service.streams import Context, Turns, send
from device_manager.dmi_service.watch import View, Watcher
from device_manager.node import Node
from dmi.errors import ConfigError
from dmi.proto.v1 import api_pb2 as pb
from dmi.proto.v1 import api_pb2_grpc as rpc
from dmi.resources import Key
from dmi.status import grpc_errors

__all__ = ["DeviceService"]

_MOST_VIEWS = 64
_MOST_PROPOSALS = 1000


class DeviceService(rpc.DeviceManagementServicer):
    """Streams devices, models and desired values to v1 mappers.

    Attributes:
        proposals: Devices that discovery found, newest last, as they came; the oldest
            fall out beyond a thousand.
    """

    def __init__(self, node: Node, leases: Leases) -> None:
        self._node = node
        self._leases = leases
        self._views: OrderedDict[str, View] = OrderedDict()
        self._turns = Turns()
        self.proposals: deque[dict[str, Any]] = deque(maxlen=_MOST_PROPOSALS)

    async def Watch(self, request: pb.WatchRequest, context: Context) -> None:
        """List what is this mapper's to serve, then follow it."""
        async with grpc_errors(context):
            session = self._leases.find(request.session)
            async with session.stream(), self._turns.turn(session.mapper):
                view = self._views.pop(session.mapper, View())
                watcher = Watcher(self._node, self._leases, session, view)
                try:
                    await self._follow(watcher, _first(watcher, request, self._node), context)
                finally:
                    self._keep(session.mapper, watcher.view)

    async def _follow(
        self, watcher: Watcher, events: Iterator[pb.WatchEvent], context: Context
    ) -> None:
        bell = self._leases.bell
        while True:
            heard = bell.rung
            for event in events:
                await send(context, event)
            await bell.wait(heard)
            events = watcher.changes()

    def _keep(self, mapper: str, view: View) -> None:
        self._views[mapper] = view
        while len(self._views) > _MOST_VIEWS:
            self._views.popitem(last=False)

    async def ProposeDevices(
        self, request: pb.ProposeDevicesRequest, context: Context
    ) -> pb.ProposeDevicesResponse:
        """Take what a driver's discovery found; people decide what becomes a device."""
        async with grpc_errors(context):
            session = self._leases.find(request.session)
            found = [_proposal("Device", one.key, one.json) for one in request.devices]
            found += [_proposal("DeviceModel", one.key, one.json) for one in request.models]
            for proposal in found:
                self._propose(session, proposal)
        return pb.ProposeDevicesResponse(accepted=len(request.devices))

    def _propose(self, session: Session, proposal: dict[str, Any]) -> None:
        proposal["mapper"] = session.mapper
        self.proposals.append(proposal)
        self._node.feed.publish({"event": "proposal", **proposal})


def _first(watcher: Watcher, request: pb.WatchRequest, node: Node) -> Iterator[pb.WatchEvent]:
    known = request.resume_version and request.epoch == node.epoch
    if known and watcher.resume(request.resume_version):
        return watcher.changes(always=True)
    return watcher.list_all()


def _proposal(kind: str, key: pb.Key, text: bytes) -> dict[str, Any]:
    who = Key(key.namespace, key.name)
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"proposed {kind} {who} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"proposed {kind} {who} is not a JSON object")
    return {"namespace": who.namespace, "name": who.name, "object": {"kind": kind, **found}}

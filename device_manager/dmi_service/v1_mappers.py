"""MapperManagement of DMI v1: registration as a lease."""

import asyncio
import logging
from itertools import islice

from device_manager.dmi_service.counters import Counters, count
from device_manager.dmi_service.leases import Leases, Session
from device_manager.dmi_service.streams import EOF, Context, receive, send
from device_manager.node import Node
from device_manager.records import MapperRecord
from dmi.convert.v1 import registration_from_v1, registration_to_v1
from dmi.errors import ConfigError, LostSessionError, UnavailableError
from dmi.proto.v1 import api_pb2 as pb
from dmi.proto.v1 import api_pb2_grpc as rpc
from dmi.reports import Registration
from dmi.status import grpc_errors

__all__ = ["MapperService"]

log = logging.getLogger(__name__)

_LONGEST_NAME = 253
_LONGEST_SCHEMA = 1024 * 1024
_MOST_GAUGES = 64
_LATE = "no beat"


class MapperService(rpc.MapperManagementServicer):
    """Keeps the leases of v1 mappers."""

    def __init__(self, node: Node, leases: Leases, counters: Counters) -> None:
        self._node = node
        self._leases = leases
        self._counters = counters

    async def Register(self, _requests: object, context: Context) -> None:
        """Hold one mapper's lease for as long as its stream and its beats last."""
        async with grpc_errors(context):
            first = await receive(context)
            if first is EOF or not first.HasField("registration"):
                raise ConfigError("the first message must carry a registration")
            session = self._leases.open(_record(first.registration))
            why = "its stream broke"
            try:
                why = await self._hold(session, context)
            finally:
                self._leases.close(session, why)
            if why == _LATE:
                raise LostSessionError(f"{why} for {self._leases.seconds:g} s")

    async def _hold(self, session: Session, context: Context) -> str:
        """Serve one lease; gives why it ended."""
        count(self._counters.registered, "v1")
        try:
            await self._node.put_mapper(session.record)
        except UnavailableError as error:
            # A full disk must not keep a mapper from serving its devices.
            log.warning("mapper %s is not noted in the store: %s", session.mapper, error)
        welcome = pb.Welcome(
            session=session.id,
            lease_ms=round(self._leases.seconds * 1000),
            epoch=self._node.epoch,
        )
        await send(context, pb.MapperNotice(welcome=welcome))
        writing = asyncio.Lock()
        async with session.stream(), asyncio.TaskGroup() as group:
            farewell = group.create_task(self._say_goodbye(context, writing))
            why = await self._beats(session, context, writing)
            farewell.cancel()
        return why

    async def _beats(self, session: Session, context: Context, writing: asyncio.Lock) -> str:
        try:
            while True:
                async with asyncio.timeout(self._leases.seconds):
                    beat = await receive(context)
                if beat is EOF:
                    return "its stream ended"
                self._leases.touch(session, dict(islice(beat.gauges.items(), _MOST_GAUGES)))
                async with writing:
                    await send(context, pb.MapperNotice(beat=pb.Beat()))
        except TimeoutError:
            return _LATE

    async def _say_goodbye(self, context: Context, writing: asyncio.Lock) -> None:
        await self._leases.farewell.wait(0)
        async with writing:
            notice = pb.Goodbye(reason=self._leases.closing)
            await send(context, pb.MapperNotice(goodbye=notice))

    async def ListMappers(
        self, request: pb.ListMappersRequest, _context: Context
    ) -> pb.ListMappersResponse:
        """Say who has registered at some time."""
        living = {session.mapper: session for session in self._leases.sessions}
        records = {**self._node.mappers, **{key: one.record for key, one in living.items()}}
        return pb.ListMappersResponse(
            mappers=[
                self._status(record, living.get(key))
                for key, record in sorted(records.items())
                if request.protocol in ("", record.protocol)
            ]
        )

    def _status(self, record: MapperRecord, session: Session | None) -> pb.MapperStatus:
        alive = session is not None if record.api == "v1" else record.alive
        return pb.MapperStatus(
            registration=registration_to_v1(_registration(record)),
            alive=alive,
            last_seen_ms=round(record.last_seen * 1000),
            devices=len(self._leases.served(session)) if session else 0,
        )


def _record(message: pb.Registration) -> MapperRecord:
    """Check a registration.

    Raises:
        ConfigError: A name is missing or cannot be one, or a schema is too long.
    """
    said = registration_from_v1(message)
    instance = said.instance or "0"
    for what, name in (("name", said.name), ("protocol", said.protocol), ("instance", instance)):
        if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
            raise ConfigError(f"{what} of the mapper is blank, too long or not printable")
    if "/" in said.name + instance:
        raise ConfigError("name and instance of a mapper have no slash")
    if max(len(said.link_schema), len(said.visit_schema)) > _LONGEST_SCHEMA:
        raise ConfigError(f"a settings schema is longer than {_LONGEST_SCHEMA} characters")
    return MapperRecord(
        name=said.name,
        protocol=said.protocol,
        instance=instance,
        version=said.version,
        api="v1",
        abilities=list(said.abilities),
        link_schema=said.link_schema,
        visit_schema=said.visit_schema,
    )


def _registration(record: MapperRecord) -> Registration:
    return Registration(
        name=record.name,
        protocol=record.protocol,
        instance=record.instance,
        version=record.version,
        abilities=tuple(record.abilities),
        link_schema=record.link_schema,
        visit_schema=record.visit_schema,
    )

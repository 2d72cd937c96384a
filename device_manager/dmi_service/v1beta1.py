"""`v1beta1.DeviceManagerService`: what EdgeCore serves to mappers, without its traps.

EdgeCore answers OK as soon as a report is queued and crashes on missing parts; here
everything is checked while the mapper waits, and refused with a status and words.
"""

import logging
from contextlib import suppress
from dataclasses import replace
from typing import Final

from device_manager.dmi_service.counters import Counters, count
from device_manager.dmi_service.limits import Limiter
from device_manager.dmi_service.streams import Context
from device_manager.node import Node
from device_manager.reconciling.reconciler import Inventory, Reconciler
from device_manager.records import MapperRecord, TwinReading
from dmi.clock import Clock
from dmi.convert.v1beta1 import device_to_v1beta1, model_to_v1beta1
from dmi.convert.v1beta1_reports import (
    ReportedTwin,
    reading_from_twin,
    registration_from_v1beta1,
    state_from_v1beta1,
    twins_from_v1beta1,
)
from dmi.errors import ConfigError, ConversionError, NotFoundError, UnavailableError
from dmi.proto.v1beta1 import api_pb2 as pb
from dmi.proto.v1beta1 import api_pb2_grpc as rpc
from dmi.reports import Outcome, OutcomeStatus
from dmi.resources import Key
from dmi.status import grpc_errors
from dmi.values import same_value

__all__ = ["ManagerService"]

log = logging.getLogger(__name__)

INSTANCE: Final = "0"
"""The contract has one mapper for each protocol."""

_CALLS_A_SECOND: Final = 5000.0
_CALLS_AT_ONCE: Final = 20_000.0
_REGISTRATIONS_A_SECOND: Final = 5.0
_REGISTRATIONS_AT_ONCE: Final = 50.0
_LARGEST_ANSWER: Final = 4 * 1024 * 1024
"""What a gRPC library takes unless told otherwise; KubeEdge's mappers tell it nothing."""
_AHEAD_S: Final = 24 * 3600.0
_OPEN: Final = frozenset({OutcomeStatus.PENDING, OutcomeStatus.WRITTEN})


class ManagerService(rpc.DeviceManagerServiceServicer):
    """Takes the registrations and reports of v1beta1 mappers."""

    def __init__(
        self, node: Node, reconciler: Reconciler, counters: Counters, clock: Clock
    ) -> None:
        self._node = node
        self._reconciler = reconciler
        self._counters = counters
        self._clock = clock
        self._registrations = Limiter(_REGISTRATIONS_A_SECOND, _REGISTRATIONS_AT_ONCE, clock)
        self._reports = Limiter(_CALLS_A_SECOND, _CALLS_AT_ONCE, clock)

    async def MapperRegister(
        self, request: pb.MapperRegisterRequest, context: Context
    ) -> pb.MapperRegisterResponse:
        """Take a mapper's address; answer with all that it must serve, if it asks for it."""
        async with grpc_errors(context):
            said = registration_from_v1beta1(request)
            if "/" in said.name:
                raise ConfigError("the name of a mapper has no slash")
            self._registrations.admit(said.name)
            record = MapperRecord(
                name=said.name,
                protocol=said.protocol,
                instance=INSTANCE,
                version=said.version,
                api="v1beta1",
                address=said.address,
            )
            count(self._counters.registered, "v1beta1")
            log.info("mapper %s registers for %s at %s", said.name, said.protocol, said.address)
            return await self._register(record, with_data=request.withData)

    async def _register(
        self, record: MapperRecord, *, with_data: bool
    ) -> pb.MapperRegisterResponse:
        inventory = await self._reconciler.register(record, with_data=with_data)
        answer = self._answer(record.protocol, inventory)
        if answer.ByteSize() > _LARGEST_ANSWER:
            log.info("mapper %s gets its devices by calls: they are too many", record.name)
            await self._reconciler.register(record, with_data=False)
            return pb.MapperRegisterResponse()
        return answer

    def _answer(self, protocol: str, inventory: Inventory) -> pb.MapperRegisterResponse:
        answer = pb.MapperRegisterResponse()
        for model in inventory.models:
            try:
                answer.modelList.append(model_to_v1beta1(model))
            except ConfigError as error:
                self._leave_out(protocol, "DeviceModel", model.key, error)
        for device in inventory.devices:
            try:
                answer.deviceList.append(device_to_v1beta1(device))
            except ConfigError as error:
                self._leave_out(protocol, "Device", device.key, error)
        return answer

    def _leave_out(self, protocol: str, kind: str, key: Key, error: ConfigError) -> None:
        """Not told, so not held: the reconciler tries, and remembers why it cannot be."""
        log.warning("%s %s cannot be sent to a v1beta1 mapper: %s", kind, key, error)
        self._node.actual.drop(protocol, (kind, key))

    async def ReportDeviceStatus(
        self, request: pb.ReportDeviceStatusRequest, context: Context
    ) -> pb.ReportDeviceStatusResponse:
        """Take twins, all of a call or none; answered after they are committed."""
        async with grpc_errors(context):
            key, twins = twins_from_v1beta1(request)
            await self._admit(key)
            readings = [self._reading(key, twin) for twin in twins]
            outcomes = [one for reading in readings if (one := self._outcome(reading))]
            await self._node.apply_report("", 0, readings, [], outcomes)
            count(self._counters.batches, "v1beta1")
            count(self._counters.readings, "v1beta1", len(readings))
        return pb.ReportDeviceStatusResponse()

    async def ReportDeviceStates(
        self, request: pb.ReportDeviceStatesRequest, context: Context
    ) -> pb.ReportDeviceStatesResponse:
        """Take a device's state; answered after it is committed."""
        async with grpc_errors(context):
            state = state_from_v1beta1(request, self._clock.time())
            await self._admit(state.device)
            await self._node.apply_report("", 0, [], [state], [])
            count(self._counters.batches, "v1beta1")
        return pb.ReportDeviceStatesResponse()

    async def _admit(self, device: Key) -> None:
        """Refuse reports of unknown devices, and of mappers that went wild.

        Raises:
            NotFoundError: There is no such device.
            OverloadedError: Too many reports for this protocol.
        """
        known = self._node.devices.get(device)
        if known is None:
            raise NotFoundError(f"there is no device {device}")
        protocol = known.spec.protocol.protocol_name
        self._reports.admit(protocol)
        await self._seen(protocol)

    async def _seen(self, protocol: str) -> None:
        """Note that a protocol's mapper lives; only a change of that goes to the store."""
        for record in list(self._node.mappers.values()):
            if record.api != "v1beta1" or record.protocol != protocol:
                continue
            record.last_seen = self._clock.time()
            if not record.alive:
                # Not on disk yet, but it will be; the report must not be lost for that.
                with suppress(UnavailableError):
                    await self._node.put_mapper(replace(record, alive=True))

    def _reading(self, device: Key, said: ReportedTwin) -> TwinReading:
        self._node.twin(device, said.property)
        declared = self._node.property_type(device, said.property)
        if declared is None:
            raise NotFoundError(f"no model declares {said.property!r}", device=str(device))
        now = self._clock.time()
        try:
            reading = reading_from_twin(said, declared.type, now)
        except ConversionError as error:
            text = f"property {said.property}: {error.message}"
            raise ConversionError(text, device=str(device)) from error
        if not 0 < reading.time <= now + _AHEAD_S:
            reading.time = now
        return TwinReading(device, said.property, reading)

    def _outcome(self, taken: TwinReading) -> Outcome | None:
        """A wish is confirmed when the device reports what was wished."""
        wish = self._node.twin(taken.device, taken.property).desired
        declared = self._node.property_type(taken.device, taken.property)
        value = taken.reading.value
        if wish is None or declared is None or value is None or wish.status not in _OPEN:
            return None
        try:
            equal = same_value(value, wish.value, declared.type)
        except ConversionError:
            # The model has changed its type since.
            return None
        if not equal:
            return None
        time = self._clock.time()
        status = OutcomeStatus.CONFIRMED
        return Outcome(taken.device, taken.property, wish.version, status, time)

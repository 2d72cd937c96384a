"""Calls to `v1beta1.DeviceMapperService`: the manager's half of the contract with Go mappers."""

from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeAlias

import grpc

from device_manager.dmi_service.counters import Counters
from device_manager.node import Node
from device_manager.reconciling.operations import Operation, Verb
from device_manager.records import MapperRecord
from dmi.clock import Clock
from dmi.convert.v1beta1 import device_to_v1beta1, model_to_v1beta1
from dmi.errors import (
    ConversionError,
    DeadlineError,
    DmiError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from dmi.proto.v1beta1 import api_pb2 as pb
from dmi.proto.v1beta1 import api_pb2_grpc as rpc
from dmi.reports import Outcome, OutcomeStatus
from dmi.resources import Device, DeviceModel, Key
from dmi.unix_socket import channel
from dmi.values import format_value

__all__ = ["MapperCalls"]

Request: TypeAlias = Any  # the six requests share no base class that is typed

_MOST_CHANNELS: Final = 32
_REMOVALS: Final = frozenset({Verb.REMOVE_DEVICE, Verb.REMOVE_MODEL})
_NOT_THERE: Final = ("not found", "not exist", "no such device", "no such model")
_LONGEST_TEXT: Final = 500


class MapperCalls:
    """Makes the calls that the reconciler asks for, on one kept channel per mapper."""

    def __init__(
        self, node: Node, counters: Counters, clock: Clock, *, deadline: float = 10.0
    ) -> None:
        """Open nothing yet.

        Args:
            node: Learns which wishes were handed over.
            counters: Counts calls by method and outcome.
            clock: For the time of outcomes.
            deadline: How long a call may take, in seconds; 10 is EdgeCore's.
        """
        self._node = node
        self._counters = counters
        self._clock = clock
        self._deadline = deadline
        self._channels: OrderedDict[str, grpc.aio.Channel] = OrderedDict()

    async def close(self) -> None:
        """Close every channel."""
        while self._channels:
            await self._channels.popitem()[1].close(None)

    async def call(self, mapper: MapperRecord, operation: Operation) -> None:
        """Return after the mapper has said yes.

        Raises:
            UnavailableError: Nobody listens at the mapper's address.
            DeadlineError: It took the call and does not answer.
            RefusedError: It said no; Go mappers give no code, only a text.
            ConfigError: This contract cannot carry the object.
        """
        request = _request(operation)
        outcome = "cancelled"
        try:
            await self._method(await self._channel(mapper.address), operation.verb)(
                request, timeout=self._deadline
            )
        except grpc.aio.AioRpcError as error:
            refusal = _refusal(operation, error)
            outcome = refusal.reason if refusal else "ok"
            if refusal is not None:
                raise refusal from error
        else:
            outcome = "ok"
        finally:
            self._counters.call(operation.verb, outcome)
        if isinstance(operation.subject, Device):
            await self._handed_over(operation.subject)

    def _method(self, line: grpc.aio.Channel, verb: Verb) -> Callable[..., Any]:
        method: Callable[..., Any] = getattr(rpc.DeviceMapperServiceStub(line), verb)
        return method

    async def _channel(self, address: str) -> grpc.aio.Channel:
        line = self._channels.pop(address, None) or channel(Path(address))
        self._channels[address] = line
        if len(self._channels) > _MOST_CHANNELS:
            await self._channels.popitem(last=False)[1].close(None)
        return line

    async def _handed_over(self, device: Device) -> None:
        """Pending wishes that were in the device are written as far as anybody can know."""
        outcomes = [
            one
            for prop in device.spec.properties
            if prop.desired is not None and prop.desired.value
            if (one := self._written(device.key, prop.name, prop.desired.value))
        ]
        if outcomes:
            # Not on disk yet, but it will be; the mapper must not be called again for that.
            with suppress(UnavailableError):
                await self._node.apply_report("", 0, [], [], outcomes)

    def _written(self, device: Key, name: str, text: str) -> Outcome | None:
        declared = self._node.property_type(device, name)
        try:
            wish = self._node.twin(device, name).desired
            same = (
                wish is not None
                and declared is not None
                and wish.status is OutcomeStatus.PENDING
                and format_value(wish.value, declared.type) == text
            )
        except (NotFoundError, ConversionError):
            # Deleted, or of another type, since the call began.
            return None
        if not same or wish is None:
            return None
        time = self._clock.time()
        return Outcome(device, name, wish.version, OutcomeStatus.WRITTEN, time)


def _request(operation: Operation) -> Request:
    key, subject = operation.key, operation.subject
    if isinstance(subject, Device):
        kind = (
            pb.RegisterDeviceRequest
            if operation.verb is Verb.REGISTER_DEVICE
            else pb.UpdateDeviceRequest
        )
        return kind(device=device_to_v1beta1(subject))
    if isinstance(subject, DeviceModel):
        create = operation.verb is Verb.CREATE_MODEL
        kind_of_model = pb.CreateDeviceModelRequest if create else pb.UpdateDeviceModelRequest
        return kind_of_model(model=model_to_v1beta1(subject))
    if operation.verb is Verb.REMOVE_DEVICE:
        return pb.RemoveDeviceRequest(deviceName=key.name, deviceNamespace=key.namespace)
    return pb.RemoveDeviceModelRequest(modelName=key.name, modelNamespace=key.namespace)


def _refusal(operation: Operation, error: grpc.aio.AioRpcError) -> DmiError | None:
    """What a failed call means; None when the wish is fulfilled all the same."""
    code, text = error.code(), (error.details() or "")[:_LONGEST_TEXT]
    if code is grpc.StatusCode.UNAVAILABLE:
        return UnavailableError(text)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineError("no answer in time")
    gone = code is grpc.StatusCode.NOT_FOUND or any(word in text.lower() for word in _NOT_THERE)
    if operation.verb in _REMOVALS and gone:
        return None
    return RefusedError(text or code.name)

"""The link to EdgeCore, or to any other manager that speaks DMI v1beta1."""

import asyncio
import logging
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Final

import grpc

from dmi.clock import Clock, SystemClock
from dmi.convert.v1beta1 import inventory_from_v1beta1
from dmi.convert.v1beta1_reports import (
    registration_to_v1beta1,
    state_to_v1beta1,
    text_twin_to_v1beta1,
    twins_to_v1beta1,
)
from dmi.errors import (
    ConversionError,
    DmiError,
    OverloadedError,
    UnavailableError,
)
from dmi.governor import Charset, Governor, StateCall, TwinCall, TwinText
from dmi.proto.v1beta1 import api_pb2 as pb
from dmi.proto.v1beta1 import api_pb2_grpc as rpc
from dmi.readings import Reading
from dmi.reports import DeviceState, Outcome, OutcomeStatus, Registration
from dmi.resources import Key
from dmi.status import from_grpc
from dmi.unix_socket import Identity, channel, identity
from dmi.values import format_value
from mapper_sdk.devices.plan import Point
from mapper_sdk.link.base import Link, Served
from mapper_sdk.link.patience import Patience
from mapper_sdk.link.stream import one_error
from mapper_sdk.link.v1beta1_server import MapperService, serve_mapper
from mapper_sdk.link.wanted import Wanted
from mapper_sdk.sessions.backoff import Backoff

__all__ = ["V1Beta1Link"]

log = logging.getLogger(__name__)

_CALL_SECONDS: Final = 1.0
_LOOK_EVERY: Final = 0.25
_MOST_ATTEMPTS: Final = 3
_GONE: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        # How the library calls a connection that broke in the middle of a call.
        grpc.StatusCode.INTERNAL,
    }
)
# A socket younger than this belongs to a manager whose bucket is as good as full.
_YOUNG: Final = 60.0


class V1Beta1Link(Link):
    """Serves its own socket first, then registers, and again when the manager may have forgotten.

    Reports go through the governor, so that a stock EdgeCore neither refuses nor drops one
    in silence. Only properties with `reportToCloud`, and states of devices whose
    `stateReport` says so, are reported. A reading without a value has no place in this
    version; its device's state tells.

    Attributes:
        governor: What is to be said, and the budget for it.
    """

    def __init__(
        self,
        socket: Path,
        registration: Registration,
        *,
        charset: Charset = Charset.WITHHOLD,
        clock: Clock | None = None,
        rng: Random | None = None,
    ) -> None:
        """Prepare; nothing is opened before `run`.

        Args:
            socket: The manager's.
            registration: Who this mapper is; `address` is its own socket.
            charset: What to do with values that EdgeCore refuses.
            clock: Time by which the budget is kept.
            rng: Randomness of the waits between attempts.
        """
        super().__init__()
        self._socket = socket
        self._registration = registration
        self._clock = clock or SystemClock()
        self.governor = Governor(self._clock, charset=charset)
        self.dropped = self.governor.withheld
        self._wanted: Wanted | None = None
        self._points: dict[Key, dict[str, Point]] = {}
        self._states: dict[Key, DeviceState] = {}
        self._seen: Identity | None = None
        self._attempts: Counter[Key] = Counter()
        # Randomness against thundering herds needs no cryptography.
        rng = rng or Random()  # noqa: S311
        self._patience = Patience(socket, Backoff(rng, first=0.1, longest=2.0), log)

    # ------------------------------------------------------------ reports ----

    def report(self, batch: list[tuple[Point, Reading]]) -> None:
        """Take the readings of one look at a device."""
        for point, reading in batch:
            self._points.setdefault(point.device, {})[point.name] = point
            if not point.to_cloud:
                continue
            twin = self._text(point, reading)
            if twin is not None:
                self.governor.offer(point.device, twin)

    def report_state(self, state: DeviceState) -> None:
        """Take a device's new state."""
        self._states[state.device] = state
        self._offer_state(state.device)

    def report_outcome(self, outcome: Outcome) -> None:
        """Note what became of a wish; this version can only show it as the reported value."""
        if outcome.status in (OutcomeStatus.REJECTED, OutcomeStatus.FAILED):
            log.warning(
                "%s %s: the desired value is not granted: %s",
                outcome.device,
                outcome.property,
                outcome.message or outcome.reason,
            )

    async def drain(self) -> None:
        """Return when the manager has answered for everything taken so far."""
        await self.governor.idle()

    def _text(self, point: Point, reading: Reading) -> TwinText | None:
        if reading.value is None:
            return None
        try:
            text = format_value(reading.value, point.type)
        except ConversionError as error:
            self.dropped[error.reason] = self.dropped.get(error.reason, 0) + 1
            return None
        desired = self._wanted.desired(point.device, point.name) if self._wanted else ""
        stamp = str(round(reading.time * 1000))
        metadata = {"type": point.type.lower(), "timestamp": stamp}
        return TwinText(point.name, text, desired, metadata)

    def _offer_state(self, device: Key) -> None:
        state = self._states.get(device)
        known = self._wanted.devices.get(device) if self._wanted else None
        if state is None or known is None:
            return
        wish = known.spec.state_report
        if wish is not None and wish.report_to_cloud:
            self.governor.offer_state(device, state.state)

    def _twins_of(self, device: Key) -> list[pb.Twin]:
        """Both halves of what is known, for GetDevice."""
        served = self._wanted.devices.get(device) if self._wanted else None
        names = [prop.name for prop in served.spec.properties] if served else []
        points = self._points.get(device, {})
        latest = [
            self._text(points[name], reading)
            for name in names
            if name in points and (reading := points[name].latest) is not None
        ]
        return [_twin(twin) for twin in latest if twin is not None]

    def _forget(self, device: Key) -> None:
        self._points.pop(device, None)
        self._states.pop(device, None)
        self.governor.forget(device)

    # ------------------------------------------------------------ session ----

    async def run(self, served: Served) -> None:
        """Serve until cancelled; waits for a manager that is not there, and for its return.

        Raises:
            ConfigError: Our own socket cannot be used.
        """
        wanted = self._wanted = Wanted(served)
        service = MapperService(
            wanted, twins_of=self._twins_of, changed=self._offer_state, gone=self._forget
        )
        async with (
            serve_mapper(service, Path(self._registration.address)),
            channel(self._socket) as manager,
        ):
            stub = rpc.DeviceManagerServiceStub(manager)
            while True:
                self._patience.begin()
                try:
                    await self._session(stub, wanted)
                except DmiError as error:
                    self._patience.complain(error)
                finally:
                    self.connected = False
                await self._patience.wait()

    async def _session(self, stub: rpc.DeviceManagerServiceStub, wanted: Wanted) -> None:
        """Register, then report for as long as the manager stays the same."""
        met = self._look()
        await self._register(stub, wanted)
        self.connected = True
        self._patience.worked("registered with the manager at %s", self._socket)
        self.governor.repeat_all()
        for device in wanted.devices:
            self._offer_state(device)
        with one_error():
            async with asyncio.TaskGroup() as group:
                group.create_task(self._deliver(stub))
                group.create_task(self._complete(stub, wanted))
                await self._watch(met)

    def _look(self) -> Identity:
        """See which manager is there, and what that means for the budget."""
        found = identity(self._socket)
        if found is None:
            raise UnavailableError(f"there is no socket at {self._socket}")
        age = time.time() - found.modified_ns / 1e9
        if found != self._seen and (self._seen is not None or age < _YOUNG):
            self.governor.budget.restarted()
        self._seen = found
        return found

    async def _register(self, stub: rpc.DeviceManagerServiceStub, wanted: Wanted) -> None:
        request = registration_to_v1beta1(self._registration)
        await self.governor.admit()
        try:
            answer = await stub.MapperRegister(request, timeout=_CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            reason = from_grpc(error, "register with the manager")
            if isinstance(reason, OverloadedError):
                self.governor.refused()
            raise reason from error
        self.governor.accepted()
        self._take(answer, wanted)

    def _take(self, answer: pb.MapperRegisterResponse, wanted: Wanted) -> None:
        """Serve what the answer lists, and nothing else."""
        inventory = inventory_from_v1beta1(answer)
        for problem in inventory.problems:
            log.error("the manager sent what cannot be understood: %s", problem)
        for model in inventory.models.values():
            wanted.put_model(model)
        for device in inventory.devices.values():
            wanted.put_device(device)
        named = {Key(d.namespace or "default", d.name) for d in answer.deviceList}
        for gone in wanted.devices.keys() - named:
            self._forget(gone)
        # Models without devices are never listed, so their absence says nothing.
        wanted.keep_only(wanted.models.keys() | inventory.models.keys(), named)

    async def _watch(self, met: Identity) -> None:
        """Notice a manager that has started anew: it may know nothing of us."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            if identity(self._socket) not in (met, None):
                raise UnavailableError("the manager has started anew")

    async def _complete(self, stub: rpc.DeviceManagerServiceStub, wanted: Wanted) -> None:
        """Ask once for each model that is missing here.

        EdgeCore tells a model only when it is made, and lists none without devices: one made
        before we came, whose first device came after us, would never reach us.
        """
        asked: set[Key] = set()
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            missing = {device.model_key for device in wanted.devices.values()}
            missing -= wanted.models.keys() | asked
            if missing:
                asked |= missing
                log.info("asking the manager for the models %s", ", ".join(map(str, missing)))
                await self._register(stub, wanted)

    # ----------------------------------------------------------- delivery ----

    async def _deliver(self, stub: rpc.DeviceManagerServiceStub) -> None:
        while True:
            call = await self.governor.next()
            try:
                await self._make(stub, call)
            except asyncio.CancelledError:
                self.governor.failed(call)
                raise
            except grpc.aio.AioRpcError as error:
                self._cope(call, from_grpc(error, f"report {call.device}"), error.code())
            else:
                self._attempts.pop(call.device, None)
                self.governor.accepted(call)
                if isinstance(call, TwinCall):
                    self.acknowledged += len(call.twins)

    async def _make(self, stub: rpc.DeviceManagerServiceStub, call: TwinCall | StateCall) -> None:
        if isinstance(call, StateCall):
            state = DeviceState(call.device, call.state, self._clock.time())
            await stub.ReportDeviceStates(state_to_v1beta1(state), timeout=_CALL_SECONDS)
        else:
            report = twins_to_v1beta1(call.device, [_twin(twin) for twin in call.twins])
            await stub.ReportDeviceStatus(report, timeout=_CALL_SECONDS)

    def _cope(self, call: TwinCall | StateCall, error: DmiError, code: grpc.StatusCode) -> None:
        """Decide what a failed report means; raises where the manager seems to be gone."""
        if code in _GONE:
            self.governor.failed(call)
            raise error
        if isinstance(error, OverloadedError):
            log.info("the manager asks for fewer calls")
            self.governor.refused(call)
            return
        self._attempts[call.device] += 1
        if error.retryable and self._attempts[call.device] < _MOST_ATTEMPTS:
            self.governor.failed(call)
            return
        # One device's trouble must not keep the others waiting.
        log.warning("%s; this report is given up", error)
        del self._attempts[call.device]
        self.governor.give_up(call)


def _twin(twin: TwinText) -> pb.Twin:
    return text_twin_to_v1beta1(twin.property, twin.reported, twin.desired, twin.metadata)

"""One device, from its first connection to its removal: connect, serve, lose, wait, again."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from random import Random
from typing import TypeVar

from dmi.errors import (
    ConfigError,
    ConversionError,
    DeadlineError,
    DmiError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)
from dmi.readings import Reading, Value
from dmi.reports import Desired, DeviceState, Outcome
from mapper_sdk.derived.readings import Derivations, Derived
from mapper_sdk.devices.plan import Plan, Point
from mapper_sdk.devices.planning import adopt, diff_plans
from mapper_sdk.driver import Method
from mapper_sdk.sessions.backoff import Backoff
from mapper_sdk.sessions.bus import Buses
from mapper_sdk.sessions.connection import Connection
from mapper_sdk.sessions.surroundings import Surroundings
from mapper_sdk.sessions.twin import Wishes, checked_value
from mapper_sdk.sessions.writing import Progress

__all__ = ["REQUEST_LIMIT", "Begin", "Session"]

log = logging.getLogger(__name__)

Result = TypeVar("Result")

Begin = Callable[[], None]
"""Told that something is about to be done at the device."""

_HOPELESS = (ConfigError, ConversionError, UnsupportedError)
REQUEST_LIMIT = 15.0
"""Seconds that somebody who asks waits for a turn on the bus."""


class Session:
    """Serves one device until it is removed. Expected errors end in here; only bugs escape.

    Its state follows from real input and output: online once the device has answered,
    offline when it cannot be reached, unhealthy when waiting for it does not help.

    Attributes:
        plan: The device as it is served now; changed in place.
        state: As it was reported last.
        closed: Set when the device has been let go of.
    """

    def __init__(
        self,
        plan: Plan,
        around: Surroundings,
        buses: Buses,
        rng: Random,
        report_state: Callable[[DeviceState], None],
        report_outcome: Callable[[Outcome], None],
    ) -> None:
        self.plan = plan
        self.state = DeviceState(plan.key, "unknown", around.clock.time(), "connecting")
        self.closed = asyncio.Event()
        self._around = around
        self._buses = buses
        self._backoff = Backoff(rng, longest=around.driver_class.longest_wait)
        self._slow_backoff = Backoff(rng)
        self._report_state = report_state
        self._wishes = Wishes(plan.key, report_outcome, around.clock)
        self._derivations = Derivations(around.hub, around.poller)
        self._connection: Connection | None = None
        self._removed = False
        self._next_plan: Plan | None = None
        self._bell = asyncio.Event()

    # ------------------------------------------------- told from outside ----

    def update(self, plan: Plan) -> None:
        """Serve the device like this from now on, with the least disturbance."""
        if self._connection is not None:
            self._connection.change(plan)
        else:
            self._next_plan = plan
            self._bell.set()

    def remove(self) -> None:
        """Let go of the device; `closed` is set when that is done."""
        self._removed = True
        self._bell.set()
        if self._connection is not None:
            self._connection.leave()

    def wish(self, desired: Desired) -> None:
        """Somebody wants a property to have a value."""
        if not self._wishes.put(desired, self.plan.points):
            return
        if self._connection is not None and self._connection.ready:
            self._connection.hurry()
        else:
            self._wishes.wait(self.state.reason)

    # ------------------------------------------------------- for the REST ----

    def point(self, name: str) -> Point:
        """Give one property.

        Raises:
            NotFoundError: The device has none of that name.
        """
        point = self.plan.points.get(name)
        if point is None:
            raise NotFoundError(f"there is no property {name!r}", device=str(self.plan.key))
        return point

    async def read_now(
        self, names: Iterable[str], *, limit: float = REQUEST_LIMIT
    ) -> Mapping[str, Reading]:
        """Read these properties from the device itself; derived ones as apps gave them last.

        Raises:
            NotFoundError: The device has no such property.
            ConfigError: A property cannot be served as it is declared.
            UnavailableError: The device is away.
            DeadlineError: It does not answer within `limit` seconds.
        """
        points = [self._sound_point(name) for name in names]
        asked = [point for point in points if not point.common.derived]
        try:
            async with asyncio.timeout(limit):
                if asked:
                    await self._connected().read_now(asked)
        except TimeoutError as error:
            message = f"the device or its bus is busy for longer than {limit:g} s"
            raise DeadlineError(message, device=str(self.plan.key)) from error
        # The plan may have changed meanwhile.
        points = [self._sound_point(point.name) for point in points]
        return {point.name: point.latest for point in points if point.latest is not None}

    def derive(self, name: str, given: Sequence[Derived]) -> Reading:
        """Publish readings of a derived property, and give the last; see `Mapper.derive`."""
        try:
            return self._derivations.publish(self.point(name), given)
        except DmiError as error:
            if error.device is not None:
                raise
            raise type(error)(error.message, device=str(self.plan.key)) from error

    @property
    def is_ready(self) -> bool:
        """Whether the device is connected and answers requests now."""
        return self._connection is not None and self._connection.ready

    async def write_all(
        self,
        values: Mapping[str, Value],
        progress: Progress,
        begin: Begin | None = None,
        *,
        read_back: bool = True,
        limit: float | None = REQUEST_LIMIT,
    ) -> None:
        """Write several properties, all checked before the first; no wish changes by it.

        Args:
            values: By name, in the order in which they are written; at least one.
            progress: Told what is written.
            begin: Called when their turn has come; what it raises keeps them from being written.
            read_back: Read them when they are written.
            limit: Most seconds to wait for the turn; None where the caller sees to that.

        Raises:
            DmiError: A value may not be written, or the device refuses it or is away.
        """
        self._checked(values)
        connection = self._connected()

        async def write_now() -> None:
            # The declaration may have changed while this waited for its turn.
            writes = self._checked(values)
            if begin is not None:
                begin()
            await connection.write_all(writes, progress)
            if read_back:
                await connection.read_back(*(point for point, _ in writes))

        await self._request(write_now, connection, limit)

    def _checked(self, values: Mapping[str, Value]) -> list[tuple[Point, Value]]:
        points = [self.point(name) for name in values]
        return [(point, checked_value(point, values[point.name])) for point in points]

    @property
    def methods(self) -> Sequence[Method]:
        """What the device itself offers to call; empty while it is away."""
        return self._connection.methods if self._connection is not None else ()

    async def call(
        self,
        name: str,
        arguments: Mapping[str, Value],
        begin: Begin | None = None,
        *,
        limit: float | None = REQUEST_LIMIT,
    ) -> Mapping[str, Value]:
        """Run one of the device's own methods.

        Args:
            name: Of the method.
            arguments: By name.
            begin: Called when its turn has come; what it raises keeps it from being run.
            limit: Most seconds to wait for the turn; None where the caller sees to that.

        Raises:
            NotFoundError: The device has no such method.
            DmiError: The device refuses it or is away.
        """
        connection = self._connected()
        if all(method.name != name for method in connection.methods):
            raise NotFoundError(f"there is no method {name!r}", device=str(self.plan.key))

        async def call_now() -> Mapping[str, Value]:
            if begin is not None:
                begin()
            return await connection.call(name, arguments)

        return await self._request(call_now, connection, limit)

    async def history(self, name: str, start: float, end: float, limit: int) -> Sequence[Reading]:
        """Read what the device keeps of a property's past, oldest first.

        Raises:
            NotFoundError: There is no such property.
            ConfigError: The property cannot be served as it is declared.
            UnsupportedError: The device keeps nothing of it.
            UnavailableError: The device is away.
        """
        self._sound_point(name)
        connection = self._connected()

        async def ask_now() -> Sequence[Reading]:
            return await connection.history(self._sound_point(name), start, end, limit)

        return await self._request(ask_now, connection)

    def _sound_point(self, name: str) -> Point:
        point = self.point(name)
        if point.problem:
            raise ConfigError(point.problem, device=str(self.plan.key))
        return point

    async def _request(
        self,
        run: Callable[[], Awaitable[Result]],
        connection: Connection,
        seconds: float | None = REQUEST_LIMIT,
    ) -> Result:
        limit = asyncio.timeout(seconds)

        async def run_unhurried() -> Result:
            # What has begun is bounded by the driver's patience, and is not given up half done.
            limit.reschedule(None)
            return await run()

        try:
            async with limit:
                return await connection.request(run_unhurried)
        except TimeoutError as error:
            message = f"the bus is busy for longer than {seconds:g} s"
            raise DeadlineError(message, device=str(self.plan.key)) from error

    def _connected(self) -> Connection:
        if self._connection is None or not self._connection.ready:
            # Asking a device that is known to be away would only stall its bus.
            why = self.state.message or self.state.reason
            raise UnavailableError(f"{self.state.state}: {why}", device=str(self.plan.key))
        return self._connection

    # ----------------------------------------------------------- its life ----

    async def run(self) -> None:
        """Keep the device served until it is removed, or this is cancelled."""
        try:
            while not self._removed:
                self._adopt_plan()
                self._around.publish_faults(self.plan.faulty, ConfigError.reason, "")
                self._derivations.expect(self.plan.points.values())
                wait = await self._connect_and_serve()
                if wait:
                    await self._rest(wait)
        finally:
            self._derivations.forget()
            self.closed.set()

    async def _connect_and_serve(self) -> float:
        """Give the seconds to wait until the next try; 0 when there was no failure."""
        if self.plan.is_derived:
            # There is nobody to be reached: only changes of the plan are waited for.
            self._came_online()
            return math.inf
        bus_key = self.plan.bus_key
        takes_turns = self._around.driver_class.takes_turns
        bus = self._buses.acquire(bus_key, takes_turns=takes_turns)
        connection = Connection(self.plan, bus, self._wishes, self._around)
        self._connection = connection
        try:
            await connection.run(self._came_online)
        except DmiError as error:
            return 0.0 if self._removed else self._lost(error)
        finally:
            self._connection = None
            self._next_plan = connection.next_plan or self._next_plan
            self._buses.release(bus_key)
        return 0.0

    async def _rest(self, wait: float) -> None:
        """Return after `wait` seconds, or as soon as the device was changed or removed."""
        self._bell.clear()
        ticket = None
        if math.isfinite(wait):
            ticket = self._around.poller.after(wait, self._ring)
        if not self._removed and self._next_plan is None:
            await self._bell.wait()
        if ticket is not None:
            self._around.poller.cancel(ticket)

    def _ring(self) -> bool:
        self._bell.set()
        return True

    def _adopt_plan(self) -> None:
        new, self._next_plan = self._next_plan, None
        if new is None:
            return
        adopt(self.plan, new, diff_plans(self.plan, new))
        self._wishes.recheck(self.plan.points)
        self._backoff.reset()

    # -------------------------------------------------------------- state ----

    def _came_online(self) -> None:
        self._backoff.reset()
        log.log(
            logging.INFO if self.state.reason != "connecting" else logging.DEBUG,
            "device %s is online",
            self.plan.key,
        )
        self._set_state("online", "", "")

    def _lost(self, error: DmiError) -> float:
        """Note why the device is not served, and give the wait until the next try."""
        self._around.exchanges.failed(error.reason)
        state, wait = "unhealthy", self._slow_backoff.longest()
        if error.retryable:
            state, wait = "offline", self._backoff.next()
        elif isinstance(error, _HOPELESS):
            wait = math.inf
        again = (self.state.state, self.state.reason) == (state, error.reason)
        level = logging.DEBUG if again else logging.WARNING
        log.log(level, "device %s is %s: %s", self.plan.key, state, error.message)
        self._set_state(state, error.reason, error.message)
        self._around.publish_faults(self.plan.collected, error.reason, error.message)
        self._wishes.wait(error.reason)
        return wait

    def _set_state(self, state: str, reason: str, message: str) -> None:
        old = self.state
        if self._removed:
            return  # Who let go of the device has said what is true now.
        if (old.state, old.reason) == (state, reason):
            return
        now = self._around.clock.time()
        since = old.since if old.state == state else now
        self.state = DeviceState(self.plan.key, state, since, reason, message)
        self._report_state(self.state)

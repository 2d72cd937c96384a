"""A whole mapper: link, device table, sessions, fan-out and REST around one driver class."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from random import Random
from types import MappingProxyType

from dmi.clock import Clock, SystemClock
from dmi.errors import NotFoundError
from dmi.methods import Method
from dmi.readings import Quality, Reading, Value
from dmi.reports import Desired, DeviceState, Outcome
from dmi.resources import Key
from mapper_sdk.delivery.service import Delivery
from mapper_sdk.derived.readings import Derived
from mapper_sdk.devices.plan import Plan
from mapper_sdk.devices.planning import AnyDriver
from mapper_sdk.devices.table import DeviceTable
from mapper_sdk.driver import Calling
from mapper_sdk.events import DeviceEvent
from mapper_sdk.hub import Batch, Hub
from mapper_sdk.link.base import Link
from mapper_sdk.sessions.bus import Buses
from mapper_sdk.sessions.calling import call_method, own_methods
from mapper_sdk.sessions.exchanges import Exchanges
from mapper_sdk.sessions.polling import Poller
from mapper_sdk.sessions.session import Begin, Session
from mapper_sdk.sessions.surroundings import Surroundings

__all__ = ["Listener", "Mapper"]

Listener = Callable[[Batch | DeviceState | Outcome | DeviceEvent], None]
"""Takes everything that happens, for instance to stream it to apps."""


class Mapper:
    """Serves every device that its link names, each in a session of its own.

    Attributes:
        table: What the link tells.
        hub: Where readings go out; add consumers before `run`.
        poller: The timer, with its statistics.
        sessions: The devices being served.
        states: State of every device that was ever heard of and is not gone.
        delivery: Brings readings to sinks; None in a mapper without any.
    """

    def __init__(
        self,
        driver_class: type[AnyDriver],
        link: Link,
        *,
        protocol: str = "",
        clock: Clock | None = None,
        rng: Random | None = None,
    ) -> None:
        """Prepare everything; nothing runs yet.

        Args:
            driver_class: Speaks the protocol.
            link: Names the devices and takes the readings.
            protocol: Overrides the driver's protocol name.
            clock: Time for tests.
            rng: Randomness for tests; spreads retries, decides nothing secret.
        """
        clock = clock or SystemClock()
        self.driver_class = driver_class
        self.link = link
        self.clock = clock
        self.hub = Hub(clock)
        self.hub.add("link", link.report)
        link.offer(self)
        self.poller = Poller(clock)
        self.table = DeviceTable(driver_class, self, protocol)
        self.delivery: Delivery | None = None
        self._around = Surroundings(driver_class, self.poller, self.hub, clock, self._report_event)
        self._buses = Buses()
        self._rng = rng or Random()  # noqa: S311 - spreads retries
        self._sessions: dict[Key, Session] = {}
        self._states: dict[Key, DeviceState] = {}
        self._leaving: dict[Key, Session] = {}
        self._listeners: list[Listener] = []
        self._group: asyncio.TaskGroup | None = None

    @property
    def sessions(self) -> Mapping[Key, Session]:
        """The devices being served."""
        return MappingProxyType(self._sessions)

    @property
    def exchanges(self) -> Exchanges:
        """What the exchanges with devices took, and how they failed."""
        return self._around.exchanges

    @property
    def waiting_turns(self) -> int:
        """How many turns are queued on buses that devices share."""
        return self._buses.waiting

    @property
    def states(self) -> Mapping[Key, DeviceState]:
        """State of every device, also of those that cannot be served."""
        return MappingProxyType(self._states)

    def session(self, key: Key) -> Session:
        """Give the session of one device.

        Raises:
            NotFoundError: No such device is served.
        """
        session = self._sessions.get(key)
        if session is not None:
            return session
        state = self._states.get(key)
        why = f"is {state.state}: {state.message}" if state else "is not known here"
        raise NotFoundError(f"the device {why}", device=str(key))

    def derive(
        self,
        key: Key,
        property_: str,
        value: Value | None,
        *,
        time: float | None = None,
        quality: Quality = Quality.GOOD,
        reason: str = "",
    ) -> Reading:
        """Publish a reading that an app made, of a property that is declared `derived`.

        It goes the way of all readings: twin, sinks, REST and streams get it.

        Args:
            key: The device.
            property_: Name of its property.
            value: In the declared type (`dmi.values.value_from_json` and `parse_value` make
                it); None for a bad reading.
            time: When it was true, in seconds since 1970; None for now.
            quality: BAD exactly when `value` is None.
            reason: Why it is not good.

        Returns:
            The reading as it was published.

        Raises:
            NotFoundError: No such device is served, or it has no such property.
            ConfigError: The property cannot be served as it is declared.
            AccessDeniedError: It is not a derived one.
            ConversionError: The value does not fit its type, or the time cannot be right.
            OutOfRangeError: The value lies outside the declared range.
            ConflictError: A newer reading was published before.
        """
        moment = self.clock.time() if time is None else time
        return self.session(key).derive(property_, [Derived(value, moment, quality, reason)])

    def plan_of(self, key: Key) -> Plan | None:
        """Give the plan by which a device is served now; None when it is not served."""
        session = self._sessions.get(key)
        return session.plan if session is not None else None

    def deliver_by(self, delivery: Delivery) -> None:
        """Give readings to sinks too; whoever runs the mapper runs the delivery."""
        self.delivery = delivery
        self.hub.add("delivery", delivery.offer)

    def add_listener(self, listen: Listener) -> None:
        """Give readings, states and outcomes to one consumer more; it returns at once."""
        self.hub.add(f"listener {len(self._listeners)}", listen)
        self._listeners.append(listen)

    async def run(self) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            group.create_task(self.poller.run(), name="poller")
            group.create_task(self.link.run(self.table), name="link")

    async def drain(self) -> None:
        """Let go of all devices, then return when everything read so far is delivered."""
        for key in list(self._sessions):
            self.drop(key)
        for session in list(self._leaving.values()):
            await session.closed.wait()
        async with asyncio.TaskGroup() as group:
            if self.link.connected:
                group.create_task(self.link.drain(), name="drain link")
            if self.delivery is not None:
                group.create_task(self.delivery.drain(), name="drain delivery")

    # -------------------------------------------------------------- Fleet ----

    def serve(self, plan: Plan) -> None:
        """Serve a device like this from now on; it may be served already."""
        session = self._sessions.get(plan.key)
        if session is not None:
            session.update(plan)
            return
        if self._group is None:
            raise RuntimeError("the mapper is not running")
        session = Session(
            plan, self._around, self._buses, self._rng, self._report_state, self._report_outcome
        )
        self._sessions[plan.key] = session
        self._states[plan.key] = session.state
        before = self._leaving.get(plan.key)
        self._group.create_task(self._run_session(session, before), name=f"device {plan.key}")

    def drop(self, key: Key) -> None:
        """Serve a device no longer; unknown ones are ignored."""
        self._states.pop(key, None)
        self._let_go(key)

    def refuse(self, key: Key, state: str, reason: str, message: str) -> None:
        """Serve a device no longer, and say why."""
        session = self._sessions.get(key)
        self._let_go(key)
        if session is not None:
            self._around.publish_faults(session.plan.points.values(), reason, message)
        old = self._states.get(key)
        since = old.since if old and old.state == state else self.clock.time()
        self._report_state(DeviceState(key, state, since, reason, message))

    def wish(self, desired: Desired) -> None:
        """Somebody wants a property of a served device to have a value."""
        self._sessions[desired.device].wish(desired)

    # ------------------------------------------------------------- Callee ----

    def methods(self) -> Mapping[Key, Sequence[Method]]:
        """What each device that has been connected offers itself."""
        if not issubclass(self.driver_class, Calling):
            return {}
        return {key: own_methods(s) for key, s in self._sessions.items() if s.is_ready}

    def is_undecided(self, device: Key) -> bool:
        """Whether a device is not known yet, or still being connected for the first time."""
        state = self._states.get(device)
        return state is None or (state.state, state.reason) == ("unknown", "connecting")

    async def call(
        self, device: Key, method: str, arguments: Mapping[str, Value], begin: Begin
    ) -> Mapping[str, Value]:
        """Call a method and give its results; see `mapper_sdk.sessions.calling.Callee`."""
        results = await call_method(self.session(device), method, arguments, begin)
        values = {k: v.value if isinstance(v, Reading) else v for k, v in results.items()}
        return {name: value for name, value in values.items() if value is not None}

    # ------------------------------------------------------------ details ----

    def _let_go(self, key: Key) -> None:
        session = self._sessions.pop(key, None)
        if session is not None:
            self._leaving[key] = session
            session.remove()

    async def _run_session(self, session: Session, before: Session | None) -> None:
        """Run a session, once the one that had the same device before has let go of it."""
        key = session.plan.key
        if before is not None:
            await before.closed.wait()
        try:
            await session.run()
        finally:
            if self._leaving.get(key) is session:
                del self._leaving[key]

    def _report_state(self, state: DeviceState) -> None:
        self._states[state.device] = state
        self.link.report_state(state)
        for listen in self._listeners:
            listen(state)

    def _report_event(self, event: DeviceEvent) -> None:
        for listen in self._listeners:
            listen(event)

    def _report_outcome(self, outcome: Outcome) -> None:
        self.table.note_outcome(outcome)
        self.link.report_outcome(outcome)
        for listen in self._listeners:
            listen(outcome)

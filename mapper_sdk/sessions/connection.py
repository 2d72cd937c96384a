"""One device while it is connected: every call to its driver happens here, one at a time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from dmi.errors import (
    ConfigError,
    DmiError,
    DriverBugError,
    UnavailableError,
    UnsupportedError,
)
from dmi.readings import Quality, Reading, Value
from mapper_sdk.devices.plan import Plan, Point
from mapper_sdk.devices.planning import AnyDriver, adopt, diff_plans
from mapper_sdk.driver import (
    Alarming,
    Answer,
    Calling,
    Event,
    Method,
    Remembering,
    Subscribing,
)
from mapper_sdk.events import DeviceEvent
from mapper_sdk.hub import Batch
from mapper_sdk.sessions.bus import Bus, Turn
from mapper_sdk.sessions.collecting import Collection, Look
from mapper_sdk.sessions.intake import converted, guarded, is_fatal, take
from mapper_sdk.sessions.pushing import Pushed, Pushes
from mapper_sdk.sessions.requesting import Requests, disconnected, release
from mapper_sdk.sessions.surroundings import Surroundings
from mapper_sdk.sessions.twin import Wishes
from mapper_sdk.sessions.writing import Progress, write_points

__all__ = ["Connection"]

log = logging.getLogger(__name__)

Result = TypeVar("Result")

_HEARTBEAT_MS = 10_000
_CLOSE_LIMIT = 5.0
_BUSY_REST = 1.0


class Connection:
    """Connects, reads what is due, writes what is wished, until told to leave or it is lost.

    Attributes:
        ready: It has been connected and looked at once: requests are served.
        methods: What the device offers, when its driver is a `Calling` one.
        next_plan: A changed plan that has not been applied yet.
    """

    def __init__(self, plan: Plan, bus: Bus, wishes: Wishes, around: Surroundings) -> None:
        self.ready = False
        self.methods: Sequence[Method] = ()
        self._plan = plan
        self._bus = bus
        self._wishes = wishes
        self._around = around
        self._driver: AnyDriver | None = None
        self._bell = asyncio.Event()
        self._turn: Turn | None = None
        self._leaving = False
        self.next_plan: Plan | None = None
        self._fault: DmiError | None = None
        self._requests = Requests(around.exchanges)
        self._live: asyncio.Future[None] | None = None
        self._collection = Collection(around.poller, self._bell.set)
        self._pushes = Pushes(self._take_pushed)
        self._resting = False

    # ------------------------------------------------- told from outside ----

    def leave(self) -> None:
        """Close after the exchange that is under way."""
        self._leaving = True
        self._bell.set()

    def change(self, plan: Plan) -> None:
        """The device is declared like this from now on."""
        self.next_plan = plan
        self._bell.set()

    def hurry(self) -> None:
        """There is something to write: a poll that waits for the bus goes ahead."""
        if self._turn is not None:
            self._turn.promote()
        self._bell.set()

    async def request(self, run: Callable[[], Awaitable[Result]]) -> Result:
        """Have something done ahead of all polls, and give its result."""
        answer = self._requests.add(run)
        self.hurry()
        result: Result = await answer
        return result

    async def read_now(self, points: Sequence[Point]) -> None:
        """Return when these points have been read; who asks meanwhile shares the read."""
        if self._live is None:
            self._live = asyncio.get_running_loop().create_future()
        self._collection.ask(points)
        await asyncio.shield(self._live)

    # ----------------------------------------------------------- its life ----

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Connect and serve.

        Returns when told to leave, or when a changed plan asks for another connection.

        Args:
            on_ready: Called once, when the device has answered.

        Raises:
            DmiError: The connection is lost, or there was none.
        """
        error: DmiError = disconnected()
        try:
            await self._open()
            on_ready()
            self.ready = True
            while not self._leaving:
                await self._step()
                if self._fault is not None:
                    raise self._fault
                if self.next_plan is not None and not await self._adopt_plan():
                    return
        except DmiError as lost:
            error = lost
            raise
        finally:
            self.ready = False
            self._collection.stop()
            self._requests.dismiss(error)
            release(self._live, error)
            await self._close()

    async def _open(self) -> None:
        around = self._around
        driver = await guarded(around.driver_class.patience, self._make_driver)
        await guarded(driver.patience, driver.connect)
        async with self._bus.turn():
            await self._subscribe()
            if isinstance(self._driver, Calling):
                self.methods = await guarded(self._driver.patience, self._driver.methods)
            if isinstance(self._driver, Alarming):
                await guarded(self._driver.patience, self._driver.listen, self._tell)
            self._collection.ask(self._plan.collected)
            await self._look()

    async def _make_driver(self) -> AnyDriver:
        driver = self._around.driver_class(self._plan.link)
        driver.bus = self._bus
        self._driver = driver
        return driver

    async def _close(self) -> None:
        driver, self._driver = self._driver, None
        if driver is None:
            return
        try:
            await guarded(_CLOSE_LIMIT, driver.close)
        except DmiError as error:
            log.warning("device %s does not close cleanly: %s", self._plan.key, error)

    async def _step(self) -> None:
        """Do the most urgent thing, in one turn on the bus; wait when there is nothing."""
        urgent = bool(self._requests or self._has_wish)
        if not urgent and not self._collection.has_due:
            if not (self._leaving or self.next_plan or self._fault):
                self._bell.clear()
                await self._bell.wait()
            return
        self._turn = self._bus.turn(write=urgent)
        async with self._turn:
            self._turn = None
            if self._leaving:
                return
            if self._requests:
                await self._requests.serve_next()
            elif self._has_wish:
                await self._grant()
            elif self._collection.has_due:
                await self._look()

    @property
    def _has_wish(self) -> bool:
        """Whether there is something to write, to a device that is not too busy for it."""
        return bool(self._wishes.pending) and not self._resting

    async def _adopt_plan(self) -> bool:
        """Apply a changed plan with the least disturbance; False when that is a reconnect."""
        new, self.next_plan = self.next_plan, None
        if new is None:
            return True
        change = diff_plans(self._plan, new)
        adopt(self._plan, new, change)
        self._wishes.recheck(self._plan.points)
        self._around.publish_faults(self._plan.faulty, ConfigError.reason, "")
        if change.reconnect:
            return False
        if change.touches_reading:
            async with self._bus.turn():
                await self._subscribe()
        # What was read by other settings, a scale perhaps, is no value of the property now.
        touched = {point.name for point in (*change.added, *change.redirected, *change.retuned)}
        self._collection.ask(point for point in self._plan.collected if point.name in touched)
        return True

    # ---------------------------------------------------------- exchanges ----

    async def _look(self) -> None:
        """Read what is due, in one exchange."""
        look = self._collection.next_look()
        # Who asks from now on gets the next look: this one may not hold their points.
        live, self._live = self._live, None
        try:
            if look.points:
                driver = self._connected()
                begin = self._around.clock.monotonic()
                answers = await guarded(driver.patience, driver.read, look.visits)
                self._around.exchanges.took(self._around.clock.monotonic() - begin)
                self._accept(look, answers)
            release(live, None)
        except DmiError as error:
            release(live, error)
            raise
        finally:
            release(live, disconnected())

    def _accept(self, look: Look, answers: Sequence[Answer]) -> None:
        batch, lost = take(look.points, answers, self._around.clock.time())
        self._collection.done(look, failing=lost is not None)
        # Before anything is raised: each point's latest says so already, and so must the hub.
        self._publish(batch)
        if lost is not None:
            if not self.ready or self._collection.all_failing:
                raise lost
            # Perhaps only these points are out of reach. The others will tell.
            self._collection.probe()

    def _publish(self, batch: Batch) -> None:
        if self._wishes.written or self._wishes.pending:
            self._wishes.compare(batch)
        # Of a device that is let go of nothing may follow what was said last.
        if not self._leaving:
            self._around.hub.publish(batch)

    async def write_all(self, writes: Sequence[tuple[Point, Value]], progress: Progress) -> None:
        """Write several points, inside a turn; see `write_points`."""
        await write_points(self._connected(), writes, progress)

    async def read_back(self, *points: Point) -> Reading:
        """Read points, inside a turn, and publish them; gives the reading of the first."""
        driver = self._connected()
        visits = [point.visit for point in points]
        answers = await guarded(driver.patience, driver.read, visits)
        batch, _ = take(points, answers, self._around.clock.time())
        self._publish(batch)
        return batch[0][1]

    async def call(self, name: str, arguments: Mapping[str, Value]) -> Mapping[str, Value]:
        """Run one of the device's own methods, inside a turn."""
        driver = self._connected()
        if not isinstance(driver, Calling):
            raise DriverBugError("the driver has methods and cannot call them")
        return await guarded(driver.patience, driver.call, name, arguments)

    async def history(
        self, point: Point, start: float, end: float, limit: int
    ) -> Sequence[Reading]:
        """Read what the device keeps of the past, inside a turn; nothing of it is published.

        Raises:
            UnsupportedError: It keeps nothing.
        """
        driver = self._connected()
        if not isinstance(driver, Remembering):
            raise UnsupportedError("this device keeps no history", device=str(point.device))
        answers = await guarded(driver.patience, driver.history, point.visit, start, end, limit)
        return converted(point, answers, self._around.clock.time())

    def _tell(self, event: Event) -> None:
        self._around.report_event(DeviceEvent(self._plan.key, event))

    def _connected(self) -> AnyDriver:
        if self._driver is None:
            raise UnavailableError("the device is not connected")
        return self._driver

    async def _grant(self) -> None:
        """Write the next wish, and see what the device makes of it."""
        wish = self._wishes.begin()
        point = self._plan.points.get(wish.desired.property) if wish else None
        if wish is None or wish.value is None or point is None:
            return
        driver = self._connected()
        try:
            raw = point.scaling.reverse(wish.value)
            await guarded(driver.patience, driver.write, point.visit, raw)
        except DmiError as error:
            self._wishes.failed(wish, error)
            if is_fatal(error):
                raise
            if error.retryable:
                self._resting = True
                self._around.poller.after(_BUSY_REST, self._rested)
            return
        self._wishes.wrote(wish)
        reading = await self.read_back(point)
        if reading.quality is not Quality.BAD:
            self._wishes.differs(wish, reading)

    def _rested(self) -> bool:
        self._resting = False
        self._bell.set()
        return True

    # ------------------------------------------------------------- pushed ----

    async def _subscribe(self) -> None:
        """Let the device push what it can, and poll the rest."""
        served = self._plan.collected
        driver = self._driver
        if not isinstance(driver, Subscribing):
            self._collection.arrange(served)
            return
        visits = [point.visit for point in served]
        publish = self._pushes.publisher(served, lambda: self._driver is driver)
        refusals = await guarded(driver.patience, driver.subscribe, visits, publish)
        if len(refusals) != len(served):
            raise DriverBugError(f"{len(refusals)} answers to {len(served)} subscriptions")
        polled = [p for p, refusal in zip(served, refusals, strict=True) if refusal is not None]
        pushed = [p for p, refusal in zip(served, refusals, strict=True) if refusal is None]
        if polled:
            self._collection.arrange(polled, pushed=pushed)
        else:
            # Somebody must notice when a device that only pushes is gone.
            self._collection.arrange(served[:1], least_ms=_HEARTBEAT_MS, pushed=pushed)

    def _take_pushed(self, pushed: Pushed) -> None:
        """Publish everything that was pushed in one turn of the loop as one batch."""
        known = self._plan.points
        live = [(point, answer) for point, answer in pushed if known.get(point.name) is point]
        points, answers = [point for point, _ in live], [answer for _, answer in live]
        try:
            batch, lost = take(points, answers, self._around.clock.time())
        except DriverBugError as error:
            self._fault = error
            self._bell.set()
            return
        if lost is not None:
            self._collection.probe()
        self._publish(batch)

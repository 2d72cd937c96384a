"""A mapper linked straight to a stock EdgeCore that admits one call a second, time compressed."""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final

from benchmarks.measured import Figures, Measured, progress
from benchmarks.processes import scratch_folder
from benchmarks.virtual import devices, model
from dmi.errors import UnavailableError
from dmi.reports import DeviceState, Registration
from dmi.resources import Device, DeviceModel, Key
from mapper_sdk.driver import Answer
from mapper_sdk.fakes.clock import FakeClock
from mapper_sdk.fakes.edgecore import FakeEdgeCore, FakeLimiter
from mapper_sdk.link.v1beta1 import V1Beta1Link
from mapper_sdk.mapper import Mapper
from mapper_sdk.virtual import VirtualDriver, VirtualVisit

__all__ = ["TARGET", "measure"]

TARGET: Final = (
    "every twin refreshed at least once a minute, states within 5 s, not one refused call"
)

_MOST_STALE_S: Final = 60.0
_MOST_STATE_S: Final = 5.0
_PROPERTIES: Final = 20
_STEP: Final = 0.25
_TROUBLE_EVERY: Final = 30.0
_TROUBLE_SECONDS: Final = 3.0
# For calls under way, which take real time.
_BREATH: Final = 0.002


class _MoodyDriver(VirtualDriver):
    """Virtual devices, some of which are away now."""

    away: ClassVar[set[int]] = set()

    async def connect(self) -> None:
        self._look()
        await super().connect()

    async def read(self, visits: Sequence[VirtualVisit]) -> Sequence[Answer]:
        self._look()
        return await super().read(visits)

    def _look(self) -> None:
        if self.link.start in self.away:
            raise UnavailableError("switched off")


class _StateWatch:
    """How long each state takes from the mapper to EdgeCore."""

    def __init__(self, edgecore: FakeEdgeCore, clock: FakeClock) -> None:
        self.delays: list[float] = []
        self._edgecore = edgecore
        self._clock = clock
        self._waiting: dict[Key, tuple[str, float]] = {}

    def note(self, change: object) -> None:
        """The mapper has something to tell; only states matter here."""
        if isinstance(change, DeviceState):
            self._waiting[change.device] = (change.state, self._clock.monotonic())

    def look(self) -> None:
        """See what has arrived."""
        for device, (state, since) in list(self._waiting.items()):
            kept = self._edgecore.devicetwin.states.get(device)
            if kept is not None and kept.state == state:
                self.delays.append(max(0.0, kept.time - since))
                del self._waiting[device]

    @property
    def longest(self) -> float:
        """The longest delay so far, of what has not arrived too."""
        now = self._clock.monotonic()
        return max([*self.delays, *(now - since for _, since in self._waiting.values())])


async def measure(*, quick: bool) -> Measured:
    """Ten minutes of fifty devices whose twenty values all change each second."""
    number, seconds = (5, 30.0) if quick else (50, 600.0)
    # That devices go away is the point here, and is worth no line each.
    logging.getLogger("mapper_sdk.sessions.session").setLevel(logging.ERROR)
    progress(f"edgecore: {number} devices of {_PROPERTIES} properties, {seconds:.0f} s compressed")
    async with scratch_folder() as folder:
        figures = await _run(folder, number, seconds)
    met = (
        not figures["calls_refused"]
        and figures["longest_without_refresh_s"] <= _MOST_STALE_S
        and figures["longest_state_delay_s"] <= _MOST_STATE_S
        and not figures["crashes"]
    )
    return Measured(figures, met, await _bare(number, seconds))


async def _run(folder: Path, number: int, seconds: float) -> dict[str, float]:
    clock = FakeClock()
    edgecore = FakeEdgeCore(folder / "dmi.sock", clock=clock)
    await edgecore.put_model(DeviceModel.model_validate(model(_PROPERTIES)))
    for item in devices(number, _PROPERTIES, 1000):
        item["spec"]["stateReport"] = {"reportToCloud": True, "reportCycle": 1000}
        await edgecore.put_device(Device.model_validate(item))
    who = Registration("virtual", "virtual", address=str(folder / "virtual.sock"))
    link = V1Beta1Link(folder / "dmi.sock", who, clock=clock)
    mapper = Mapper(_MoodyDriver, link, clock=clock)
    states = _StateWatch(edgecore, clock)
    mapper.add_listener(states.note)
    async with edgecore, asyncio.TaskGroup() as group:
        running = group.create_task(mapper.run())
        await edgecore.until(lambda: bool(edgecore.mappers))
        begin = clock.monotonic()
        await _live(clock, states, number, seconds)
        running.cancel()
    return {**_account(edgecore, number, begin, clock.monotonic(), states), **_dropped(link)}


async def _live(clock: FakeClock, states: _StateWatch, number: int, seconds: float) -> None:
    """Let the time pass, and one device after the other be away for a while."""
    for step in range(round(seconds / _STEP)):
        now = step * _STEP
        victim = int(now / _TROUBLE_EVERY) % number
        is_away = _TROUBLE_SECONDS <= now % _TROUBLE_EVERY < 2 * _TROUBLE_SECONDS
        _MoodyDriver.away = {victim} if is_away else set()
        await clock.advance(_STEP)
        await asyncio.sleep(_BREATH)
        states.look()


def _account(
    edgecore: FakeEdgeCore, number: int, begin: float, end: float, states: _StateWatch
) -> dict[str, float]:
    kept = [twin for twins in edgecore.devicetwin.twins.values() for twin in twins.values()]
    gaps = [
        later - earlier
        for twin in kept
        for earlier, later in zip([begin, *twin.times], [*twin.times, end], strict=True)
    ]
    calls = edgecore.calls
    return {
        "twins_missing": number * _PROPERTIES - len(kept),
        "longest_without_refresh_s": round(max(gaps, default=end - begin), 1),
        "state_changes": len(states.delays),
        "longest_state_delay_s": round(states.longest, 1),
        "calls": len(calls),
        "calls_refused": sum(call.refused for call in calls),
        "twins_per_call": round(sum(call.twins for call in calls) / len(calls), 1),
        "dropped_by_edgecore": len(edgecore.devicetwin.dropped),
        "crashes": len(edgecore.crashes),
    }


def _dropped(link: V1Beta1Link) -> dict[str, float]:
    """What the governor did not pass on, by reason."""
    withheld = {f"withheld_{reason}": count for reason, count in link.dropped.items()}
    return {"superseded": link.governor.superseded, **withheld}


async def _bare(number: int, seconds: float) -> Figures:
    """What becomes of a mapper that reports each device as soon as it has values."""
    clock = FakeClock()
    limiter = FakeLimiter(clock)
    last = dict.fromkeys(range(number), 0.0)
    outcomes, longest = Counter[bool](), 0.0
    for _ in range(round(seconds)):
        for device in range(number):
            admitted = limiter.allow()
            outcomes[admitted] += 1
            if admitted:
                last[device] = clock.monotonic()
            longest = max(longest, clock.monotonic() - last[device])
        await clock.advance(1.0)
    return {"calls_refused": outcomes[False], "longest_without_refresh_s": round(longest, 1)}

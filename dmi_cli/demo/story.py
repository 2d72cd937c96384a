"""The demo's story: devices become twins, a wish is confirmed, and crashes heal."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from dmi.errors import DmiError, UnavailableError
from dmi_cli.demo.plot import Plot
from dmi_cli.demo.snapshot import POLL_SECONDS, Node, Snapshot
from dmi_cli.demo.stage import Stage
from dmi_cli.demo.view import View

__all__ = ["Story", "Summary"]

HEAL_SECONDS = 5.0
"""What the README promises for a restart of either side."""
LIVE_SECONDS = 20.0
_COUNTERS = {"made": "reported", "acknowledged": "acknowledged", "dropped": "dropped"}
STEPS = (
    "started",
    "devices_live",
    "wish_confirmed",
    "mapper_recovered",
    "manager_recovered",
    "nothing_lost",
)


@dataclass
class Summary:
    """What happened, as the JSON that `--json` ends with."""

    steps: dict[str, bool] = field(default_factory=lambda: dict.fromkeys(STEPS, False))
    twins: int = 0
    readings: dict[str, int] = field(default_factory=dict)
    gaps: list[dict[str, Any]] = field(default_factory=list)
    writes: dict[str, int] = field(default_factory=lambda: {"asked": 0, "confirmed": 0})
    recoveries: list[dict[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def held(self) -> bool:
        """Whether every step of the story held."""
        return all(self.steps.values()) and not self.errors

    def report(self) -> dict[str, Any]:
        """As JSON."""
        return {"held": self.held, **asdict(self)}


class Story:
    """Runs the steps in order against the live processes, and keeps the score."""

    def __init__(
        self, plots: Sequence[Plot], node: Node, view: View, stage: Stage, *, pace: float
    ) -> None:
        """Before the first step.

        Args:
            plots: What is special to each protocol; their stories are told together.
            node: Where to look and wish.
            view: Shows the steps.
            stage: Has the programs when the first step has held.
            pace: Seconds of rest after each step, for a person to look.
        """
        self.summary = Summary()
        self._plots = plots
        self._node = node
        self._view = view
        self._stage = stage
        self._pace = pace
        self._earlier = dict.fromkeys(_COUNTERS, 0)

    async def tell(self) -> None:
        """Run every step.

        Raises:
            DmiError: A step did not hold; the summary has it, and the story ends there.
        """
        await self._devices_live()
        await self._wish_confirmed()
        await self._mapper_killed()
        await self._manager_killed()
        await self._nothing_lost()

    async def finish(self) -> None:
        """Count once more at the very end, if there is anything to count."""
        if not self.summary.held:
            return
        try:
            await self.count_readings()
        except DmiError as error:
            self.summary.errors.append(f"finish: {error}")

    @asynccontextmanager
    async def step(self, name: str, title: str) -> AsyncIterator[list[str]]:
        """Show and score one step; what the block appends is shown when it held."""
        detail: list[str] = []
        self._view.begin(title)
        try:
            yield detail
        except DmiError as error:
            self.summary.errors.append(f"{name}: {error}")
            self._view.end(held=False, detail=str(error))
            raise
        self.summary.steps[name] = True
        self._view.end(held=True, detail=" ".join(detail))
        await asyncio.sleep(self._pace)

    async def _devices_live(self) -> None:
        async with self.step("devices_live", "the device files become live twins") as detail:
            began = time.monotonic()
            snapshot = await self._node.until("all twins live", Snapshot.is_live, LIVE_SECONDS)
            self.summary.twins = len(snapshot.twins)
            detail.append(
                f"{len(snapshot.twins)} twins of {len(snapshot.devices)} devices "
                f"after {time.monotonic() - began:.1f} s"
            )

    async def _wish_confirmed(self) -> None:
        title = " and ".join(
            f"{plot.device}/{plot.setpoint} is wished to be {plot.wishes[0]}"
            for plot in self._plots
        )
        async with self.step("wish_confirmed", title) as detail:
            times = [
                f"{await self._wish_one(plot) * 1000:.0f} ms ({plot.device})"
                for plot in self._plots
            ]
            detail.append(f"confirmed from the device in {', '.join(times)}")

    async def _wish_one(self, plot: Plot) -> float:
        value, began = plot.wishes[0], time.monotonic()
        self.summary.writes["asked"] += 1
        twin = await self._node.wish(plot.device, plot.setpoint, value, wait=10)
        seconds = time.monotonic() - began
        self._expect_settled(twin, value)
        answer = await self._node.read_live(plot.protocol, plot.device, plot.setpoint)
        if answer["value"] != value:
            raise UnavailableError(f"the {plot.device} itself reads {answer['value']}")
        return seconds

    async def _mapper_killed(self) -> None:
        wishes = ", ".join(f"{plot.device} to be {plot.wishes[1]}" for plot in self._plots)
        who = "the mapper dies" if len(self._plots) == 1 else "the mappers die"
        title = f"{who} by SIGKILL; meanwhile is wished: {wishes}"
        async with self.step("mapper_recovered", title) as detail:
            before = await self._node.look()
            self._earlier = await self._counts_when_quiet()
            began, since = time.monotonic(), _now()
            for plot in self._plots:
                self._stage.mapper(plot).kill()
            for plot in self._plots:
                self.summary.writes["asked"] += 1
                await self._node.wish(plot.device, plot.setpoint, plot.wishes[1])
            snapshot = await self._node.until(
                "twins live again", lambda now: now.is_live(since), HEAL_SECONDS
            )
            seconds = time.monotonic() - began
            self._keep_recovery("mapper", seconds)
            self._keep_gap("mapper", before, snapshot)
            for plot in self._plots:
                ready = await self._stage.mapper(plot).wait_ready()
                self._node.mapper_urls[plot.protocol] = ready["rest"]
            settled = await self._node.until("wish confirmed", self._are_confirmed, HEAL_SECONDS)
            for plot in self._plots:
                twin = settled.twins[f"{plot.device}/{plot.setpoint}"]
                self._expect_settled(twin, plot.wishes[1])
            detail.append(f"all twins live after {seconds:.1f} s, and confirmed")

    async def _manager_killed(self) -> None:
        title = "the manager dies by SIGKILL"
        async with self.step("manager_recovered", title) as detail:
            before = await self._node.look()
            began, since = time.monotonic(), _now()
            self._stage.programs["manager"].kill()
            await self._stage.programs["manager"].wait_ready()
            after = await self._node.until("the manager answers", _has_twins, HEAL_SECONDS)
            _expect_kept(before, after)
            await self._node.until("twins live again", lambda now: now.is_live(since), HEAL_SECONDS)
            seconds = time.monotonic() - began
            self._keep_recovery("manager", seconds)
            detail.append(f"all twins live after {seconds:.1f} s; no twin or wish went back")

    async def _nothing_lost(self) -> None:
        async with self.step("nothing_lost", "every reading is accounted for") as detail:
            total = await self.count_readings()
            if total["dropped"]:
                raise UnavailableError(f"{total['dropped']} readings were dropped")
            detail.append(
                f"{total['acknowledged']} of {total['made']} readings acknowledged "
                "after their commit, none dropped"
            )

    async def count_readings(self) -> dict[str, int]:
        """Bring the summary's readings up to this moment, over all lives of the mapper."""
        counts = await self._counts_when_quiet()
        total = {name: counts[name] + self._earlier[name] for name in counts}
        self.summary.readings = total
        return total

    async def _counts_when_quiet(self) -> dict[str, int]:
        """The mapper's counts at a moment when all that it made has been acknowledged."""
        deadline = time.monotonic() + HEAL_SECONDS
        while (counts := await self._counts())["acknowledged"] < counts["made"]:
            if time.monotonic() > deadline:
                raise UnavailableError(f"not acknowledged in {HEAL_SECONDS:.0f} s: {counts}")
            await asyncio.sleep(POLL_SECONDS)
        return counts

    async def _counts(self) -> dict[str, int]:
        """Readings made, acknowledged and dropped by the mapper process that runs now."""
        counters = await self._node.mapper_counts()
        return {
            name: int(counters.get(f"dmi_mapper_{counter}_readings_total", 0))
            for name, counter in _COUNTERS.items()
        }

    def _are_confirmed(self, snapshot: Snapshot) -> bool:
        twins = [snapshot.twins[f"{plot.device}/{plot.setpoint}"] for plot in self._plots]
        return all(t["desired"] and t["desired"]["status"] == "confirmed" for t in twins)

    def _expect_settled(self, twin: dict[str, Any], value: float) -> None:
        wish = twin["desired"]
        if wish is None or wish["status"] != "confirmed" or wish["value"] != value:
            raise UnavailableError(f"the wish was not confirmed: {wish}")
        self.summary.writes["confirmed"] += 1

    def _keep_recovery(self, what: str, seconds: float) -> None:
        self.summary.recoveries.append({"killed": what, "seconds": round(seconds, 2)})

    def _keep_gap(self, cause: str, before: Snapshot, after: Snapshot) -> None:
        """Keep how long the device with the longest silence was not read."""
        earlier = before.newest()
        silences = [
            (_seconds(time) - _seconds(earlier[device]), device, earlier[device], time)
            for device, time in after.newest().items()
        ]
        seconds, device, first, last = max(silences)
        self.summary.gaps.append(
            {
                "cause": f"{cause} killed",
                "device": device,
                "from": first,
                "to": last,
                "seconds": round(seconds, 2),
            }
        )


def _has_twins(snapshot: Snapshot) -> bool:
    return bool(snapshot.twins)


def _expect_kept(before: Snapshot, after: Snapshot) -> None:
    for name, was in before.twins.items():
        now = after.twins[name]
        if now["reported"] is None or now["reported"]["time"] < was["reported"]["time"]:
            raise UnavailableError(f"{name} went back to {now['reported']}")
        if (was["desired"] or {}).get("version") != (now["desired"] or {}).get("version"):
            raise UnavailableError(f"the wish for {name} went back to {now['desired']}")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()

"""Which report goes to EdgeCore next, so that none is refused and none is lost in silence.

EdgeCore admits about one call a second for all mappers of a node together and answers OK
to values that it then drops. So the newest value of a twin wins, one call carries every
changed twin of one device, devices take turns, states go ahead of values, and what
EdgeCore would drop is held back and counted, or escaped if the operator chose that.
"""

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from dmi.budget import ROUNDING, Budget
from dmi.clock import Clock
from dmi.edgecore import (
    MAX_VALUE,
    name_fault,
    namespace_fault,
    state_fault,
    value_fault,
)
from dmi.resources import Key

__all__ = ["Charset", "Governor", "StateCall", "TwinCall", "TwinText", "escape"]

log = logging.getLogger(__name__)

# Values keep to this part of the rate while that reserve is not full, so that it fills.
_VALUES_SHARE: Final = 0.92
# Seconds for which states alone may use the bucket while values wait.
_VALUES_PATIENCE: Final = 5.0
_MOST_TWINS: Final = 1000
_LOOK_AGAIN: Final = 0.25
_ESCAPED: Final = re.compile(rb"[^a-zA-Z0-9\-_.,:/@]")


class Charset(StrEnum):
    """What to do with values whose characters or length EdgeCore refuses."""

    WITHHOLD = "withhold"
    REPLACE = "replace"


def escape(text: str) -> str:
    """Write every byte that EdgeCore refuses, and `#` itself, as `#` and two hex digits.

    Reversible: each `#` of the result begins such a group of three.
    """
    escaped = _ESCAPED.sub(
        lambda found: b"#%02x" % found[0][0], text.encode(errors="surrogatepass")
    )
    return escaped.decode("ascii")


@dataclass(frozen=True, slots=True)
class TwinText:
    """Both halves of one twin as text; EdgeCore crashes when one is missing.

    Attributes:
        metadata: Of the reported half. EdgeCore throws it away, other managers may not; a
            twin with other metadata is no other twin.
    """

    property: str
    reported: str
    desired: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class TwinCall:
    """One ReportDeviceStatus."""

    device: Key
    twins: tuple[TwinText, ...]


@dataclass(frozen=True, slots=True)
class StateCall:
    """One ReportDeviceStates."""

    device: Key
    state: str


class Governor:
    """Takes everything at once, gives out one call at a time when it may be made.

    Memory grows with the number of twins, never with the number of readings.

    Attributes:
        budget: What may be spent.
        withheld: Readings and states that EdgeCore would have dropped, by reason:
            charset, too_long, property_name, namespace, state_word; `desired` counts
            twins that went out without their desired half.
        escaped: Readings that were changed by `Charset.REPLACE`.
        superseded: Readings that a newer one of the same twin replaced before its turn.
    """

    def __init__(
        self, clock: Clock, *, charset: Charset = Charset.WITHHOLD, refresh: float = 50.0
    ) -> None:
        """Start with nothing to say.

        Args:
            clock: Time.
            charset: What to do with values that EdgeCore refuses.
            refresh: Seconds after which an unchanged twin is worth a report again. The
                cloud loses the first report of each property, so it takes a second.
        """
        self.budget = Budget(clock)
        self.withheld: Counter[str] = Counter()
        self.escaped = 0
        self.superseded = 0
        self._clock = clock
        self._charset = charset
        self._refresh = refresh
        self._states: dict[Key, str] = {}
        self._states_sent: dict[Key, str] = {}
        # Both in order of waiting: the first device has waited longest.
        self._twins: dict[Key, dict[str, TwinText]] = {}
        self._sent: dict[Key, dict[str, tuple[TwinText, float]]] = {}
        self._devices: set[Key] = set()
        self._values_wait_since = clock.monotonic()
        self._next_value = clock.monotonic()
        self._under_way = 0
        self._something = asyncio.Event()
        self._nothing = asyncio.Event()
        self._nothing.set()
        self._told: set[tuple[Key, str, str]] = set()

    # ------------------------------------------------------------- taking ----

    def offer(self, device: Key, twin: TwinText) -> None:
        """Take a reading as text; unchanged ones count for nothing until `refresh` is over."""
        name = twin.property
        presentable = self._presentable(device, twin)
        waiting = self._twins.get(device)
        if waiting is not None and name in waiting:
            self.superseded += 1
            if presentable is None:
                # Nothing is better than a value that is no longer true.
                del waiting[name]
                self._settle()
            else:
                waiting[name] = presentable
        elif presentable is not None and self._is_news(device, presentable):
            if not self._twins:
                self._values_wait_since = self._clock.monotonic()
            self._twins.setdefault(device, {})[name] = presentable
            self._devices.add(device)
            self._wake()

    def offer_state(self, device: Key, state: str) -> None:
        """Take a device's state."""
        fault = "namespace" if namespace_fault(device.namespace) else ""
        if not fault and state_fault(state):
            fault = "state_word"
        if fault:
            self._withhold(device, "", fault, state)
        elif self._states_sent.get(device) != state or device in self._states:
            self._states[device] = state
            self._devices.add(device)
            self._wake()

    def forget(self, device: Key) -> None:
        """A device is gone, and what was to be said of it."""
        for known in (self._states, self._states_sent, self._twins, self._sent):
            known.pop(device, None)
        self._devices.discard(device)
        self._told = {told for told in self._told if told[0] != device}
        self._settle()

    def repeat_all(self) -> None:
        """The other side may know nothing: nothing counts as sent any more."""
        for device, state in self._states_sent.items():
            self._states.setdefault(device, state)
        self._states_sent.clear()
        self._sent.clear()
        self._settle()

    # ------------------------------------------------------------- giving ----

    async def next(self) -> TwinCall | StateCall:
        """Wait until there is a call that may be made, and count it as made.

        The caller makes it, then says `accepted`, `refused` or `failed`.
        """
        while True:
            await self._something.wait()
            wait = self._wait()
            if wait < ROUNDING:
                return self._take()
            await self._clock.sleep(min(wait, _LOOK_AGAIN))

    async def admit(self) -> None:
        """Wait until a call of another kind (a registration) may be made, and count it."""
        while (wait := self.budget.wait(1.0)) > 0:
            await self._clock.sleep(wait)
        self.budget.spend()

    async def idle(self) -> None:
        """Return when nothing waits and nothing is under way."""
        await self._nothing.wait()

    def accepted(self, call: TwinCall | StateCall | None = None) -> None:
        """EdgeCore said OK."""
        self.budget.accepted()
        if call is None or call.device not in self._devices:
            pass  # Forgotten meanwhile: should it come back, nothing counts as sent.
        elif isinstance(call, StateCall):
            self._states_sent[call.device] = call.state
        else:
            now = self._clock.monotonic()
            sent = self._sent.setdefault(call.device, {})
            sent.update({twin.property: (twin, now) for twin in call.twins})
        self._finish(call)

    def refused(self, call: TwinCall | StateCall | None = None) -> None:
        """EdgeCore said that there were too many calls: it comes again, later."""
        self.budget.refused()
        self.failed(call)

    def failed(self, call: TwinCall | StateCall | None = None) -> None:
        """The call is not known to have arrived: it comes again, unless something newer is there.

        It keeps its place: its device has waited longest.
        """
        if call is None or call.device not in self._devices:
            pass  # Forgotten meanwhile: there is nothing to be said of it.
        elif isinstance(call, StateCall):
            self._states = {call.device: call.state} | self._states
        else:
            newer = self._twins.pop(call.device, {})
            older = {twin.property: twin for twin in call.twins}
            self._twins = {call.device: older | newer} | self._twins
        self._finish(call)

    def give_up(self, call: TwinCall | StateCall) -> None:
        """EdgeCore will never take this call."""
        self.withheld["rejected"] += 1
        self._finish(call)

    # ------------------------------------------------------------- inside ----

    def _wait(self) -> float:
        """Seconds until the next call may be made."""
        if self._states:
            return self.budget.wait(1.0)
        paced = max(self.budget.wait(1.0), self._next_value - self._clock.monotonic())
        return min(paced, self.budget.wait(1.0 + self.budget.reserve(len(self._devices))))

    def _take(self) -> TwinCall | StateCall:
        self.budget.spend()
        self._under_way += 1
        waited = self._clock.monotonic() - self._values_wait_since
        values_turn = self._twins and (not self._states or waited >= _VALUES_PATIENCE)
        call = self._take_twins() if values_turn else self._take_state()
        self._settle()
        return call

    def _take_state(self) -> StateCall:
        device = next(iter(self._states))
        # What EdgeCore holds is not known until it has answered: should the state turn back
        # meanwhile, it must be told again.
        self._states_sent.pop(device, None)
        return StateCall(device, self._states.pop(device))

    def _take_twins(self) -> TwinCall:
        now = self._values_wait_since = self._clock.monotonic()
        self._next_value = now + 1 / (self.budget.rate * _VALUES_SHARE)
        device = next(iter(self._twins))
        twins = self._twins.pop(device)
        names = list(twins)
        if len(names) > _MOST_TWINS:
            self._twins[device] = {name: twins[name] for name in names[_MOST_TWINS:]}
        sent = self._sent.get(device, {})
        for name in names[:_MOST_TWINS]:
            sent.pop(name, None)
        return TwinCall(device, tuple(twins[name] for name in names[:_MOST_TWINS]))

    def _finish(self, call: TwinCall | StateCall | None) -> None:
        self._under_way -= call is not None
        self._settle()

    def _wake(self) -> None:
        self._something.set()
        self._nothing.clear()

    def _settle(self) -> None:
        """Bring both events in line with what waits."""
        for device in [device for device, twins in self._twins.items() if not twins]:
            del self._twins[device]
        if self._states or self._twins:
            self._wake()
            return
        self._something.clear()
        if not self._under_way:
            self._nothing.set()

    def _is_news(self, device: Key, twin: TwinText) -> bool:
        known = self._sent.get(device, {}).get(twin.property)
        if known is None or known[0] != twin:
            return True
        return self._clock.monotonic() - known[1] >= self._refresh

    def _presentable(self, device: Key, twin: TwinText) -> TwinText | None:
        """The twin as EdgeCore will keep it, or None where it would keep nothing."""
        reported, desired = twin.reported, twin.desired
        if self._charset is Charset.REPLACE:
            reported, desired = escape(reported), escape(desired)
        if fault := _fault(device, twin.property, reported):
            self._withhold(device, twin.property, fault, twin.reported)
            return None
        if value_fault(desired):
            self._withhold(device, twin.property, "desired", desired)
            desired = ""
        if reported == twin.reported and desired == twin.desired:
            return twin
        self.escaped += reported != twin.reported
        return replace(twin, reported=reported, desired=desired)

    def _withhold(self, device: Key, name: str, reason: str, text: str) -> None:
        self.withheld[reason] += 1
        if (device, name, reason) not in self._told:
            self._told.add((device, name, reason))
            log.warning(
                "%s %s: EdgeCore would drop %.60r (%s); it is held back and counted",
                device,
                name or "state",
                text,
                reason,
            )


def _fault(device: Key, name: str, reported: str) -> str:
    """One word for why EdgeCore would drop this twin; empty if it keeps it."""
    if namespace_fault(device.namespace):
        return "namespace"
    if name_fault(name):
        return "property_name"
    if value_fault(reported):
        return "too_long" if len(reported) > MAX_VALUE else "charset"
    return ""

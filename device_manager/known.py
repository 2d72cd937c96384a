"""What is known of the devices: their twins and their states."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from device_manager import events
from device_manager.records import StateRecord, TwinReading, Wish
from device_manager.storage import rows
from device_manager.storage.rows import Statement, Twin
from dmi.feed import Feed
from dmi.readings import Reading
from dmi.reports import DeviceState, Outcome
from dmi.resources import Key, ModelProperty

__all__ = ["ONLINE", "UNKNOWN", "Known"]

ONLINE: Final = "online"
UNKNOWN: Final = StateRecord("unknown", 0.0)

Declared = Callable[[Key, str], ModelProperty | None]


class Known:
    """Twins by device and property, states by device; each change goes to the feed."""

    def __init__(self, feed: Feed[events.Json], declared: Declared) -> None:
        """Start empty.

        Args:
            feed: Gets what changes.
            declared: Says how a device's property is declared.
        """
        self.twins: dict[Key, dict[str, Twin]] = {}
        self.states: dict[Key, StateRecord] = {}
        self._feed = feed
        self._declared = declared
        self._last_row = 0

    def load(self, twins: Iterable[Twin], states: dict[Key, StateRecord]) -> None:
        """Take over what the store remembers."""
        for twin in twins:
            self.add(twin)
            self._last_row = max(self._last_row, twin.row)
        self.states.update(states)

    def make(self, device: Key, name: str) -> Twin:
        """A twin with a row of its own, not yet added."""
        self._last_row += 1
        return Twin(device, name, row=self._last_row)

    def add(self, twin: Twin) -> None:
        """Know a property from now on."""
        self.twins.setdefault(twin.device, {})[twin.property] = twin

    def remove(self, twin: Twin) -> None:
        """Forget a property; it may be another's by now."""
        of_device = self.twins.get(twin.device, {})
        if of_device.get(twin.property) is twin:
            del of_device[twin.property]

    def forget(self, device: Key) -> None:
        """Forget all about a device."""
        self.twins.pop(device, None)
        self.states.pop(device, None)

    def find(self, device: Key, name: str) -> Twin | None:
        """The twin of a property."""
        return self.twins.get(device, {}).get(name)

    def apply_readings(self, readings: Sequence[TwinReading], now: float) -> dict[int, Reading]:
        """Replace reported sides; those of unknown properties are left out.

        Returns:
            What the store must keep, by row.
        """
        kept: dict[int, Reading] = {}
        publish, declared = self._feed.publish, self._declared
        device: Key | None = None
        twins: dict[str, Twin] = {}
        for item in readings:
            # Readings of one device come together.
            if item.device is not device:
                device = item.device
                twins = self.twins.get(device, {})
            twin = twins.get(item.property)
            if twin is None:
                continue
            twin.reported = kept[twin.row] = item.reading
            publish(
                partial(
                    events.twin,
                    twin.device,
                    twin.property,
                    item.reading,
                    twin.desired,
                    declared,
                    now,
                )
            )
        return kept

    def apply_outcomes(self, outcomes: Sequence[Outcome]) -> list[Statement]:
        """Say what became of wishes; outcomes of any but the latest wish are ignored."""
        statements = []
        for outcome in outcomes:
            twin = self.find(outcome.device, outcome.property)
            wish = twin.desired if twin is not None else None
            if twin is None or wish is None or wish.version != outcome.version:
                continue
            told = (outcome.status, outcome.reason, outcome.message)
            if told == (wish.status, wish.reason, wish.message):
                continue
            self.put_wish(
                twin,
                replace(
                    wish,
                    status=outcome.status,
                    settled_at=outcome.time,
                    reason=outcome.reason,
                    message=outcome.message,
                ),
            )
            statements.append(rows.wish_settle(twin.row, outcome))
        return statements

    def apply_states(self, states: Sequence[DeviceState]) -> list[Statement]:
        """Take what mappers say of their devices; unknown devices are left out."""
        statements = []
        for state in states:
            if state.device in self.twins:
                record = StateRecord(state.state, state.since, state.reason, state.message)
                statements += self.put_state(state.device, record)
        return statements

    def put_state(self, device: Key, state: StateRecord) -> list[Statement]:
        """Take a device's state; nothing comes back when it says nothing different."""
        before = self.states.get(device, UNKNOWN)
        merged = _follow(before, state)
        if merged == before and device in self.states:
            return []
        self.states[device] = merged
        self._feed.publish(partial(events.state, device, merged))
        return [rows.state_put(device, merged)]

    def put_wish(self, twin: Twin, wish: Wish | None) -> None:
        """Replace the desired side."""
        twin.desired = wish
        self._feed.publish(
            partial(events.desired, twin.device, twin.property, twin.reported, wish, self._declared)
        )


def _follow(before: StateRecord, state: StateRecord) -> StateRecord:
    """The state after `before`: the same word keeps its beginning, and the last time online stays.

    KubeEdge erases the last time online exactly when a device goes offline and the time
    is wanted.
    """
    last_online = max(before.last_online, state.last_online)
    if ONLINE in (before.state, state.state):
        last_online = max(last_online, state.since)
    same = before.state == state.state and before.since > 0
    return replace(state, since=before.since if same else state.since, last_online=last_online)

"""What EdgeCore's DeviceTwin keeps of reports that its DMI server has answered with OK."""

import re
from dataclasses import dataclass, field

from dmi.clock import Clock
from dmi.resources import Key

__all__ = ["Drop", "FakeDeviceTwin", "KeptState", "KeptTwin"]

# Facts of DeviceTwin, on purpose not shared with the code that is tested against them.
_NAME = re.compile(r"[a-zA-Z0-9\-_.,:/@#]{1,128}")
_VALUE = re.compile(r"[a-zA-Z0-9\-_.,:/@#]{1,512}")
_STATES = frozenset({"online", "offline", "ok", "unknown", "unhealthy"})
_TOPIC_PREFIX = "$hw/events/device/"


@dataclass(slots=True)
class KeptTwin:
    """One twin as EdgeCore holds it.

    Attributes:
        reported: Text of the reported half.
        expected: Text of the desired half; each report rewrites it.
        time: When EdgeCore took it, in seconds since 1970-01-01 UTC.
        times: When each accepted report of it came, on the monotonic clock.
    """

    reported: str
    expected: str
    time: float
    times: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class KeptState:
    """A device's state as EdgeCore holds it, and when it came on the monotonic clock."""

    state: str
    time: float


@dataclass(frozen=True, slots=True)
class Drop:
    """Something that was answered with OK and then thrown away.

    Attributes:
        property: Empty for a state.
        reason: namespace, unknown_device, property_name, value, expected or state_word.
    """

    device: Key
    property: str
    text: str
    reason: str


class FakeDeviceTwin:
    """Applies the rules that a mapper never hears of, and records what they cost.

    Attributes:
        known: Devices that the cloud told this node about.
        twins: What was kept, by device and property.
        states: What was kept, by device.
        dropped: What was not.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.known: set[Key] = set()
        self.twins: dict[Key, dict[str, KeptTwin]] = {}
        self.states: dict[Key, KeptState] = {}
        self.dropped: list[Drop] = []

    def update_twin(self, device: Key, name: str, reported: str, expected: str) -> None:
        """Take one twin of a report."""
        reason = self._unreachable(device)
        if not reason and not _NAME.fullmatch(name):
            reason = "property_name"
        if not reason and reported and not _VALUE.fullmatch(reported):
            reason = "value"
        if not reason and expected and not _VALUE.fullmatch(expected):
            reason = "expected"
        if reason:
            self.dropped.append(Drop(device, name, reported, reason))
            return
        twins = self.twins.setdefault(device, {})
        twin = twins.setdefault(name, KeptTwin("", "", 0.0))
        twin.reported, twin.expected, twin.time = reported, expected, self._clock.time()
        twin.times.append(self._clock.monotonic())

    def update_state(self, device: Key, state: str) -> None:
        """Take a state; words that EdgeCore does not know vanish."""
        reason = self._unreachable(device)
        if not reason and state.lower() not in _STATES:
            reason = "state_word"
        if reason:
            self.dropped.append(Drop(device, "", state, reason))
        else:
            self.states[device] = KeptState(state, self._clock.monotonic())

    def _unreachable(self, device: Key) -> str:
        """Why messages of a whole device are lost, if they are."""
        if device.namespace and device.namespace in _TOPIC_PREFIX:
            return "namespace"
        return "" if device in self.known else "unknown_device"

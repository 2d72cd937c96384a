"""Report on change: which readings of a property are worth passing on."""

from dmi.readings import Reading, Value
from mapper_sdk.devices.scaling import Common

__all__ = ["Gate"]


class Gate:
    """Holds back readings that say what the last passed one said already.

    A change of quality or reason always passes; a number must differ by more than the
    deadband from the last number that passed; after the longest silence anything passes.
    """

    __slots__ = ("_deadband", "_last", "_silence", "_speak_at")

    def __init__(self, common: Common) -> None:
        self._deadband = common.deadband
        self._silence = common.max_silence / 1000 or float("inf")
        self._last: Reading | None = None
        self._speak_at = 0.0

    def passes(self, reading: Reading, now: float) -> bool:
        """Decide on a reading taken at `now`, on the monotonic clock; remember it if it passes."""
        last = self._last
        if (
            last is not None
            and now < self._speak_at
            and reading.quality is last.quality
            and reading.reason == last.reason
            and not self._differs(reading.value, last.value)
        ):
            return False
        self._last = reading
        self._speak_at = now + self._silence
        return True

    def _differs(self, one: Value | None, other: Value | None) -> bool:
        if self._deadband and isinstance(one, (int, float)) and isinstance(other, (int, float)):
            return abs(one - other) > self._deadband
        return one != other

"""Derived properties: readings that apps publish, of what no device is asked for."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dmi.errors import AccessDeniedError, ConfigError, ConflictError, ConversionError
from dmi.readings import Quality, Reading, Value
from dmi.values import check_range, coerce_value
from mapper_sdk.devices.plan import Point
from mapper_sdk.hub import Hub
from mapper_sdk.sessions.polling import Poller, Ticket

__all__ = ["Derivations", "Derived"]

_CLOCKS_APART = 60.0
"""Seconds that an app's clock may be ahead of ours."""

STALE = "stale"
"""Reason of a derived property that has got nothing new for longer than its `maxAge`."""


@dataclass(frozen=True, slots=True)
class Derived:
    """A reading as an app gives it; not checked yet.

    Attributes:
        value: Typed; None for a bad reading.
        time: When it was true, in seconds since 1970.
        quality: BAD exactly when `value` is None.
        reason: Why it is not good.
    """

    value: Value | None
    time: float
    quality: Quality = Quality.GOOD
    reason: str = ""


@dataclass(slots=True)
class _Watch:
    """When a point was given its newest reading, and when that is too old."""

    newest: float = -math.inf
    expires: float = math.inf
    ticket: Ticket | None = None


class Derivations:
    """The derived points of one device: takes their readings, and tells which are stale."""

    def __init__(self, hub: Hub, poller: Poller) -> None:
        self._hub = hub
        self._poller = poller
        self._clock = hub.clock
        self._watches: dict[Point, _Watch] = {}

    def publish(self, point: Point, given: Sequence[Derived]) -> Reading:
        """Publish readings like any others, and give the last one.

        All are checked before the first is published.

        Args:
            point: What they are of.
            given: One at least, in the order of time.

        Raises:
            ConfigError: The property cannot be served as it is declared.
            AccessDeniedError: It is not a derived one.
            ConversionError: A value does not fit its type, or a time cannot be right.
            OutOfRangeError: A value lies outside the declared range.
            ConflictError: A newer reading was published before.
        """
        now = self._clock.time()
        readings = [_checked(point, each, now) for each in given]
        watch = self._watches.get(point) or self._watch(point)
        if readings[0].time < watch.newest:
            raise ConflictError(f"a newer reading of {point.name!r} was published before")
        watch.newest = readings[-1].time
        self._guard(point, watch)
        point.latest, point.trouble = readings[-1], ""
        self._hub.publish([(point, reading) for reading in readings])
        return readings[-1]

    def expect(self, points: Iterable[Point]) -> None:
        """Count the age of those that got nothing yet from now on.

        An app that died with the last mapper process would never be missed else.
        """
        for point in points:
            if point.common.derived and not point.problem and point not in self._watches:
                self._guard(point, self._watch(point))

    def forget(self) -> None:
        """The device is let go of: nothing becomes stale any more."""
        for watch in self._watches.values():
            if watch.ticket is not None:
                self._poller.cancel(watch.ticket)
        self._watches.clear()

    def _watch(self, point: Point) -> _Watch:
        # Whoever is new gives a reason to look who has left.
        self._watches = {
            known: watch for known, watch in self._watches.items() if not known.problem
        }
        watch = self._watches[point] = _Watch()
        return watch

    def _guard(self, point: Point, watch: _Watch) -> None:
        """Count the longest age anew; one ticket serves however many readings come."""
        seconds = point.common.max_age / 1000
        watch.expires = self._clock.monotonic() + seconds if seconds else math.inf
        if seconds and watch.ticket is None:
            watch.ticket = self._poller.after(seconds, lambda: self._look(point, watch))

    def _look(self, point: Point, watch: _Watch) -> bool:
        watch.ticket = None
        left = watch.expires - self._clock.monotonic()
        if not point.common.derived or point.problem or not math.isfinite(left):
            return True
        if left > 0:
            watch.ticket = self._poller.after(left, lambda: self._look(point, watch))
            return True
        age = point.common.max_age / 1000
        now = self._clock.time()
        reading = point.fail(STALE, f"nothing new was published for {age:g} s", now)
        self._hub.publish([(point, reading)])
        return True


def _checked(point: Point, given: Derived, now: float) -> Reading:
    """Make a reading of what an app gives, or say what is wrong with it."""
    value, time, quality = given.value, given.time, given.quality
    if point.problem:
        raise ConfigError(point.problem)
    if not point.common.derived:
        raise AccessDeniedError(
            f"property {point.name!r} is read from the device; it is not derived"
        )
    if not 0 <= time <= now + _CLOCKS_APART:
        raise ConversionError(f"time {time!r} is not in the past, in seconds since 1970")
    if value is None:
        if quality is not Quality.BAD:
            raise ConversionError("a reading without a value must be of quality bad")
        return Reading(None, time, quality, given.reason or "bad")
    if quality is Quality.BAD:
        raise ConversionError("a bad reading has no value")
    typed = coerce_value(value, point.type)
    check_range(typed, point.minimum, point.maximum)
    return Reading(typed, time, quality, given.reason)

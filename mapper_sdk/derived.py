"""Derived properties: readings that apps publish, of what no device is asked for."""

import math
from dataclasses import dataclass

from dmi.errors import AccessDeniedError, ConfigError, ConflictError, ConversionError
from dmi.readings import Quality, Reading, Value
from dmi.values import check_range, coerce_value
from mapper_sdk.devices import Point
from mapper_sdk.hub import Hub
from mapper_sdk.polling import Poller, Ticket

__all__ = ["Derivations"]

_CLOCKS_APART = 60.0
"""Seconds that an app's clock may be ahead of ours."""

STALE = "stale"
"""Reason of a derived property that has got nothing new for longer than its `maxAge`."""


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

    def publish(
        self, point: Point, value: Value | None, time: float | None, quality: Quality, reason: str
    ) -> Reading:
        """Publish a reading like any other, and give it.

        Args:
            point: What it is of.
            value: Typed; None for a bad reading.
            time: When it was true, in seconds since 1970; None for now.
            quality: BAD exactly when `value` is None.
            reason: Why it is not good.

        Raises:
            ConfigError: The property cannot be served as it is declared.
            AccessDeniedError: It is not a derived one.
            ConversionError: The value does not fit its type, or the time cannot be right.
            OutOfRangeError: The value lies outside the declared range.
            ConflictError: A newer reading was published before.
        """
        now = self._clock.time()
        moment = now if time is None else time
        reading = _checked(point, value, moment, quality, reason, now)
        watch = self._watches.get(point) or self._watch(point)
        if moment < watch.newest:
            raise ConflictError(f"a newer reading of {point.name!r} was published before")
        watch.newest = moment
        self._guard(point, watch)
        point.latest, point.trouble = reading, ""
        self._hub.publish([(point, reading)])
        return reading

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


def _checked(
    point: Point, value: Value | None, time: float, quality: Quality, reason: str, now: float
) -> Reading:
    """Make a reading of what an app gives, or say what is wrong with it."""
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
        return Reading(None, time, quality, reason or "bad")
    if quality is Quality.BAD:
        raise ConversionError("a bad reading has no value")
    typed = coerce_value(value, point.type)
    check_range(typed, point.minimum, point.maximum)
    return Reading(typed, time, quality, reason)

"""Desired values of one device: checked, written once, confirmed by reading, and reported."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dmi.clock import Clock
from dmi.errors import (
    AccessDeniedError,
    ConfigError,
    ConversionError,
    DmiError,
    NotFoundError,
    RefusedError,
)
from dmi.readings import Reading, Value
from dmi.reports import Desired, Outcome, OutcomeStatus
from dmi.resources import AccessMode, Key
from dmi.values import check_range, coerce_value, parse_value
from mapper_sdk.devices.plan import Point
from mapper_sdk.hub import Batch

__all__ = ["Wish", "Wishes", "checked_value", "replaces"]


def checked_value(point: Point, value: Value) -> Value:
    """Give a value in the property's type, if it may be written at all.

    Text is read by the declared type, since v1beta1 knows nothing else.

    Raises:
        ConfigError: The property cannot be served as it is declared.
        AccessDeniedError: It is ReadOnly, or derived.
        ConversionError: The value does not fit its type.
        OutOfRangeError: It lies outside the declared range.
    """
    if point.problem:
        raise ConfigError(point.problem)
    if point.access is not AccessMode.READ_WRITE:
        raise AccessDeniedError(f"property {point.name!r} is ReadOnly")
    if point.common.derived:
        raise AccessDeniedError(
            f"property {point.name!r} is derived: there is nothing to write it to"
        )
    if isinstance(value, str):
        typed = parse_value(value, point.type)
    else:
        typed = coerce_value(value, point.type)
    check_range(typed, point.minimum, point.maximum)
    return typed


@dataclass(slots=True)
class Wish:
    """The newest wish for one property, and how far it has come.

    Attributes:
        value: Checked and typed; None while it is rejected, or nothing is wished.
        status: None for a wish that needs no attention: settled before, or withdrawn.
        tried: A write of it was begun: it may take effect at the device, even later.
        unsure: An older wish was tried and not confirmed: what the device has now may not
            be what it will have, so only a write of this one counts.
    """

    desired: Desired
    value: Value | None = None
    status: OutcomeStatus | None = None
    tried: bool = False
    unsure: bool = False


class Wishes:
    """What somebody wants one device to be. The newest wish for a property wins."""

    def __init__(self, device: Key, report: Callable[[Outcome], None], clock: Clock) -> None:
        self._device = device
        self._report = report
        self._clock = clock
        self._wishes: dict[str, Wish] = {}
        self._pending: dict[str, Wish] = {}
        self._written: dict[str, Wish] = {}

    @property
    def pending(self) -> Mapping[str, Wish]:
        """Checked and not yet written, oldest first."""
        return self._pending

    @property
    def written(self) -> Mapping[str, Wish]:
        """Written and not yet read back."""
        return self._written

    def put(self, desired: Desired, points: Mapping[str, Point]) -> bool:
        """Take a wish, and say whether it is new and fit to be written."""
        known = self._wishes.get(desired.property)
        if known is not None and not replaces(desired, known.desired):
            return False
        self._pending.pop(desired.property, None)
        self._written.pop(desired.property, None)
        wish = self._wishes[desired.property] = Wish(desired)
        if known is not None and known.status is not OutcomeStatus.CONFIRMED:
            wish.unsure = known.tried or known.unsure
        if desired.settled or desired.value is None:
            return False
        return self._check(wish, points)

    def recheck(self, points: Mapping[str, Point]) -> bool:
        """The declarations changed: check again what is rejected or waits for its write."""
        fit = False
        for name, wish in self._wishes.items():
            if wish.status in (OutcomeStatus.REJECTED, OutcomeStatus.PENDING):
                self._pending.pop(name, None)
                fit |= self._check(wish, points)
        return fit

    def wait(self, reason: str) -> None:
        """The device is away: say so of everything that waits for it."""
        for wish in self._pending.values():
            self._settle(wish, OutcomeStatus.PENDING, reason)

    def compare(self, batch: Batch) -> None:
        """Confirm what the device turns out to have, whoever wrote it."""
        for point, reading in batch:
            wish = self._written.get(point.name) or self._pending.get(point.name)
            if wish is None or (wish.unsure and not wish.tried):
                continue
            if self._is_granted(wish, point, reading):
                self._pending.pop(point.name, None)
                self._written.pop(point.name, None)
                self._settle(wish, OutcomeStatus.CONFIRMED)

    def begin(self) -> Wish | None:
        """Give the wish to be written next; it is nobody else's then."""
        for name in self._pending:
            wish = self._pending.pop(name)
            wish.tried = True
            return wish
        return None

    def wrote(self, wish: Wish) -> None:
        """The device accepted it."""
        self._settle(wish, OutcomeStatus.WRITTEN)
        if self._is_newest(wish):
            self._written[wish.desired.property] = wish

    def differs(self, wish: Wish, reading: Reading) -> None:
        """It was accepted, and the device reads back something else."""
        if self._is_newest(wish) and wish.status is OutcomeStatus.WRITTEN:
            message = f"the device reads back {reading.value!r}"
            self._settle(wish, OutcomeStatus.WRITTEN, "differs", message)

    def failed(self, wish: Wish, error: DmiError) -> None:
        """Writing failed: for good, or it waits for the device to come back."""
        if error.retryable:
            if self._is_newest(wish):
                self._pending[wish.desired.property] = wish
                self._settle(wish, OutcomeStatus.PENDING, error.reason, str(error))
        elif isinstance(error, ConversionError):
            self._settle(wish, OutcomeStatus.REJECTED, error.reason, str(error))
        else:
            self._settle(wish, OutcomeStatus.FAILED, error.reason, str(error))

    # ------------------------------------------------------------ details ----

    def _check(self, wish: Wish, points: Mapping[str, Point]) -> bool:
        name, value = wish.desired.property, wish.desired.value
        try:
            if name not in points:
                raise NotFoundError(f"the device has no property {name!r}")
            if value is None:
                raise RefusedError("nothing is wished")
            wish.value = checked_value(points[name], value)
        except DmiError as error:
            self._settle(wish, OutcomeStatus.REJECTED, error.reason, str(error))
            return False
        wish.status = OutcomeStatus.PENDING
        self._pending[name] = wish
        return True

    def _is_newest(self, wish: Wish) -> bool:
        return self._wishes.get(wish.desired.property) is wish

    def _is_granted(self, wish: Wish, point: Point, reading: Reading) -> bool:
        if wish.value is None or reading.value is None:
            return False
        return point.scaling.same(wish.value, reading.value)

    def _settle(
        self, wish: Wish, status: OutcomeStatus, reason: str = "", message: str = ""
    ) -> None:
        wish.status = status
        desired = wish.desired
        if not desired.version and not self._is_newest(wish):
            return  # Without versions it would pass for what became of the newest wish.
        now = self._clock.time()
        self._report(
            Outcome(self._device, desired.property, desired.version, status, now, reason, message)
        )


def replaces(new: Desired, known: Desired) -> bool:
    """Whether a wish is a newer one, and not the same again or an older one."""
    if new.value is None and not new.version:
        # Nothing is wished any more, so there is no wish whose version could be told.
        return known.value is not None
    if new.epoch != known.epoch:
        # A manager that has lost its store counts from the beginning.
        return True
    if new.version or known.version:
        return new.version > known.version
    # v1beta1 has no versions: EdgeCore repeats the same text whenever the device changes.
    return new.value != known.value

"""Turning what somebody asks for into a wish, or into the reason why it cannot be one."""

from device_manager.records import Wish
from dmi.errors import AccessDeniedError, ConversionError, DmiError
from dmi.readings import Value
from dmi.reports import OutcomeStatus
from dmi.resources import AccessMode, ModelProperty
from dmi.values import check_range, coerce_value, parse_bound, parse_value

__all__ = ["checked_value", "was_refused_at_once", "wish_of_text"]


def checked_value(declared: ModelProperty, value: Value | str) -> Value:
    """Bring a desired value to the type of the property; text is parsed.

    Raises:
        AccessDeniedError: The property is ReadOnly.
        ConversionError: It does not fit the type.
        OutOfRangeError: It lies outside the declared minimum and maximum.
    """
    if declared.access_mode is AccessMode.READ_ONLY:
        raise AccessDeniedError(f"property {declared.name!r} is ReadOnly in its model")
    if isinstance(value, str):
        known = parse_value(value, declared.type)
    else:
        known = coerce_value(value, declared.type)
    check_range(known, _bound(declared, declared.minimum), _bound(declared, declared.maximum))
    return known


def wish_of_text(declared: ModelProperty, text: str, version: int, time: float) -> Wish:
    """A wish from a Device's text; REJECTED at once when it could never be written.

    Args:
        declared: The property in the model.
        text: `desired.value` of the Device.
        version: Of the wish.
        time: In seconds since 1970-01-01 UTC.
    """
    try:
        return Wish(checked_value(declared, text), version, time)
    except DmiError as error:
        status = OutcomeStatus.REJECTED
        return Wish(text, version, time, status, time, error.reason, error.message)


def was_refused_at_once(wish: Wish) -> bool:
    """Whether `wish_of_text` refused it, and not a mapper later on."""
    return wish.status is OutcomeStatus.REJECTED and wish.settled_at == wish.time


def _bound(declared: ModelProperty, text: str) -> Value | None:
    try:
        return parse_bound(text, declared.type)
    except ConversionError:
        return None  # the model's own fault; the device's problem says so

"""What `dmi` ends with. These numbers are stable: scripts rely on them."""

from enum import IntEnum

from dmi.errors import AccessDeniedError, DmiError, NotFoundError

__all__ = ["Exit", "exit_of"]


class Exit(IntEnum):
    """Exit codes of every verb."""

    OK = 0
    """Done."""
    REFUSED = 1
    """The input has a mistake, or the manager or the device said no. Change it first."""
    USAGE = 2
    """The command line itself is wrong."""
    NOT_FOUND = 3
    """There is no such device, model, property, mapper or file."""
    UNAVAILABLE = 4
    """The other side cannot be reached, or answers too late. Trying again can help."""
    DENIED = 5
    """Not allowed: a ReadOnly property, a missing token or permission."""
    INTERRUPTED = 130
    """Ctrl-C."""


def exit_of(error: DmiError) -> Exit:
    """The code for a verb that ended with this error."""
    if error.retryable:
        return Exit.UNAVAILABLE
    if isinstance(error, NotFoundError):
        return Exit.NOT_FOUND
    return Exit.DENIED if isinstance(error, AccessDeniedError) else Exit.REFUSED

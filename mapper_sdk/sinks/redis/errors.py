"""Errors of the Redis client as ours."""

from typing import Final

from redis import exceptions

from dmi.errors import (
    ConfigError,
    DeadlineError,
    DmiError,
    OverloadedError,
    RefusedError,
    UnavailableError,
)

__all__ = ["translated"]

_LATER: Final = ("MISCONF", "NOREPLICAS", "BUSY")
_A_HUMAN: Final = (
    exceptions.AuthenticationError,
    exceptions.AuthorizationError,
    exceptions.AuthenticationWrongNumberOfArgsError,
    exceptions.NoPermissionError,
    exceptions.MovedError,
    exceptions.AskError,
    exceptions.ClusterCrossSlotError,
)
_NOT_NOW: Final = (
    exceptions.ConnectionError,
    exceptions.ReadOnlyError,
    exceptions.NoScriptError,
    exceptions.ClusterDownError,
    exceptions.TryAgainError,
)


def translated(error: Exception) -> DmiError:
    """Say whose fault it is: the server's for now, a human's, or the reading's."""
    text = str(error) or type(error).__name__
    # The client hides the error of TLS behind its own; only the text is left.
    if isinstance(error, _A_HUMAN) or "CERTIFICATE_VERIFY_FAILED" in text:
        return ConfigError(text)
    if isinstance(error, exceptions.OutOfMemoryError):
        return OverloadedError(text)
    if isinstance(error, (exceptions.TimeoutError, TimeoutError)):
        return DeadlineError(text)
    if isinstance(error, _NOT_NOW) or text.startswith(_LATER):
        return UnavailableError(text)
    if isinstance(error, OSError):
        return UnavailableError(text)
    return RefusedError(text)

"""Every error this project raises on purpose.

DmiError
├── ConfigError          bad file, setting or resource; a human must edit it
├── ConversionError      a value does not fit the property's declared type
│   └── OutOfRangeError  it fits the type, but not the declared minimum and maximum
├── NotFoundError        no such device, model, property or method
├── ConflictError        two owners of one name, or a stale version
│   └── PreconditionError  it is no longer as the request presumes
├── AccessDeniedError    write to a ReadOnly property, refused login, missing permission
├── RefusedError         the device answered, and said no
├── UnsupportedError     the peer or the driver does not have this ability
├── TooLargeError        a message or body is longer than is read
├── MalformedError       a message or body is not in the form that it claims
├── LostSessionError     the session is over: register again
├── DriverBugError       a driver did what its contract does not allow
└── UnavailableError     (retried) the other side cannot be reached now
    ├── DeadlineError    (retried) it was reached, but answered too late
    └── OverloadedError  (retried) it is there, but asks for fewer calls

Each class carries its machine word and its number on the two wires; `dmi.status` maps to gRPC
and back, `dmi.rest.problem` to HTTP and back.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

__all__ = [
    "AccessDeniedError",
    "ConfigError",
    "ConflictError",
    "ConversionError",
    "DeadlineError",
    "DmiError",
    "DriverBugError",
    "LostSessionError",
    "MalformedError",
    "NotFoundError",
    "OutOfRangeError",
    "OverloadedError",
    "PreconditionError",
    "RefusedError",
    "TooLargeError",
    "UnavailableError",
    "UnsupportedError",
    "error_class",
]


class DmiError(Exception):
    """Base class of all.

    Attributes:
        retryable: Trying the same again later can succeed; drives backoff.
        reason: One lower-case word for programs, stable across releases.
        grpc_code: Number of the gRPC status that peers see.
        http_status: Status that REST clients see.
    """

    retryable: ClassVar[bool] = False
    reason: ClassVar[str] = "internal"
    grpc_code: ClassVar[int] = 13
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, device: str | None = None) -> None:
        super().__init__(f"{device}: {message}" if device else message)
        self.message = message
        self.device = device


class ConfigError(DmiError):
    """A file, a setting or a resource is wrong; it stays wrong until someone edits it."""

    reason = "config"
    grpc_code = 3
    http_status = 422


class ConversionError(DmiError):
    """A value does not fit the property's declared type."""

    reason = "conversion"
    grpc_code = 3
    http_status = 422


class OutOfRangeError(ConversionError):
    """A value lies outside the property's declared minimum and maximum."""

    reason = "out_of_range"
    grpc_code = 11


class NotFoundError(DmiError):
    """There is no such device, model, property or method."""

    reason = "not_found"
    grpc_code = 5
    http_status = 404


class ConflictError(DmiError):
    """Two owners claim one name, or the change was made against an old version."""

    reason = "conflict"
    grpc_code = 10
    http_status = 409


class PreconditionError(ConflictError):
    """What is there is not what the request says must be there."""

    reason = "precondition"
    http_status = 412


class AccessDeniedError(DmiError):
    """The property is ReadOnly, the login was refused, or permission is missing."""

    reason = "access_denied"
    grpc_code = 7
    http_status = 403


class RefusedError(DmiError):
    """The device was reached and refused this request; asking again will not help."""

    reason = "refused"
    grpc_code = 9
    http_status = 502


class UnsupportedError(DmiError):
    """The peer or the driver does not offer this ability."""

    reason = "unsupported"
    grpc_code = 12
    http_status = 501


class TooLargeError(DmiError):
    """A message or body is longer than is read."""

    reason = "too_large"
    grpc_code = 8
    http_status = 413


class MalformedError(DmiError):
    """A message or body is not in the form that it claims, or that is needed here."""

    reason = "malformed"
    grpc_code = 3
    http_status = 400


class LostSessionError(DmiError):
    """The session is over or was never there: the mapper must register again.

    UNAUTHENTICATED on the wire, a status that nothing else here uses.
    """

    reason = "lost_session"
    grpc_code = 16
    http_status = 401


class DriverBugError(DmiError):
    """A driver failed in a way that its contract does not allow."""

    reason = "driver_bug"


class UnavailableError(DmiError):
    """The other side cannot be reached now."""

    retryable = True
    reason = "unavailable"
    grpc_code = 14
    http_status = 503


class DeadlineError(UnavailableError):
    """The other side was reached, but answered too late or not at all."""

    reason = "deadline"
    grpc_code = 4
    http_status = 504


class OverloadedError(UnavailableError):
    """The other side is there and asks for fewer calls."""

    reason = "overloaded"
    grpc_code = 8
    http_status = 429


_BY_REASON: Mapping[str, type[DmiError]] = MappingProxyType(
    {
        kind.reason: kind
        for kind in (
            DmiError,
            ConfigError,
            ConversionError,
            OutOfRangeError,
            NotFoundError,
            ConflictError,
            PreconditionError,
            AccessDeniedError,
            RefusedError,
            UnsupportedError,
            TooLargeError,
            MalformedError,
            LostSessionError,
            DriverBugError,
            UnavailableError,
            DeadlineError,
            OverloadedError,
        )
    }
)


def error_class(reason: str) -> type[DmiError] | None:
    """The class that carries this machine word; None for a word of somebody else's."""
    return _BY_REASON.get(reason)

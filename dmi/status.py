"""Errors on the gRPC side: DmiError to status code and back, in this one place.

Among ourselves the class of an error survives exactly: its machine word travels in the
trailing metadata under `dmi-reason`, since several classes share a code. Strangers send
only a code, and EdgeCore and Go mappers only UNKNOWN with a text: the words decide there.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, cast

import grpc
from grpc import StatusCode

from dmi.errors import (
    AccessDeniedError,
    ConfigError,
    ConflictError,
    DeadlineError,
    DmiError,
    NotFoundError,
    OutOfRangeError,
    OverloadedError,
    RefusedError,
    UnavailableError,
    UnsupportedError,
    error_class,
)

__all__ = ["REASON_KEY", "from_grpc", "grpc_errors", "to_grpc_status"]

REASON_KEY = "dmi-reason"
"""Key of the trailing metadata that carries the machine word."""

_CODES: Mapping[int, StatusCode] = MappingProxyType({code.value[0]: code for code in StatusCode})

# INTERNAL without our machine word comes from the library: a stream that broke in the middle.
_BY_CODE: Mapping[StatusCode, type[DmiError]] = MappingProxyType(
    {
        StatusCode.OK: DmiError,
        StatusCode.CANCELLED: UnavailableError,
        StatusCode.UNKNOWN: UnavailableError,
        StatusCode.INVALID_ARGUMENT: ConfigError,
        StatusCode.DEADLINE_EXCEEDED: DeadlineError,
        StatusCode.NOT_FOUND: NotFoundError,
        StatusCode.ALREADY_EXISTS: ConflictError,
        StatusCode.PERMISSION_DENIED: AccessDeniedError,
        StatusCode.UNAUTHENTICATED: AccessDeniedError,
        StatusCode.RESOURCE_EXHAUSTED: OverloadedError,
        StatusCode.FAILED_PRECONDITION: RefusedError,
        StatusCode.ABORTED: ConflictError,
        StatusCode.OUT_OF_RANGE: OutOfRangeError,
        StatusCode.UNIMPLEMENTED: UnsupportedError,
        StatusCode.INTERNAL: UnavailableError,
        StatusCode.UNAVAILABLE: UnavailableError,
        StatusCode.DATA_LOSS: UnavailableError,
    }
)

# Words of EdgeCore's own error texts, and of the library's, in lower case. Any other UNKNOWN
# may pass by itself (EdgeCore's SQLite was busy, a Go mapper has not got the model yet).
_BY_WORDS: tuple[tuple[StatusCode, str, type[DmiError]], ...] = (
    (StatusCode.UNKNOWN, "too many request", OverloadedError),
    (StatusCode.UNKNOWN, "the protocol is nil", ConfigError),
    (StatusCode.UNKNOWN, "does not have twin data", RefusedError),
    (StatusCode.UNKNOWN, "is invalid data", RefusedError),
    (StatusCode.RESOURCE_EXHAUSTED, "larger than max", RefusedError),
)

# Details travel percent-encoded in a header, and all headers together must stay below 8 KiB.
_MAX_DETAILS = 500


def to_grpc_status(error: DmiError) -> tuple[StatusCode, str]:
    """The status code and text that peers see of an error; long texts are cut."""
    text = str(error)
    if len(text) > _MAX_DETAILS:
        text = text[: _MAX_DETAILS - 3] + "..."
    return _CODES[error.grpc_code], text


def from_grpc(error: grpc.aio.AioRpcError, what: str) -> DmiError:
    """Turn a failed call into the error that it means.

    Args:
        error: As the library raised it.
        what: What was tried, for people: "register with EdgeCore".

    Source:
        KubeEdge `edge/pkg/devicetwin/dmiserver/server.go` for EdgeCore's texts; all of them
        come with code UNKNOWN, the rate limiter's refusal among them.
    """
    code, text = error.code(), error.details() or ""
    kind = _class_of(code, text, _reason(error))
    return kind(f"{what}: {text or code.name}")


def _class_of(code: StatusCode, text: str, reason: str) -> type[DmiError]:
    known = error_class(reason)
    if known is not None:
        return known
    words = text.lower()
    for expected, phrase, kind in _BY_WORDS:
        if code is expected and phrase in words:
            return kind
    return _BY_CODE[code]


def _reason(error: grpc.aio.AioRpcError) -> str:
    # The stubs describe the blocking library here; aio gives pairs.
    pairs = cast("Iterable[tuple[str, str | bytes]]", error.trailing_metadata() or ())
    for key, value in pairs:
        if key == REASON_KEY:
            return value if isinstance(value, str) else value.decode("ascii", "replace")
    return ""


@asynccontextmanager
async def grpc_errors(context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[None]:
    """Answer a call with the mapped status when the block raises a DmiError.

    Anything else passes through: it is a bug, the library logs it and answers UNKNOWN.
    """
    try:
        yield
    except DmiError as error:
        code, text = to_grpc_status(error)
        await context.abort(code, text, trailing_metadata=((REASON_KEY, error.reason),))

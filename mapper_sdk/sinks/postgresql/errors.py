"""Errors of asyncpg and of PostgreSQL as ours."""

import ssl
from typing import Final

import asyncpg  # type: ignore[import-untyped]

from dmi.errors import (
    ConfigError,
    ConversionError,
    DeadlineError,
    DmiError,
    OverloadedError,
    RefusedError,
    UnavailableError,
)

__all__ = ["FAILURES", "opening_failed", "sending_failed"]

FAILURES: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    ValueError,
)
"""What asyncpg raises; ValueError for what it cannot encode."""

_FOR_HUMANS: Final = ("28", "3D", "42501", "0A")
"""Login, database, permission, ability: it stays so until somebody changes it."""

_OF_READINGS: Final = ("22", "54")
"""A value that the column cannot hold; a row or text beyond the server's limits."""

_BUSY: Final = ("53300", "53400")
_LATE: Final = "57014"


def opening_failed(error: BaseException, server: str) -> DmiError:
    """Give our error for one that was met while connecting or making tables.

    Source:
        PostgreSQL 15, appendix A: SQLSTATE codes.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return ConfigError(f"{server}: its certificate is not accepted: {error.verify_message}")
    if isinstance(error, asyncpg.ClientConfigurationError):
        return ConfigError(f"{server}: {error}")
    if isinstance(error, asyncpg.PostgresError) and _state(error).startswith(_FOR_HUMANS):
        return ConfigError(f"{server}: {error}")
    return sending_failed(error, server)


def sending_failed(error: BaseException, server: str) -> DmiError:
    """Give our error for one that was met while sending.

    Only what lies with a reading is final: a missing table or permission is a human's work, and
    until it is done the readings are kept.
    """
    text = f"{server}: {str(error) or type(error).__name__}"
    state = _state(error)
    if state.startswith(_OF_READINGS):
        return ConversionError(text) if state.startswith("22") else RefusedError(text)
    if state in _BUSY:
        return OverloadedError(text)
    return DeadlineError(text) if state == _LATE else UnavailableError(text)


def _state(error: BaseException) -> str:
    return getattr(error, "sqlstate", None) or ""

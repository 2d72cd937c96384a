"""Errors of asyncmy, of MariaDB and of MySQL as ours."""

import ssl
from typing import Final

from asyncmy.errors import MySQLError

from dmi.errors import (
    ConfigError,
    ConversionError,
    DeadlineError,
    DmiError,
    OverloadedError,
    UnavailableError,
)

__all__ = ["FAILURES", "opening_failed", "sending_failed"]

FAILURES: Final = (MySQLError, OSError, EOFError)
"""What asyncmy raises."""

_FOR_HUMANS: Final = frozenset(
    {
        1044,  # this user may not use the database
        1045,  # wrong user or password
        1049,  # no such database
        1142,  # this user may not do that with the table
        1227,  # nor this, without a privilege
        1251,  # a way to log in that is not known
        1524,  # the same
        1698,  # wrong user
        2059,  # the same, found by the client
        3159,  # only with TLS
        4151,  # wrong user
    }
)
_OF_READINGS: Final = frozenset(
    {
        1048,  # NULL, as which a time that cannot be is computed
        1264,  # number out of range
        1265,
        1292,  # no such time
        1366,  # text that is none
        1406,  # too long
        1441,  # time out of range
        1690,  # number out of range
    }
)
_BUSY: Final = frozenset({1040, 1203, 1226})
_LATE: Final = frozenset({1969, 3024})


def opening_failed(error: BaseException, server: str) -> DmiError:
    """Give our error for one that was met while connecting or making tables.

    Source:
        MariaDB and MySQL reference manuals: server error codes.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return ConfigError(f"{server}: its certificate is not accepted: {cause.verify_message}")
        cause = cause.__cause__
    if _number(error) in _FOR_HUMANS:
        return ConfigError(f"{server}: {_words(error)}")
    return sending_failed(error, server)


def sending_failed(error: BaseException, server: str) -> DmiError:
    """Give our error for one that was met while sending.

    Only what lies with a reading is final: a missing table or permission is a human's work, and
    until it is done the readings are kept.
    """
    number, text = _number(error), f"{server}: {_words(error)}"
    if number in _OF_READINGS:
        return ConversionError(text)
    if number in _BUSY:
        return OverloadedError(text)
    return DeadlineError(text) if number in _LATE else UnavailableError(text)


def _number(error: BaseException) -> int:
    number = error.args[0] if isinstance(error, MySQLError) and error.args else 0
    return number if isinstance(number, int) else 0


def _words(error: BaseException) -> str:
    return str(error.args[-1]) if error.args else type(error).__name__

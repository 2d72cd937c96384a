"""What an HTTP server's answer, or its silence, means for the readings of a request."""

import ssl
from typing import Final

import aiohttp

from dmi.errors import (
    ConfigError,
    DeadlineError,
    DmiError,
    OverloadedError,
    RefusedError,
    TooLargeError,
    UnavailableError,
)

__all__ = ["failure", "status_error"]

_A_HUMAN: Final = frozenset({401, 403, 404, 405, 407})
_SHOWN: Final = 300


def status_error(status: int, text: str) -> DmiError:
    """Give the error for a status that is not 2xx.

    Args:
        status: Of the answer.
        text: What the server said about it.

    Returns:
        ConfigError for what asks for a human: login, permission, a wrong path, a redirect (which
        is not followed, because credentials would be). UnavailableError, DeadlineError and
        OverloadedError are worth a repetition; the rest is about the readings themselves.
    """
    said = f"answered {status}: {text.strip()[:_SHOWN]}" if text.strip() else f"answered {status}"
    if status in _A_HUMAN or 300 <= status < 400:
        return ConfigError(said)
    if status in (408, 504):
        return DeadlineError(said)
    if status in (425, 429):
        return OverloadedError(said)
    if status == 413:
        return TooLargeError(said)
    if 400 <= status < 500:
        return RefusedError(said)
    return UnavailableError(said)


def failure(error: aiohttp.ClientError | OSError) -> DmiError:
    """Give the error for a request that got no answer."""
    text = str(error) or type(error).__name__
    if isinstance(error, (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError)):
        return ConfigError(text)
    if isinstance(error, aiohttp.InvalidURL):
        return ConfigError(f"not a URL: {text}")
    if isinstance(error, TimeoutError):
        return DeadlineError("no answer in time")
    return UnavailableError(text)

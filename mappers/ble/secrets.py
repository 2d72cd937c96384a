"""Keys that settings only refer to: `env:NAME` or `file:PATH`."""

import os
from pathlib import Path

from dmi.errors import ConfigError

__all__ = ["check_reference", "read_key", "read_passkey", "read_secret"]

_KEY_BYTES = 16
_SHORT_KEY_BYTES = 12
"""Of devices that encrypt by MiBeacon 2 and 3."""


def check_reference(written: str) -> str:
    """Let a reference pass.

    Raises:
        ValueError: It is none; the secret itself, if it was that, is not repeated.
    """
    scheme, colon, rest = written.partition(":")
    if scheme not in ("env", "file") or not colon or not rest:
        raise ValueError("must be env:NAME or file:PATH, never the secret itself")
    return written


def read_secret(reference: str) -> str:
    """Look a secret up.

    Raises:
        ConfigError: It is not there.
    """
    scheme, _, rest = reference.partition(":")
    if scheme == "env":
        if rest not in os.environ:
            raise ConfigError(f"there is no environment variable {rest}")
        return os.environ[rest].strip()
    try:
        return Path(rest).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{rest} cannot be read: {error}") from error


def read_key(reference: str | None, *, short: bool = False) -> bytes | None:
    """Look a key of 16 bytes up, written as 32 hexadecimal digits.

    Args:
        reference: Where it is; None for no key.
        short: 24 digits will do.

    Raises:
        ConfigError: It is not there, or not of that form.
    """
    if reference is None:
        return None
    try:
        key = bytes.fromhex(read_secret(reference))
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES and not (short and len(key) == _SHORT_KEY_BYTES):
        raise ConfigError(f"{reference} must hold {_KEY_BYTES * 2} hexadecimal digits")
    return key


def read_passkey(reference: str) -> int:
    """Look a passkey up: six digits.

    Raises:
        ConfigError: It is not there, or not of that form.
    """
    text = read_secret(reference)
    if not (text.isascii() and text.isdigit() and len(text) == 6):
        raise ConfigError(f"{reference} must hold a passkey of six digits")
    return int(text)

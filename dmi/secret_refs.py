"""Secrets by reference: settings name where a secret is, and never hold it."""

import os
import re
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator

from dmi.errors import ConfigError

__all__ = ["SecretRef", "read_secret"]

_LARGEST: Final = 64 * 1024
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _checked(text: str) -> str:
    kind, colon, rest = text.partition(":")
    if colon and kind == "env" and _NAME.fullmatch(rest):
        return text
    if colon and kind == "file" and rest.startswith("/"):
        return text
    # The text is not repeated: somebody may have put the secret itself here.
    raise ValueError("must name where the secret is: env:NAME or file:/path")


SecretRef = Annotated[str, AfterValidator(_checked)]
"""`env:NAME` or `file:/path`; a file may have space around the secret."""


def read_secret(ref: str) -> str:
    """Give the secret that a reference names, as it is now: files are read each time.

    Raises:
        ConfigError: The variable is not set, or the file cannot be read or is empty; the
            text names the reference and holds nothing of the secret.
    """
    kind, _, rest = ref.partition(":")
    if kind == "env":
        if not (value := os.environ.get(rest, "")):
            raise ConfigError(f"secret {ref}: the environment variable is not set")
        return value
    try:
        data = Path(rest).read_bytes()[: _LARGEST + 1]
        value = data.decode("utf-8").strip()
    except OSError as error:
        raise ConfigError(f"secret {ref}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"secret {ref}: is not UTF-8 text") from error
    if not value or len(data) > _LARGEST:
        raise ConfigError(f"secret {ref}: must hold 1 to {_LARGEST} bytes of text")
    return value

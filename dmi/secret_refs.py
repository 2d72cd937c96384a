"""Secrets by reference: settings name where a secret is, and never hold it."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, TypeVar

from pydantic import BeforeValidator

from dmi.errors import ConfigError

__all__ = ["SecretRef", "read_header_secret", "read_secret"]

_LARGEST: Final = 64 * 1024
_NOT_IN_HEADERS: Final = re.compile(r"[\x00-\x1f\x7f]")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


# What is wrong is never repeated, whatever its type: somebody may have put the secret itself
# here. So both checks come before those of pydantic, whose errors have it in them.


def _checked(given: object) -> str:
    kind, _, rest = given.partition(":") if isinstance(given, str) else ("", "", "")
    if (kind == "env" and _NAME.fullmatch(rest)) or (kind == "file" and rest.startswith("/")):
        return f"{kind}:{rest}"
    raise ValueError("must name where the secret is: env:NAME or file:/path")


def _checked_block(given: object) -> Mapping[object, object]:
    if not isinstance(given, Mapping):
        raise ValueError("must be a block of names, each with env:NAME or file:/path")  # noqa: TRY004 - only ValueError is pydantic's
    return given


Name = TypeVar("Name", bound=str)

SecretRef = Annotated[str, BeforeValidator(_checked)]
"""`env:NAME` or `file:/path`; a file may have space around the secret."""

SecretRefs = Annotated[dict[Name, SecretRef], BeforeValidator(_checked_block)]
"""Such references by name."""


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


def read_header_secret(ref: str) -> str:
    """Give a secret that goes into a header of HTTP as it is.

    Raises:
        ConfigError: See `read_secret`; or there is something in it that no header can carry.
    """
    value = read_secret(ref)
    if _NOT_IN_HEADERS.search(value):
        raise ConfigError(f"secret {ref}: has a line break or another control character in it")
    return value

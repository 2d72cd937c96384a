"""What the sinks to SQL servers share: how a server is reached, and one deadline per call."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from pydantic import Field

from dmi.errors import DeadlineError
from dmi.secret_refs import SecretRef, read_secret
from mapper_sdk.delivery.sink import Settings
from mapper_sdk.sinks.addresses import checked_address, host_and_port
from mapper_sdk.sinks.tls import Tls, make_context

__all__ = ["SqlServer", "checked_place", "context_of", "deadline", "password_of", "place_of"]


class SqlServer(Settings):
    """The settings that every SQL server has."""

    address: str
    database: str = Field(min_length=1, description="Name of the database; it must exist.")
    username: str = Field(default="", description="Whom to log in as.")
    password: SecretRef | None = Field(
        default=None, description="Where the password is: `env:NAME` or `file:/path`."
    )
    tls: Tls | None = Field(
        default=None,
        description="TLS, see [TLS](#tls): encrypt, and check who the server is. `{}` is enough"
        " where the system trusts the server's authority.",
    )
    timeout: float = Field(
        default=10.0,
        gt=0,
        le=300,
        description="How long to wait for the server: to connect, or to take a batch.",
        json_schema_extra={"unit": "s"},
    )
    keep_days: float | None = Field(
        default=None,
        gt=0,
        description="How long readings are kept; without it for ever.",
        json_schema_extra={"unit": "days"},
    )


def checked_place(port: int) -> Callable[[str], str]:
    """Make a check of addresses: a path of a Unix socket as it is, else `HOST:PORT`."""
    check = checked_address(port)

    def checked(text: str) -> str:
        return text if text.startswith("/") else check(text)

    return checked


def place_of(address: str, port: int) -> tuple[str, int]:
    """Divide a checked address; of a path, the port is `port`."""
    return (address, port) if address.startswith("/") else host_and_port(address, port)


def password_of(server: SqlServer) -> str | None:
    """Read the password now, if there is one. Not for the event loop.

    Raises:
        ConfigError: It is not where the settings say.
    """
    return None if server.password is None else read_secret(server.password)


def context_of(server: SqlServer) -> ssl.SSLContext | None:
    """Read the files of TLS now. Not for the event loop.

    Raises:
        ConfigError: A file is missing or wrong.
    """
    return None if server.tls is None else make_context(server.tls)


@asynccontextmanager
async def deadline(seconds: float, server: str) -> AsyncIterator[None]:
    """Bound what is within.

    Raises:
        DeadlineError: The time is over.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise DeadlineError(f"{server} has not answered within {seconds:g} s") from error

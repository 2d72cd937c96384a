"""From settings to what a REST API wants to be shown, and what it shows itself."""

import ipaddress
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dmi.errors import ConfigError
from dmi.rest.guard import Keys
from dmi.rest.limits import Limits
from dmi.rest.tls import ServerTls
from dmi.rest.tokens import Clients

__all__ = ["Door", "DoorSettings", "is_loopback"]

log = logging.getLogger(__name__)

_LEAST_TOKEN: Final = 16


@dataclass(frozen=True, slots=True)
class DoorSettings:
    """What a program's settings say about its REST API.

    Attributes:
        address: Where it listens: `HOST:PORT` or `unix:/PATH`.
        prefix: What its settings' names begin with: `rest` or `api`.
        token_file: Holds one token for everything, with space around it.
        clients: YAML file of clients and what each may do.
        certificate: PEM of our own certificate and its chain.
        key: PEM of its key.
        client_ca: PEM of who signs clients' certificates.
        insecure: Let everybody in although others than this machine's users can come.
        rate: Requests a second of one client; None for the usual.
    """

    address: str
    prefix: str
    token_file: Path | None = None
    clients: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    insecure: bool = False
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class Door:
    """What the settings come to."""

    keys: Keys
    tls: ServerTls | None
    limits: Limits

    @classmethod
    def of(cls, settings: DoorSettings) -> "Door":
        """Read the files that the settings name.

        Raises:
            ConfigError: A file cannot be read or holds nonsense; or nothing is asked of
                clients although the address can be reached from elsewhere.
        """
        tls = _tls(settings)
        keys = Keys(
            _token(settings),
            Clients(settings.clients) if settings.clients is not None else None,
            certificates=settings.client_ca is not None,
        )
        far = not is_loopback(settings.address)
        if far and not keys.are_needed and not settings.insecure:
            name = settings.prefix
            raise ConfigError(
                f"REST on {settings.address} could be used by anybody: it needs {name}Clients,"
                f" {name}TokenFile or {name}ClientCa; let it listen on 127.0.0.1, or insist by"
                f" {name}Insecure"
            )
        if far and tls is None:
            log.warning("REST on %s is not encrypted: tokens can be overheard", settings.address)
        usual = Limits() if keys.are_needed or far else Limits(rate=0)
        if settings.rate is None:
            return cls(keys, tls, usual)
        return cls(keys, tls, Limits(settings.rate, 2 * settings.rate))


def is_loopback(address: str) -> bool:
    """Whether `HOST:PORT` or `unix:/PATH` can be reached from this machine only."""
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _tls(settings: DoorSettings) -> ServerTls | None:
    name = settings.prefix
    if settings.certificate is None and settings.key is None:
        if settings.client_ca is not None:
            raise ConfigError(f"{name}ClientCa needs {name}Certificate and {name}Key")
        return None
    if settings.certificate is None or settings.key is None:
        raise ConfigError(f"{name}Certificate and {name}Key are only useful together")
    return ServerTls(settings.certificate, settings.key, settings.client_ca)


def _token(settings: DoorSettings) -> str:
    file = settings.token_file
    if file is None:
        return ""
    name = f"{settings.prefix}TokenFile"
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is not text"
        raise ConfigError(f"{name}: {file}: {why}") from None
    if len(token) < _LEAST_TOKEN:
        raise ConfigError(f"{name}: {file} holds fewer than {_LEAST_TOKEN} characters")
    return token

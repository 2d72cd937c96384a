"""Who is let in: a YAML file of clients, which holds hashes of tokens and never a token.

    tokens:
      - name: dashboard
        hash: sha256:9f86d0818…
        scopes: [read]
        namespaces: [line-1]
        expires: 2027-06-01T00:00:00Z
    certificates:
      - name: historian.plant.example
        scopes: [read, write]

A token is 32 random bytes, so that one round of SHA-256 is as good as any slower hash.
"""

import hashlib
import logging
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import yaml
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_serializer,
)

from dmi.errors import ConfigError
from dmi.rest.identity import Identity, Scope
from dmi.wording import fault_of

__all__ = ["Clients", "ClientsFile", "Grant", "TokenGrant", "add_token", "hash_token", "new_token"]

log = logging.getLogger(__name__)

_PREFIX: Final = "dmi_"
_LONGEST: Final = 512
_LOOK_AGAIN: Final = 1.0

ClientName = Annotated[str, StringConstraints(min_length=1, max_length=253)]


class Grant(BaseModel):
    """What one client may do, and where."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ClientName
    scopes: frozenset[Scope] = Field(default=frozenset({Scope.READ}), min_length=1)
    namespaces: frozenset[str] | None = Field(default=None, min_length=1)

    @field_serializer("scopes", "namespaces")
    def _in_order(self, names: frozenset[str] | None) -> list[str] | None:
        return None if names is None else sorted(names)

    @property
    def identity(self) -> Identity:
        """The client, when it has shown who it is."""
        return Identity(self.name, self.scopes, self.namespaces)


class TokenGrant(Grant):
    """A client that shows a token."""

    hash: Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
    expires: AwareDatetime | None = None


class ClientsFile(BaseModel):
    """The file as a whole."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: list[TokenGrant] = []
    certificates: list[Grant] = []


def new_token() -> str:
    """Make a token: 32 random bytes behind a prefix that secret scanners can look for."""
    return _PREFIX + secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    """Give what the file holds of a token."""
    return "sha256:" + hashlib.sha256(token.encode()).hexdigest()


class Clients:
    """The file, read again when it has changed: a token that is taken out ends within seconds.

    A file that became wrong changes nothing and is logged; what was read before holds.
    """

    def __init__(self, file: Path) -> None:
        """Read the file.

        Raises:
            ConfigError: It cannot be read, or something in it is wrong.
        """
        self._file = file
        self._stamp = _stamp(file)
        self._look_at = 0.0
        self._take(_read(file))

    def by_token(self, token: str, now: float, monotonic: float) -> Identity | None:
        """Give the client that has this token, unless it has expired.

        Args:
            token: As it was shown.
            now: Seconds since 1970.
            monotonic: Seconds on the clock that decides when the file is looked at again.
        """
        self._refresh(monotonic)
        if len(token) > _LONGEST:
            return None
        # A lookup by hash: how long it takes tells nothing about any token.
        grant = self._tokens.get(hash_token(token))
        if grant is None or (grant.expires is not None and grant.expires.timestamp() <= now):
            return None
        return grant.identity

    def by_certificate(self, name: str, monotonic: float) -> Identity | None:
        """Give the client whose verified certificate bears this name."""
        self._refresh(monotonic)
        return self._certificates.get(name)

    def _refresh(self, monotonic: float) -> None:
        if monotonic < self._look_at:
            return
        self._look_at = monotonic + _LOOK_AGAIN
        stamp = _stamp(self._file)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._take(_read(self._file))
        except ConfigError as error:
            log.error("the clients read before still hold: %s", error)
        else:
            log.info("read %s again", self._file)

    def _take(self, content: ClientsFile) -> None:
        self._tokens: Mapping[str, TokenGrant] = {grant.hash: grant for grant in content.tokens}
        self._certificates = {grant.name: grant.identity for grant in content.certificates}


def add_token(file: Path, grant: Mapping[str, object]) -> str:
    """Add a client to the file, which is made if need be, and give its token.

    Args:
        file: Gets mode 0600 when it is made; else owner and mode stay, so that whoever could
            read it still can. Comments in it are lost.
        grant: As the file holds it, without `hash`.

    Raises:
        ConfigError: The file or the grant is wrong, or has a token of this name already.
    """
    file = file.resolve()
    content = _read(file) if file.exists() else ClientsFile()
    if any(known.name == grant.get("name") for known in content.tokens):
        raise ConfigError(f"{file}: there is a token named {grant.get('name')!r} already")
    token = new_token()
    added = {**grant, "hash": hash_token(token)}
    data = content.model_dump(mode="json", exclude_none=True)
    data["tokens"].append(added)
    _checked(data, file)
    text = yaml.safe_dump({kind: rows for kind, rows in data.items() if rows}, sort_keys=False)
    beside = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            _keep_readers(file, handle)
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        beside.replace(file)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ConfigError(f"{file}: cannot be written: {error.strerror}") from error
    return token


def _keep_readers(file: Path, handle: int) -> None:
    """Give a new file the owner and mode of the one that it will replace, if there is one."""
    try:
        known = file.stat()
    except FileNotFoundError:
        return
    os.fchown(handle, known.st_uid, known.st_gid)
    os.fchmod(handle, stat.S_IMODE(known.st_mode))


def _read(file: Path) -> ClientsFile:
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: is not YAML: {type(error).__name__}") from error
    return _checked(data or {}, file)


def _checked(data: object, file: Path) -> ClientsFile:
    try:
        content = ClientsFile.model_validate(data)
    except ValidationError as error:
        faults = [fault_of(detail, ClientsFile) for detail in error.errors(include_input=False)]
        raise ConfigError("; ".join(f"{file}: {fault}" for fault in faults)) from None
    for kind, names in (
        ("token", [grant.hash for grant in content.tokens]),
        ("certificate", [grant.name for grant in content.certificates]),
    ):
        if len(set(names)) < len(names):
            raise ConfigError(f"{file}: one {kind} is there twice")
    return content


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino

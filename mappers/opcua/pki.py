"""Certificates: our own, made at the first use and kept, and those of the servers we trust."""

import hashlib
import socket
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from asyncua.crypto import cert_gen
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from dmi.errors import AccessDeniedError, ConfigError
from mappers.opcua.config import OpcuaLink

__all__ = ["File", "application_uri", "check_server", "own_certificate", "read_file"]

_VALID_DAYS = 10 * 365
_making = threading.Lock()
"""Two servers may be connected to at the same time, and share one certificate of ours."""


@dataclass(frozen=True, slots=True)
class File:
    """The content of a certificate or key, and which of the two encodings it has."""

    content: bytes
    encoding: str


def read_file(path: str | Path) -> File:
    """Read a certificate or a key, PEM or DER.

    Raises:
        ConfigError: The file cannot be read.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    return File(content, "pem" if content.lstrip().startswith(b"-----BEGIN") else "der")


def application_uri(link: OpcuaLink) -> str:
    """Our name towards servers; it stands in our certificate."""
    return link.application_uri or f"urn:{socket.gethostname()}:dmi:opcua"


def own_certificate(link: OpcuaLink) -> tuple[File, File]:
    """Our certificate and its key: those of the settings, or our own. Blocks.

    Raises:
        ConfigError: A file cannot be read or written.
    """
    if link.certificate is not None and link.private_key is not None:
        return read_file(link.certificate), read_file(link.private_key)
    name = hashlib.sha256(application_uri(link).encode()).hexdigest()[:8]
    folder = link.pki / "own"
    certificate, key = folder / f"{name}.der", folder / f"{name}.key.pem"
    with _making:
        if not certificate.exists() or not key.exists() or _is_over(certificate.read_bytes()):
            try:
                _make(application_uri(link), certificate, key)
            except OSError as error:
                raise ConfigError(
                    f"cannot keep our own certificate in {folder}: {error.strerror}; set `pkiDir`"
                ) from error
    return read_file(certificate), read_file(key)


def _make(uri: str, certificate: Path, key: Path) -> None:
    certificate.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    private = cert_gen.generate_private_key()
    names: list[x509.GeneralName] = [
        x509.UniformResourceIdentifier(uri),
        x509.DNSName(socket.gethostname()),
    ]
    made = cert_gen.generate_self_signed_app_certificate(
        private, "dmi-toolkit", {}, names, [ExtendedKeyUsageOID.CLIENT_AUTH], days=_VALID_DAYS
    )
    key.unlink(missing_ok=True)
    key.touch(mode=0o600)
    key.write_bytes(cert_gen.dump_private_key_as_pem(private))
    certificate.write_bytes(made.public_bytes(Encoding.DER))


def _is_over(der: bytes) -> bool:
    return x509.load_der_x509_certificate(der).not_valid_after_utc < datetime.now(UTC)


def check_server(link: OpcuaLink, der: bytes) -> None:
    """Make sure that the server is one that somebody has accepted. Blocks.

    One that is not is put into `rejected/`, and moving it to `trusted/` accepts it.

    Raises:
        AccessDeniedError: It is not; the text says how to accept it.
        ConfigError: The certificates cannot be read or kept.
    """
    if link.remote_certificate is not None:
        given = read_file(link.remote_certificate)
        pinned = _load(given)
        if pinned.public_bytes(Encoding.DER) != der:
            raise AccessDeniedError(
                f"the server's certificate is not the one in {link.remote_certificate}"
            )
    elif not link.trust_any_server:
        _look_up(link, der)
    over = x509.load_der_x509_certificate(der).not_valid_after_utc
    if over < datetime.now(UTC) and not link.trust_any_server:
        raise AccessDeniedError(f"the server's certificate ended at {over:%Y-%m-%d}")


def _load(file: File) -> x509.Certificate:
    load = (
        x509.load_pem_x509_certificate
        if file.encoding == "pem"
        else (x509.load_der_x509_certificate)
    )
    try:
        return load(file.content)
    except ValueError as error:
        raise ConfigError(f"this is no certificate: {error}") from error


def _look_up(link: OpcuaLink, der: bytes) -> None:
    trusted, rejected = link.pki / "trusted", link.pki / "rejected"
    name = f"{hashlib.sha256(der).hexdigest()[:40]}.der"
    try:
        trusted.mkdir(parents=True, exist_ok=True)
        for file in sorted(trusted.iterdir()):
            if file.is_file() and _load(read_file(file)).public_bytes(Encoding.DER) == der:
                return
        rejected.mkdir(exist_ok=True)
        (rejected / name).write_bytes(der)
    except OSError as error:
        raise ConfigError(f"cannot keep certificates in {link.pki}: {error.strerror}") from error
    subject = x509.load_der_x509_certificate(der).subject.rfc4514_string()
    raise AccessDeniedError(
        f"nobody has accepted the server's certificate ({subject}) yet; to accept it: "
        f"mv {rejected / name} {trusted}/"
    )

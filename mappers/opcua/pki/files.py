"""Certificates, keys and revocation lists as they lie in files, PEM or DER."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    load_der_private_key,
    load_pem_private_key,
)

from dmi.errors import ConfigError

__all__ = [
    "File",
    "certificates_in",
    "load_certificate",
    "load_pair",
    "read_file",
    "revocations_in",
    "split",
]


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


def load_certificate(path: str | Path) -> x509.Certificate:
    """Read one certificate.

    Raises:
        ConfigError: There is none in this file.
    """
    file = read_file(path)
    is_pem = file.encoding == "pem"
    load = x509.load_pem_x509_certificate if is_pem else x509.load_der_x509_certificate
    try:
        return load(file.content)
    except ValueError as error:
        raise ConfigError(f"{path} is no certificate: {error}") from error


def load_pair(certificate: str, key: str) -> tuple[File, File]:
    """Read a certificate and its private key.

    Raises:
        ConfigError: One of them cannot be read, or they do not belong together.
    """
    shown, file = load_certificate(certificate), read_file(key)
    load = load_pem_private_key if file.encoding == "pem" else load_der_private_key
    try:
        private = load(file.content, password=None)
    except TypeError as error:
        raise ConfigError(f"{key} is encrypted: write the key without a password") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{key} is no private key: {error}") from error
    if private.public_key() != shown.public_key():
        raise ConfigError(f"{key} is not the key of the certificate {certificate}")
    return read_file(certificate), file


def certificates_in(folder: Path) -> Iterator[x509.Certificate]:
    """The certificates of a folder; none where there is no such folder.

    Raises:
        ConfigError: A file is no certificate.
        OSError: The folder cannot be read.
    """
    for path in _files(folder):
        yield load_certificate(path)


def revocations_in(folder: Path) -> Iterator[x509.CertificateRevocationList]:
    """The revocation lists of a folder; none where there is no such folder.

    Raises:
        ConfigError: A file is no revocation list.
        OSError: The folder cannot be read.
    """
    for path in _files(folder):
        file = read_file(path)
        load = x509.load_pem_x509_crl if file.encoding == "pem" else x509.load_der_x509_crl
        try:
            yield load(file.content)
        except ValueError as error:
            raise ConfigError(f"{path} is no revocation list: {error}") from error


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in sorted(folder.iterdir()) if path.is_file()]


def split(chain: bytes) -> list[x509.Certificate]:
    """The certificates that a server sends one after the other: its own, then its issuers'.

    Raises:
        ValueError: That is not what it sends.

    Source:
        OPC UA Part 6, 6.2.6 (chains); X.690, 8.1.3 (length of a DER element).
    """
    found: list[x509.Certificate] = []
    while chain:
        size = 2 + chain[1] if len(chain) > 1 else 2
        if len(chain) > 1 and chain[1] & 0x80:
            digits = chain[1] & 0x7F
            size = 2 + digits + int.from_bytes(chain[2 : 2 + digits], "big")
        found.append(x509.load_der_x509_certificate(chain[:size]))
        chain = chain[size:]
    return found

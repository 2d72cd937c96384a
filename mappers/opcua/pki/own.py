"""Our own certificate: that of the settings, or one made at the first use and kept."""

import hashlib
import socket
import threading
from datetime import UTC, datetime
from pathlib import Path

from asyncua.crypto import cert_gen
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from dmi.errors import ConfigError
from mappers.opcua.config import OpcuaLink
from mappers.opcua.pki.files import File, load_certificate, load_pair, read_file

__all__ = ["application_uri", "own_certificate", "own_path"]

_VALID_DAYS = 10 * 365
_making = threading.Lock()
"""Two servers may be connected to at the same time, and share one certificate of ours."""


def application_uri(link: OpcuaLink) -> str:
    """Our name towards servers; it stands in our certificate."""
    return link.application_uri or f"urn:{socket.gethostname()}:dmi:opcua"


def own_path(link: OpcuaLink) -> Path:
    """Where our certificate lies, or will lie."""
    if link.certificate is not None:
        return Path(link.certificate)
    name = hashlib.sha256(application_uri(link).encode()).hexdigest()[:8]
    return link.pki / "own" / f"{name}.der"


def own_certificate(link: OpcuaLink) -> tuple[File, File]:
    """Our certificate and its key: those of the settings, or our own. Blocks.

    Raises:
        ConfigError: A file cannot be read or written.
    """
    if link.certificate is not None and link.private_key is not None:
        return load_pair(link.certificate, link.private_key)
    certificate = own_path(link)
    key = certificate.with_suffix(".key.pem")
    with _making:
        if not certificate.exists() or not key.exists() or _is_over(certificate):
            try:
                _make(application_uri(link), certificate, key)
            except OSError as error:
                where = f"cannot keep our own certificate in {certificate.parent}"
                raise ConfigError(f"{where}: {error.strerror}; set `pkiDir`") from error
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


def _is_over(certificate: Path) -> bool:
    return load_certificate(certificate).not_valid_after_utc < datetime.now(UTC)

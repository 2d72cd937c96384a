"""Whether a server is accepted: it itself, or through who issued its certificate."""

import hashlib
from datetime import UTC, datetime
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from dmi.errors import AccessDeniedError, ConfigError
from mappers.opcua.config import OpcuaLink
from mappers.opcua.pki.chains import check_period, issuers_of, names_host
from mappers.opcua.pki.files import certificates_in, load_certificate, revocations_in, split

__all__ = ["check_server"]


def check_server(link: OpcuaLink, shown: bytes) -> None:
    """Make sure that the server is one that somebody has accepted. Blocks.

    It is accepted when its certificate lies in `trusted/`, or that of one of its issuers. One
    that is not is put into `rejected/`, and moving it to `trusted/` accepts it.

    Args:
        link: The settings; they say where the folders are.
        shown: The server's certificate in DER, perhaps followed by those of its issuers.

    Raises:
        AccessDeniedError: It is not; the text says how to accept it.
        ConfigError: The certificates cannot be read or kept.
    """
    if link.trust_any_server:
        return
    try:
        server, *sent = split(shown)
    except ValueError as error:
        raise AccessDeniedError(f"the server shows a certificate that is none: {error}") from error
    if link.remote_certificate is not None:
        if load_certificate(link.remote_certificate) != server:
            raise AccessDeniedError(
                f"the server's certificate is not the one in {link.remote_certificate}"
            )
    else:
        try:
            _look_up(link, server, sent)
        except OSError as error:
            where = f"cannot keep certificates in {link.pki}: {error.strerror}"
            raise ConfigError(f"{where}; set `pkiDir`") from error
    check_period(server, "the server's certificate", datetime.now(UTC))


def _look_up(link: OpcuaLink, server: x509.Certificate, sent: list[x509.Certificate]) -> None:
    folder = link.pki / "trusted"
    folder.mkdir(parents=True, exist_ok=True)
    trusted = list(certificates_in(folder))
    if server in trusted:
        return
    known = [*trusted, *certificates_in(link.pki / "issuers"), *sent]
    revoked = list(revocations_in(link.pki / "crl"))
    for issuer in issuers_of(server, known, revoked, datetime.now(UTC)):
        if issuer in trusted:
            _check_host(link, server, issuer)
            return
    _refuse(link, server, f"nobody has accepted the server's certificate ({_name(server)}) yet")


def _check_host(link: OpcuaLink, server: x509.Certificate, issuer: x509.Certificate) -> None:
    """Any machine with a certificate of that issuer could pose as this server else."""
    host = str(urlsplit(link.address).hostname)
    if not names_host(server, host):
        text = f"the server's certificate ({_name(server)}), issued by {_name(issuer)}, "
        _refuse(link, server, f"{text}is not for the host {host} of `url`")


def _refuse(link: OpcuaLink, server: x509.Certificate, reason: str) -> None:
    trusted, rejected = link.pki / "trusted", link.pki / "rejected"
    der = server.public_bytes(Encoding.DER)
    name = f"{hashlib.sha256(der).hexdigest()[:40]}.der"
    rejected.mkdir(exist_ok=True)
    (rejected / name).write_bytes(der)
    cure = f"to accept it: mv {rejected / name} {trusted}/"
    if server.issuer != server.subject:
        issuer = server.issuer.rfc4514_string()
        cure += f" ; to accept all servers of its issuer, put the certificate of {issuer} there"
    raise AccessDeniedError(f"{reason}; {cure}")


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()

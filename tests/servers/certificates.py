"""Certificates of tests: an authority, a server of 127.0.0.1 and localhost, a client."""

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Certificates:
    """Files in PEM."""

    authority: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path


def make_certificates(
    folder: Path, name: str = "localhost", addresses: Sequence[str] = ()
) -> Certificates:
    """Make an authority, and a server and a client that it vouches for.

    Args:
        folder: Gets the files.
        name: The server's, besides 127.0.0.1.
        addresses: Further ones of the server.
    """
    root_key = ec.generate_private_key(ec.SECP256R1())
    root = _sign("authority", root_key, "authority", root_key, authority=True)
    known = (ipaddress.ip_address(address) for address in ("127.0.0.1", *addresses))
    names = x509.SubjectAlternativeName([x509.DNSName(name), *map(x509.IPAddress, known)])
    files = {"authority.pem": root.public_bytes(Encoding.PEM)}
    for who, extension in (("server", names), ("client", None)):
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _sign(who, key, "authority", root_key, names=extension)
        files[f"{who}.pem"] = certificate.public_bytes(Encoding.PEM)
        files[f"{who}.key"] = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for file, content in files.items():
        (folder / file).write_bytes(content)
    return Certificates(
        folder / "authority.pem",
        folder / "server.pem",
        folder / "server.key",
        folder / "client.pem",
        folder / "client.key",
    )


def _sign(name, key, issuer, issuer_key, *, authority=False, names=None):
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=12))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if names is not None:
        builder = builder.add_extension(names, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())

"""TLS of a REST server: its own certificate, and the authority that its clients come from."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from dmi.errors import ConfigError

__all__ = ["ServerTls", "common_name"]


@dataclass(frozen=True, slots=True)
class ServerTls:
    """Where the files are.

    Attributes:
        certificate: PEM, with the chain that leads to it.
        key: PEM, without a password.
        client_ca: PEM; when given, clients must show a certificate that it has signed.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Make the context: TLS 1.2 at least.

        Raises:
            ConfigError: A file cannot be read or is not what it should be.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.load(context)
        if self.client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            try:
                context.load_verify_locations(self.client_ca)
            except (OSError, ssl.SSLError) as error:
                raise ConfigError(f"clients' authority {self.client_ca}: {_why(error)}") from error
        return context

    def load(self, context: ssl.SSLContext) -> None:
        """Read certificate and key; new connections use them, those that are there go on.

        Raises:
            ConfigError: They cannot be read, or do not belong together.
        """
        try:
            context.load_cert_chain(self.certificate, self.key, password=_no_password)
        except (OSError, ssl.SSLError) as error:
            files = f"{self.certificate}, {self.key}"
            raise ConfigError(f"certificate and key {files}: {_why(error)}") from error

    def stamp(self) -> tuple[int, ...]:
        """Tell one content of the certificate and key files from another."""
        try:
            return (self.certificate.stat().st_mtime_ns, self.key.stat().st_mtime_ns)
        except OSError:
            return ()


def common_name(certificate: object) -> str:
    """Give the name in a client's verified certificate, as `getpeercert()` shows it.

    The common name of the subject, else its first DNS name; empty when it has neither.
    """
    if not isinstance(certificate, dict):
        return ""
    for names in certificate.get("subject", ()):
        for kind, name in names:
            if kind == "commonName":
                return str(name)
    for kind, name in certificate.get("subjectAltName", ()):
        if kind == "DNS":
            return str(name)
    return ""


def _no_password() -> str:
    # Without this the library would ask for one on the terminal.
    raise ssl.SSLError("the key wants a password: give one without")


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return getattr(error, "reason", None) or str(error)
    return (error.strerror if isinstance(error, OSError) else None) or str(error)

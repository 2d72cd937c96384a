"""TLS of the clients of sinks: whom to trust, what to show, and the context made of that."""

import socket
import ssl
from pathlib import Path

from pydantic import Field, model_validator

from dmi.errors import ConfigError, DeadlineError, DmiError, UnavailableError
from mapper_sdk.delivery.sink import Settings

__all__ = ["Tls", "dialling_error", "make_context"]


class Tls(Settings):
    """TLS of one target. Keys are files that only the mapper's user should be able to read."""

    ca: Path | None = Field(
        default=None,
        description="PEM file of the authorities to trust; the system's own without it.",
    )
    certificate: Path | None = Field(
        default=None, description="PEM file of the certificate to show to the server."
    )
    key: Path | None = Field(
        default=None, description="PEM file of its key, if it is not in `certificate`."
    )
    server_name: str = Field(
        default="",
        description="Name that the server's certificate bears, if not the host of its address.",
    )
    insecure: bool = Field(
        default=False, description="Do not check who the server is. Never leave it on."
    )

    @model_validator(mode="after")
    def _fits(self) -> "Tls":
        if self.key and not self.certificate:
            raise ValueError("a key without a certificate")
        if self.insecure and (self.ca or self.server_name):
            raise ValueError("insecure, with a ca or serverName that nothing would check")
        return self


class _NamedContext(ssl.SSLContext):
    """Checks the server's certificate for one name, whatever address a library connects to."""

    name = ""

    def wrap_socket(
        self,
        sock: socket.socket,
        server_side: bool = False,
        do_handshake_on_connect: bool = True,
        suppress_ragged_eofs: bool = True,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLSocket:
        name = self.name or server_hostname
        # With the handshake in here, ssl closes a socket whose handshake fails; a library that
        # does the handshake afterwards (paho) forgets to.
        now = do_handshake_on_connect or sock.gettimeout() != 0
        return super().wrap_socket(sock, server_side, now, suppress_ragged_eofs, name, session)

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        name = self.name or server_hostname
        return super().wrap_bio(incoming, outgoing, server_side, name, session)


def make_context(tls: Tls) -> ssl.SSLContext:
    """Make a client's context, TLS 1.2 at least. It reads files: not for the event loop.

    Raises:
        ConfigError: A file is missing or is not what it should be.
    """
    context = _NamedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.name = tls.server_name
    if tls.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        if tls.ca:
            context.load_verify_locations(tls.ca)
        elif not tls.insecure:
            context.load_default_certs()
        if tls.certificate:
            # A key with a passphrase fails; without this it would ask on the terminal.
            context.load_cert_chain(tls.certificate, tls.key, password="")
    except OSError as error:
        raise ConfigError(f"TLS: {_files(tls)}: {error}") from error
    return context


def _files(tls: Tls) -> str:
    return ", ".join(str(path) for path in (tls.ca, tls.certificate, tls.key) if path)


def dialling_error(error: OSError, whom: str) -> DmiError:
    """What it means that a connection could not be made.

    Args:
        error: From `connect` or the handshake.
        whom: It was made to, for people: `the broker`.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        # It stays like that until somebody changes something.
        return ConfigError(f"{whom} does not prove who it is: {error.verify_message}")
    if isinstance(error, TimeoutError):
        return DeadlineError(f"{whom} cannot be reached in time")
    return UnavailableError(f"{whom} cannot be reached: {error.strerror or error}")

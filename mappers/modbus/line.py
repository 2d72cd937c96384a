"""The medium below the requests: times on a serial line, and trust in a TLS peer."""

import ssl

from dmi.errors import UnavailableError
from mappers.modbus.config import ModbusLink, Parity, Transport

__all__ = ["same_line", "seconds_on_line", "silent_interval", "tls_context"]


def _character_seconds(link: ModbusLink) -> float:
    """Time that one character takes on a serial line, its start bit included."""
    bits = 1 + link.data_bits + (link.parity is not Parity.NONE) + link.stop_bits
    return bits / link.baud_rate


def silent_interval(link: ModbusLink) -> float:
    """Seconds of silence that divide two frames; 0 where frames have marks of their own.

    Source:
        MODBUS over Serial Line V1.02, section 2.5.1.1: 3.5 characters, above 19200 bit/s
        1.75 ms.
    """
    if link.carrier is not Transport.RTU:
        return 0.0
    return 0.00175 if link.baud_rate > 19200 else 3.5 * _character_seconds(link)


def seconds_on_line(payload: int, link: ModbusLink) -> float:
    """Time that the characters of a request and its answer need; 0 but on serial lines.

    Args:
        payload: Bytes of data in both together.
        link: Speed and frames.
    """
    if not link.carrier.is_serial:
        return 0.0
    framing = 16
    characters = (framing + payload) * (2 if link.carrier is Transport.ASCII else 1)
    return characters * _character_seconds(link)


def same_line(one: ModbusLink, other: ModbusLink) -> bool:
    """Whether two units of one endpoint agree on how it is used."""
    names: tuple[str, ...] = ("baud_rate", "data_bits", "parity", "stop_bits", "local_echo")
    if one.carrier is Transport.TLS:
        names = ("ca_file", "cert_file", "key_file", "server_name", "verify")
    elif not one.carrier.is_serial:
        names = ()
    agreed = all(getattr(one, name) == getattr(other, name) for name in names)
    return agreed and one.carrier is other.carrier


def tls_context(link: ModbusLink) -> ssl.SSLContext:
    """Load certificates; reads files.

    Raises:
        UnavailableError: A file is missing or is no certificate; it may yet be put there.
    """
    try:
        context = ssl.create_default_context(cafile=link.ca_file)
        if link.cert_file is not None:
            context.load_cert_chain(link.cert_file, link.key_file)
    except OSError as error:
        files = ", ".join(filter(None, (link.ca_file, link.cert_file, link.key_file)))
        raise UnavailableError(f"{link.endpoint}: {files}: {error}") from error
    if not link.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context

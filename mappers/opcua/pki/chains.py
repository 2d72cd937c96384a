"""Who issued a certificate, whether they may, and whether they have taken it back."""

import ipaddress
from collections.abc import Iterator, Sequence
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from dmi.errors import AccessDeniedError

__all__ = ["check_period", "issuers_of", "names_host"]

_LONGEST = 8


def issuers_of(
    certificate: x509.Certificate,
    known: Sequence[x509.Certificate],
    revoked: Sequence[x509.CertificateRevocationList],
    now: datetime,
) -> Iterator[x509.Certificate]:
    """Who issued a certificate, who issued the issuer's, and so on as far as that is known.

    Signatures, periods, the right to issue and, where there are lists, revocations are checked
    on the way.

    Args:
        certificate: To begin with.
        known: Among these the issuers are looked for.
        revoked: Lists of revocations; one of an issuer that has none is not missed.
        now: For periods.

    Raises:
        AccessDeniedError: Somebody on the way is over, or has been taken back.

    Source:
        RFC 5280, 6.1 (basic path validation), of which this leaves out policies and names.
    """
    for below in range(_LONGEST):
        issuer = next((one for one in known if _has_issued(one, certificate, below)), None)
        if issuer is None or issuer == certificate:
            return
        _check_revocation(certificate, issuer, revoked, now)
        check_period(issuer, f"the certificate of the issuer {_name(issuer)}", now)
        yield issuer
        certificate = issuer


def _has_issued(issuer: x509.Certificate, certificate: x509.Certificate, below: int) -> bool:
    """Whether one has issued the other, with so many issuers between it and the server."""
    try:
        certificate.verify_directly_issued_by(issuer)
        limits = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    if not limits.ca or (limits.path_length is not None and below > limits.path_length):
        return False
    try:
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return usage.key_cert_sign


def _check_revocation(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    revoked: Sequence[x509.CertificateRevocationList],
    now: datetime,
) -> None:
    key = issuer.public_key()
    of_issuer = [
        one
        for one in revoked
        if one.issuer == issuer.subject and one.is_signature_valid(key)  # type: ignore[arg-type]  # it has issued
    ]
    if not of_issuer:
        return
    newest = max(of_issuer, key=lambda one: one.last_update_utc)
    if newest.next_update_utc is not None and newest.next_update_utc < now:
        raise AccessDeniedError(
            f"the list of what {_name(issuer)} has revoked ended at "
            f"{newest.next_update_utc:%Y-%m-%d}: put a newer one into crl/ of `pkiDir`"
        )
    entry = newest.get_revoked_certificate_by_serial_number(certificate.serial_number)
    if entry is not None:
        raise AccessDeniedError(
            f"the certificate {_name(certificate)} was revoked by {_name(issuer)} at "
            f"{entry.revocation_date_utc:%Y-%m-%d}: the server needs a new one"
        )


def check_period(certificate: x509.Certificate, what: str, now: datetime) -> None:
    """Make sure that a certificate holds now.

    Raises:
        AccessDeniedError: It does not hold yet, or no more.
    """
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > end:
        raise AccessDeniedError(f"{what} ended at {end:%Y-%m-%d}: it needs a new one")
    if now < begin:
        raise AccessDeniedError(
            f"{what} begins at {begin:%Y-%m-%d %H:%M} UTC and here it is {now:%Y-%m-%d %H:%M}: "
            "is one of the two clocks wrong?"
        )


def names_host(certificate: x509.Certificate, host: str) -> bool:
    """Whether a certificate is for a host, by name or by address."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return False
    names = extension.value
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        given = (name.casefold() for name in names.get_values_for_type(x509.DNSName))
        return host.casefold() in given
    return address in names.get_values_for_type(x509.IPAddress)


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()

"""What an OPC UA status code means for us."""

from asyncua import ua
from asyncua.ua.uaerrors import UaError, UaStatusCodeError

from dmi.errors import (
    AccessDeniedError,
    ConversionError,
    DeadlineError,
    DmiError,
    NotFoundError,
    OutOfRangeError,
    OverloadedError,
    RefusedError,
    UnavailableError,
    UnsupportedError,
)

__all__ = ["cannot_subscribe", "error_of", "is_gone", "status_error", "status_name"]

_KINDS: dict[type[DmiError], tuple[str, ...]] = {
    NotFoundError: (
        *("BadNodeIdUnknown", "BadNodeIdInvalid", "BadNoMatch", "BadBrowseNameInvalid"),
        *("BadMethodInvalid", "BadAttributeIdInvalid", "BadParentNodeIdInvalid"),
        *("BadEventIdUnknown", "BadEventNotAcknowledgeable"),
    ),
    AccessDeniedError: (
        *("BadUserAccessDenied", "BadIdentityTokenInvalid", "BadIdentityTokenRejected"),
        *("BadNotReadable", "BadNotWritable", "BadSecurityChecksFailed"),
        *("BadCertificateUntrusted", "BadCertificateInvalid", "BadCertificateUriInvalid"),
        *("BadCertificateTimeInvalid", "BadCertificateHostNameInvalid", "BadCertificateRevoked"),
        *("BadCertificateUseNotAllowed", "BadSecurityPolicyRejected", "BadSecurityModeRejected"),
        *("BadSecurityModeInsufficient", "BadApplicationSignatureInvalid"),
        *("BadUserSignatureInvalid", "BadCertificateChainIncomplete"),
    ),
    ConversionError: ("BadTypeMismatch", "BadDataEncodingInvalid"),
    OutOfRangeError: ("BadOutOfRange", "BadIndexRangeInvalid"),
    UnsupportedError: (
        *("BadServiceUnsupported", "BadNotSupported", "BadNotImplemented"),
        *("BadHistoryOperationUnsupported", "BadWriteNotSupported"),
    ),
    OverloadedError: ("BadTooManyOperations", "BadTooManySessions", "BadTcpServerTooBusy"),
    DeadlineError: ("BadTimeout", "BadRequestTimeout"),
    UnavailableError: (
        *("BadSessionClosed", "BadSessionIdInvalid", "BadSessionNotActivated"),
        *("BadSecureChannelClosed", "BadSecureChannelIdInvalid", "BadConnectionClosed"),
        *("BadConnectionRejected", "BadShutdown", "BadServerHalted", "BadServerNotConnected"),
        *("BadCommunicationError", "BadNoCommunication", "BadDisconnect", "BadNotConnected"),
        *("BadTcpInternalError", "BadResourceUnavailable", "BadOutOfMemory"),
        *("BadTcpEndpointUrlInvalid", "BadTcpSecureChannelUnknown", "BadInvalidState"),
    ),
}
_BY_CODE = {getattr(ua.StatusCodes, name): kind for kind, names in _KINDS.items() for name in names}
_POLLED = frozenset(
    getattr(ua.StatusCodes, name)
    for name in (
        *("BadTooManyMonitoredItems", "BadMonitoredItemFilterUnsupported"),
        *("BadFilterNotAllowed", "BadMonitoredItemFilterInvalid", "BadDeadbandFilterInvalid"),
        *("BadMonitoringModeInvalid", "BadServiceUnsupported", "BadNotSupported"),
        *("BadNotImplemented", "BadTooManySubscriptions", "BadOutOfMemory"),
        *("BadResourceUnavailable", "BadTooManyOperations"),
    )
)


def status_name(code: int) -> str:
    """The standard's name of a status code, flags aside; its number when it has none."""
    known = ua.status_codes.code_to_name_doc
    name, _ = known.get(code) or known.get(code & 0xFFFF0000) or (f"0x{code:08X}", "")
    return str(name)


def status_error(code: int, what: str) -> DmiError:
    """The error that a bad status code stands for."""
    kind = _BY_CODE.get(code & 0xFFFF0000, RefusedError)
    return kind(f"{what}: {status_name(code)}")


def cannot_subscribe(code: int) -> bool:
    """Whether an item was refused although it could be read."""
    return code & 0xFFFF0000 in _POLLED


def is_gone(error: DmiError) -> bool:
    """Whether the session or the connection is lost, not only this request."""
    return isinstance(error, UnavailableError) and not isinstance(error, OverloadedError)


def error_of(error: Exception, what: str) -> DmiError:
    """The error that an exception of asyncua or of the transport stands for."""
    if isinstance(error, DmiError):
        return error
    if isinstance(error, UaStatusCodeError):
        return status_error(error.code, what)
    if isinstance(error, TimeoutError):
        return DeadlineError(f"{what}: no answer in time")
    if isinstance(error, UaError):
        return RefusedError(f"{what}: {error}")
    return UnavailableError(f"{what}: {error or type(error).__name__}")

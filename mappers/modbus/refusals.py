"""What a device means by an exception response, as this project's errors."""

from dmi.errors import DmiError, OverloadedError, RefusedError, UnavailableError

__all__ = ["ILLEGAL_FUNCTION", "Refusal", "error_of"]

ILLEGAL_FUNCTION = 1
_ILLEGAL_ADDRESS = 2
_ILLEGAL_VALUE = 3
_WORDS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "server device failure",
    5: "acknowledge: it needs more time",
    6: "server device busy",
    7: "negative acknowledge",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target device failed to respond",
}
"""Source: MODBUS Application Protocol V1.1b3, section 7; 7 is from its predecessors."""

_BUSY = {5, 6}
_UNREACHED = {10, 11}


class Refusal(RefusedError):
    """The device answered a request with an exception.

    Attributes:
        code: The exception code, 1 to 255.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code

    @property
    def may_spare_parts(self) -> bool:
        """Whether a part of what was asked for may be granted."""
        return self.code in {_ILLEGAL_ADDRESS, _ILLEGAL_VALUE}

    @property
    def is_lasting(self) -> bool:
        """Whether asking the same again soon is pointless."""
        return self.code in {ILLEGAL_FUNCTION, _ILLEGAL_ADDRESS, _ILLEGAL_VALUE}


def error_of(code: int, what: str) -> DmiError:
    """Make the error for an exception response.

    Args:
        code: The exception code.
        what: What was asked of whom, for the message.
    """
    message = f"{what}: the device says {_WORDS.get(code, 'an unknown word')} (0x{code:02X})"
    if code in _BUSY:
        return OverloadedError(message)
    if code in _UNREACHED:
        return UnavailableError(message)
    return Refusal(message, code)

"""What a device refuses: its exception responses as errors, and the memory of them."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from dmi.errors import DeadlineError, DmiError, OverloadedError, RefusedError, UnavailableError
from mappers.modbus.planner import Span, split_spans
from mappers.modbus.visit import Register

__all__ = ["ILLEGAL_FUNCTION", "Memory", "Refusal", "error_of"]

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


# ------------------------------------------------------------------ memory ----

_PATIENCE = 3
"""Silences in a row, from a unit that answers otherwise, before a block counts as refused."""


class _Request(Protocol):
    """What is asked for at once."""

    @property
    def register(self) -> Register:
        """The table."""

    @property
    def span(self) -> Span:
        """The range."""

    @property
    def parts(self) -> Iterable[Span]:
        """What is wanted of it."""


Request = TypeVar("Request", bound=_Request)


class Memory:
    """Knowledge about one unit; `version` grows when plans made with it are out of date."""

    def __init__(self, lasting: float, now: Callable[[], float]) -> None:
        self._lasting = lasting
        self._now = now
        self._forbidden: dict[Register, list[Span]] = {}
        self._refused: dict[tuple[Register, Span], DmiError] = {}
        self._silent: dict[tuple[Register, Span], int] = {}
        self._forget_at = float("inf")
        self.version = 0

    def refresh(self) -> int:
        """Forget the refusals that are too old. Gives the version."""
        if self._now() >= self._forget_at:
            self.forget_refusals()
        return self.version

    def forget_refusals(self) -> None:
        """Try again whatever was refused: time has passed, or the device was replaced."""
        if self._forbidden or self._refused:
            self._forbidden.clear()
            self._refused.clear()
            self.version += 1
        self._forget_at = float("inf")

    def refused(self, register: Register, span: Span) -> DmiError | None:
        """The error with which exactly this was refused."""
        return self._refused.get((register, span))

    def forbidden(self, register: Register) -> Sequence[Span]:
        """Ranges that no request should hold."""
        return self._forbidden.get(register, ())

    def remember(self, register: Register, spans: Iterable[Span], refusal: Refusal) -> None:
        """These were refused, each by itself or all for one reason that lasts."""
        if not refusal.is_lasting:
            return
        for span in spans:
            self._forbid(register, span)
            self._refused[register, span] = refusal

    def forbid_joining(
        self, register: Register, left: Sequence[Span], right: Sequence[Span]
    ) -> None:
        """Each was granted, but not both at once: the cause lies where they meet."""
        end = max(span.end for span in left)
        start = min(span.start for span in right)
        if start < end:  # They overlap: only the length can be the cause.
            self._forbid(register, Span(left[0].start, max(end, *(s.end for s in right))))
        else:
            self._forbid(register, Span(end - 1, start + 1))

    # ------------------------------------------------------------- silence ----

    def silent_last(self, requests: list[Request]) -> list[Request]:
        """The order in which to ask, so that a silent block does not hide a living unit."""
        if not self._silent:
            return requests
        return sorted(requests, key=lambda r: (r.register, r.span) in self._silent)

    def note_answer(self, request: _Request) -> None:
        """It was answered."""
        if self._silent:
            self._silent.pop((request.register, request.span), None)

    def note_silence(self, request: _Request, *, counts: bool) -> None:
        """It was not answered; `counts` says that the unit is known to be alive."""
        key = (request.register, request.span)
        silences = self._silent[key] = self._silent.get(key, 0) + counts
        if silences < _PATIENCE:
            return
        del self._silent[key]
        parts = tuple(request.parts)
        if len(parts) > 1:
            self.forbid_joining(request.register, *split_spans(parts))
            return
        self._refused[key] = DeadlineError(
            f"no answer to {request.register} {request.span.start}, while others are answered"
        )
        self._learnt()

    # ------------------------------------------------------------ learning ----

    def _forbid(self, register: Register, span: Span) -> None:
        known = self._forbidden.setdefault(register, [])
        if span not in known:
            known.append(span)
            self._learnt()

    def _learnt(self) -> None:
        self.version += 1
        self._forget_at = min(self._forget_at, self._now() + self._lasting)

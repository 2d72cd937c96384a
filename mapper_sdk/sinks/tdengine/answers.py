"""What a taosAdapter answers: rows, or a code."""

import json
from typing import Any, Final

from dmi.errors import ConfigError, DmiError, RefusedError, TooLargeError, UnavailableError
from mapper_sdk.sinks.http_answers import status_error

__all__ = ["TDengineError", "rows_of", "translated"]


class TDengineError(Exception):
    """What the server answered instead of doing it.

    Attributes:
        code: Its error code, without the highest bit.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"TDengine error {code:#06x}: {text[:300]}")
        self.code = code


def rows_of(status: int, said: bytes) -> list[list[Any]]:
    """Read an answer; which status goes with an error is a setting of the adapter.

    Raises:
        TDengineError: The server says that it could not.
        DmiError: It is no answer of an adapter.
    """
    try:
        answer = json.loads(said)
        code = answer["code"] & 0xFFFF
    except (ValueError, KeyError, TypeError) as error:
        if status != 200:
            raise status_error(status, said.decode("utf-8", "replace")) from error
        raise UnavailableError("what answers is no taosAdapter") from error
    if code:
        raise TDengineError(code, str(answer.get("desc", "")))
    if status != 200:
        raise status_error(status, "")
    rows: list[list[Any]] = answer.get("data") or []
    return rows


_A_HUMAN: Final = frozenset(
    {0x0207, 0x0208, 0x0303, 0x0315, 0x0380, 0x0383, 0x0388, 0x2616, 0x2644}
)
_AUTHENTICATION: Final = range(0x0350, 0x0359)
_STATEMENT_TOO_LONG: Final = 0x0219
_THE_READINGS: Final = frozenset({0x0216, 0x021B, 0x0224, 0x060B})
_STATEMENT: Final = range(0x2600, 0x26FF)
_TABLES_ARE_GONE: Final = frozenset({0x2603, 0x2618, 0x2662})


def translated(error: TDengineError) -> DmiError:
    """Say whose fault it is.

    Source:
        TDengine reference, "Error Codes"; "REST API", which groups some of them.
    """
    code, text = error.code, str(error)
    if code in _A_HUMAN or code in _AUTHENTICATION:
        return ConfigError(text)
    if code == _STATEMENT_TOO_LONG:
        return TooLargeError(text)
    if code in _TABLES_ARE_GONE:
        return UnavailableError(text)  # opening makes them again
    if code in _THE_READINGS or code in _STATEMENT:
        return RefusedError(text)
    return UnavailableError(text)

"""What InfluxDB says of lines that it did not take."""

import json
from collections.abc import Sequence
from typing import Any, Final

from influxdb_client.rest import ApiException

from dmi.errors import DmiError
from mapper_sdk.sinks.http_answers import status_error

__all__ = ["bad_lines", "refusal"]

_SHOWN: Final = 300


def refusal(error: ApiException) -> DmiError:
    """Give the error for an answer that is about the whole request."""
    return status_error(error.status or 0, _message(error) or str(error.reason or ""))


def _message(error: ApiException) -> str:
    answer = _answer(error)
    if said := answer.get("message") or answer.get("error"):
        return str(said)
    body = error.body or ""
    return body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body)


def _answer(error: ApiException) -> dict[str, Any]:
    try:
        answer = json.loads(error.body or "")
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def bad_lines(error: ApiException, lines: Sequence[str]) -> dict[int, str]:
    """Which lines the server named, and what it said of each.

    Source:
        InfluxDB OSS v2 writes `unable to parse 'LINE': WHY` into `message`; v3 answers a list
        `data` of `line_number` (from 1), `original_line` (shortened) and `error_message`.
    """
    if error.status not in (400, 422):
        return {}
    bad: dict[int, str] = {}
    listed = _answer(error).get("data")
    for entry in listed if isinstance(listed, list) else ():
        if not isinstance(entry, dict) or not isinstance(entry.get("line_number"), int):
            continue
        number, original = entry["line_number"] - 1, str(entry.get("original_line", ""))
        if 0 <= number < len(lines) and original and lines[number].startswith(original[:20]):
            bad[number] = str(entry.get("error_message", ""))[:_SHOWN]
    message = _message(error)
    if "unable to parse '" in message:
        for number, line in enumerate(lines):
            _, found, why = message.partition(f"unable to parse '{line}': ")
            if found:
                bad[number] = why.partition("\n")[0][:_SHOWN]
    return bad

"""How commands look as rows of the manager's database."""

import base64
import math
import sqlite3
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import orjson

from device_manager.commands.records import CommandRecord
from dmi.readings import Value
from dmi.reports import Phase
from dmi.resources import Key

if TYPE_CHECKING:
    from device_manager.storage.rows import Statement

__all__ = ["command_put", "command_remove", "load_commands", "packed"]

_INTEGER, _NUMBER, _TRUTH, _TEXT, _BYTES = range(1, 6)
_COLUMNS: Final = 19


def command_put(record: CommandRecord) -> "Statement":
    """Keep a command and how far it has come."""
    sql = f"INSERT OR REPLACE INTO command VALUES ({', '.join('?' * _COLUMNS)})"  # noqa: S608 - only placeholders
    return sql, (
        record.id,
        *record.device,
        record.method,
        packed(record.arguments),
        record.deadline,
        record.created,
        record.caller,
        record.key,
        record.mapper,
        record.process,
        int(record.cancelling),
        int(record.phase),
        record.percent,
        record.reason,
        record.message,
        packed(record.results),
        record.started,
        record.updated,
    )


def command_remove(command_id: str) -> "Statement":
    """Forget a command."""
    return "DELETE FROM command WHERE id = ?", (command_id,)


def load_commands(connection: sqlite3.Connection) -> list[CommandRecord]:
    """Every command, oldest first.

    Raises:
        sqlite3.Error: The file is damaged.
        ValueError: A row holds what this program never writes.
    """
    found = []
    for row in connection.execute("SELECT * FROM command ORDER BY id"):
        command_id, namespace, device, method, arguments, *rest = row
        deadline, created, caller, key, mapper, process, cancelling, phase, *rest = rest
        percent, reason, message, results, started, updated = rest
        found.append(
            CommandRecord(
                command_id,
                Key(namespace, device),
                method,
                _unpacked(arguments),
                deadline,
                created,
                caller,
                key,
                mapper,
                process,
                bool(cancelling),
                Phase(phase),
                percent,
                reason,
                message,
                _unpacked(results),
                started,
                updated,
            )
        )
    return found


def packed(values: Mapping[str, Value]) -> bytes:
    """Typed values as JSON that keeps their types."""
    return orjson.dumps({name: _pair(value) for name, value in values.items()})


def _pair(value: Value) -> tuple[int, int | float | bool | str]:
    match value:
        case bool():
            return _TRUTH, value
        case int():
            return _INTEGER, value
        case float():
            # JSON has neither NaN nor the infinities.
            return _NUMBER, value if math.isfinite(value) else str(value)
        case str():
            return _TEXT, value
    return _BYTES, base64.b64encode(value).decode("ascii")


def _unpacked(blob: bytes) -> dict[str, Value]:
    return {name: _value(kind, value) for name, (kind, value) in orjson.loads(blob).items()}


def _value(kind: int, value: int | float | bool | str) -> Value:
    if kind == _NUMBER:
        return float(value)
    return base64.b64decode(str(value)) if kind == _BYTES else value

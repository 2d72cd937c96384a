"""How records look as rows of the manager's database, and all of them read back at once."""

import math
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

import orjson
from pydantic import ValidationError

from device_manager.commands.records import CommandRecord
from device_manager.records import MapperRecord, StateRecord, TwinRecord, Wish
from device_manager.storage.command_rows import load_commands
from dmi.readings import Quality, Reading, Value
from dmi.reports import Outcome, OutcomeStatus
from dmi.resources import Device, DeviceModel, Key

__all__ = [
    "Contents",
    "Sql",
    "Statement",
    "Twin",
    "accepted_clear",
    "accepted_put",
    "accepted_remove",
    "load",
    "mapper_put",
    "mapper_remove",
    "object_put",
    "object_remove",
    "reading_params",
    "readings_sql",
    "setting_put",
    "state_put",
    "state_remove",
    "stream_put",
    "stream_remove",
    "twin_put",
    "twin_remove",
    "wish_put",
    "wish_remove",
    "wish_settle",
]

Sql = int | float | str | bytes | None
Statement = tuple[str, tuple[Sql, ...]]
"""One SQL statement and its parameters."""

_BOOL: Final = 3
_KINDS: Final[dict[type, int]] = {type(None): 0, int: 1, float: 2, bool: _BOOL, str: 4, bytes: 5}
_READING_COLUMNS: Final = 6


@dataclass(slots=True, eq=False)
class Twin(TwinRecord):
    """A twin with what only the store and the wishes of specs need.

    Attributes:
        row: Its number in the database, never used again.
        spec_text: Desired value of the Device that was last turned into a wish.
        spec_version: Version of that wish.
    """

    row: int = 0
    spec_text: str | None = None
    spec_version: int = 0


@dataclass(slots=True)
class Contents:
    """Everything that a database holds."""

    epoch: str
    version: int
    objects: list[tuple[Device | DeviceModel, str]] = field(default_factory=list)
    twins: list[Twin] = field(default_factory=list)
    states: dict[Key, StateRecord] = field(default_factory=dict)
    streams: dict[str, int] = field(default_factory=dict)
    mappers: list[MapperRecord] = field(default_factory=list)
    accepted: list[tuple[str, str, Key, bytes]] = field(default_factory=list)
    commands: list[CommandRecord] = field(default_factory=list)


# ------------------------------------------------------------------ writing ----


def setting_put(name: str, value: Sql) -> Statement:
    """Remember one fact about the database itself."""
    return "INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, value)


def object_put(item: Device | DeviceModel, origin: str) -> Statement:
    """Keep a Device or DeviceModel, as its JSON, with whoever wants it."""
    key, json = item.key, orjson.dumps(item.to_json())
    return (
        "INSERT OR REPLACE INTO object VALUES (?, ?, ?, ?, ?)",
        (item.kind, key.namespace, key.name, origin, json),
    )


def object_remove(kind: str, key: Key) -> Statement:
    """Forget a Device or DeviceModel."""
    return "DELETE FROM object WHERE kind = ? AND namespace = ? AND name = ?", (kind, *key)


def twin_put(twin: Twin, spec_text: str | None, spec_version: int) -> Statement:
    """Keep that a property exists, and which desired text of its Device was honoured."""
    return (
        "INSERT INTO twin VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE"
        " SET spec_text = excluded.spec_text, spec_version = excluded.spec_version",
        (twin.row, *twin.device, twin.property, spec_text, spec_version),
    )


def twin_remove(twin: Twin) -> list[Statement]:
    """Forget a property with both of its sides."""
    return [
        ("DELETE FROM twin WHERE id = ?", (twin.row,)),
        ("DELETE FROM reading WHERE twin = ?", (twin.row,)),
        ("DELETE FROM wish WHERE twin = ?", (twin.row,)),
    ]


def readings_sql(count: int) -> str:
    """The statement that keeps `count` readings at once.

    One statement for many rows, because the sqlite3 module gives up the interpreter lock
    at each statement and may wait 5 ms to get it back from a busy event loop.
    """
    row = f"({', '.join('?' * _READING_COLUMNS)})"
    return f"INSERT OR REPLACE INTO reading VALUES {', '.join([row] * count)}"  # noqa: S608 - only placeholders


def reading_params(readings: Iterable[tuple[int, Reading]]) -> list[Sql]:
    """Parameters of `readings_sql`, one row after the other."""
    flat: list[Sql] = []
    kinds = _KINDS
    for row, reading in readings:
        value = reading.value
        kind = kinds.get(type(value))
        if kind is None:
            value, kind = _plain(value)
        flat += (row, value, kind, reading.time, int(reading.quality), reading.reason)
    return flat


def wish_put(row: int, wish: Wish) -> Statement:
    """Keep what a property is wished to be and what became of it."""
    value, kind = _plain(wish.value)
    return (
        "INSERT OR REPLACE INTO wish VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            row,
            value,
            kind,
            wish.version,
            wish.time,
            int(wish.status),
            wish.settled_at,
            wish.reason,
            wish.message,
        ),
    )


def wish_settle(row: int, outcome: Outcome) -> Statement:
    """Keep what became of a wish, if it is still that one."""
    return (
        "UPDATE wish SET status = ?, settled_at = ?, reason = ?, message = ?"
        " WHERE twin = ? AND version = ?",
        (
            int(outcome.status),
            outcome.time,
            outcome.reason,
            outcome.message,
            row,
            outcome.version,
        ),
    )


def wish_remove(row: int, version: int | None = None) -> Statement:
    """Forget a wish; with `version` only if it is still that one."""
    if version is None:
        return "DELETE FROM wish WHERE twin = ?", (row,)
    return "DELETE FROM wish WHERE twin = ? AND version = ?", (row, version)


def state_put(device: Key, state: StateRecord) -> Statement:
    """Keep whether a device answers."""
    return (
        "INSERT OR REPLACE INTO state VALUES (?, ?, ?, ?, ?, ?, ?)",
        (*device, state.state, state.since, state.reason, state.message, state.last_online),
    )


def state_remove(device: Key) -> Statement:
    """Forget whether a device answers."""
    return "DELETE FROM state WHERE namespace = ? AND device = ?", (*device,)


def stream_put(stream_id: str, sequence: int, time: float) -> Statement:
    """Keep the last batch that was applied of a stream."""
    return "INSERT OR REPLACE INTO stream VALUES (?, ?, ?)", (stream_id, sequence, time)


def stream_remove(stream_id: str) -> Statement:
    """Forget a stream."""
    return "DELETE FROM stream WHERE id = ?", (stream_id,)


def mapper_put(mapper_id: str, record: MapperRecord) -> Statement:
    """Keep who a mapper is."""
    return (
        "INSERT OR REPLACE INTO mapper VALUES (?, ?)",
        (mapper_id, orjson.dumps(asdict(record))),
    )


def mapper_remove(mapper_id: str) -> Statement:
    """Forget a mapper."""
    return "DELETE FROM mapper WHERE id = ?", (mapper_id,)


def accepted_put(protocol: str, kind: str, key: Key, digest: bytes) -> Statement:
    """Keep that the mapper of a protocol has accepted an object in this form."""
    return (
        "INSERT OR REPLACE INTO accepted VALUES (?, ?, ?, ?, ?)",
        (protocol, kind, *key, digest),
    )


def accepted_remove(protocol: str, kind: str, key: Key) -> Statement:
    """Keep that the mapper of a protocol does not have an object any more."""
    return (
        "DELETE FROM accepted WHERE protocol = ? AND kind = ? AND namespace = ? AND name = ?",
        (protocol, kind, *key),
    )


def accepted_clear(protocol: str) -> Statement:
    """Forget what the mapper of a protocol had accepted."""
    return "DELETE FROM accepted WHERE protocol = ?", (protocol,)


def _plain(value: Value | None) -> tuple[Sql, int]:
    """A value as SQLite takes it, with its kind, subclasses of the plain types included."""
    if isinstance(value, bool):
        return value, _BOOL
    for plain in (int, float, str, bytes):
        if isinstance(value, plain):
            return plain(value), _KINDS[plain]  # type: ignore[arg-type]  # the loop pairs them
    return None, 0


# ------------------------------------------------------------------ reading ----


def load(connection: sqlite3.Connection) -> Contents:
    """Read everything.

    Raises:
        sqlite3.Error: The file is damaged.
        ValueError: A row holds what this program never writes.
    """
    settings = dict(connection.execute("SELECT name, value FROM setting"))
    contents = Contents(settings.get("epoch", ""), settings.get("version", 0))
    contents.objects = _objects(connection)
    contents.twins = _twins(connection)
    for namespace, device, *rest in connection.execute("SELECT * FROM state"):
        contents.states[Key(namespace, device)] = StateRecord(*rest)
    contents.streams = dict(connection.execute("SELECT id, sequence FROM stream ORDER BY time"))
    contents.mappers = [
        MapperRecord(**orjson.loads(json))
        for (json,) in connection.execute("SELECT json FROM mapper")
    ]
    contents.accepted = [
        (protocol, kind, Key(namespace, name), digest)
        for protocol, kind, namespace, name, digest in connection.execute("SELECT * FROM accepted")
    ]
    contents.commands = load_commands(connection)
    return contents


def _objects(connection: sqlite3.Connection) -> list[tuple[Device | DeviceModel, str]]:
    kinds: Mapping[str, type[Device] | type[DeviceModel]] = {
        "Device": Device,
        "DeviceModel": DeviceModel,
    }
    rows: Sequence[tuple[str, str, bytes]] = connection.execute(
        "SELECT kind, origin, json FROM object"
    ).fetchall()
    try:
        return [
            (kinds[kind].model_validate(orjson.loads(json)), origin) for kind, origin, json in rows
        ]
    except (KeyError, ValidationError) as error:
        raise ValueError(f"an object in it cannot be understood: {error}") from error


def _twins(connection: sqlite3.Connection) -> list[Twin]:
    keys: dict[tuple[str, str], Key] = {}
    twins: dict[int, Twin] = {}
    for row, namespace, device, name, text, version in connection.execute("SELECT * FROM twin"):
        key = keys.setdefault((namespace, device), Key(namespace, device))
        twins[row] = Twin(key, name, None, None, row, text, version)
    qualities = {int(quality): quality for quality in Quality}
    for row, value, kind, time, quality, reason in connection.execute("SELECT * FROM reading"):
        if (twin := twins.get(row)) is not None:
            twin.reported = Reading(_value(value, kind), time, qualities[quality], reason)
    for row, value, kind, version, time, status, *rest in connection.execute("SELECT * FROM wish"):
        known = _value(value, kind)
        if (twin := twins.get(row)) is not None and known is not None:
            twin.desired = Wish(known, version, time, OutcomeStatus(status), *rest)
    return list(twins.values())


def _value(value: Sql, kind: int) -> Value | None:
    if kind == _BOOL:
        return bool(value)
    if value is None and kind == _KINDS[float]:
        # SQLite has no NaN: it keeps NULL instead.
        return math.nan
    return value

r"""TDengine's SQL, written: its REST interface has no parameters, so each literal is made here.

One supertable for each type of value, one table for each source: what a source is stands in
the tags, and the table's own name is a digest of them, so that no name of a device is ever
part of an identifier.

Source:
    TDengine reference, "Data Types", "Escape Characters", "Insert Data", "Names & Limits".
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import orjson

from dmi.errors import ConversionError
from dmi.readings import Reading, Value
from dmi.resources import DataType
from mapper_sdk.delivery.sink import Source

__all__ = [
    "LONGEST_BYTES",
    "LONGEST_TEXT",
    "Row",
    "Table",
    "inserts",
    "literal",
    "precision_of",
    "schema",
]

LONGEST_TEXT: Final = 4000
"""Characters; each takes four bytes of the 16 KiB that a column had before version 3.0.5."""

LONGEST_BYTES: Final = 16_000

_LONGEST_REASON: Final = 64
_LONGEST_UNIT: Final = 64
_ESCAPED: Final = str.maketrans(
    {"\\": "\\\\", "'": "\\'", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
)
_NUMBERS: Final = "readings_double"
_TEXTS: Final = "readings_text"
_SUPERTABLES: Final[Mapping[DataType, str]] = {
    DataType.INT: "readings_int",
    DataType.FLOAT: _NUMBERS,
    DataType.DOUBLE: _NUMBERS,
    DataType.BOOLEAN: "readings_bool",
    DataType.STRING: _TEXTS,
    DataType.STREAM: _TEXTS,
    DataType.BYTES: "readings_bytes",
}
_COLUMNS: Final[Mapping[str, str]] = {
    "readings_int": "BIGINT",
    _NUMBERS: "DOUBLE",  # a FLOAT too: 0.1 stays 0.1
    "readings_bool": "BOOL",
    _TEXTS: f"NCHAR({LONGEST_TEXT})",
    "readings_bytes": f"VARBINARY({LONGEST_BYTES})",
}
_TAGS: Final = (
    "`namespace` VARCHAR(63), `device` VARCHAR(253), `property` NCHAR(128),"
    " `model` VARCHAR(253), `type` VARCHAR(8), `unit` NCHAR(64)"
)


def schema() -> Iterator[str]:
    """Statements that make the supertables, where they are not there."""
    for name, column in _COLUMNS.items():
        yield (
            f"CREATE STABLE IF NOT EXISTS `{name}` (`ts` TIMESTAMP, `value` {column},"
            f" `quality` TINYINT, `reason` NCHAR({_LONGEST_REASON})) TAGS ({_TAGS})"
        )


def precision_of(database: str) -> str:
    """A query for the unit of a database's times: `ms`, `us` or `ns`."""
    named = literal(database)
    return f"SELECT `precision` FROM information_schema.ins_databases WHERE `name` = {named}"  # noqa: S608 - a literal


def literal(value: Value | None) -> str:
    r"""Write a value: `NULL`, `1`, `1.5`, `TRUE`, `'it\'s'`, `'\x00ff'`.

    Raises:
        ConversionError: NaN and infinities do not exist; text is too long or has a NUL, where
            the statement would end; bytes are too long.
    """
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ConversionError(f"{value}: TDengine holds no such number")
        return repr(value)
    if isinstance(value, bytes):
        if len(value) > LONGEST_BYTES:
            raise ConversionError(f"{len(value)} bytes: TDengine's column holds {LONGEST_BYTES}")
        return f"'\\x{value.hex()}'"
    if len(value) > LONGEST_TEXT:
        raise ConversionError(f"{len(value)} characters: TDengine's column holds {LONGEST_TEXT}")
    if "\0" in value:
        raise ConversionError("text with a NUL character cannot be sent to TDengine")
    return f"'{value.translate(_ESCAPED)}'"


class Table:
    """The table of one source, and what its statements have in common.

    Attributes:
        head: Its name, its supertable and its tags, as an INSERT needs them.
    """

    __slots__ = ("head",)

    def __init__(self, source: Source) -> None:
        """Name it.

        Raises:
            ConversionError: A name has a NUL character.
        """
        namespace, device = source.device
        unit = source.unit[:_LONGEST_UNIT]
        tags = (namespace, device, source.property, source.model, source.type.value, unit)
        digest = hashlib.blake2b(orjson.dumps(tags), digest_size=16).hexdigest()
        values = ", ".join(literal(tag) for tag in tags)
        self.head = f"`r_{digest}` USING `{_SUPERTABLES[source.type]}` TAGS ({values}) VALUES "


class Row(NamedTuple):
    """One reading on its way: the table it goes to and its literals."""

    number: int
    table: Table
    values: str

    @classmethod
    def make(cls, number: int, table: Table, reading: Reading, moment: int) -> "Row":
        """Write the literals.

        Args:
            number: Index of the reading in its batch.
            table: Where it goes.
            reading: What is written.
            moment: Its time in the unit of the database.

        Raises:
            ConversionError: See `literal`.
        """
        reason = literal(reading.reason[:_LONGEST_REASON] or None)
        value = literal(reading.value)
        return cls(number, table, f"({moment}, {value}, {reading.quality.value}, {reason})")


def inserts(rows: Sequence[Row], longest: int) -> Iterator[tuple[str, Sequence[int]]]:
    """Give statements that insert all rows, and the indexes of the readings in each.

    Args:
        rows: Those of one table become one part of a statement.
        longest: Bytes of a statement, unless a single row is longer.
    """
    by_table: dict[Table, list[Row]] = {}
    for row in rows:
        by_table.setdefault(row.table, []).append(row)
    parts: list[str] = []
    indexes: list[int] = []
    size = 0
    for table, its_rows in by_table.items():
        fresh = True
        for row in its_rows:
            needed = len(row.values.encode()) + len(table.head.encode())
            if parts and size + needed > longest:
                yield "INSERT INTO " + " ".join(parts), indexes
                parts, indexes, size, fresh = [], [], 0, True
            parts.append(table.head + row.values if fresh else row.values)
            indexes.append(row.number)
            size += needed
            fresh = False
    if parts:
        yield "INSERT INTO " + " ".join(parts), indexes

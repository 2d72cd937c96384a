"""Batches of readings to and from the columns of `dmi.v1.ReportBatch`.

This is the hot path: some fifty thousand readings a second pass here. Readings are sorted
by kind of value first, then each list of a column is filled at once; a reading that does
not fit is looked for only when the library has refused a whole column.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from math import isfinite
from types import NoneType
from typing import Final, Protocol, TypeAlias, TypeVar, cast

from dmi.convert.v1 import key_from_v1, key_to_v1, outcome_to_v1, state_to_v1
from dmi.errors import ConfigError, ConversionError
from dmi.proto.v1 import api_pb2 as pb
from dmi.readings import Quality, Reading, Value
from dmi.reports import DeviceState, Outcome
from dmi.resources import Key

__all__ = ["Binding", "Row", "binding_from_v1", "decode_batch", "encode_batch"]

Row: TypeAlias = tuple[int, Reading]
"""A handle, and a reading of the property that it stands for."""

Binding: TypeAlias = tuple[int, Key, str]
"""A handle, and the device and property that it stands for from now on."""

Item = TypeVar("Item")
Fault: TypeAlias = tuple[int, float, str]

_MICRO: Final = 1_000_000
_GOOD: Final = Quality.GOOD
_BAD: Final = Quality.BAD
_UNFIT: Final = ConversionError.reason
# An open enum: a newer peer may send numbers that are not known here.
_QUALITIES: Final[Mapping[int, Quality]] = {int(quality): quality for quality in Quality}
_COLUMNS: Final[tuple[tuple[str, type], ...]] = (
    ("ints", int),
    ("doubles", float),
    ("bools", bool),
    ("texts", str),
    ("blobs", bytes),
)


class _Repeated(Protocol[Item]):
    """What is used of a repeated field here."""

    def extend(self, items: Iterable[Item], /) -> None: ...
    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> list[Item]: ...


class _Column(Protocol):
    """What the five columns with values have in common; protobuf knows no base classes."""

    handle: _Repeated[int]
    time_us: _Repeated[int]
    value: _Repeated[Value | None]
    quality: _Repeated[int]
    reason: _Repeated[str]

    def Clear(self) -> None:
        """Empty the column."""


# --------------------------------------------------------------------- up ----


def encode_batch(
    sequence: int,
    readings: Iterable[Row],
    *,
    bindings: Iterable[Binding] = (),
    states: Iterable[DeviceState] = (),
    outcomes: Iterable[Outcome] = (),
    dropped: Mapping[str, int] | None = None,
) -> pb.ReportBatch:
    """Put together one message of a report stream.

    A reading that cannot travel (an integer beyond 64 bits, text that is not Unicode, a
    value of a strange class) becomes a fault with the reason "conversion" and disturbs
    no other. Readings with one kind of value keep their order.

    Args:
        sequence: Number of this batch in its stream.
        readings: Handles with readings; each handle is bound here or in an earlier batch.
        bindings: Handles that are used from this batch on.
        states: New states of devices.
        outcomes: What became of wishes.
        dropped: Readings lost since the last batch, by reason.
    """
    batch = pb.ReportBatch(
        sequence=sequence,
        bindings=[
            pb.Binding(handle=handle, device=key_to_v1(device), property=name)
            for handle, device, name in bindings
        ],
        states=[state_to_v1(state) for state in states],
        outcomes=[outcome_to_v1(outcome) for outcome in outcomes],
        dropped=dropped,
    )
    rows, strange = _by_kind(readings)
    faults = [(handle, reading.time, reading.reason) for handle, reading in rows[NoneType]]
    faults += strange
    for name, kind in _COLUMNS:
        if rows[kind]:
            faults += _fill(cast("_Column", getattr(batch, name)), rows[kind])
    if faults:
        batch.faults.handle.extend([handle for handle, _, _ in faults])
        batch.faults.time_us.extend([_safe_time(moment) for _, moment, _ in faults])
        batch.faults.reason.extend([reason for _, _, reason in faults])
    return batch


def _by_kind(readings: Iterable[Row]) -> tuple[dict[type, list[Row]], list[Fault]]:
    rows: dict[type, list[Row]] = {kind: [] for _, kind in _COLUMNS}
    rows[NoneType] = []
    odd: list[Row] = []
    for row in readings:
        kind = type(row[1].value)
        if kind in rows:
            rows[kind].append(row)
        else:
            odd.append(row)
    unfit: list[Fault] = []
    for handle, reading in odd:
        plain = _plain(reading.value)
        if plain is None:
            unfit.append((handle, reading.time, _UNFIT))
        else:
            rows[type(plain)].append((handle, replace(reading, value=plain)))
    return rows, unfit


def _plain(value: object) -> Value | None:
    """The built-in value behind one of a derived class, such as an IntEnum or numpy.float64."""
    match value:
        case int():
            return int(value)
        case float():
            return float(value)
        case str():
            return str(value)
        case bytes() | bytearray() | memoryview():
            return bytes(value)
    return None


def _fill(column: _Column, rows: list[Row]) -> list[Fault]:
    """Write the rows into a column; give back those that the library refuses."""
    try:
        _extend(column, rows)
    except (ValueError, OverflowError):
        column.Clear()
    else:
        return []
    fit: list[Row] = []
    unfit: list[Fault] = []
    for row in rows:
        try:
            _extend(column, [row])
        except (ValueError, OverflowError):
            unfit.append((row[0], row[1].time, _UNFIT))
        else:
            fit.append(row)
    column.Clear()
    _extend(column, fit)
    return unfit


def _extend(column: _Column, rows: list[Row]) -> None:
    column.handle.extend([handle for handle, _ in rows])
    column.time_us.extend([int(reading.time * _MICRO + 0.5) for _, reading in rows])
    column.value.extend([reading.value for _, reading in rows])
    if [True for _, reading in rows if reading.quality is not _GOOD]:
        column.quality.extend([reading.quality for _, reading in rows])
        column.reason.extend([reading.reason for _, reading in rows])


def _safe_time(moment: float) -> int:
    """A time that did not fit is what made the reading a fault: take the present instead."""
    if not isfinite(moment) or abs(moment) * _MICRO >= 2**63:
        moment = time.time()
    return int(moment * _MICRO + 0.5)


# ------------------------------------------------------------------- down ----


def binding_from_v1(message: pb.Binding) -> Binding:
    """A handle and what it stands for.

    Raises:
        ConfigError: Device or property is missing.
    """
    if not message.property:
        raise ConfigError("a binding needs the name of the property")
    return message.handle, key_from_v1(message.device), message.property


def decode_batch(batch: pb.ReportBatch) -> Iterator[Row]:
    """Give the readings of a batch; faults are readings without a value.

    Numbers that are not finite come as faults with the reason "conversion". A batch with
    faults comes in the order of time, so that the last of a property is its newest.

    Raises:
        ConversionError: The lists of a column are not equally long; nothing was given.
    """
    columns = [cast("_Column", getattr(batch, name)) for name, _ in _COLUMNS]
    for (name, _), column in zip(_COLUMNS, columns, strict=True):
        _require_even(name, column)
    faults = batch.faults
    if not len(faults.handle) == len(faults.time_us) == len(faults.reason):
        raise ConversionError("the lists of column faults are not equally long")
    rows = chain.from_iterable(_rows(column) for column in columns if len(column.handle))
    if not len(faults.handle):
        return rows
    failed = (
        (handle, Reading(None, time_us / _MICRO, _BAD, reason))
        for handle, time_us, reason in zip(
            faults.handle, faults.time_us, faults.reason, strict=True
        )
    )
    return iter(sorted(chain(rows, failed), key=_moment))


def _moment(row: Row) -> float:
    return row[1].time


def _require_even(name: str, column: _Column) -> None:
    size = len(column.handle)
    marks = len(column.quality)
    if (
        len(column.time_us) != size
        or len(column.value) != size
        or marks not in (0, size)
        or len(column.reason) != marks
    ):
        raise ConversionError(f"the lists of column {name} are not equally long")


def _rows(column: _Column) -> Iterable[Row]:
    # A slice copies into a plain list, which is quicker to walk than the container.
    handles, times, values = column.handle[:], column.time_us[:], column.value[:]
    if len(column.quality) or not _all_finite(values):
        return _careful_rows(column)
    return [
        (handle, Reading(value, time_us / _MICRO))
        for handle, time_us, value in zip(handles, times, values, strict=True)
    ]


def _all_finite(values: list[Value | None]) -> bool:
    """One sum finds them: NaN and the infinities swallow all that is added to them.

    A sum that overflows by itself only costs the slower way.
    """
    return type(values[0]) is not float or isfinite(sum(cast("list[float]", values)))


def _careful_rows(column: _Column) -> Iterator[Row]:
    qualities = column.quality[:] or [0] * len(column.handle)
    reasons = column.reason[:] or [""] * len(column.handle)
    for handle, time_us, value, number, reason in zip(
        column.handle[:], column.time_us[:], column.value[:], qualities, reasons, strict=True
    ):
        moment = time_us / _MICRO
        if isinstance(value, float) and not isfinite(value):
            yield handle, Reading(None, moment, _BAD, _UNFIT)
            continue
        quality = _QUALITIES.get(number, Quality.UNCERTAIN)
        yield handle, Reading(None if quality is _BAD else value, moment, quality, reason)

"""Batches of a v1 report stream: handles resolved, and what cannot be taken set aside."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import TypeVar

from device_manager.dmi_service.bindings import Bindings
from device_manager.records import TwinReading
from dmi.convert.batch import decode_batch
from dmi.convert.v1 import outcome_from_v1, state_from_v1
from dmi.errors import ConfigError, ConversionError, OverloadedError
from dmi.floats import FLOAT32_LIMIT
from dmi.proto.v1 import api_pb2 as pb
from dmi.readings import Quality, Reading
from dmi.reports import DeviceState, Outcome
from dmi.values import coerce_value

__all__ = ["MOST_READINGS", "Batch", "read_batch"]

MOST_READINGS = 100_000
"""In one batch; a mapper that has more sends more batches."""

_AHEAD_S = 24 * 3600.0

Message = TypeVar("Message", pb.DeviceState, pb.DesiredOutcome)
Said = TypeVar("Said", DeviceState, Outcome)


@dataclass(slots=True)
class Batch:
    """What one message said, or several that followed each other.

    Attributes:
        sequence: Of the last message in it.
        messages: How many went into it.
        refused: Handles to name in the acknowledgement.
        losses: What was not taken, counted by reason.
        dropped: Readings that the mapper says it had to drop, by reason.
    """

    sequence: int
    messages: int = 1
    readings: list[TwinReading] = field(default_factory=list)
    states: list[DeviceState] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    losses: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)

    def add(self, later: "Batch") -> None:
        """Take in the batch that follows this one."""
        self.sequence = later.sequence
        self.messages += later.messages
        self.readings += later.readings
        self.states += later.states
        self.outcomes += later.outcomes
        self.refused += later.refused
        for total, more in ((self.losses, later.losses), (self.dropped, later.dropped)):
            for reason, number in more.items():
                total[reason] = total.get(reason, 0) + number

    def lose(self, reason: str) -> None:
        """Count one thing that is not taken."""
        self.losses[reason] = self.losses.get(reason, 0) + 1


def read_batch(message: pb.ReportBatch, bindings: Bindings, now: float) -> Batch:
    """Read a message whose bindings have been noted.

    Times before 1970 or more than a day ahead become `now`; a value that does not fit
    its property's type becomes a fault with the reason "conversion".

    Args:
        message: As it came.
        bindings: What the stream's handles stand for.
        now: In seconds since 1970-01-01 UTC.

    Raises:
        ConversionError: The lists of a column are not equally long.
        OverloadedError: It is too big.
    """
    number = _size(message)
    if number > MOST_READINGS:
        raise OverloadedError(f"{number} readings in one batch; at most {MOST_READINGS} are taken")
    batch = Batch(message.sequence, dropped=dict(message.dropped))
    _read_readings(batch, message, bindings, now)
    states = _said(batch, bindings, message.states, state_from_v1)
    batch.states = [one if _can_be(one.since, now) else replace(one, since=now) for one in states]
    batch.outcomes = list(_said(batch, bindings, message.outcomes, outcome_from_v1))
    return batch


def _size(message: pb.ReportBatch) -> int:
    columns = (message.ints, message.doubles, message.bools, message.texts, message.blobs)
    return sum(len(column.handle) for column in columns) + len(message.faults.handle)


def _read_readings(batch: Batch, message: pb.ReportBatch, bindings: Bindings, now: float) -> None:
    doubles = message.doubles.value
    # The sum is NaN when a value is, beside which `max` finds nothing.
    wide = bool(doubles) and not (isfinite(sum(doubles)) and max(map(abs, doubles)) < FLOAT32_LIMIT)
    ready = {} if wide else bindings.ready
    latest = now + _AHEAD_S
    take = batch.readings.append
    for handle, reading in decode_batch(message):
        place = ready.get(handle)
        if place is not None and type(reading.value) is place.kind and 0.0 < reading.time <= latest:
            take(TwinReading(place.device, place.property, reading))
        else:
            _read_odd(batch, bindings, handle, reading, now)
    if message.faults.handle:
        # A property may have a value and a fault in one batch: the later one must win.
        batch.readings.sort(key=lambda taken: taken.reading.time)


def _read_odd(batch: Batch, bindings: Bindings, handle: int, reading: Reading, now: float) -> None:
    bound = bindings.find(handle)
    if bound.refusal:
        batch.lose(bound.refusal)
        if bindings.tell(handle):
            batch.refused.append(handle)
        return
    if not _can_be(reading.time, now):
        reading.time = now
    if reading.value is not None:
        try:
            reading.value = coerce_value(reading.value, bound.type)
        except ConversionError as error:
            batch.lose(error.reason)
            reading = Reading(None, reading.time, Quality.BAD, error.reason)
    elif reading.quality is not Quality.BAD:
        reading.quality = Quality.BAD
    batch.readings.append(TwinReading(bound.device, bound.property, reading))


def _can_be(moment: float, now: float) -> bool:
    return 0.0 < moment <= now + _AHEAD_S


def _said(
    batch: Batch,
    bindings: Bindings,
    messages: Iterable[Message],
    convert: Callable[[Message], Said],
) -> Iterable[Said]:
    for message in messages:
        try:
            said = convert(message)
        except ConfigError:
            batch.lose("unreadable")
            continue
        refusal = bindings.refusal(said.device)
        if refusal:
            batch.lose(refusal)
        else:
            yield said

"""Batches of readings: nothing lost, nothing changed, one bad reading harms no other."""

import enum
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmi.convert.batch import binding_from_v1, decode_batch, encode_batch
from dmi.convert.v1 import outcome_from_v1, state_from_v1
from dmi.errors import ConfigError, ConversionError
from dmi.proto.v1 import api_pb2 as pb
from dmi.readings import Quality, Reading
from dmi.reports import DeviceState, Outcome, OutcomeStatus
from dmi.resources import Key
from dmi.values import INT_MAX, INT_MIN

NOW = 1_790_000_000.25
KILN = Key("plant", "kiln-7")

MOMENTS = st.integers(0, 4_000_000_000_000_000).map(lambda micro: micro / 1_000_000)
VALUES = st.one_of(
    st.integers(INT_MIN, INT_MAX),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.text(),
    st.binary(),
)
READINGS = st.one_of(
    st.builds(Reading, VALUES, MOMENTS),
    st.builds(Reading, VALUES, MOMENTS, st.just(Quality.UNCERTAIN), st.text()),
    st.builds(Reading, st.none(), MOMENTS, st.just(Quality.BAD), st.text()),
)
ROWS = st.lists(READINGS).map(lambda readings: list(enumerate(readings, 1)))


def over_the_wire(rows):
    batch = encode_batch(1, rows)
    return list(decode_batch(pb.ReportBatch.FromString(batch.SerializeToString())))


@given(ROWS)
def test_every_reading_arrives_as_it_was(rows):
    arrived = dict(over_the_wire(rows))
    assert len(arrived) == len(rows)
    for handle, reading in rows:
        assert arrived[handle] == reading
        assert type(arrived[handle].value) is type(reading.value)


def test_good_readings_cost_no_marks():
    batch = encode_batch(1, [(7, Reading(n, NOW)) for n in range(100)])
    assert not batch.ints.quality
    assert not batch.ints.reason
    assert not batch.HasField("doubles")
    assert len(batch.SerializeToString()) < 100 * 12


def test_order_within_a_property_is_kept():
    rows = [(7, Reading(n, NOW)) for n in range(50)]
    assert over_the_wire(rows) == rows


def test_with_faults_the_newest_comes_last():
    rows = [
        (7, Reading(1, NOW)),
        (7, Reading(None, NOW + 1, Quality.BAD, "deadline")),
        (7, Reading(2, NOW + 2)),
    ]
    assert over_the_wire(rows) == rows


class Mode(enum.IntEnum):
    AUTO = 3


class Level(float):
    pass


class Colour(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Mode.AUTO, 3),
        (Level(2.5), 2.5),
        (Colour.RED, "red"),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"ab"), b"ab"),
    ],
)
def test_derived_classes_travel_as_what_they_are(value, plain):
    [(handle, reading)] = over_the_wire([(7, Reading(value, NOW))])
    assert (handle, reading.value) == (7, plain)
    assert type(reading.value) is type(plain)


@pytest.mark.parametrize(
    "value", [INT_MAX + 1, INT_MIN - 1, "\ud800", [1], 1j, math.nan, -math.inf]
)
def test_what_cannot_travel_is_a_fault_and_harms_no_other(value):
    good = [(1, Reading(5, NOW)), (2, Reading("a", NOW)), (3, Reading(0.5, NOW))]
    arrived = dict(over_the_wire([*good, (9, Reading(value, NOW))]))
    assert arrived.pop(9) == Reading(None, NOW, Quality.BAD, "conversion")
    assert arrived == dict(good)


@pytest.mark.parametrize("moment", [math.nan, math.inf, 1e300])
def test_an_impossible_time_is_a_fault_of_now(moment):
    arrived = dict(over_the_wire([(1, Reading(5, NOW)), (9, Reading(5, moment))]))
    assert arrived[1] == Reading(5, NOW)
    assert arrived[9].reason == "conversion"
    assert arrived[9].value is None
    assert abs(arrived[9].time) < 1e11


def test_a_fault_with_an_impossible_time_and_a_column_without_survivors():
    arrived = dict(
        over_the_wire([(8, Reading(None, math.nan, Quality.BAD, "x")), (9, Reading(2**99, NOW))])
    )
    assert arrived[8].reason == "x"
    assert arrived[9].reason == "conversion"


def test_large_numbers_whose_sum_overflows_are_left_alone():
    rows = [(1, Reading(1.7e308, NOW)), (2, Reading(1.7e308, NOW))]
    assert over_the_wire(rows) == rows


def test_everything_else_that_a_batch_carries():
    state = DeviceState(KILN, "online", NOW)
    outcome = Outcome(KILN, "setpoint", 3, OutcomeStatus.CONFIRMED, NOW)
    batch = encode_batch(
        12,
        [],
        bindings=[(7, KILN, "temperature")],
        states=[state],
        outcomes=[outcome],
        dropped={"queue_full": 3},
    )
    batch = pb.ReportBatch.FromString(batch.SerializeToString())
    assert batch.sequence == 12
    assert [binding_from_v1(each) for each in batch.bindings] == [(7, KILN, "temperature")]
    assert [state_from_v1(each) for each in batch.states] == [state]
    assert [outcome_from_v1(each) for each in batch.outcomes] == [outcome]
    assert dict(batch.dropped) == {"queue_full": 3}
    assert list(decode_batch(batch)) == []


@pytest.mark.parametrize(
    "batch",
    [
        pb.ReportBatch(ints=pb.IntColumn(handle=[1, 2], time_us=[1, 2], value=[1])),
        pb.ReportBatch(doubles=pb.DoubleColumn(handle=[1], time_us=[], value=[1.0])),
        pb.ReportBatch(bools=pb.BoolColumn(handle=[], time_us=[1], value=[True])),
        pb.ReportBatch(
            texts=pb.TextColumn(
                handle=[1, 2], time_us=[1, 2], value=["", ""], quality=[1], reason=[""]
            )
        ),
        pb.ReportBatch(blobs=pb.BytesColumn(handle=[1], time_us=[1], value=[b""], quality=[1])),
        pb.ReportBatch(blobs=pb.BytesColumn(handle=[1], time_us=[1], value=[b""], reason=["x"])),
        pb.ReportBatch(faults=pb.FaultColumn(handle=[1], time_us=[1], reason=[])),
    ],
)
def test_uneven_columns_are_refused_before_anything_is_taken(batch):
    with pytest.raises(ConversionError, match="not equally long"):
        decode_batch(batch)


def test_marks_of_strangers():
    column = pb.IntColumn(
        handle=[1, 2, 3],
        time_us=[5, 5, 5],
        value=[7, 8, 9],
        quality=[0, 2, 99],
        reason=["", "lost", "odd"],
    )
    assert list(decode_batch(pb.ReportBatch(ints=column))) == [
        (1, Reading(7, 5e-6)),
        (2, Reading(None, 5e-6, Quality.BAD, "lost")),
        (3, Reading(9, 5e-6, Quality.UNCERTAIN, "odd")),
    ]


def test_numbers_that_are_not_finite_become_faults_on_arrival():
    column = pb.DoubleColumn(handle=[1, 2], time_us=[5, 5], value=[math.nan, 1.5])
    assert list(decode_batch(pb.ReportBatch(doubles=column))) == [
        (1, Reading(None, 5e-6, Quality.BAD, "conversion")),
        (2, Reading(1.5, 5e-6)),
    ]


@pytest.mark.parametrize("binding", [pb.Binding(handle=1, property="p"), pb.Binding(handle=1)])
def test_incomplete_bindings(binding):
    with pytest.raises(ConfigError):
        binding_from_v1(binding)

import math

import pytest

from dmi.errors import ConversionError
from dmi.readings import Quality, Reading
from dmi.resources import DataType, Key
from mapper_sdk.delivery.sink import Route, Source
from mapper_sdk.sinks.tables import (
    Identity,
    Pace,
    Row,
    Sources,
    SqlPlace,
    infinity,
    make_rows,
    portions,
    widen,
)

START = 1_790_000_000.0


def route(name="p", type_=DataType.DOUBLE, unit=""):
    return Route(Source(Key("default", "dev-1"), name, type_, unit), SqlPlace())


def learnt(*routes):
    sources = Sources()
    for number, one in enumerate(routes, 1):
        sources.learn([one], number)
    return sources


def test_routes_of_one_source_are_asked_for_together():
    one, same, other = route(), route(), route(unit="V")
    items = [(each, Reading(1.0, START)) for each in (one, same, other, one)]
    sources = Sources()
    unknown = sources.unknown(items)
    assert set(unknown) == {
        Identity("default", "dev-1", "p", "DOUBLE", ""),
        Identity("default", "dev-1", "p", "DOUBLE", "V"),
    }
    assert {id(each) for each in unknown["default", "dev-1", "p", "DOUBLE", ""]} == {
        id(one),
        id(same),
    }
    for number, routes in enumerate(unknown.values()):
        sources.learn(routes, number)
    assert not sources.unknown(items)
    assert sources.number(one) == sources.number(same) != sources.number(other)


def test_what_another_database_said_is_not_believed():
    here = route()
    before = learnt(here)
    assert before.number(here) == 1
    sources = Sources()
    assert sources.unknown([(here, Reading(1.0, START))])
    with pytest.raises(LookupError):
        sources.number(here)


def test_a_row_has_the_time_in_microseconds():
    here = route()
    rows, refused = make_rows(
        [(here, Reading(None, START + 0.1234567, Quality.BAD, "stale"))], learnt(here), infinity
    )
    assert rows == [Row(1, 1_790_000_000_123_457, None, 2, "stale")]
    assert not refused


def test_the_later_of_one_source_and_time_counts():
    one, other = route("a"), route("b")
    items = [
        (one, Reading(1.0, START)),
        (other, Reading(2.0, START)),
        (one, Reading(3.0, START + 1e-7)),
        (one, Reading(4.0, START + 1e-6)),
    ]
    rows, _ = make_rows(items, learnt(one, other), infinity)
    assert [(row.source, row.value) for row in rows] == [(1, 3.0), (2, 2.0), (1, 4.0)]


@pytest.mark.parametrize("time", [-0.1, math.nan, math.inf, -math.inf, 253_402_300_800.0])
def test_times_that_databases_do_not_have_in_common_are_refused(time):
    here = route()
    items = [(here, Reading(1.0, time)), (here, Reading(2.0, 0.0))]
    rows, refused = make_rows(items, learnt(here), infinity)
    assert [row.value for row in rows] == [2.0]
    assert list(refused) == [0]
    assert isinstance(refused[0], ConversionError)
    assert "p: its time" in str(refused[0])


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1])
def test_numbers_of_more_than_64_bits_are_refused(value):
    here = route(type_=DataType.INT)
    items = [(here, Reading(value, START)), (here, Reading(2**63 - 1, START + 1))]
    rows, refused = make_rows(items, learnt(here), infinity)
    assert [row.value for row in rows] == [2**63 - 1]
    assert "64 bits" in str(refused[0])


@pytest.mark.parametrize(
    ("value", "column"), [(1, 0), (1.0, 1), (True, 2), ("1", 3), (b"1", 4), (None, None)]
)
def test_a_value_goes_to_the_column_of_its_type(value, column):
    wide = widen(Row(7, 8, value, 1, "stale"))
    assert wide[:2] == (7, 8)
    assert wide[7:] == (1, "stale")
    assert [n for n, cell in enumerate(wide[2:7]) if cell is not None] == (
        [] if column is None else [column]
    )
    if column is not None:
        assert type(wide[2 + column]) is type(value)


def test_deleting_rests_when_little_was_left():
    now = [100.0]
    pace = Pace(60.0, lambda: now[0])
    assert pace.due()
    pace.done(more=True)
    assert pace.due()
    pace.done(more=False)
    assert not pace.due()
    now[0] += 60.0
    assert pace.due()


def test_portions_are_as_large_as_may_be_and_keep_all_in_order():
    rows = [Row(1, n, value, 0, "") for n, value in enumerate([1.5, "ab", b"cd", "e", "f" * 9, 2])]
    parts = [list(part) for part in portions(rows, 4)]
    assert [[row.time for row in part] for part in parts] == [[0, 1, 2], [3], [4], [5]]
    assert [list(part) for part in portions(rows, 100)] == [rows]
    assert not list(portions([], 100))

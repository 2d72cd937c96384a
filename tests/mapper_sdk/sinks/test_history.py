import asyncio
import contextlib
import sqlite3

import pytest

from dmi.errors import ConversionError, DeadlineError, UnavailableError
from dmi.readings import Quality, Reading
from dmi.resources import DataType, Key
from mapper_sdk.delivery.history import Function, Span
from mapper_sdk.delivery.sink import Route, Source
from mapper_sdk.sinks.sqlite import SqliteHistory, SqliteSink, SqliteTarget
from mapper_sdk.sinks.sqlite.archive import Archive
from mapper_sdk.sinks.sqlite.file import connect
from mapper_sdk.sinks.tables import SqlPlace

START = 1_790_000_000.0
DEVICE = Key("default", "dev-1")
GOOD, UNCERTAIN, BAD = Quality


def route(type_=DataType.DOUBLE, name="p", device=DEVICE):
    return Route(Source(device, name, type_), SqlPlace())


def readings(*values, step=1.0):
    return [Reading(value, START + n * step) for n, value in enumerate(values)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "readings.db"


@pytest.fixture
def archive(path):
    archive = Archive(connect(path, "normal"), path, None, 2**40)
    yield archive
    archive.close()


@pytest.fixture
def history(path):
    return SqliteHistory(path)


@pytest.fixture(params=["recent", "samples", "both"])
def store(request, archive):
    """Keeps readings in the one table, the other, or half in each."""

    def keep(found, here=None):
        here = here or route()
        half = {"recent": 0, "samples": len(found), "both": len(found) // 2}[request.param]
        if half:
            archive.add([(here, reading) for reading in found[:half]])
            archive.sort_in()
        archive.add([(here, reading) for reading in found[half:]])

    return keep


# -------------------------------------------------------------- readings ----


async def test_gives_what_was_read_oldest_first(store, history):
    kept = [
        Reading(1.5, START),
        Reading(2.5, START + 0.000001, UNCERTAIN, "stale"),
        Reading(None, START + 2, BAD, "unavailable"),
        Reading(4.5, START + 3),
    ]
    store(kept)
    assert await history.readings(DEVICE, "p", START, START + 10, 100) == kept


async def test_the_end_is_not_part_and_the_limit_holds(store, history):
    kept = readings(*map(float, range(10)))
    store(kept)
    assert await history.readings(DEVICE, "p", START + 2, START + 8, 100) == kept[2:8]
    assert await history.readings(DEVICE, "p", START, START + 100, 7) == kept[:7]
    assert await history.readings(DEVICE, "p", START + 8, START + 2, 7) == []
    assert await history.readings(DEVICE, "p", -1e300, 1e300, 100) == kept


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        (DataType.INT, (1, -(2**63), 2**63 - 1)),
        (DataType.BOOLEAN, (True, False)),
        (DataType.STRING, ("1", "", "ü\0")),
        (DataType.BYTES, (b"", b"\0\xff")),
        (DataType.FLOAT, (1.0, 0.1)),
    ],
)
async def test_values_come_back_as_they_were(archive, history, type_, values):
    archive.add([(route(type_), reading) for reading in readings(*values)])
    found = [reading.value for reading in await history.readings(DEVICE, "p", 0, 2e9, 10)]
    assert [(type(value), value) for value in found] == [(type(v), v) for v in values]


async def test_a_property_that_changed_its_type_has_one_past(archive, history):
    kept = [Reading(True, START), Reading(7, START + 1), Reading("on", START + 2)]
    for type_, reading in zip((DataType.BOOLEAN, DataType.INT, DataType.STRING), kept, strict=True):
        archive.add([(route(type_), reading)])
    assert await history.readings(DEVICE, "p", 0, 2e9, 10) == kept
    (span,) = await history.spans(DEVICE, "p", START, START + 10, 60, Function.MAX, 10)
    assert (span.value, span.count) == (7, 1)


async def test_devices_and_properties_are_not_mixed(archive, history):
    others = (
        route(name="q"),
        route(device=Key("other", "dev-1")),
        route(device=Key("default", "x")),
    )
    for n, here in enumerate((route(), *others)):
        archive.add([(here, Reading(float(n), START))])
    assert await history.readings(DEVICE, "p", 0, 2e9, 10) == [Reading(0.0, START)]
    assert await history.readings(Key("other", "dev-1"), "p", 0, 2e9, 10) == [Reading(2.0, START)]
    assert await history.readings(DEVICE, "unknown", 0, 2e9, 10) == []
    assert await history.spans(DEVICE, "unknown", 0, 2e9, 1, Function.MEAN, 10) == []


# ----------------------------------------------------------------- spans ----


@pytest.mark.parametrize(
    ("function", "first", "second"),
    [
        (Function.MIN, -2.0, 8.0),
        (Function.MAX, 6.0, 8.0),
        (Function.MEAN, 2.0, 8.0),
        (Function.LAST, 6.0, 8.0),
    ],
)
async def test_intervals_become_one_value(store, history, function, first, second):
    # START is a multiple of 10; the interval from START + 20 on has no reading.
    kept = [Reading(v, START + t) for t, v in ((0, 2.0), (4, -2.0), (9.999999, 6.0), (35, 8.0))]
    store(kept)
    spans = await history.spans(DEVICE, "p", START, START + 100, 10.0, function, 100)
    assert spans == [Span(START, first, 3, GOOD), Span(START + 30, second, 1, GOOD)]


async def test_only_what_was_asked_for_counts(store, history):
    store(readings(*map(float, range(30))))
    spans = await history.spans(DEVICE, "p", START + 5, START + 22, 10.0, Function.MIN, 100)
    assert [(span.time - START, span.value, span.count) for span in spans] == [
        (0, 5.0, 5),
        (10, 10.0, 10),
        (20, 20.0, 2),
    ]
    spans = await history.spans(DEVICE, "p", START, START + 30, 10.0, Function.MIN, 2)
    assert len(spans) == 2


@pytest.mark.parametrize("function", Function)
async def test_only_good_readings_make_the_value(store, history, function):
    store(
        [
            Reading(5.0, START),
            Reading(9.0, START + 1, UNCERTAIN, "stale"),
            Reading(None, START + 12, BAD, "unavailable"),
            Reading(1.0, START + 13, UNCERTAIN, "stale"),
            Reading(2.0, START + 21, UNCERTAIN, "stale"),
        ]
    )
    spans = await history.spans(DEVICE, "p", START, START + 100, 10.0, function, 100)
    assert spans == [
        Span(START, 5.0, 1, UNCERTAIN),
        Span(START + 10, None, 0, BAD),
        Span(START + 20, None, 0, UNCERTAIN),
    ]


async def test_whole_numbers_stay_whole_where_they_can(store, history):
    store(readings(1, 2, 4), route(DataType.INT))
    for function, value in ((Function.MIN, 1), (Function.MAX, 4), (Function.LAST, 4)):
        (span,) = await history.spans(DEVICE, "p", START, START + 9, 10, function, 1)
        assert (type(span.value), span.value) == (int, value)
    (span,) = await history.spans(DEVICE, "p", START, START + 9, 10, Function.MEAN, 1)
    assert span.value == pytest.approx(7 / 3)


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        (DataType.STRING, ("a", "b")),
        (DataType.BOOLEAN, (False, True)),
        (DataType.BYTES, (b"a", b"b")),
    ],
)
async def test_what_is_no_number_has_only_a_last(store, history, type_, values):
    store(readings(*values), route(type_))
    (span,) = await history.spans(DEVICE, "p", START, START + 9, 10, Function.LAST, 1)
    assert span == Span(START, values[-1], 2, GOOD)
    assert type(span.value) is type(values[-1])
    with pytest.raises(ConversionError, match=type_.value):
        await history.spans(DEVICE, "p", START, START + 9, 10, Function.MEAN, 1)


async def test_a_step_of_less_than_a_microsecond_is_one(archive, history):
    archive.add([(route(), reading) for reading in readings(1.0, 2.0)])
    spans = await history.spans(DEVICE, "p", START, START + 9, 1e-9, Function.LAST, 10)
    assert [span.value for span in spans] == [1.0, 2.0]


# ---------------------------------------------------------- circumstances ----


async def test_without_a_file_it_is_unavailable(history, path):
    with pytest.raises(UnavailableError, match="cannot be read"):
        await history.readings(DEVICE, "p", 0, 2e9, 10)
    assert not path.exists()


async def test_reads_while_the_sink_writes(path):
    sink = SqliteSink(SqliteTarget(path=path, keepDays=None))
    history = sink.history()
    here = route()
    await sink.open()
    try:
        for turn in range(20):
            batch = [(here, Reading(float(turn), START + turn * 50 + n)) for n in range(50)]
            sent = asyncio.ensure_future(sink.send(batch))
            found = await history.readings(DEVICE, "p", 0, 2e9, 10_000)
            assert len(found) in (turn * 50, turn * 50 + 50)
            await sent
    finally:
        await sink.close()
    assert len(await history.readings(DEVICE, "p", 0, 2e9, 10_000)) == 1000


def fill(path, number):
    """So much that a query over all takes a while."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "INSERT INTO samples WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n"
            " WHERE i < ?) SELECT 1, 1790000000000000 + i * 1000, i / 2.0, 0, '' FROM n",
            (number,),
        )
        connection.commit()


async def test_a_query_that_takes_too_long_ends(archive, path):
    archive.add([(route(), Reading(1.0, START - 10))])
    fill(path, 200_000)
    history = SqliteHistory(path, timeout=0.0)
    with pytest.raises(DeadlineError, match="ask for less"):
        await history.spans(DEVICE, "p", 0, 2e9, 1e6, Function.MEAN, 10)


async def test_the_event_loop_goes_on_and_a_cancelled_query_ends(archive, path):
    archive.add([(route(), Reading(1.0, START - 10))])
    fill(path, 400_000)
    history = SqliteHistory(path)
    asked = [
        asyncio.ensure_future(history.spans(DEVICE, "p", 0, 2e9, 1e6, Function.MEAN, 10))
        for _ in range(4)
    ]
    turns = 0
    while not asked[0].done():
        await asyncio.sleep(0.001)
        turns += 1
    assert turns > 5
    for query in asked[1:]:
        query.cancel()
    await asyncio.gather(*asked[1:], return_exceptions=True)
    # The turns are free again.
    assert await history.readings(DEVICE, "p", START - 10, START - 9, 10)

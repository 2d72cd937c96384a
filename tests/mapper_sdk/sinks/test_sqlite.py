import asyncio
import contextlib
import sqlite3
import subprocess
import sys
import threading

import pytest
from pydantic import ValidationError

from dmi.errors import ConfigError, ConversionError, RefusedError, UnavailableError
from dmi.readings import Quality, Reading
from dmi.resources import DataType, Key
from mapper_sdk.delivery.contract import SinkContract
from mapper_sdk.delivery.sink import Route, Source
from mapper_sdk.sinks.sqlite import SqliteSink, SqliteTarget
from mapper_sdk.sinks.sqlite.archive import Archive
from mapper_sdk.sinks.sqlite.file import connect, translated
from mapper_sdk.sinks.tables import SqlPlace

START = 1_790_000_000.0
DAY = 86_400.0
NEVER = 10**15


def route(name="p", type_=DataType.DOUBLE, device="dev-1", unit="kWh"):
    return Route(Source(Key("default", device), name, type_, unit), SqlPlace())


def rows(path, query="SELECT * FROM readings ORDER BY time"):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def one(path, query):
    return rows(path, query)[0][0]


class LockedFile:
    """Stands for a server: `kill` lets another process hold the file."""

    def __init__(self, path):
        self.path = path
        self._holder = None

    async def start(self):
        if self._holder is not None:
            self._holder.close()
            self._holder = None

    async def kill(self):
        self._holder = sqlite3.connect(self.path, isolation_level=None)
        self._holder.execute("PRAGMA journal_mode = WAL")
        self._holder.execute("BEGIN EXCLUSIVE")


class TestContract(SinkContract):
    time_step = 1e-6

    @pytest.fixture
    def server(self, tmp_path):
        return LockedFile(tmp_path / "readings.db")

    @pytest.fixture
    def sink(self, server):
        return SqliteSink(SqliteTarget(path=server.path, keepDays=None, timeout=0.05))

    async def arrived(self, server, route):
        source = route.source
        with contextlib.closing(sqlite3.connect(server.path)) as connection:
            found = connection.execute(
                "SELECT value, time, quality, reason FROM readings"
                " WHERE device = ? AND property = ? AND type = ? ORDER BY time",
                (source.device.name, source.property, source.type.value),
            ).fetchall()
        # SQLite has no booleans: the type tells that 0 and 1 are truths.
        as_bool = source.type is DataType.BOOLEAN
        return [
            Reading(bool(value) if as_bool else value, time / 1e6, Quality[quality], reason)
            for value, time, quality, reason in found
        ]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "readings.db"


@pytest.fixture
async def sink(path):
    sink = SqliteSink(SqliteTarget(path=path, keepDays=None))
    await sink.open()
    yield sink
    await sink.close()


class Clock:
    now = START

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make_archive(path, clock):
    """Archives that are driven by hand, without a thread."""
    made = []

    def make(keep=None, largest=NEVER, **options):
        archive = Archive(connect(path, "normal"), path, keep, largest, clock=clock, **options)
        made.append(archive)
        return archive

    yield make
    for archive in made:
        archive.close()


# ------------------------------------------------------------------- file ----


async def test_the_view_says_everything_of_a_reading(sink, path):
    await sink.send([(route(), Reading(21.5, START + 0.25, Quality.UNCERTAIN, "stale"))])
    assert rows(path) == [
        (
            *("default", "dev-1", "p", "DOUBLE", "kWh", 1_790_000_000_250_000),
            *("2026-09-21T14:13:20.250Z", 21.5, "UNCERTAIN", "stale"),
        )
    ]


async def test_the_file_is_for_its_user_only(sink, path):
    await sink.send([(route(), Reading(1.0, START))])
    assert path.parent.stat().st_mode & 0o777 == 0o700
    for file in path.parent.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600, file


async def test_a_query_for_one_property_reads_only_its_part(sink, path):
    plan = rows(
        path,
        "EXPLAIN QUERY PLAN SELECT * FROM readings WHERE namespace = 'default'"
        " AND device = 'dev-1' AND property = 'p' AND time > 5",
    )
    text = "\n".join(step[-1] for step in plan)
    assert "SEARCH r USING PRIMARY KEY (source=? AND time>?)" in text
    assert "SEARCH r USING PRIMARY KEY (time>?)" in text
    assert "SCAN" not in text


async def test_many_may_make_the_file_at_once(path):
    sinks = [SqliteSink(SqliteTarget(path=path, keepDays=None)) for _ in range(6)]
    try:
        await asyncio.gather(*(sink.open() for sink in sinks))
        same = [[(route(), Reading(float(n), START + n))] for n, _ in enumerate(sinks)]
        await asyncio.gather(*(s.send(items) for s, items in zip(sinks, same, strict=True)))
    finally:
        await asyncio.gather(*(sink.close() for sink in sinks))
    assert one(path, "SELECT count(*) FROM sources") == 1
    assert one(path, "SELECT count(*) FROM readings") == len(sinks)


def test_many_threads_switch_to_the_write_ahead_log_at_once(tmp_path):
    errors, start = [], threading.Barrier(10)

    def make(path):
        start.wait()
        try:
            connect(path, "normal").close()
        except UnavailableError as error:
            errors.append(error)

    for number in range(20):
        path = tmp_path / f"{number}.db"
        threads = [threading.Thread(target=make, args=(path,)) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not errors


async def test_another_version_of_the_tables_is_left_alone(sink, path):
    await sink.close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(ConfigError, match="version 99"):
        await sink.open()
    assert one(path, "PRAGMA user_version") == 99


async def test_another_programs_file_is_left_alone(path):
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE samples (precious TEXT)")
    sink = SqliteSink(SqliteTarget(path=path))
    with pytest.raises(ConfigError, match="another program"):
        await sink.open()
    await sink.close()
    assert rows(path, "SELECT name FROM sqlite_schema") == [("samples",)]


@pytest.mark.parametrize("place", ["file/readings.db", "folder"])
async def test_a_place_that_cannot_be_is_told(tmp_path, place):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir(mode=0o755)
    sink = SqliteSink(SqliteTarget(path=tmp_path / place))
    with pytest.raises(ConfigError, match="cannot be opened"):
        await sink.open()
    await sink.close()
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o755


async def test_a_send_without_an_open_file_is_retryable(path):
    sink = SqliteSink(SqliteTarget(path=path))
    with pytest.raises(UnavailableError):
        await sink.send([])
    await sink.close()


# -------------------------------------------------------------- readings ----


async def test_of_two_with_one_time_the_later_counts(sink, path):
    here = route()
    await sink.send([(here, Reading(1.0, START)), (here, Reading(2.0, START))])
    assert rows(path, "SELECT value FROM readings") == [(2.0,)]
    await sink.send([(here, Reading(None, START, Quality.BAD, "unavailable"))])
    assert rows(path, "SELECT value, reason FROM readings") == [(None, "unavailable")]


async def test_a_property_that_changes_its_type_keeps_its_past(sink, path):
    await sink.send([(route(type_=DataType.INT), Reading(1, START))])
    await sink.send([(route(type_=DataType.STRING), Reading("on", START + 1))])
    await sink.send([(route(type_=DataType.INT, unit="V"), Reading(5, START + 2))])
    assert rows(path, "SELECT type, unit, value FROM readings ORDER BY time") == [
        ("INT", "kWh", 1),
        ("STRING", "kWh", "on"),
        ("INT", "V", 5),
    ]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
async def test_numbers_that_are_none_are_refused_alone(sink, path, value):
    items = [(route(), Reading(v, START + n)) for n, v in enumerate([1.0, value, 2.0])]
    refused = await sink.send(items)
    assert list(refused) == [1]
    assert isinstance(refused[1], ConversionError)
    assert "dev-1" in str(refused[1])
    assert rows(path, "SELECT value FROM readings") == [(1.0,), (2.0,)]


@pytest.mark.parametrize("time", [-1.0, 253_402_300_800.0, float("nan"), float("inf")])
async def test_times_out_of_this_world_are_refused(sink, time):
    refused = await sink.send([(route(), Reading(1.0, time))])
    assert isinstance(refused[0], ConversionError)


# ---------------------------------------------------------- sorting in ----


def read_all(path):
    return rows(path, "SELECT device, time, value FROM readings ORDER BY device, time")


def fill(archive, devices=3, times=range(50)):
    routes = [route(device=f"dev-{n}") for n in range(devices)]
    for n in times:
        archive.add([(one, Reading(float(n), START - 100 + n)) for one in routes])
    return routes


def test_sorting_in_changes_nothing_that_is_read(make_archive, path):
    archive = make_archive()
    fill(archive)
    before = read_all(path)
    archive.sort_in()
    assert one(path, "SELECT count(*) FROM recent") == 0
    assert read_all(path) == before
    assert len(before) == 150


def test_late_and_repeated_readings_are_not_doubled_by_sorting(make_archive, path):
    archive = make_archive()
    (here,) = fill(archive, 1)
    archive.sort_in()
    archive.add([(here, Reading(7.5, START - 100)), (here, Reading(8.5, START - 101.5))])
    archive.add([(here, Reading(9.5, START))])
    archive.sort_in()
    values = [value for _, _, value in read_all(path)]
    assert values == [8.5, 7.5, *map(float, range(1, 50)), 9.5]


def test_a_clock_that_is_ahead_makes_others_not_late(make_archive, path):
    archive = make_archive()
    (here,) = fill(archive, 1)
    archive.add([(here, Reading(1.0, START + 10 * DAY))])
    archive.sort_in()
    assert one(path, "SELECT count(*) FROM recent") == 1
    assert one(path, "SELECT time FROM boundary") <= START * 1e6 + 1
    archive.sort_in()
    assert len(read_all(path)) == 51


def test_sorts_in_by_itself(make_archive, path):
    archive = make_archive(sorted_at=100)
    fill(archive)
    assert one(path, "SELECT count(*) FROM samples") == 102
    assert one(path, "SELECT count(*) FROM recent") == 48


def test_what_others_left_unsorted_counts_too(make_archive, path):
    fill(make_archive())
    archive = make_archive(sorted_at=151)
    fill(archive, 1, [60])
    assert one(path, "SELECT count(*) FROM recent") == 0


def test_two_writers_share_the_boundary(make_archive, path):
    first, second = make_archive(), make_archive()
    (here,) = fill(first, 1)
    first.sort_in()
    second.add([(route(device="dev-0"), Reading(7.5, START - 100))])
    assert one(path, "SELECT count(*) FROM recent") == 0
    assert len(read_all(path)) == 50
    first.add([(here, Reading(1.0, START))])
    assert len(read_all(path)) == 51


# ------------------------------------------------------------- deleting ----


def test_old_readings_go_and_young_ones_stay(make_archive, path, clock):
    archive = make_archive(keep=60.0)
    fill(archive)
    archive.sort_in()
    fill(archive, times=range(50, 60))
    clock.now = START + 5  # ages are 105 to 46 seconds now
    assert not archive.expire()
    assert one(path, "SELECT count(*) FROM readings") == 3 * 15
    assert one(path, "SELECT min(time) FROM readings") >= (START - 55) * 1e6


def test_much_is_deleted_in_slices(make_archive, path, clock):
    archive = make_archive(keep=60.0)
    here = route()
    archive.add([(here, Reading(0.5, START + n / 1e3)) for n in range(45_000)])
    clock.now = START + 50
    archive.sort_in()
    clock.now = START + 1000
    assert archive.expire()
    assert one(path, "SELECT count(*) FROM readings") == 25_000
    assert archive.expire()
    assert not archive.expire()
    assert one(path, "SELECT count(*) FROM readings") == 0


def test_writing_deletes_by_the_way(make_archive, path, clock):
    fill(make_archive(), 1)
    clock.now = START + 1000
    make_archive(keep=60.0).add([(route(), Reading(1.0, START + 1000))])
    assert one(path, "SELECT count(*) FROM readings") == 1


def test_a_full_file_loses_its_oldest(make_archive, path, clock):
    largest = 200_000
    archive = make_archive(largest=largest, sorted_at=2000)
    routes = [route(device=f"dev-{n}") for n in range(20)]
    for n in range(1000):
        clock.now = START + n
        archive.add([(one, Reading(float(n), START + n)) for one in routes])
    assert archive.used() < 1.5 * largest
    kept = rows(path, "SELECT count(*), min(value), max(value) FROM readings")[0]
    assert 2000 < kept[0] < 20_000
    assert kept[1] > 500
    assert kept[2] == 999
    # What is kept is without holes.
    assert kept[0] == pytest.approx(20 * (1000 - kept[1]), abs=20)


def test_a_full_file_is_not_emptied_for_a_clock_that_is_ahead(make_archive, path, clock):
    archive = make_archive(largest=1, sorted_at=NEVER)
    clock.now = START + 1000
    here, ahead = route(), route(device="ahead")
    archive.add([(here, Reading(float(n), START + n)) for n in range(1000)])
    archive.add([(ahead, Reading(1.0, START + 365 * DAY))])
    # Each of the two has deleted a share of 20 seconds, not of a week.
    assert one(path, "SELECT count(*) FROM readings WHERE device = 'dev-1'") > 950
    for _ in range(2000):
        archive.expire()
    assert one(path, "SELECT count(*) FROM readings") == 0


def test_a_failure_to_tidy_is_told_and_loses_nothing(make_archive, path, clock, caplog):
    archive = make_archive(sorted_at=10)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("DROP TABLE samples")
        archive.add([(route(), Reading(float(n), START - 20 + n)) for n in range(10)])
        assert other.execute("SELECT count(*) FROM recent").fetchone() == (10,)
    assert "no such table" in caplog.text


# ------------------------------------------------------------- failures ----


@pytest.mark.parametrize("table", ["recent", "samples"])
async def test_a_dropped_table_is_made_again(sink, path, table):
    await sink.send([(route(), Reading(1.0, START))])
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute(f"DROP TABLE {table}")
    if table == "recent":
        with pytest.raises(UnavailableError, match="no such table"):
            await sink.send([(route(), Reading(2.0, START + 1))])
    await sink.close()
    await sink.open()
    here = route()
    await sink.send([(here, Reading(2.0, START + 1))])
    assert (2.0,) in rows(path, "SELECT value FROM readings")


async def test_samples_whose_sources_are_gone_are_given_to_nobody(sink, path):
    await sink.send([(route(), Reading(1.0, START))])
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("DROP TABLE sources")
    with pytest.raises(UnavailableError):
        await sink.send([(route("other"), Reading(2.0, START + 1))])
    await sink.close()
    with pytest.raises(ConfigError, match="`sources` is gone"):
        await sink.open()


async def test_routes_learn_their_numbers_anew_in_a_new_file(sink, path):
    first, second = route("a"), route("b")
    await sink.send([(first, Reading(1.0, START)), (second, Reading(2.0, START))])
    await sink.close()
    for file in path.parent.iterdir():
        file.unlink()
    await sink.open()
    await sink.send([(second, Reading(2.0, START))])
    await sink.send([(first, Reading(1.0, START))])
    assert rows(path, "SELECT property, value FROM readings ORDER BY property") == [
        ("a", 1.0),
        ("b", 2.0),
    ]


@pytest.mark.parametrize("backup", [False, True])
async def test_a_file_that_is_taken_away_swallows_nothing(sink, path, tmp_path, backup):
    """SQLite would go on writing to what has no name any more."""
    here = route()
    await sink.send([(here, Reading(1.0, START))])
    for file in path.parent.iterdir():
        file.unlink()
    if backup:
        connect(tmp_path / "backup.db", "normal").close()
        (tmp_path / "backup.db").rename(path)
    with pytest.raises(UnavailableError, match="taken away"):
        await sink.send([(here, Reading(2.0, START + 1))])
    await sink.close()
    await sink.open()
    await sink.send([(here, Reading(2.0, START + 1))])
    assert rows(path, "SELECT value FROM readings") == [(2.0,)]


def spoil(path):
    with path.open("r+b") as file:
        file.write(b"no database" * 1000)


async def test_a_damaged_file_waits_for_a_human(sink, path):
    await sink.close()
    spoil(path)
    with pytest.raises(ConfigError, match="moveDamagedAside"):
        await sink.open()
    assert path.read_bytes().startswith(b"no database")


async def test_a_damaged_file_is_moved_aside_if_told(path, caplog):
    path.parent.mkdir()
    sink = SqliteSink(SqliteTarget(path=path, keepDays=None, moveDamagedAside=True))
    for _ in range(2):
        path.write_bytes(b"no database" * 1000)
        await sink.open()
        await sink.send([(route(), Reading(1.0, START))])
        await sink.close()
    assert one(path, "SELECT count(*) FROM readings") == 1
    aside = list(path.parent.glob("readings.db.damaged-*"))
    assert len(aside) == 2
    assert all(file.read_bytes().startswith(b"no database") for file in aside)
    assert "it is now" in caplog.text


def spoil_table(path, name):
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (root,) = other.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)
        ).fetchone()
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xff" * 4096)


async def test_damage_met_while_opening_is_told(sink, path):
    await sink.send([(route(), Reading(1.0, START))])
    await sink.close()
    spoil_table(path, "recent")
    with pytest.raises(ConfigError, match="damaged"):
        await sink.open()


async def test_damage_met_while_writing_refuses_no_reading(sink, path):
    """Else the worker would halve the batch and give all up. A human is told on opening."""
    here = route()
    await sink.send([(here, Reading(1.0, START))])
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("UPDATE boundary SET time = 2000000000000000")
    spoil_table(path, "samples")
    with pytest.raises(UnavailableError, match="malformed"):
        await sink.send([(here, Reading(2.0, START + 1))])
    await sink.close()
    with pytest.raises(ConfigError, match="damaged"):
        await sink.open()
    path.unlink()
    await sink.open()
    assert not await sink.send([(here, Reading(2.0, START + 1))])


def test_a_full_disk_is_retryable_and_heals(path):
    connection = connect(path, "normal")
    archive = Archive(connection, path, None, NEVER)
    items = [(route(), Reading(float(n), START + n)) for n in range(5000)]
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 4}")
    with pytest.raises(sqlite3.OperationalError) as caught:
        archive.add(items)
    assert isinstance(translated(caught.value, path), UnavailableError)
    assert one(path, "SELECT count(*) FROM sources") == 0
    connection.execute(f"PRAGMA max_page_count = {pages + 1000}")
    assert not archive.add(items)
    assert one(path, "SELECT count(*) FROM readings") == 5000
    archive.close()


def test_a_value_too_large_for_sqlite_is_final(path):
    connection = connect(path, "normal")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 10_000)
    archive = Archive(connection, path, None, NEVER)
    with pytest.raises(sqlite3.Error) as caught:
        archive.add([(route(type_=DataType.STRING), Reading("x" * 20_000, START))])
    error = translated(caught.value, path)
    assert isinstance(error, RefusedError)
    assert not error.retryable
    archive.close()


CHILD = """
import asyncio, sys
from pathlib import Path
from dmi.readings import Reading
from dmi.resources import DataType, Key
from mapper_sdk.delivery.sink import Route, Source
from mapper_sdk.sinks.sqlite import SqliteSink, SqliteTarget
from mapper_sdk.sinks.tables import SqlPlace

async def main():
    sink = SqliteSink(SqliteTarget(path=Path(sys.argv[1]), keepDays=None))
    await sink.open()
    here = Route(Source(Key("default", "dev-1"), "p", DataType.INT), SqlPlace())
    number = 0
    while True:
        await sink.send([(here, Reading(number + n, 1.79e9 + number + n)) for n in range(100)])
        number += 100
        print(number, flush=True)

asyncio.run(main())
"""


@pytest.mark.process
def test_what_was_acknowledged_survives_kill_9(path):
    command = [sys.executable, "-c", CHILD, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        for line in child.stdout:
            if int(line) >= 5000:
                child.kill()
                break
        acknowledged = [int(line), *map(int, child.stdout.read().split())][-1]
    kept = one(path, "SELECT count(*) FROM readings")
    assert acknowledged <= kept <= acknowledged + 100
    assert one(path, "SELECT max(value) FROM readings") == kept - 1
    assert one(path, "PRAGMA integrity_check") == "ok"


# ------------------------------------------------------------- settings ----


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"path": "x", "keepDays": 0},
        {"path": "x", "maxSize": 0},
        {"path": "x", "synchronous": "off"},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ValidationError):
        SqliteTarget.model_validate(settings)

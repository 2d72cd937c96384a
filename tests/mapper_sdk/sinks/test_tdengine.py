"""The TDengine sink against a stand-in of its REST interface."""

from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmi.errors import (
    ConfigError,
    ConversionError,
    RefusedError,
    TooLargeError,
    UnavailableError,
    UnsupportedError,
)
from dmi.readings import Quality, Reading
from dmi.resources import DataType, DbRedis, DbTDEngine, Key
from mapper_sdk.delivery.contract import make_route, opened
from mapper_sdk.delivery.sink import Source
from mapper_sdk.sinks.tdengine import TDenginePlace, TDengineSink, TDengineTarget
from mapper_sdk.sinks.tdengine.sql import LONGEST_BYTES, LONGEST_TEXT, Row, Table, inserts, literal
from mapper_sdk.testing import SinkContract
from tests.servers.tdengine import FakeTDengine, Words

T0 = 1_790_000_000.0
PLACE = TDenginePlace()


@pytest.fixture
async def server():
    fake = FakeTDengine()
    await fake.start()
    yield fake
    await fake.kill()


@pytest.fixture
def target(server, monkeypatch):
    monkeypatch.setenv("TD_PASSWORD", "taosdata")
    return TDengineTarget(
        address=server.address,
        database="Plant",
        password="env:TD_PASSWORD",  # noqa: S106 - only where it is
        timeout=3,
    )


@pytest.fixture
async def sink(target):
    one = TDengineSink(target)
    yield one
    await one.close()


def of_route(server, route, unit=1e6):
    source = route.source
    children = server.children(
        "plant",
        namespace=source.device.namespace,
        device=source.device.name,
        property=source.property,
        type=source.type.value,
    )
    found = []
    for child in children:
        for moment, (value, quality, reason) in child.rows.items():
            found.append(Reading(value, moment / unit, Quality(quality), reason or ""))
    return sorted(found, key=lambda reading: reading.time)


class TestContract(SinkContract):
    time_step: ClassVar[float] = 1e-6

    async def arrived(self, server, route):
        return of_route(server, route)


# --------------------------------------------------------------- literals ----

TEXTS = st.text(max_size=40) | st.text("\\'\"`%_nx();,-\n", max_size=10)


@given(TEXTS, st.binary(max_size=20), TEXTS)
def test_whatever_is_written_is_read_back(text, data, reason):
    try:
        line = f"({literal(text)}, {literal(data)}, {literal(reason)})"
    except ConversionError:
        assert "\0" in text + reason
        return
    words = Words(line)
    assert words.values(["NCHAR(4000)", "VARBINARY(16000)", "NCHAR(99)"]) == (text, data, reason)
    assert not words.more()


@given(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
)
def test_numbers_are_read_back(whole, number, truth):
    words = Words(f"({literal(whole)}, {literal(number)}, {literal(truth)}, {literal(None)})")
    found = words.values(["BIGINT", "DOUBLE", "BOOL", "BIGINT"])
    assert found == (whole, number, truth, None)
    assert [type(value) for value in found[:3]] == [int, float, bool]


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        "x" * (LONGEST_TEXT + 1),
        b"x" * (LONGEST_BYTES + 1),
        "a\0b",
    ],
)
def test_refuses_what_no_column_holds(value):
    with pytest.raises(ConversionError):
        literal(value)


def test_no_name_of_a_device_is_part_of_an_identifier():
    one = Table(Source(Key("n", "d"), "a`; DROP DATABASE x; --", DataType.INT))
    other = Table(Source(Key("n", "d"), "a`; DROP DATABASE x; -", DataType.INT))
    assert one.head.count("`") == 5  # two names, and one in a tag
    assert one.head.split()[0] != other.head.split()[0]


def test_long_batches_become_several_statements():
    tables = [Table(Source(Key("n", f"d{n}"), "p", DataType.INT)) for n in range(2)]
    rows = [Row.make(n, tables[n % 2], Reading(n, T0), n) for n in range(40)]
    made = list(inserts(rows, 1500))
    assert sorted(index for _, indexes in made for index in indexes) == list(range(40))
    assert len(made) > 1
    assert all(len(statement) < 1600 for statement, _ in made)
    assert all(statement.count("INSERT") == 1 for statement, _ in made)
    assert list(inserts([], 1500)) == []


# ----------------------------------------------------------------- schema ----


async def test_makes_database_and_supertables_once(sink, server):
    async with opened(sink):
        for n in range(3):
            assert not await sink.send([(make_route(PLACE), Reading(1.0, T0 + n))])
    assert len([s for s in server.statements if s.startswith("CREATE")]) == 6
    assert server.databases["plant"].precision == "us"
    [child] = server.children("plant")
    assert child.stable == "readings_double"
    assert child.tags == ("default", "dev-1", "p", "meter", "DOUBLE", "kWh")


@pytest.mark.parametrize(("precision", "unit"), [("ms", 1e3), ("us", 1e6), ("ns", 1e9)])
async def test_times_have_the_unit_of_the_database_that_is_there(sink, server, precision, unit):
    async with opened(sink):
        pass
    server.databases["plant"].precision = precision
    route = make_route(PLACE)
    async with opened(sink):
        assert not await sink.send([(route, Reading(1.0, T0 + 0.125))])
    assert [r.time for r in of_route(server, route, unit)] == [T0 + 0.125]


async def test_a_database_that_must_be_there_and_is_not_is_for_a_human(target):
    settings = {**target.model_dump(), "create": False}
    with pytest.raises(ConfigError, match="no database"):
        await TDengineSink(TDengineTarget.model_validate(settings)).open()


async def test_a_changed_unit_is_a_table_of_its_own(sink, server):
    route = make_route(PLACE)
    changed = make_route(PLACE)
    object.__setattr__(changed.source, "unit", "MWh")
    async with opened(sink):
        assert not await sink.send([(route, Reading(1.0, T0)), (changed, Reading(2.0, T0))])
    assert sorted(child.tags[-1] for child in server.children("plant")) == ["MWh", "kWh"]


async def test_tables_that_were_dropped_are_made_again_by_opening(sink, server):
    async with opened(sink):
        server.databases["plant"].stables.clear()
        with pytest.raises(UnavailableError):
            await sink.send([(make_route(PLACE), Reading(1.0, T0))])
        await sink.close()
        await sink.open()
        assert not await sink.send([(make_route(PLACE), Reading(1.0, T0))])


# ----------------------------------------------------------------- errors ----


async def test_what_no_column_holds_is_refused_alone(sink, server):
    text = make_route(PLACE, "t", DataType.STRING)
    items = [(text, Reading("x" * 5000, T0)), (make_route(PLACE), Reading(1.0, T0))]
    async with opened(sink):
        failed = await sink.send(items)
    assert {n: type(error) for n, error in failed.items()} == {0: ConversionError}
    assert len(server.children("plant")) == 1


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (0x0357, ConfigError),
        (0x0303, ConfigError),
        (0x0388, ConfigError),
        (0x2644, ConfigError),
        (0x0219, TooLargeError),
        (0x2600, RefusedError),
        (0x060B, RefusedError),
        (0x2603, UnavailableError),
        (0x000B, UnavailableError),
        (0x0130, UnavailableError),
        (-0x7FFFFDEA, RefusedError),  # 0x80000216, as a signed number
    ],
)
async def test_a_code_says_whose_fault_it_is(sink, server, code, error):
    route = make_route(PLACE)
    async with opened(sink):
        server.answers.append(code)
        with pytest.raises(error, match="as told"):
            await sink.send([(route, Reading(1.0, T0)), (route, Reading(1.0, T0 + 1))])


async def test_a_single_reading_that_is_refused_is_told(sink, server):
    async with opened(sink):
        server.answers.append(0x2610)
        failed = await sink.send([(make_route(PLACE), Reading(1.0, T0))])
    assert {n: type(error) for n, error in failed.items()} == {0: RefusedError}


@pytest.mark.parametrize(
    ("status", "error"), [(503, UnavailableError), (404, ConfigError), (200, UnavailableError)]
)
async def test_what_is_no_adapter_is_told(sink, server, status, error):
    async with opened(sink):
        server.statuses.append(status)
        with pytest.raises(error):
            await sink.send([(make_route(PLACE), Reading(1.0, T0))])


@pytest.mark.parametrize(("code", "error"), [(0x000B, UnavailableError), (0x2600, ConfigError)])
async def test_a_schema_that_cannot_be_made_is_told(sink, server, code, error):
    server.answers.append(code)
    with pytest.raises(error):
        await sink.open()


@pytest.mark.parametrize("password", ["wrong", None])
async def test_a_wrong_password_is_for_a_human(target, monkeypatch, password):
    if password:
        monkeypatch.setenv("TD_PASSWORD", password)
    settings = target.model_dump() | ({} if password else {"password": None})
    with pytest.raises(ConfigError, match="Authentication"):
        await TDengineSink(TDengineTarget.model_validate(settings)).open()


async def test_sending_before_opening_is_unavailable(sink):
    with pytest.raises(UnavailableError):
        await sink.send([(make_route(PLACE), Reading(1.0, T0))])


# --------------------------------------------------------------- settings ----


def test_reads_the_pushmethod_of_a_device():
    declared = DbTDEngine.model_validate(
        {"TDEngineClientConfig": {"addr": "td:6041", "dbName": "plant"}}
    )
    target, place = TDengineSink.pushed(declared)
    read = TDengineTarget.model_validate(target)
    assert (read.address, read.database) == ("td:6041", "plant")
    assert TDenginePlace.model_validate(place) == PLACE


def test_other_blocks_are_not_its_own():
    with pytest.raises(UnsupportedError):
        TDengineSink.pushed(DbRedis())


@pytest.mark.parametrize("name", ["", "a b", "1a", "a`b", "a;drop", "a" * 65])
def test_a_name_that_no_database_has_is_refused(name):
    with pytest.raises(ValueError, match="database"):
        TDengineTarget(address="a", database=name)

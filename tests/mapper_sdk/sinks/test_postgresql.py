import asyncio
import contextlib
import json
import time

import pytest
from pydantic import ValidationError

from dmi.errors import ConfigError, ConversionError, DeadlineError, UnavailableError
from dmi.readings import Quality, Reading
from dmi.resources import DataType, Key
from mapper_sdk.delivery.contract import SinkContract
from mapper_sdk.delivery.sink import Route, Source
from mapper_sdk.sinks.postgresql import PostgresqlSink, PostgresqlTarget
from mapper_sdk.sinks.tables import SqlPlace
from tests.mapper_sdk.sinks.flow import survive_kills
from tests.servers.postgresql import PASSWORD, USER, PostgreSQL

pytestmark = pytest.mark.process

START = 1_790_000_000.0
DAY = 86_400.0


@pytest.fixture(scope="module")
def server():
    with PostgreSQL() as server:
        server.sql(f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'")
        server.sql("CREATE ROLE certified LOGIN")
        server.sql(f"CREATE DATABASE plant OWNER {USER}")
        yield server


@pytest.fixture
def database(server):
    """Without tables of ours, whatever was there before."""
    server.sql("SET client_min_messages = error; DROP SCHEMA IF EXISTS dmi CASCADE", "plant")
    return "plant"


@pytest.fixture
def target(server, database, monkeypatch):
    """Makes targets; options override settings."""
    monkeypatch.setenv("DB_PASSWORD", PASSWORD)

    def make(**options):
        settings = {
            "address": f"127.0.0.1:{server.port}",
            "database": database,
            "username": USER,
            "password": "env:DB_PASSWORD",
        }
        return PostgresqlTarget.model_validate(settings | options)

    return make


@pytest.fixture
async def sink(target):
    sink = PostgresqlSink(target())
    await sink.open()
    yield sink
    await sink.close()


@pytest.fixture
def sql(server, database):
    return lambda query: server.sql(query, database)


def route(name="p", type_=DataType.DOUBLE, device="dev-1", unit="kWh"):
    return Route(Source(Key("default", device), name, type_, unit), SqlPlace())


async def arrived(server, database, source):
    """Each value with the type in which PostgreSQL holds it, as its JSON tells."""
    text = await asyncio.to_thread(
        server.sql,
        "SELECT json_build_object('int', value_int::text, 'double', value_double::text, 'bool',"  # noqa: S608 - a test's names
        " value_bool, 'text', value_text, 'bytes', encode(value_bytes, 'hex'), 'us',"
        " (extract(epoch FROM time) * 1000000)::bigint, 'quality', quality, 'reason', reason)"
        f" FROM dmi.readings WHERE device = $x${source.device.name}$x$"
        f" AND property = $x${source.property}$x$ AND type = '{source.type}' ORDER BY time",
        database,
    )
    converters = {"int": int, "double": float, "bool": bool, "text": str, "bytes": bytes.fromhex}
    found = []
    for line in text.splitlines():
        row = json.loads(line)
        values = [make(row[key]) for key, make in converters.items() if row[key] is not None]
        value = values[0] if values else None
        found.append(Reading(value, row["us"] / 1e6, Quality[row["quality"]], row["reason"]))
    return found


class TestContract(SinkContract):
    time_step = 1e-6

    @pytest.fixture
    def sink(self, target):
        return PostgresqlSink(target(timeout=5))

    async def arrived(self, server, route):
        return await arrived(server, self.database, route.source)

    @pytest.fixture(autouse=True)
    def _know_database(self, database):
        self.database = database


async def test_the_view_is_what_people_ask(sink, sql):
    await sink.send([(route(), Reading(21.5, START + 0.25, Quality.UNCERTAIN, "stale"))])
    await sink.send([(route("on", DataType.BOOLEAN), Reading(True, START + 1))])
    assert sql(
        "SET timezone = 'UTC'; SELECT namespace, device, property, type, unit, time, value,"
        " quality, reason FROM dmi.readings ORDER BY time"
    ).splitlines() == [
        "default|dev-1|p|DOUBLE|kWh|2026-09-21 14:13:20.25+00|21.5|UNCERTAIN|stale",
        "default|dev-1|on|BOOLEAN|kWh|2026-09-21 14:13:21+00|1|GOOD|",
    ]


async def test_bytes_and_whole_numbers_have_columns_of_their_own(sink, sql):
    await sink.send([(route("a", DataType.INT), Reading(2**63 - 1, START))])
    await sink.send([(route("b", DataType.BYTES), Reading(b"\0\xff", START + 1))])
    await sink.send([(route("c", DataType.STRING), Reading("'; DROP TABLE x", START + 2))])
    assert sql(
        "SELECT value_int, value_bytes, value_text FROM dmi.readings ORDER BY time"
    ).splitlines() == ["9223372036854775807||", r"|\x00ff|", "||'; DROP TABLE x"]


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
async def test_numbers_that_are_none_are_held(sink, sql, value):
    assert not await sink.send([(route(), Reading(value, START))])
    assert float(sql("SELECT value FROM dmi.readings").lower()) == pytest.approx(value, nan_ok=True)


async def test_text_that_cannot_be_held_is_refused_alone(sink, sql):
    here = route(type_=DataType.STRING)
    refused = await sink.send(
        [(here, Reading(text, START + n)) for n, text in enumerate(("a", "b\0c", "d"))]
    )
    assert list(refused) == [1]
    assert isinstance(refused[1], ConversionError)
    assert sql("SELECT value_text FROM dmi.readings ORDER BY time").split() == ["a", "d"]


async def test_a_name_that_cannot_be_held_is_final(sink):
    with pytest.raises(ConversionError):
        await sink.send([(route("a\0b"), Reading(1.0, START))])
    assert not await sink.send([(route(), Reading(1.0, START))])


async def test_of_two_with_one_time_the_later_counts(sink, sql):
    here = route()
    await sink.send([(here, Reading(1.0, START)), (here, Reading(2.0, START))])
    assert sql("SELECT value FROM dmi.readings") == "2"
    await sink.send([(here, Reading(None, START, Quality.BAD, "unavailable"))])
    assert sql("SELECT value, quality, reason FROM dmi.readings") == "|BAD|unavailable"


async def test_a_repeated_batch_writes_no_row(sink, sql):
    items = [(route(), Reading(float(n), START + n)) for n in range(10)]
    await sink.send(items)
    before = sql("SELECT xmin, ctid FROM dmi.samples ORDER BY time")
    await sink.send(items)
    assert sql("SELECT xmin, ctid FROM dmi.samples ORDER BY time") == before


async def test_a_property_that_changes_its_type_keeps_its_past(sink, sql):
    await sink.send([(route(type_=DataType.INT), Reading(1, START))])
    await sink.send([(route(type_=DataType.STRING), Reading("on", START + 1))])
    assert sql("SELECT type, value_int, value_text FROM dmi.readings ORDER BY time").split() == [
        "INT|1|",
        "STRING||on",
    ]


# ----------------------------------------------------------------- schema ----


async def test_many_may_make_the_tables_at_once(target, sql):
    sinks = [PostgresqlSink(target()) for _ in range(6)]
    try:
        await asyncio.gather(*(sink.open() for sink in sinks))
        items = [[(route(), Reading(float(n), START + n))] for n, _ in enumerate(sinks)]
        await asyncio.gather(*(s.send(i) for s, i in zip(sinks, items, strict=True)))
    finally:
        await asyncio.gather(*(sink.close() for sink in sinks))
    assert sql("SELECT count(*) FROM dmi.sources") == "1"
    assert sql("SELECT count(*) FROM dmi.readings") == "6"


async def test_a_user_who_may_only_write_finds_tables_that_an_owner_made(sink, target, sql):
    sql("CREATE ROLE writer LOGIN PASSWORD 'wine and roses'")
    try:
        sql("GRANT USAGE ON SCHEMA dmi TO writer")
        sql("GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA dmi TO writer")
        writer = PostgresqlSink(target(username="writer"))
        await writer.open()
        assert not await writer.send([(route(), Reading(1.0, START))])
        sql("REVOKE ALL ON ALL TABLES IN SCHEMA dmi FROM writer")
        with pytest.raises(UnavailableError, match="permission denied"):
            await writer.send([(route(), Reading(2.0, START))])
        await writer.close()
        with pytest.raises(ConfigError, match="permission denied"):
            await writer.open()
    finally:
        sql("DROP OWNED BY writer; DROP ROLE writer")


async def test_another_schema_is_another_place(target, sql):
    sink = PostgresqlSink(target(schema="plant_b"))
    await sink.open()
    await sink.send([(route(), Reading(1.0, START))])
    await sink.close()
    assert sql("SELECT count(*) FROM plant_b.readings") == "1"
    assert sql("SELECT to_regclass('dmi.readings') IS NULL") == "t"


async def test_another_version_of_the_tables_is_left_alone(sink, sql):
    await sink.close()
    sql("UPDATE dmi.version SET version = 99")
    with pytest.raises(ConfigError, match="version 99"):
        await sink.open()


@pytest.mark.parametrize(
    "what", ["VIEW dmi.readings", "TABLE dmi.samples CASCADE", "SCHEMA dmi CASCADE"]
)
async def test_what_is_dropped_is_made_again(sink, sql, what):
    here = route()
    await sink.send([(here, Reading(1.0, START))])
    sql(f"DROP {what}")
    if "VIEW" not in what:
        with pytest.raises(UnavailableError, match="does not exist"):
            await sink.send([(here, Reading(2.0, START + 1))])
    await sink.close()
    await sink.open()
    assert not await sink.send([(here, Reading(2.0, START + 1))])
    assert "2" in sql("SELECT value FROM dmi.readings").split()


async def test_samples_whose_sources_are_gone_are_given_to_nobody(sink, sql):
    await sink.send([(route(), Reading(1.0, START))])
    sql("DROP TABLE dmi.sources CASCADE")
    await sink.close()
    with pytest.raises(ConfigError, match="`sources` is gone"):
        await sink.open()


async def test_a_deleted_source_is_made_again(sink, sql):
    here = route()
    await sink.send([(here, Reading(1.0, START))])
    sql("DELETE FROM dmi.samples; DELETE FROM dmi.sources")
    with pytest.raises(UnavailableError, match="foreign key"):
        await sink.send([(here, Reading(2.0, START + 1))])
    await sink.close()
    await sink.open()
    assert not await sink.send([(here, Reading(2.0, START + 1))])


_TIMESCALE = """
SET allow_system_table_mods = on;
INSERT INTO pg_extension VALUES (99999, 'timescaledb', 10, 2200, true, '2.17.2', NULL, NULL);
CREATE TABLE calls (call text);
CREATE SCHEMA timescaledb_information;
CREATE TABLE timescaledb_information.hypertables (hypertable_schema name, hypertable_name name);
CREATE FUNCTION create_hypertable(t regclass, c name, if_not_exists bool) RETURNS int LANGUAGE sql
  SET search_path = public AS $$
  INSERT INTO calls VALUES ('create ' || t || ' ' || c);
  INSERT INTO timescaledb_information.hypertables VALUES ('dmi', 'samples') RETURNING 1 $$;
CREATE FUNCTION drop_chunks(t regclass, older_than timestamptz) RETURNS SETOF text LANGUAGE sql
  SET search_path = public AS $$
  INSERT INTO calls VALUES ('drop ' || t) RETURNING call $$;
GRANT ALL ON ALL TABLES IN SCHEMA public, timescaledb_information TO PUBLIC;
GRANT USAGE ON SCHEMA timescaledb_information TO PUBLIC;
"""


@pytest.fixture
def timescale(server):
    """TimescaleDB is not to be had here: tables and functions answer in its name."""
    name = f"timescale{next(_numbers)}"
    server.sql(f"CREATE DATABASE {name} OWNER {USER}")
    return name, lambda query: server.sql(query, name)


_numbers = iter(range(1000))


async def test_timescaledb_gets_a_hypertable_once_and_drops_chunks(target, timescale):
    database, sql = timescale
    sql(_TIMESCALE)
    for _ in range(2):
        sink = PostgresqlSink(target(database=database, keepDays=1))
        await sink.open()
        await sink.send([(route(), Reading(1.0, time.time()))])
        await sink.close()
    calls = sql("SELECT call FROM calls").splitlines()
    assert calls == ["create dmi.samples time", "drop dmi.samples", "drop dmi.samples"]


async def test_tables_that_have_readings_stay_as_they_are(target, timescale):
    database, sql = timescale
    sink = PostgresqlSink(target(database=database))
    await sink.open()
    await sink.send([(route(), Reading(1.0, START))])
    await sink.close()
    sql(_TIMESCALE)
    late = PostgresqlSink(target(database=database, keepDays=36500))
    await late.open()
    await late.send([(route(), Reading(2.0, START + 1))])
    await late.close()
    assert sql("SELECT count(*) FROM calls") == "0"


# -------------------------------------------------------------- deleting ----


async def test_old_readings_go_and_young_ones_stay(target, sql):
    now = time.time()
    sink = PostgresqlSink(target(keepDays=10))
    await sink.open()
    items = [
        (route(device=f"dev-{d}"), Reading(float(n), now - n * DAY))
        for d in range(3)
        for n in range(20)
    ]
    await sink.send(items)
    await sink.close()
    assert sql("SELECT count(*), max(value) FROM dmi.readings") == "30|9"


async def test_much_is_deleted_in_slices(target, sql):
    sink = PostgresqlSink(target())
    await sink.open()
    here, other = route(), route("other")
    await sink.send([(here, Reading(1.0, START)), (other, Reading(1.0, START))])
    await sink.close()
    sql(
        "INSERT INTO dmi.samples (source, time, quality, reason) SELECT s.id,"
        " to_timestamp(1.6e9 + n), 0, '' FROM generate_series(1, 12000) n, dmi.sources s"
    )
    sink = PostgresqlSink(target(keepDays=365))
    await sink.open()
    left = []
    for n in range(4):
        await sink.send([(here, Reading(float(n), time.time()))])
        left.append(int(sql("SELECT count(*) FROM dmi.readings WHERE time < '2025-01-01'")))
    await sink.close()
    assert left == [14_000, 4000, 0, 0]


async def test_a_failure_to_delete_is_told_and_loses_nothing(target, sql, caplog):
    sink = PostgresqlSink(target(keepDays=1))
    await sink.open()
    sql("CREATE RULE never AS ON DELETE TO dmi.samples DO INSTEAD SELECT 1 / 0")
    assert not await sink.send([(route(), Reading(1.0, time.time() - 2 * DAY))])
    assert not await sink.send([(route(), Reading(2.0, time.time()))])
    await sink.close()
    assert sql("SELECT count(*) FROM dmi.readings") == "2"
    assert "old readings stay" in caplog.text


# ----------------------------------------------------------- circumstances ----


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"password": "env:WRONG"}, "password authentication failed"),
        ({"username": "nobody"}, "password authentication failed"),
        ({"database": "missing"}, "does not exist"),
        ({"password": "env:NOT_SET"}, "NOT_SET"),
        ({"tls": {"ca": "/nowhere.pem"}}, "/nowhere.pem"),
    ],
)
async def test_what_a_human_must_mend_is_said(target, monkeypatch, options, words):
    monkeypatch.setenv("WRONG", "wrong")
    sink = PostgresqlSink(target(**options))
    with pytest.raises(ConfigError, match=words) as caught:
        await sink.open()
    assert PASSWORD not in str(caught.value)
    await sink.close()


async def test_who_may_make_no_schema_is_told(target, server, sql):
    sql("REVOKE CREATE ON DATABASE postgres FROM PUBLIC")
    sink = PostgresqlSink(target(database="postgres"))
    with pytest.raises(ConfigError, match="permission denied"):
        await sink.open()


async def test_a_server_killed_in_mid_flow_has_each_reading_once(server, target, sql):
    sent = await survive_kills(PostgresqlSink(target(timeout=5)), server)
    assert sql(
        "SELECT count(*), count(DISTINCT value_int), max(value_int) FROM dmi.readings"
    ).split("|") == [str(sent), str(sent), str(sent - 1)]


async def test_a_frozen_server_is_given_up_in_time(server, target, sql):
    sink = PostgresqlSink(target(timeout=0.3))
    await sink.open()
    here = route()
    await sink.send([(here, Reading(1.0, START))])
    before = asyncio.all_tasks()
    server.freeze()
    try:
        with pytest.raises(DeadlineError):
            await sink.send([(here, Reading(2.0, START + 1))])
        await sink.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == before
        with pytest.raises(DeadlineError):
            await sink.open()
    finally:
        server.thaw()
    await sink.close()
    await sink.open()
    assert not await sink.send([(here, Reading(2.0, START + 1))])
    await sink.close()
    assert sql("SELECT count(*) FROM dmi.readings") == "2"


async def test_a_session_that_an_admin_ends_is_retryable(sink, sql):
    sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'dmi-toolkit'"
    )
    with pytest.raises(UnavailableError):
        await sink.send([(route(), Reading(1.0, START))])
    await sink.close()
    await sink.open()
    assert not await sink.send([(route(), Reading(1.0, START))])


async def test_a_full_server_is_busy(server, target, sink):
    others = []
    with contextlib.suppress(UnavailableError):
        for _ in range(30):
            others.append(PostgresqlSink(target()))
            await others[-1].open()
    with pytest.raises(UnavailableError, match=r"connection slots|too many clients") as caught:
        await others[-1].open()
    assert caught.value.reason == "overloaded"
    await asyncio.gather(*(other.close() for other in others))


async def test_leaves_politely(server, sink):
    await sink.close()
    log = server.log[-300:]
    assert "unexpected EOF" not in log
    assert "reset by peer" not in log


async def test_a_send_without_a_connection_is_retryable(target):
    with pytest.raises(UnavailableError):
        await PostgresqlSink(target()).send([(route(), Reading(1.0, START))])


# ------------------------------------------------------------- connecting ----


async def used_tls(target, sql, **options):
    sink = PostgresqlSink(target(**options))
    await sink.open()
    await sink.send([(route(), Reading(1.0, START))])
    found = sql(
        "SELECT ssl, client_dn FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
        " WHERE application_name = 'dmi-toolkit'"
    )
    await sink.close()
    return found


async def test_without_tls_it_is_plain(target, sql):
    assert await used_tls(target, sql) == "f|"


async def test_with_tls_the_server_is_checked(target, server, sql):
    ca = str(server.certificates.authority)
    assert await used_tls(target, sql, tls={"ca": ca}) == "t|"
    assert await used_tls(target, sql, tls={"insecure": True}) == "t|"
    with pytest.raises(ConfigError, match="certificate"):
        await used_tls(target, sql, tls={})
    with pytest.raises(ConfigError, match="certificate"):
        await used_tls(target, sql, tls={"ca": ca, "serverName": "other"})


async def test_a_client_may_show_a_certificate(target, server, sql):
    files = server.certificates
    tls = {
        "ca": str(files.authority),
        "certificate": str(files.client),
        "key": str(files.client_key),
    }
    sql("GRANT ALL ON DATABASE plant TO certified")
    found = await used_tls(target, sql, tls=tls, username="certified", password=None)
    assert found == "t|/CN=client"


async def test_a_unix_socket_will_do(target, server, sql):
    link = server.folder / f".s.PGSQL.{server.port}"
    (server.folder / ".s.PGSQL.5432").symlink_to(link)
    sink = PostgresqlSink(target(address=str(server.folder), password=None))
    await sink.open()
    assert not await sink.send([(route(), Reading(1.0, START))])
    await sink.close()


def test_addresses_get_their_port():
    assert PostgresqlTarget(address="db", database="x").address == "db:5432"
    assert PostgresqlTarget(address="[::1]:5433", database="x").address == "[::1]:5433"


@pytest.mark.parametrize(
    "settings",
    [
        {"address": "db"},
        {"address": "a b", "database": "x"},
        {"address": "db", "database": "x", "schema": 'dmi"; DROP'},
        {"address": "db", "database": "x", "schema": "DMI"},
        {"address": "db", "database": "x", "password": "secret"},
        {"address": "db", "database": "x", "keepDays": 0},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ValidationError):
        PostgresqlTarget.model_validate(settings)

import asyncio
import contextlib
import logging
import math
import sys
import time

import pytest
from pydantic import ValidationError

from dmi.errors import (
    ConfigError,
    ConversionError,
    DeadlineError,
    UnavailableError,
    UnsupportedError,
)
from dmi.readings import Quality, Reading
from dmi.resources import DataType, DbMySQL, DbRedis, Key
from mapper_sdk.delivery.contract import SinkContract
from mapper_sdk.delivery.sink import Route, Source
from mapper_sdk.sinks.mysql import MysqlSink, MysqlTarget
from mapper_sdk.sinks.mysql.schema import Schema, divided
from mapper_sdk.sinks.tables import SqlPlace
from tests.mapper_sdk.sinks.flow import survive_kills
from tests.servers.mariadb import PASSWORD, USER, MariaDB

pytestmark = pytest.mark.process

START = 1_790_000_000.0
DAY = 86_400.0


@pytest.fixture(scope="module")
def server():
    with MariaDB() as server:
        server.sql(f"CREATE USER {USER}@'%' IDENTIFIED BY '{PASSWORD}'")
        server.sql(f"GRANT CREATE ON *.* TO {USER}@'%'")
        yield server


_numbers = iter(range(1000))


@pytest.fixture
def database(server):
    name = f"plant{next(_numbers)}"
    server.sql(f"CREATE DATABASE {name}; GRANT ALL ON {name}.* TO {USER}@'%'")
    return name


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
        return MysqlTarget.model_validate(settings | options)

    return make


@pytest.fixture
async def sink(target):
    sink = MysqlSink(target())
    await sink.open()
    yield sink
    await sink.close()


@pytest.fixture
def sql(server, database):
    return lambda query: server.sql(query, database)


def route(name="p", type_=DataType.DOUBLE, device="dev-1", unit="kWh"):
    return Route(Source(Key("default", device), name, type_, unit), SqlPlace())


def _maker(make):
    return lambda text: None if text == "NULL" else make(text)


_CELLS = [
    _maker(int),
    _maker(float),
    _maker(lambda text: bool(int(text))),
    _maker(lambda text: bytes.fromhex(text).decode()),
    _maker(bytes.fromhex),
]


class TestContract(SinkContract):
    time_step = 1e-6

    @pytest.fixture
    def sink(self, target):
        return MysqlSink(target(timeout=5))

    @pytest.fixture(autouse=True)
    def _know_database(self, database):
        self.database = database

    async def arrived(self, server, route):
        source = route.source
        names = [name.encode().hex() for name in (source.device.name, source.property)]
        text = await asyncio.to_thread(
            server.sql,
            "SELECT timestampdiff(MICROSECOND, '1970-01-01', time), quality, hex(reason),"  # noqa: S608 - a test's names
            " value_int, value_double, value_bool, hex(value_text), hex(value_bytes)"
            f" FROM dmi_readings WHERE hex(device) = '{names[0]}' AND hex(property) = '{names[1]}'"
            f" AND type = '{source.type}' ORDER BY time",
            self.database,
        )
        found = []
        for line in text.splitlines():
            moment, quality, reason, *cells = line.split("\t")
            values = [make(cell) for make, cell in zip(_CELLS, cells, strict=True)]
            value = next((value for value in values if value is not None), None)
            words = bytes.fromhex(reason).decode()
            found.append(Reading(value, int(moment) / 1e6, Quality[quality], words))
        return found


async def test_the_view_is_what_people_ask(sink, sql):
    await sink.send([(route(), Reading(21.5, START + 0.25, Quality.UNCERTAIN, "stale"))])
    await sink.send([(route("on", DataType.BOOLEAN), Reading(True, START + 1))])
    assert sql(
        "SELECT namespace, device, property, type, unit, time, value, quality, reason"
        " FROM dmi_readings ORDER BY time"
    ).splitlines() == [
        "default\tdev-1\tp\tDOUBLE\tkWh\t2026-09-21 14:13:20.250000\t21.5\tUNCERTAIN\tstale",
        "default\tdev-1\ton\tBOOLEAN\tkWh\t2026-09-21 14:13:21.000000\t1\tGOOD\t",
    ]


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
async def test_numbers_that_are_none_are_refused_alone(sink, sql, value):
    items = [(route(), Reading(v, START + n)) for n, v in enumerate([1.0, value, 2.0])]
    refused = await sink.send(items)
    assert list(refused) == [1]
    assert isinstance(refused[1], ConversionError)
    assert sql("SELECT value FROM dmi_readings").split() == ["1", "2"]


async def test_names_and_texts_that_collations_mix_are_told_apart(sink, sql):
    names = ("a", "A", "á", "a ", "a\0", "straße", "strasse")
    items = [(route(name, DataType.STRING), Reading(name, START)) for name in names]
    assert not await sink.send(items)
    found = sql("SELECT hex(property), hex(value_text) FROM dmi_readings").splitlines()
    assert sorted(found) == sorted("\t".join([n.encode().hex().upper()] * 2) for n in names)


async def test_of_two_with_one_time_the_later_counts(sink, sql):
    here = route()
    await sink.send([(here, Reading(1.0, START)), (here, Reading(2.0, START))])
    assert sql("SELECT value FROM dmi_readings") == "2"
    await sink.send([(here, Reading(None, START, Quality.BAD, "unavailable"))])
    assert sql("SELECT value, quality, reason FROM dmi_readings") == "NULL\tBAD\tunavailable"


async def test_a_property_that_changes_its_type_keeps_its_past(sink, sql):
    await sink.send([(route(type_=DataType.INT), Reading(1, START))])
    await sink.send([(route(type_=DataType.STRING), Reading("on", START + 1))])
    assert sql("SELECT type, value_int, value_text FROM dmi_readings ORDER BY time").split() == [
        *("INT", "1", "NULL"),
        *("STRING", "NULL", "on"),
    ]


async def test_large_values_are_divided_and_too_large_ones_refused_alone(sink, server, target, sql):
    server.sql("SET GLOBAL max_allowed_packet = 1048576")
    try:
        sink = MysqlSink(target())
        await sink.open()
        here = route(type_=DataType.BYTES)
        sizes = [300_000] * 8 + [2_000_000] + [1_000_000] + [10] * 60
        items = [(here, Reading(b"x" * size, START + n)) for n, size in enumerate(sizes)]
        refused = await sink.send(items)
        await sink.close()
    finally:
        server.sql("SET GLOBAL max_allowed_packet = DEFAULT")
    assert list(refused) == [8]
    assert "max_allowed_packet" in str(refused[8])
    assert sql("SELECT sum(length(value_bytes)) FROM dmi_readings") == str(sum(sizes) - 2_000_000)


async def test_text_of_many_bytes_is_measured_in_bytes(sink, sql):
    assert not await sink.send([(route(type_=DataType.STRING), Reading("ž" * 7_000_000, START))])
    refused = await sink.send([(route(type_=DataType.STRING), Reading("ž" * 9_000_000, START))])
    assert list(refused) == [0]
    assert sql("SELECT char_length(value_text) FROM dmi_readings") == "7000000"


async def test_a_name_that_does_not_fit_is_final(sink):
    with pytest.raises(ConversionError, match="too long"):
        await sink.send([(route("p" * 600), Reading(1.0, START))])
    assert not await sink.send([(route(), Reading(1.0, START))])


async def test_a_value_that_does_not_fit_undoes_its_batch(sink, sql):
    here = route()
    items = [(here, Reading(float(n), START + n)) for n in range(600)]
    sql("ALTER TABLE dmi_samples MODIFY value_double FLOAT(3, 1)")
    with pytest.raises(ConversionError):
        await sink.send(items)
    assert sql("SELECT count(*) FROM dmi_readings") == "0"
    assert not await sink.send(items[:90])


# ----------------------------------------------------------------- schema ----


async def test_many_may_make_the_tables_at_once(target, sql, caplog):
    sinks = [MysqlSink(target()) for _ in range(6)]
    try:
        await asyncio.gather(*(sink.open() for sink in sinks))
        items = [[(route(), Reading(float(n), START + n))] for n, _ in enumerate(sinks)]
        await asyncio.gather(*(s.send(i) for s, i in zip(sinks, items, strict=True)))
    finally:
        await asyncio.gather(*(sink.close() for sink in sinks))
    assert sql("SELECT count(*) FROM dmi_sources") == "1"
    assert sql("SELECT count(*) FROM dmi_readings") == "6"
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_user_who_may_only_write_finds_tables_that_an_owner_made(sink, target, sql):
    sql(f"CREATE USER writer@'%' IDENTIFIED BY '{PASSWORD}'")
    try:
        for table in ("dmi_sources", "dmi_samples", "dmi_version", "dmi_readings"):
            sql(f"GRANT SELECT, INSERT, UPDATE ON {table} TO writer@'%'")
        writer = MysqlSink(target(username="writer"))
        await writer.open()
        assert not await writer.send([(route(), Reading(1.0, START))])
        sql("REVOKE INSERT ON dmi_samples FROM writer@'%'")
        with pytest.raises(UnavailableError, match="denied"):
            await writer.send([(route(), Reading(2.0, START))])
        await writer.close()
        sql("DROP VIEW dmi_readings")
        with pytest.raises(ConfigError, match="denied"):
            await writer.open()
    finally:
        sql("DROP USER writer@'%'")


async def test_another_prefix_is_another_place(target, sql):
    sink = MysqlSink(target(prefix=""))
    await sink.open()
    await sink.send([(route(), Reading(1.0, START))])
    await sink.close()
    assert sql("SHOW TABLES").split() == ["readings", "samples", "sources", "version"]


async def test_another_version_of_the_tables_is_left_alone(sink, sql):
    await sink.close()
    sql("UPDATE dmi_version SET version = 99")
    with pytest.raises(ConfigError, match="version 99"):
        await sink.open()


@pytest.mark.parametrize("what", ["VIEW dmi_readings", "TABLE dmi_samples"])
async def test_what_is_dropped_is_made_again(sink, sql, what):
    here = route()
    await sink.send([(here, Reading(1.0, START))])
    sql(f"DROP {what}")
    if "VIEW" not in what:
        with pytest.raises(UnavailableError, match="doesn't exist"):
            await sink.send([(here, Reading(2.0, START + 1))])
    await sink.close()
    await sink.open()
    assert not await sink.send([(here, Reading(2.0, START + 1))])
    assert "2" in sql("SELECT value FROM dmi_readings").split()


async def test_samples_whose_sources_are_gone_are_given_to_nobody(sink, sql):
    await sink.send([(route(), Reading(1.0, START))])
    sql("SET foreign_key_checks = 0; DROP TABLE dmi_sources")
    await sink.close()
    with pytest.raises(ConfigError, match="dmi_sources is gone"):
        await sink.open()


async def test_a_deleted_source_is_made_again(sink, sql):
    here = route()
    await sink.send([(here, Reading(1.0, START))])
    sql("DELETE FROM dmi_samples; DELETE FROM dmi_sources")
    with pytest.raises(UnavailableError, match="foreign key"):
        await sink.send([(here, Reading(2.0, START + 1))])
    await sink.close()
    await sink.open()
    assert not await sink.send([(here, Reading(2.0, START + 1))])


async def test_who_makes_tables_for_too_long_is_not_waited_for(target, server, sql):
    holder = await asyncio.create_subprocess_exec(
        *(server.find("mariadb"), "--no-defaults", f"--socket={server.socket}", "-uroot", "-N"),
        *("--unbuffered", "-e"),
        "SELECT get_lock('dmi-toolkit makes tables', 1) * connection_id(); SELECT sleep(20)",
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        number = int(await holder.stdout.readline())
        sink = MysqlSink(target(timeout=1))
        with pytest.raises(UnavailableError):
            await sink.open()
        sql(f"KILL {number}")
    finally:
        with contextlib.suppress(ProcessLookupError):
            holder.kill()
        await holder.wait()


# -------------------------------------------------------------- deleting ----


async def test_old_readings_go_and_young_ones_stay(target, sql):
    now = time.time()
    sink = MysqlSink(target(keepDays=10))
    await sink.open()
    items = [
        (route(device=f"dev-{d}"), Reading(float(n), now - n * DAY))
        for d in range(3)
        for n in range(20)
    ]
    await sink.send(items)
    await sink.close()
    assert sql("SELECT count(*), max(value) FROM dmi_readings") == "30\t9"


async def test_much_is_deleted_in_slices(target, sql):
    sink = MysqlSink(target())
    await sink.open()
    here, other = route(), route("other")
    await sink.send([(here, Reading(1.0, START)), (other, Reading(1.0, START))])
    await sink.close()
    sql(
        "INSERT INTO dmi_samples (source, time, quality, reason) SELECT s.id,"
        " '2020-01-01' + INTERVAL seq SECOND, 0, '' FROM seq_1_to_12000, dmi_sources s"
    )
    sink = MysqlSink(target(keepDays=365))
    await sink.open()
    left = []
    for n in range(4):
        await sink.send([(here, Reading(float(n), time.time()))])
        left.append(int(sql("SELECT count(*) FROM dmi_readings WHERE time < '2025-01-01'")))
    await sink.close()
    assert left == [14_000, 4000, 0, 0]


async def test_a_failure_to_delete_is_told_and_loses_nothing(target, sql, caplog):
    sink = MysqlSink(target(keepDays=1))
    await sink.open()
    sql(
        "CREATE TRIGGER never BEFORE DELETE ON dmi_samples FOR EACH ROW"
        " SIGNAL SQLSTATE '45000' SET message_text = 'not me'"
    )
    assert not await sink.send([(route(), Reading(1.0, time.time() - 2 * DAY))])
    assert not await sink.send([(route(), Reading(2.0, time.time()))])
    await sink.close()
    assert sql("SELECT count(*) FROM dmi_readings") == "2"
    assert "old readings stay" in caplog.text


# ----------------------------------------------------------- circumstances ----


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"password": "env:WRONG"}, "Access denied"),
        ({"username": "nobody"}, "Access denied"),
        ({"database": "missing"}, "Unknown database"),
        ({"database": "mysql"}, "denied"),
        ({"password": "env:NOT_SET"}, "NOT_SET"),
        ({"tls": {"ca": "/nowhere.pem"}}, "/nowhere.pem"),
    ],
)
async def test_what_a_human_must_mend_is_said(target, monkeypatch, options, words):
    monkeypatch.setenv("WRONG", "wrong")
    sink = MysqlSink(target(**options))
    with pytest.raises(ConfigError, match=words) as caught:
        await sink.open()
    assert PASSWORD not in str(caught.value)
    await sink.close()


async def test_a_server_killed_in_mid_flow_has_each_reading_once(server, target, sql):
    sent = await survive_kills(MysqlSink(target(timeout=5)), server)
    assert sql(
        "SELECT count(*), count(DISTINCT value_int), max(value_int) FROM dmi_readings"
    ).split("\t") == [str(sent), str(sent), str(sent - 1)]


async def test_a_frozen_server_is_given_up_in_time(server, target, sql):
    sink = MysqlSink(target(timeout=0.3))
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
        assert asyncio.all_tasks() == before
        with pytest.raises(DeadlineError):
            await sink.open()
    finally:
        server.thaw()
    await sink.close()
    await sink.open()
    assert not await sink.send([(here, Reading(2.0, START + 1))])
    await sink.close()
    assert sql("SELECT count(*) FROM dmi_readings") == "2"


async def test_a_session_that_an_admin_ends_is_retryable(sink, server, sql):
    number = sql("SELECT id FROM information_schema.processlist WHERE user = 'mapper'")
    sql(f"KILL {number}")
    with pytest.raises(UnavailableError):
        await sink.send([(route(), Reading(1.0, START))])
    await sink.close()
    await sink.open()
    assert not await sink.send([(route(), Reading(1.0, START))])


async def test_a_full_server_is_busy(target, sink):
    others = []
    with contextlib.suppress(UnavailableError):
        for _ in range(30):
            others.append(MysqlSink(target()))
            await others[-1].open()
    with pytest.raises(UnavailableError, match="Too many connections") as caught:
        await others[-1].open()
    assert caught.value.reason == "overloaded"
    await asyncio.gather(*(other.close() for other in others))


async def test_leaves_politely(sql, sink):
    before = int(sql("SHOW STATUS LIKE 'Aborted_clients'").split()[-1])
    await sink.close()
    assert int(sql("SHOW STATUS LIKE 'Aborted_clients'").split()[-1]) == before


async def test_a_send_without_a_connection_is_retryable(target):
    with pytest.raises(UnavailableError):
        await MysqlSink(target()).send([(route(), Reading(1.0, START))])


# ------------------------------------------------------------- connecting ----


async def tls_works(target, **options):
    sink = MysqlSink(target(**options))
    try:
        await sink.open()
        return not await sink.send([(route(), Reading(1.0, START))])
    finally:
        await sink.close()


async def test_tls_checks_the_server_and_shows_a_certificate(target, server, sql):
    sql(f"CREATE USER encrypted@'%' IDENTIFIED BY '{PASSWORD}' REQUIRE X509")
    sql("GRANT ALL ON *.* TO encrypted@'%'")
    files = server.certificates
    ca = {"ca": str(files.authority)}
    shown = ca | {"certificate": str(files.client), "key": str(files.client_key)}
    assert await tls_works(target, tls=ca)
    assert await tls_works(target, tls={"insecure": True})
    assert await tls_works(target, tls=shown, username="encrypted")
    with pytest.raises(ConfigError, match="denied"):
        await tls_works(target, tls=ca, username="encrypted")
    for wrong in ({}, ca | {"serverName": "other"}):
        with pytest.raises(ConfigError, match="certificate"):
            await tls_works(target, tls=wrong)


async def test_the_password_is_never_said_aloud(target, server, sql):
    """A server may ask for it as it is, and one that stands in another's place would."""
    sql("INSTALL SONAME 'auth_pam'")
    sql("CREATE USER pam@'%' IDENTIFIED VIA pam; GRANT ALL ON *.* TO pam@'%'")
    for tls in (None, {"ca": str(server.certificates.authority)}):
        sink = MysqlSink(target(username="pam", tls=tls))
        with pytest.raises(ConfigError, match="asks for the password as it is"):
            await sink.open()
    # TLS takes leave of the server after the refusal.
    query = "SELECT count(*) FROM information_schema.processlist WHERE user LIKE 'unauth%'"
    async with asyncio.timeout(10):
        while await asyncio.to_thread(sql, query) != "0":
            pass
    await asyncio.sleep(0)


async def test_a_login_that_needs_another_library_says_which(target, sql, monkeypatch):
    monkeypatch.setitem(sys.modules, "nacl", None)
    sql("INSTALL SONAME 'auth_ed25519'")
    sql("CREATE USER modern@'%' IDENTIFIED VIA ed25519 USING PASSWORD('x')")
    sink = MysqlSink(target(username="modern"))
    with pytest.raises(ConfigError, match="pynacl"):
        await sink.open()


async def test_a_unix_socket_will_do(target, server):
    sink = MysqlSink(target(address=server.socket))
    await sink.open()
    assert not await sink.send([(route(), Reading(1.0, START))])
    await sink.close()


# ------------------------------------------------------------- statements ----


def test_reads_what_a_device_declares():
    declared = DbMySQL.model_validate(
        {"mysqlClientConfig": {"addr": "db:3307", "database": "plant", "userName": "mapper"}}
    )
    settings, place = MysqlSink.pushed(declared)
    target = MysqlTarget.model_validate(settings)
    assert (target.address, target.database, target.username) == ("db:3307", "plant", "mapper")
    assert SqlPlace.model_validate(place) == SqlPlace()
    with pytest.raises(UnsupportedError):
        MysqlSink.pushed(DbRedis())


class Answers:
    """Stands for a connection: MySQL itself is not to be had here."""

    def __init__(self, version):
        self.version = version
        self.asked = []

    def cursor(self):
        return self

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        pass

    description = ("something",)

    async def execute(self, query, values):
        self.asked.append(query)

    async def fetchall(self):
        if "version()" in self.asked[-1]:
            return [(self.version,)]
        if "max(version)" in self.asked[-1]:
            return [(1,)]
        return [(f"dmi_{name}",) for name in ("version", "sources", "samples", "readings")]


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("10.11.19-MariaDB-0+deb12u1", "value_int = VALUES(value_int)"),
        ("8.4.3", "AS new ON DUPLICATE KEY UPDATE value_int = new.value_int"),
    ],
)
async def test_each_server_gets_its_own_words(version, words):
    schema = Schema("dmi_")
    await schema.prepare(Answers(version), 1.0)
    assert words in schema.insert(5)


def test_rows_are_divided_into_few_sizes():
    rows = [(1, n, None, 0.5, None, None, None, 0, "") for n in range(1234)]
    parts = [len(part) for part in divided(rows, 2**20)]
    assert parts == [500, 500, *[50] * 4, *[5] * 6, *[1] * 4]
    assert [row for part in divided(rows, 2**20) for row in part] == rows
    assert set(map(len, divided(rows, 1000))) == {5, 1}
    assert set(map(len, divided(rows, 10))) == {1}


@pytest.mark.parametrize(
    "settings",
    [
        {"address": "db"},
        {"address": "a b", "database": "x"},
        {"address": "db", "database": "x", "prefix": "a`b"},
        {"address": "db", "database": "x", "password": "secret"},
        {"address": "db", "database": "x", "keepDays": 0},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ValidationError):
        MysqlTarget.model_validate(settings)

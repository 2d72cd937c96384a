import asyncio
import os
import shutil
import sqlite3
import stat
import subprocess
import time

import pytest

from device_manager.storage import rows
from device_manager.storage import store as store_module
from device_manager.storage.database import CorruptDatabaseError, open_database, quarantine
from device_manager.storage.store import Store, Write
from device_manager.storage.writer import Pending, Writer
from dmi.errors import ConfigError, DmiError, UnavailableError
from dmi.readings import Reading


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.db"


@pytest.fixture
async def store(path):
    store, _ = await Store.open(path)
    yield store
    await store.close()


def setting(name, value="x" * 50):
    return [rows.setting_put(name, value)]


def settings(path):
    connection = open_database(path)
    found = dict(connection.execute("SELECT name, value FROM setting"))
    connection.close()
    return found


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a thread's doing has no event
            await asyncio.sleep(0.005)


async def test_a_write_is_answered_after_its_commit_and_in_order(store, path):
    order = []
    writes = [Write(setting(f"n{n}"), on_commit=lambda n=n: order.append(n)) for n in range(100)]
    await asyncio.gather(*(store.submit(write) for write in writes))
    assert order == list(range(100))
    await store.close()
    assert len(settings(path)) == 101


async def test_what_waits_becomes_few_transactions(path):
    commits = []
    connection = open_database(path)
    connection.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
    store = Store(connection, path)
    await asyncio.gather(*(store.submit(Write(setting(f"n{n}"))) for n in range(1000)))
    await store.close()
    assert len(commits) < 100


async def test_only_the_newest_reading_of_a_transaction_is_written(store, path):
    twin = [("INSERT INTO twin VALUES (7, 'default', 'pump', 'speed', NULL, 0)", ())]
    await store.submit(Write(twin))
    async with asyncio.TaskGroup():
        futures = [store.submit(Write((), {7: Reading(n, 1.0)})) for n in range(50)]
    await asyncio.gather(*futures)
    await store.close()
    again, contents = await Store.open(path)
    await again.close()
    assert [twin.reported.value for twin in contents.twins] == [49]


async def test_many_readings_at_once(store, path):
    count = 1234
    twins = [
        ("INSERT INTO twin VALUES (?, 'default', 'pump', ?, NULL, 0)", (n, f"p{n}"))
        for n in range(count)
    ]
    await store.submit(Write(twins, {n: Reading(n, 1.0) for n in range(count)}))
    await store.close()
    again, contents = await Store.open(path)
    await again.close()
    assert sorted(twin.reported.value for twin in contents.twins) == list(range(count))


async def test_those_who_come_when_the_queue_is_full_wait_for_room(path):
    store, _ = await Store.open(path, limit=2)
    for n in range(3):
        store.post(Write(setting(f"n{n}")))
    await store.room()
    await store.close()
    assert len(settings(path)) == 4


async def test_a_write_that_the_database_refuses_takes_nobody_along(store, path, caplog):
    wrong = Write([("INSERT INTO setting VALUES ('none', NULL)", ())])
    async with asyncio.TaskGroup():
        futures = [store.submit(w) for w in (Write(setting("a")), wrong, Write(setting("b")))]
    results = await asyncio.gather(*futures, return_exceptions=True)
    assert (results[0], results[2]) == (None, None)
    assert type(results[1]) is DmiError
    assert store.error == ""
    assert "refuses a write" in caplog.text
    await store.close()
    assert {"a", "b"} <= settings(path).keys()


async def test_a_number_that_does_not_fit_is_refused_not_fatal(store):
    with pytest.raises(DmiError):
        await store.submit(Write(setting("big", 2**70)))
    await store.submit(Write(setting("small", 1)))


def fill(connection):
    """Leave the database no page more than it has."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")


async def full_store(path):
    connection = open_database(path)
    fill(connection)
    return Store(connection, path), connection


async def test_a_full_disk_acknowledges_nothing_and_all_proceeds_later(path, caplog):
    store, connection = await full_store(path)
    big = "x" * 100_000
    kept = Write(setting("kept", big), keep=True, on_commit=lambda: done.append("kept"))
    dropped = Write(setting("dropped", big), on_commit=lambda: done.append("dropped"))
    done = []
    results = await asyncio.gather(
        store.submit(kept), store.submit(dropped), return_exceptions=True
    )
    assert [type(result) for result in results] == [UnavailableError] * 2
    assert "full" in store.error
    assert done == []
    connection.execute("PRAGMA max_page_count = 1000000")
    await until(lambda: not store.error)
    await store.submit(Write(setting("later")))
    assert done == ["kept"]
    await store.close()
    found = settings(path)
    assert found["kept"] == big
    assert "later" in found
    assert "dropped" not in found
    assert caplog.text.count("cannot be written") == 1
    assert caplog.text.count("takes writes again") == 1


async def test_a_full_disk_is_noticed_to_be_well_again_with_nothing_to_write(path):
    store, connection = await full_store(path)
    with pytest.raises(UnavailableError):
        await store.submit(Write(setting("dropped", "x" * 100_000)))
    connection.execute("PRAGMA max_page_count = 1000000")
    await until(lambda: not store.error)
    await store.close()
    assert "dropped" not in settings(path)


async def test_closing_on_a_full_disk_ends(path):
    store, _ = await full_store(path)
    store.post(Write(setting("kept", "x" * 100_000), keep=True))
    await store.close()
    assert "kept" not in settings(path)


async def test_a_refused_write_lets_nobody_overtake_who_waits_for_the_disk(path):
    connection = open_database(path)
    fill(connection)
    reports = []
    writer = Writer(connection, lambda group, error: reports.append((list(group), error)))
    wrong = Write([("INSERT INTO setting VALUES ('none', NULL)", ())])
    older, newer = Write(setting("n", "x" * 100_000), keep=True), Write(setting("n"), keep=True)
    for write in (wrong, older, newer):
        writer.put(Pending(write, None))
    writer.start()
    await until(lambda: len(reports) >= 3)
    connection.execute("PRAGMA max_page_count = 1000000")
    await until(lambda: [older, newer] in committed(reports))
    writer.stop()
    assert settings(path)["n"] == newer.statements[0][1][1]


def committed(reports):
    return [[one.write for one in group] for group, error in reports if error is None]


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=512k", "tmpfs", place], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no mounting here: {made.stderr.decode()}")
    yield place
    subprocess.run(["umount", place], check=True)


async def until_it_fails(store):
    for n in range(1000):
        try:
            await store.submit(Write(setting(f"n{n}", "x" * 2000), keep=True))
        except UnavailableError:
            return
        yield n


@pytest.mark.process
async def test_a_real_full_disk_and_what_happens_when_there_is_room_again(small_disk):
    path = small_disk / "store.db"
    store, _ = await Store.open(path)
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 200_000)
    committed = [n async for n in until_it_fails(store)]
    assert store.error
    ballast.unlink()
    await until(lambda: not store.error)
    await store.close()
    assert {f"n{n}" for n in range(len(committed) + 1)} <= settings(path).keys()


async def test_the_file_is_for_its_owner_only(store, tmp_path):
    await store.submit(Write(setting("a")))
    modes = {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert modes == {0o600}


async def test_an_epoch_stays_until_the_file_goes(path):
    epochs = []
    for _ in range(2):
        store, contents = await Store.open(path)
        await store.close()
        epochs.append(contents.epoch)
    aside = quarantine(path)
    store, contents = await Store.open(path)
    await store.close()
    assert epochs[0] == epochs[1] != contents.epoch
    assert aside.exists()


# ------------------------------------------------------------ damaged files ----


def garbage(path):
    path.write_bytes(b"this is no database, whatever its name says" * 100)


def torn(path):
    connection = open_database(path)
    many = ((f"s{n}", n) for n in range(3000))
    connection.executemany("INSERT INTO setting VALUES (?, ?)", many)
    connection.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(3 * 4096))


def nonsense(path):
    connection = open_database(path)
    connection.execute("INSERT INTO object VALUES ('Device', 'a', 'b', 'api', X'7B7D')")
    connection.close()


@pytest.mark.parametrize("damage", [garbage, torn, nonsense])
async def test_a_damaged_file_is_named_with_its_cure(path, damage):
    damage(path)
    with pytest.raises(ConfigError) as caught:
        await Store.open(path)
    assert str(path) in str(caught.value)
    assert "--quarantine-corrupt" in str(caught.value)
    before = path.read_bytes()
    aside = quarantine(path)
    assert aside.read_bytes() == before
    store, contents = await Store.open(path)
    await store.close()
    assert contents.objects == []


async def test_a_database_that_cannot_be_written_at_the_start_is_not_called_damaged(
    path, monkeypatch
):
    connection = open_database(path)
    connection.execute("INSERT INTO wish VALUES (7, 1, 1, 1, 1.0, 0, 1.0, '', '')")
    connection.execute("PRAGMA query_only = ON")
    monkeypatch.setattr(store_module, "open_database", lambda *_: connection)
    with pytest.raises(ConfigError, match=r"cannot be used: .*readonly") as caught:
        await Store.open(path)
    assert not isinstance(caught.value, CorruptDatabaseError)


def test_quarantine_keeps_every_file_apart(path):
    assert quarantine(path) is None
    places = set()
    for _ in range(3):
        garbage(path)
        path.with_name(path.name + "-wal").write_bytes(b"wal")
        places.add(quarantine(path))
    assert len(places) == 3
    assert all(place.with_name(place.name + "-wal").exists() for place in places)


def test_a_newer_database_is_not_touched(path):
    connection = open_database(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigError, match="schema version 99, this program knows up to 2"):
        open_database(path)


def test_another_programs_database_is_not_touched(path):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (a)")
    connection.close()
    with pytest.raises(ConfigError, match="another program's"):
        open_database(path)


def test_a_database_in_use_is_refused(path):
    connection = open_database(path)
    began = time.monotonic()
    with pytest.raises(ConfigError, match="in use by another process"):
        open_database(path)
    assert time.monotonic() - began < 2.0, "whoever starts it twice is told at once"
    connection.close()
    open_database(path).close()


def test_a_place_that_cannot_be_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be opened"):
        open_database(tmp_path / "file" / "store.db")
    with pytest.raises(ConfigError, match="cannot be opened"):
        open_database(tmp_path)


@pytest.mark.parametrize(("synchronous", "level"), [("normal", 1), ("full", 2)])
def test_durability_is_a_setting(path, synchronous, level):
    connection = open_database(path, synchronous)
    assert connection.execute("PRAGMA synchronous").fetchone() == (level,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()

import contextlib
import sqlite3
from collections import Counter
from random import random

import pytest

from dmi.errors import UnavailableError
from dmi.readings import Reading
from mapper_sdk.delivery.disk.database import DamagedError
from mapper_sdk.delivery.disk.keeper import Keeper
from mapper_sdk.delivery.disk.spool import Limits, Spool
from mapper_sdk.delivery.ledger import Ledger, losses_of
from mapper_sdk.fakes.clock import FakeClock
from tests.mapper_sdk.delivery.store_server import StorePlace

NOW = 1_790_000_000.0


@pytest.fixture
def opened(tmp_path):
    """Opens spools on one path, and closes them in the end."""
    spools = []

    def open_(path=tmp_path / "x.spool", size=10**9, age=10**6, now=NOW):
        spool = Spool(path, Ledger("target"), Limits(size, age), {"name": "target"})
        spools.append(spool)
        spool.open(now)
        return spool

    yield open_
    for spool in spools:
        spool.close()


def noise(count):
    return [Reading(random(), NOW + random()) for _ in range(count)]  # noqa: S311 - a test


def values(spool, limit=10**6):
    _, items = spool.head(limit, StorePlace)
    return [reading.value for _, reading in items]


def lost(spool):
    counted = Counter()
    for gap in spool.ledger.gaps():
        counted[gap.device.name, gap.property, gap.reason] += gap.count
    return counted


def test_what_is_refused_is_counted_once_though_the_disk_forgets_it(opened, make):
    """What comes again because the disk did not take the rest of it, is refused again."""
    spool = opened()
    spool.put([make.chunk(make.route(), make.readings(3))], NOW)
    upto, items = spool.head(10, StorePlace)
    spool._db.execute("PRAGMA query_only = ON")
    with pytest.raises(UnavailableError):
        spool.settle(upto, items[1:], losses_of(items[:1], "refused"), NOW)
    spool._db.execute("PRAGMA query_only = OFF")
    upto, items = spool.head(10, StorePlace)
    assert len(items) == 3
    spool.settle(upto, [], losses_of(items[:1], "refused"), NOW)
    assert lost(spool) == {("dev", "p", "refused"): 1}


def test_what_is_put_comes_out_in_order_and_is_settled(opened, make):
    spool, route = opened(), make.route()
    spool.put([make.chunk(route, make.readings(3)), make.chunk(route, make.readings(2))], NOW)
    spool.put([make.chunk(route, make.readings(1))], NOW + 1)
    assert (spool.readings, spool.oldest) == (6, NOW)
    assert values(spool) == [0, 1, 2, 0, 1, 0]
    upto, items = spool.head(1, StorePlace)  # never less than what was stored together
    assert all(found is route for found, _ in items)
    spool.settle(upto, [], [], NOW)
    assert (spool.readings, spool.oldest) == (1, NOW + 1)
    upto, _ = spool.head(10, StorePlace)
    spool.settle(upto, [], [], NOW)
    assert (spool.readings, spool.size, spool.oldest) == (0, 0, 0.0)
    assert values(spool) == []


def test_large_values_are_not_all_fetched_into_memory_at_once(opened, make):
    spool = opened()
    readings = [Reading(bytes([n]) * 2**20, NOW + n) for n in range(40)]
    spool.put([make.chunk(make.route(), readings)], NOW)
    found = []
    while spool.readings:
        upto, items = spool.head(1000, StorePlace)
        assert 0 < len(items) < 20
        spool.settle(upto, [], [], NOW)
        found += [reading for _, reading in items]
    assert found == readings


def test_it_survives_its_process(opened, make):
    route = make.route("a b", unit="kW", model="m", labels={"site": "1"}, table="other")
    first = opened()
    first.put([make.chunk(route, make.readings(1500))], NOW)
    first.close()
    again = opened()
    assert (again.readings, again.size, again.oldest) == (1500, first.size, NOW)
    _, items = again.head(2000, StorePlace)
    assert [reading.value for _, reading in items] == list(range(1500))
    found = items[0][0]
    assert found is items[-1][0]
    assert (found.source, found.place) == (route.source, route.place)


def test_the_file_is_for_this_user_only_and_for_one_process(opened, tmp_path):
    opened()
    assert (tmp_path / "x.spool").stat().st_mode & 0o777 == 0o600
    with pytest.raises(UnavailableError, match="locked"):
        opened()


def test_what_is_left_of_a_batch_stays_at_the_head(opened, make):
    spool, route = opened(), make.route()
    spool.put([make.chunk(route, make.readings(5))], NOW)
    spool.put([make.chunk(route, make.readings(2))], NOW + 5)
    upto, items = spool.head(3, StorePlace)
    spool.settle(upto, items[3:], losses_of(items[:1], "refused"), NOW)
    assert spool.readings == 4
    assert values(spool) == [3, 4, 0, 1]
    assert lost(spool) == {("dev", "p", "refused"): 1}


def test_too_many_bytes_cost_the_oldest_and_the_ledger_knows_them(opened, make):
    spool = opened(size=8_000)
    a, b = make.route("a"), make.route("b", "other")
    for n in range(20):
        pair = make.readings(200, first=NOW + n * 200)
        spool.put([make.chunk(a, pair), make.chunk(b, pair[:50])], NOW + n)
    assert 0 < spool.size <= 20_000
    _, kept = spool.head(10**6, StorePlace)
    left = Counter(route.source.property for route, _ in kept)
    missing = lost(spool)
    assert missing["dev", "a", "spool_full"] == 20 * 200 - left["a"]
    assert missing["other", "b", "spool_full"] == 20 * 50 - left["b"]
    (gap,) = [gap for gap in spool.ledger.gaps() if gap.property == "a"]
    assert (gap.first, gap.last) == (NOW, kept[0][1].time - 1)
    assert spool.ledger.lost == {"spool_full": sum(missing.values())}


def test_what_is_too_old_goes(opened, make):
    spool, route = opened(age=100), make.route()
    spool.put([make.chunk(route, make.readings(3))], NOW)
    spool.put([make.chunk(route, make.readings(2))], NOW + 50)
    spool.expire(NOW + 100)
    assert spool.readings == 5
    spool.expire(NOW + 120)
    assert spool.readings == 2
    assert lost(spool) == {("dev", "p", "too_old"): 3}


def test_what_was_stored_before_the_node_knew_the_time_does_not_age(opened, make):
    spool = opened(age=100, now=1000.0)
    spool.put([make.chunk(make.route(), make.readings(3))], 1000.0)
    spool.expire(NOW)
    spool.put([make.chunk(make.route(), make.readings(2))], NOW)
    assert spool.readings == 5


def test_what_is_in_flight_is_not_given_up(opened, make):
    spool, route = opened(age=100), make.route()
    spool.put([make.chunk(route, make.readings(3))], NOW)
    spool.put([make.chunk(route, make.readings(2))], NOW)
    upto, items = spool.head(1, StorePlace)
    spool.expire(NOW + 200)
    assert lost(spool) == {("dev", "p", "too_old"): 2}
    spool.release()
    spool.expire(NOW + 200)
    assert lost(spool) == {("dev", "p", "too_old"): 5}
    assert len(items) == 3
    assert upto


def test_the_ledger_survives_too(opened, make):
    first = opened(age=100)
    first.put([make.chunk(make.route(), make.readings(3))], NOW)
    first.expire(NOW + 200)
    first.note(losses_of(make.items(make.route("q"), make.readings(2)), "queue_full"), NOW)
    assert first.unsaved
    first.expire(NOW)
    assert not first.unsaved
    first.close()
    again = opened()
    assert lost(again) == {("dev", "p", "too_old"): 3, ("dev", "q", "queue_full"): 2}
    assert again.ledger.lost == {}
    assert [gap.target for gap in again.ledger.gaps()] == ["target", "target"]
    again.close()
    assert lost(opened(now=NOW + 100 * 86_400)) == {}


def test_an_emptied_spool_gives_the_disk_back(opened, make, tmp_path):
    spool, path = opened(), tmp_path / "x.spool"
    for n in range(20):
        spool.put([make.chunk(make.route(f"p{n}"), noise(4000))], NOW)
    assert spool.size > 1_000_000
    upto, _ = spool.head(10**9, StorePlace)
    spool.settle(upto, [], [], NOW)
    assert path.stat().st_size < 100_000
    spool.put([make.chunk(make.route("p1"), make.readings(2))], NOW)
    assert values(spool) == [0, 1]


def test_a_damaged_row_costs_only_itself(opened, make, tmp_path):
    spool = opened()
    for n in range(3):
        spool.put([make.chunk(make.route(), make.readings(2, first=NOW + n))], NOW + n)
    spool.close()
    with sqlite3.connect(tmp_path / "x.spool") as db:
        db.execute("UPDATE batches SET data = x'00' WHERE id = 2")
    db.close()
    spool = opened()
    assert values(spool) == [0, 1, 0, 1]
    assert values(spool) == [0, 1, 0, 1]
    assert spool.readings == 4
    assert lost(spool) == {("", "", "spool_damaged"): 2}


@pytest.mark.parametrize("column", ["routes", "batches"])
def test_damage_is_counted_when_it_is_given_up(opened, make, tmp_path, column):
    spool = opened()
    spool.put([make.chunk(make.route(), make.readings(2))], NOW)
    spool.close()
    with sqlite3.connect(tmp_path / "x.spool") as db:
        db.execute("DELETE FROM routes" if column == "routes" else "UPDATE batches SET data = x''")
    db.close()
    spool = opened(age=10)
    spool.expire(NOW + 100)
    assert spool.readings == 0
    assert lost(spool) == {("", "", "spool_damaged"): 2}


@pytest.mark.parametrize("another", [False, True])
async def test_a_file_that_is_taken_away_swallows_nothing(opened, make, tmp_path, another):
    """SQLite would go on writing to what has no name any more."""
    spool = opened()
    keeper = Keeper(spool, FakeClock(NOW))
    await keeper.call(spool.put, [make.chunk(make.route(), make.readings(9))], NOW)
    for file in tmp_path.glob("x.spool*"):
        file.unlink()
    if another:
        (tmp_path / "x.spool").write_bytes(b"something")
    await keeper.call(spool.put, [make.chunk(make.route(), make.readings(2))], NOW)
    keeper.close()
    again = opened()
    assert values(again) == [0, 1]
    assert lost(again) == {("", "", "spool_damaged"): 9}


async def test_what_is_settled_of_a_file_that_is_no_more_hides_nothing_of_the_next(
    opened, make, tmp_path
):
    spool = opened()
    keeper = Keeper(spool, FakeClock(NOW))
    for n in range(3):
        await keeper.call(spool.put, [make.chunk(make.route(), make.readings(2))], NOW + n)
    upto, _ = await keeper.call(spool.head, 3, StorePlace)
    for file in tmp_path.glob("x.spool*"):
        file.unlink()
    refused = losses_of(make.items(make.route("q"), make.readings(1)), "refused")
    await keeper.call(spool.settle, upto, [], refused, NOW)
    assert lost(spool) == {("", "", "spool_damaged"): 4, ("dev", "q", "refused"): 1}
    await keeper.call(spool.put, [make.chunk(make.route(), make.readings(5))], NOW)
    _, items = await keeper.call(spool.head, 10, StorePlace)
    assert len(items) == spool.readings == 5
    keeper.close()


def test_a_damaged_file_is_put_aside_and_its_loss_noted(opened, make, tmp_path):
    spool, path = opened(), tmp_path / "x.spool"
    spool.put([make.chunk(make.route(), make.readings(9))], NOW)
    spool.note(losses_of(make.items(make.route("q"), make.readings(1)), "refused"), NOW)
    spool.close()
    path.write_bytes(b"this was a database" * 300)
    with pytest.raises(DamagedError) as found:
        spool.open(NOW)
    spool.start_over(found.value, NOW + 7)
    assert [name.name for name in tmp_path.glob("*.damaged-*")]
    assert lost(spool) == {("dev", "q", "refused"): 1, ("", "", "spool_damaged"): 9}
    spool.put([make.chunk(make.route(), make.readings(2))], NOW)
    spool.close()
    again = opened()
    assert again.readings == 2
    assert lost(again) == {("dev", "q", "refused"): 1, ("", "", "spool_damaged"): 9}


def test_another_programs_file_is_not_ours(opened, tmp_path):
    with sqlite3.connect(tmp_path / "x.spool") as db:
        db.execute("CREATE TABLE other (a)")
    db.close()
    with pytest.raises(DamagedError, match="not a spool"):
        opened()


def test_a_folder_that_is_not_there_is_trouble_not_damage(opened, tmp_path):
    with pytest.raises(UnavailableError, match="No such file"):
        opened(tmp_path / "none" / "x.spool")


@pytest.mark.process
def test_a_full_disk_changes_nothing_and_what_was_settled_is_not_given_again(
    opened, make, small_disk
):
    spool = opened(small_disk / "x.spool")

    def fill():
        while True:
            spool.put([make.chunk(make.route(), noise(1000))], NOW)

    with pytest.raises(UnavailableError, match="full"):
        fill()
    put = spool.readings
    assert put > 0
    upto, items = spool.head(1000, StorePlace)
    assert len(items) == 1000
    with contextlib.suppress(UnavailableError):
        spool.settle(upto, [], losses_of(items[:1], "refused"), NOW)
    assert spool.readings == put - 1000
    assert lost(spool) == {("dev", "p", "refused"): 1}
    after, _ = spool.head(1000, StorePlace)
    assert after > upto
    spool.close()

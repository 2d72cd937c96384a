import asyncio
import logging
import sqlite3

import pytest

from dmi.errors import UnavailableError
from dmi.resources import Key
from mapper_sdk import audit as audit_module
from mapper_sdk.audit import Audit

DEVICE = Key("default", "dev")


@pytest.fixture(params=["memory", "database"])
def audit(request, tmp_path):
    return Audit(tmp_path / "delivery" if request.param == "database" else None)


async def test_what_is_noted_is_found_newest_first(audit):
    await audit.note("ann", "write", DEVICE, "t", b"25.0")
    await audit.note("bob", "call", Key("south", "dev"), "m", b"{}", "refused", "locked")
    await audit.note("bob", "loglevel", None, "", b'"debug"')
    last, call, write = await audit.entries()
    assert (last.namespace, last.device, last.client) == ("", "", "bob")
    assert (call.action, call.target, call.result, call.message) == (
        "call",
        "m",
        "refused",
        "locked",
    )
    assert (write.given, write.result) == ("25.0", "ok")
    assert last.id > call.id > write.id
    assert await audit.entries(before=last.id, limit=1) == [call]
    assert await audit.entries(namespace="south") == [call]
    assert await audit.entries(client="bob", device="dev") == [call]


async def test_long_texts_are_cut(audit):
    await audit.note("ann", "write", DEVICE, "t", "ä".encode() * 100_000, "ok", "m" * 100_000)
    (entry,) = await audit.entries()
    assert (len(entry.given), len(entry.message)) == (2000, 2000)


async def test_the_oldest_go_first(tmp_path, monkeypatch):
    monkeypatch.setattr(audit_module, "MOST_KEPT", 3)
    audit = Audit(tmp_path)
    for number in range(5):
        await audit.note("ann", "write", DEVICE, "t", b"%d" % number)
    assert [entry.given for entry in await audit.entries()] == ["4", "3", "2"]


async def test_a_restart_forgets_nothing(tmp_path):
    await Audit(tmp_path).note("ann", "write", DEVICE, "t", b"1")
    again = Audit(tmp_path)
    await again.note("ann", "write", DEVICE, "t", b"2")
    assert [(entry.id, entry.given) for entry in await again.entries()] == [(2, "2"), (1, "1")]


async def test_many_at_once_are_all_kept(tmp_path):
    audit = Audit(tmp_path)
    notes = [audit.note("ann", "write", DEVICE, "t", b"%d" % n) for n in range(50)]
    await asyncio.gather(*notes)
    assert {entry.given for entry in await audit.entries()} == {str(n) for n in range(50)}


async def test_without_a_database_it_is_in_the_log_too(caplog):
    with caplog.at_level(logging.INFO, "mapper_sdk.audit"):
        await Audit().note("ann", "write", DEVICE, "t", b"25.0")
    assert "ann: write default/dev t 25.0: ok" in caplog.text


async def test_a_database_that_takes_nothing_harms_nobody(tmp_path, caplog):
    (tmp_path / "audit.db").write_bytes(b"this is no database, whatever its name says" * 50)
    audit = Audit(tmp_path)
    with caplog.at_level(logging.INFO, "mapper_sdk.audit"):
        await audit.note("ann", "write", DEVICE, "t", b"25.0")
    assert audit.failed == 1
    assert "ann: write default/dev t 25.0" in caplog.text
    with pytest.raises(UnavailableError):
        await audit.entries()


async def test_what_is_kept_is_a_plain_table(tmp_path):
    await Audit(tmp_path).note("ann", "write", DEVICE, "t", b"25.0")
    with sqlite3.connect(tmp_path / "audit.db") as database:
        rows = database.execute("SELECT client, device, given FROM audit").fetchall()
    database.close()
    assert rows == [("ann", "dev", "25.0")]

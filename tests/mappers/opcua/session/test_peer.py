"""Sessions and their recovery on a server that does what the test says."""

import asyncio
from collections import Counter

import pytest

from dmi.errors import (
    AccessDeniedError,
    NotFoundError,
    OverloadedError,
    RefusedError,
    UnavailableError,
)
from mappers.opcua.config import OpcuaLink
from mappers.opcua.session import peer as peer_module
from mappers.opcua.session.channel import Channel
from mappers.opcua.session.feed import Feed
from mappers.opcua.session.items import Item
from mappers.opcua.session.ladder import Rung
from mappers.opcua.session.peer import Peer
from mappers.opcua.visit import OpcuaVisit

VISIT = OpcuaVisit.model_validate({"nodeID": "i=1"})


class ScriptedFeed(Feed):
    """Notes what is done to it; its subscription is made and refused as it is told."""

    __slots__ = ("done", "fails", "heard")

    def __init__(self, *names):
        self.heard = {name: [] for name in names}
        super().__init__(50, 1, 60, [Item(VISIT, self.heard[name].append) for name in names])
        self.done, self.fails = [], {}
        self._promised = 3600.0

    def note(self, what):
        self.done.append(what)
        if self.fails.get(what):
            raise self.fails[what].pop(0)

    async def make(self, channel):
        self.complete = False
        self.note("make")
        self.subscription += 1

    async def fill(self, channel):
        self.note("fill")
        self.complete = True

    async def delete(self, channel):
        self.note("delete")

    async def transfer(self, channel, *, initial):
        self.note("transfer")
        return True

    async def republish(self, channel, until=None):
        self.note("republish")
        return 0

    async def watch(self, channel, indexes):
        self.note("watch")

    async def refresh(self, channel):
        self.note("refresh")


@pytest.fixture
async def peer(monkeypatch):
    """An open peer; the server never says anything by itself."""

    class Quiet:
        async def publish(self, acknowledgements):
            await asyncio.Event().wait()

    async def nothing(self, *arguments):
        return []

    async def reopen(self):
        return True

    monkeypatch.setattr(Channel, "session", property(lambda _: Quiet()))
    monkeypatch.setattr(Channel, "open", nothing)
    monkeypatch.setattr(Channel, "close", nothing)
    monkeypatch.setattr(Channel, "read", nothing)
    monkeypatch.setattr(Channel, "reopen", reopen)
    monkeypatch.setattr(peer_module, "_LOOK_SECONDS", 0.005)
    made = Peer(OpcuaLink.model_validate({"url": "opc.tcp://plc", "recoveryTime": 0.3}), Counter())
    await made.open()
    yield made
    await made.close()


async def until(held):
    async with asyncio.timeout(5):
        while not held():  # noqa: ASYNC110 - what is waited for rings no bell
            await asyncio.sleep(0.005)


def counted(peer, rung):
    return peer._ladder._tally[rung.value]


async def lose(peer):
    """Let a request find out that the connection is cut."""

    async def fail(channel):
        raise UnavailableError("cut")

    with pytest.raises(UnavailableError):
        await peer.use(fail)


async def test_it_ends_although_its_work_swallows_being_told_so(peer, monkeypatch):
    """As asyncua does while it waits for a task of its own to end."""
    stubborn = asyncio.Event()

    async def reopen(self):
        for _ in range(2):
            try:
                stubborn.set()
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                pass
        await asyncio.sleep(3600)

    monkeypatch.setattr(Channel, "reopen", reopen)
    monkeypatch.setattr(peer_module, "_TELL_AGAIN", 0.01)
    peer._link.__dict__["recovery_time"] = 3600.0
    await lose(peer)
    await stubborn.wait()
    async with asyncio.timeout(5):
        await peer.close()


async def test_a_bug_is_told_and_ends_the_session(peer, monkeypatch, caplog):
    async def reopen(self):
        raise KeyError("bug")

    monkeypatch.setattr(Channel, "reopen", reopen)
    feed = ScriptedFeed("a")
    await peer.add(feed)
    await lose(peer)
    await until(lambda: peer.is_dead)
    assert "has a bug" in caplog.text
    assert isinstance(feed.heard["a"][0], UnavailableError)
    with pytest.raises(UnavailableError, match="bug"):
        await peer.use(lambda channel: channel.read([]))
    await peer.drop(feed)
    assert "delete" not in feed.done


async def test_requests_wait_while_it_is_mended(peer, monkeypatch):
    gate = asyncio.Event()

    async def reopen(self):
        await gate.wait()
        return True

    monkeypatch.setattr(Channel, "reopen", reopen)
    await lose(peer)
    await until(lambda: not peer._ready.is_set())
    waiting = asyncio.ensure_future(peer.use(lambda channel: channel.read([])))
    await asyncio.sleep(0)
    assert not waiting.done()
    gate.set()
    await waiting
    assert counted(peer, Rung.RESUME) == 1


async def test_a_subscription_that_is_refused_is_not_kept(peer):
    feed = ScriptedFeed("a")
    feed.fails = {"make": [OverloadedError("enough")]}
    with pytest.raises(OverloadedError):
        await peer.add(feed)
    events = ScriptedFeed("a")
    events.fails = {"fill": [NotFoundError("no such source")]}
    with pytest.raises(NotFoundError):
        await peer.add(events)
    assert events.done == ["make", "fill", "delete"]
    assert peer._feeds == []
    feed.fails = {"delete": [RefusedError("whatever")]}
    await peer.add(feed)
    await peer.drop(feed)
    assert peer._feeds == []


async def test_the_first_rungs_that_hold(peer, monkeypatch):
    feed = ScriptedFeed("a")
    await peer.add(feed)
    await lose(peer)
    await until(lambda: "republish" in feed.done and peer._ready.is_set())
    assert feed.done == ["make", "fill", "transfer", "republish"]
    feed.done.clear()

    async def reopen(self):
        return False

    monkeypatch.setattr(Channel, "reopen", reopen)
    feed.fails = {"transfer": [RefusedError("not yours")], "delete": [RefusedError("gone")]}
    await lose(peer)
    await until(lambda: "fill" in feed.done and peer._ready.is_set())
    assert feed.done == ["transfer", "delete", "make", "fill"]
    found = {rung: counted(peer, rung) for rung in (Rung.RESUME, Rung.NEW_SESSION, Rung.RECREATE)}
    assert found == {Rung.RESUME: 1, Rung.NEW_SESSION: 1, Rung.RECREATE: 1}


@pytest.mark.parametrize("step", ["transfer", "republish", "delete", "make", "fill"])
async def test_a_cut_on_any_rung_begins_anew(peer, monkeypatch, step):
    async def reopen(self):
        return False

    monkeypatch.setattr(Channel, "reopen", reopen)
    feed = ScriptedFeed("a")
    await peer.add(feed)
    feed.done.clear()
    feed.fails = {step: [UnavailableError("cut again")]}
    if step in {"delete", "make", "fill"}:
        feed.fails["transfer"] = [RefusedError("no"), RefusedError("no")]
    await lose(peer)
    await until(lambda: feed.done[-1:] in (["republish"], ["fill"]) and peer._ready.is_set())
    assert feed.done.count("transfer") == 2
    assert feed.complete
    assert counted(peer, Rung.NEW_SESSION) == 2


async def test_a_server_that_does_not_come_back_is_given_up(peer, monkeypatch):
    async def reopen(self):
        raise AccessDeniedError("another certificate")

    monkeypatch.setattr(Channel, "reopen", reopen)
    feed = ScriptedFeed("a", "b")
    await peer.add(feed)
    await lose(peer)
    await until(lambda: peer.is_dead)
    assert "another certificate" in str(feed.heard["b"][0])
    assert counted(peer, Rung.GAVE_UP) == 1


async def test_one_that_is_dropped_while_it_is_made_anew_leaves_nothing(peer):
    feed = ScriptedFeed("a")
    await peer.add(feed)
    feed.done.clear()
    peer._feeds.remove(feed)
    await peer._ladder.recreate(feed)
    assert feed.done == ["delete", "make", "fill", "delete"]


async def test_a_silent_one_is_made_anew_if_the_server_is_there(peer, monkeypatch):
    feed = ScriptedFeed("a")
    await peer.add(feed)
    feed._promised, feed.heard_at = 3600.0, -1e9
    fill = ScriptedFeed.fill

    async def filling(self, channel):
        self.heard_at = 1e12
        await fill(self, channel)

    monkeypatch.setattr(ScriptedFeed, "fill", filling)
    await until(lambda: counted(peer, Rung.RECREATE) == 1)
    assert counted(peer, Rung.SILENT) == 1

    async def cut(self, nodes):
        raise UnavailableError("cut")

    async def reopen(self):
        monkeypatch.setattr(Channel, "read", lambda self, nodes: asyncio.sleep(0))
        return True

    monkeypatch.setattr(Channel, "read", cut)
    monkeypatch.setattr(Channel, "reopen", reopen)
    feed.heard_at = -1e9
    await until(lambda: counted(peer, Rung.RESUME) == 1)


async def test_conditions_are_asked_for_when_the_server_wants_that(peer):
    class Source:
        wanted = True

        def wants_refresh(self):
            wanted, self.wanted = self.wanted, False
            return wanted

    feed = ScriptedFeed()
    feed.heard_at = 1e12
    feed.events = [Source()]
    await peer.add(feed)
    await until(lambda: "refresh" in feed.done)
    assert feed.done.count("refresh") == 1


async def test_what_was_refused_is_tried_again(peer):
    peer._link.__dict__["retry_refused"] = 0.0
    feed = ScriptedFeed("a", "b")
    feed.heard_at = 1e12
    feed.items[0].refusal = RefusedError("not yet")
    feed.fails = {"watch": [RefusedError("busy")]}
    await peer.add(feed)
    await until(lambda: feed.heard["a"])
    assert feed.done.count("watch") >= 2
    assert feed.heard["b"] == []
    feed.fails = {"watch": [UnavailableError("cut")]}
    await until(lambda: counted(peer, Rung.RESUME) == 1)


async def test_a_quiet_session_is_kept_alive(peer, monkeypatch):
    looked = asyncio.Event()

    async def read(self, nodes):
        looked.set()

    monkeypatch.setattr(Channel, "read", read)
    peer.channel.session_seconds = 0.03
    async with asyncio.timeout(5):
        await looked.wait()


def test_items_that_are_polled_instead_after_a_restart():
    ladder = peer_module.Ladder(None, [], Counter())
    feed = ScriptedFeed("full", "bad", "fine", "known")
    full, bad, _, known = feed.items
    full.refusal, full.polled = OverloadedError("full"), True
    bad.refusal = NotFoundError("gone")
    known.refusal, known.polled = OverloadedError("full"), True
    ladder._report_refusals(feed, [False, False, False, True])
    assert isinstance(feed.heard["full"][0], UnavailableError)
    assert isinstance(feed.heard["bad"][0], NotFoundError)
    assert feed.heard["fine"] == feed.heard["known"] == []

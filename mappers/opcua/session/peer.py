"""A server that several devices share: its session kept alive, and mended when it is cut."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable

from asyncua import ua

from dmi.errors import DmiError, UnavailableError
from mappers.opcua.config import OpcuaLink
from mappers.opcua.session.channel import Channel
from mappers.opcua.session.feed import Feed
from mappers.opcua.session.ladder import Ladder, LostError, Rung
from mappers.opcua.session.publisher import Publisher
from mappers.opcua.values.refusals import is_gone

__all__ = ["Peer"]

log = logging.getLogger(__name__)

_PUBLISHERS = 3
"""Requests for messages that wait at the server: it can answer while one is on its way back."""
_LOOK_SECONDS = 0.25
_TELL_AGAIN = 0.5


class Peer:
    """One session, the subscriptions in it, and their recovery.

    A cut connection is mended in the background: the session is resumed and what was
    missed is fetched; failing that the subscriptions are moved to a new session; failing
    that they are made anew. Only when that does not succeed within `recoveryTime` do the
    devices hear of it.

    Args:
        link: How to reach it.
        tally: Where the rungs are counted.
    """

    def __init__(self, link: OpcuaLink, tally: Counter[str]) -> None:
        self.channel = Channel(link)
        self._link = link
        self._feeds: list[Feed] = []
        self._ladder = Ladder(self.channel, self._feeds, tally)
        self._ready = asyncio.Event()
        self._lost = asyncio.Event()
        self._fed = asyncio.Event()
        self._dead: UnavailableError | None = None
        self._task: asyncio.Task[None] | None = None
        self._used_at = time.monotonic()
        self._closing = False

    # ------------------------------------------------------------- its life ----

    async def open(self) -> None:
        """Connect.

        Raises:
            DmiError: It cannot be done; nothing is held.
        """
        await self.channel.open()
        self._ready.set()
        # Held here and ended by `close`: whichever device opened it need not outlive the others.
        self._task = asyncio.create_task(self._run(), name=f"opcua {self._link.address}")
        self._task.add_done_callback(self._ended)

    async def close(self) -> None:
        """Disconnect; safe to call twice."""
        task, self._task = self._task, None
        self._closing = True
        while task is not None and not task.done():
            # More than once: asyncua swallows it while it waits for tasks of its own to end.
            task.cancel()
            await asyncio.wait([task], timeout=_TELL_AGAIN)
        await self.channel.close()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A bug must not look like a quiet server."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("the session with %s has a bug", self._link.address, exc_info=error)
            self._give_up(UnavailableError(f"{self._link.address}: {error!r}"))

    @property
    def is_dead(self) -> bool:
        """Whether it was given up."""
        return self._dead is not None

    async def use(self, what: Callable[[Channel], Awaitable[None]]) -> None:
        """Do something with the session once it is there; a cut found out so is mended.

        Raises:
            UnavailableError: It is not there within `recoveryTime`.
            DmiError: As `what` says.
        """
        if not self._ready.is_set():
            await self._ready.wait()
        if self._dead is not None:
            raise self._dead
        self._used_at = time.monotonic()
        try:
            await what(self.channel)
        except DmiError as error:
            if is_gone(error):
                self._lost.set()
            raise

    # -------------------------------------------------------- subscriptions ----

    async def add(self, feed: Feed) -> None:
        """Subscribe; afterwards each item says whether it was refused.

        Raises:
            DmiError: The server makes no subscription, or is away.
        """
        # Known before it is made: its first message may come before its last item is asked for.
        self._feeds.append(feed)
        try:
            await self.use(feed.make)
            self._fed.set()
            await self.use(feed.fill)
        except DmiError:
            await self.drop(feed)
            raise
        finally:
            if not feed.complete:
                self._forget(feed)
        self._ladder.count(Rung.FEWER_ITEMS, sum(item.polled for item in feed.items))

    async def drop(self, feed: Feed) -> None:
        """Subscribe no longer."""
        self._forget(feed)
        if self._ready.is_set() and not self.is_dead:
            try:
                await feed.delete(self.channel)
            except DmiError as error:
                log.debug("subscription not deleted: %s", error)

    def _forget(self, feed: Feed) -> None:
        if feed in self._feeds:
            self._feeds.remove(feed)
        if not self._feeds:
            self._fed.clear()

    # -------------------------------------------------------------- running ----

    async def _run(self) -> None:
        publisher = Publisher(self.channel, self._feeds, self._ladder, self._fed)
        while True:
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(_PUBLISHERS):
                        group.create_task(publisher.wait_for_messages())
                    group.create_task(self._keep_watch())
                    group.create_task(self._until_lost())
            except* LostError:
                pass
            if self._closing:
                return  # a task group that just failed swallows being cancelled
            self._ready.clear()
            self._lost.clear()
            try:
                await self._ladder.mend()
            except UnavailableError as error:
                self._give_up(error)
                return
            self._ready.set()

    async def _until_lost(self) -> None:
        await self._lost.wait()
        raise LostError

    def _give_up(self, error: UnavailableError) -> None:
        self._dead = error
        self._ladder.count(Rung.GAVE_UP)
        log.debug("%s is given up: %s", self._link.address, error)
        for feed in self._feeds:
            feed.fail(error)
        self._ready.set()

    # ------------------------------------------------------------- watching ----

    async def _keep_watch(self) -> None:
        """Look after everything that does not tell by itself.

        Raises:
            LostError: The connection is cut.
        """
        retried_at = time.monotonic()
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            now = time.monotonic()
            try:
                if now - self._used_at > self.channel.session_seconds / 3:
                    await self._look_whether_alive()
                for feed in [feed for feed in self._feeds if feed.complete]:
                    await self._look_after(feed)
                if now - retried_at > self._link.retry_refused:
                    retried_at = now
                    for feed in [feed for feed in self._feeds if feed.complete]:
                        await self._retry(feed)
            except DmiError as error:
                raise LostError from error

    async def _look_after(self, feed: Feed) -> None:
        if feed.is_silent:
            self._ladder.count(Rung.SILENT)
            # Perhaps it is the whole connection that is silent.
            await self._look_whether_alive()
            if feed in self._feeds:
                await self._ladder.recreate(feed)
        elif feed.wants_refresh:
            await feed.refresh(self.channel)

    async def _look_whether_alive(self) -> None:
        self._used_at = time.monotonic()
        await self.channel.read([ua.NodeId(ua.ObjectIds.Server_ServerStatus_State)])

    async def _retry(self, feed: Feed) -> None:
        """Try the items again that the server refused."""
        again = list(feed.refused)
        if not again:
            return
        try:
            await feed.watch(self.channel, again)
        except DmiError as error:
            if is_gone(error):
                raise
            return
        for index in again:
            item = feed.items[index]
            if item.refusal is not None:
                item.publish(item.refusal)

"""A server that several devices share: its session kept alive, mended, and counted."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from enum import StrEnum

from asyncua import ua
from asyncua.ua.uaerrors import UaError

from dmi.errors import DmiError, UnavailableError
from mappers.opcua.config import OpcuaLink
from mappers.opcua.session.channel import Channel
from mappers.opcua.session.feed import Feed, following
from mappers.opcua.values.refusals import error_of, is_gone

__all__ = ["Peer", "Rung"]

log = logging.getLogger(__name__)

_PUBLISHERS = 3
"""Requests for messages that wait at the server: it can answer while one is on its way back."""
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 1.0


class Rung(StrEnum):
    """What was done to keep data flowing, from the least to the most."""

    REPUBLISH = "opcua_republished_messages"
    RESUME = "opcua_resumed_sessions"
    TRANSFER = "opcua_transferred_subscriptions"
    RECREATE = "opcua_recreated_subscriptions"
    NEW_SESSION = "opcua_new_sessions"
    FEWER_ITEMS = "opcua_items_polled_instead"
    SILENT = "opcua_silent_subscriptions"
    GAVE_UP = "opcua_sessions_given_up"


class _LostError(Exception):
    """Ends the work on a connection that is cut."""


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
        self._tally = tally
        self._feeds: list[Feed] = []
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
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
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
        """Subscribe; afterwards each item says whether it was refused."""
        await self.use(feed.create)
        self._feeds.append(feed)
        self._count_fewer(feed)
        self._fed.set()

    async def drop(self, feed: Feed) -> None:
        """Subscribe no longer."""
        feed.closed = True
        if feed in self._feeds:
            self._feeds.remove(feed)
        if not self._feeds:
            self._fed.clear()
        if self._ready.is_set() and not self.is_dead:
            try:
                await feed.delete(self.channel)
            except DmiError as error:
                log.debug("subscription not deleted: %s", error)

    def _count(self, rung: Rung, times: int = 1) -> None:
        self._tally[rung.value] += times

    def _count_fewer(self, feed: Feed) -> None:
        self._count(Rung.FEWER_ITEMS, sum(item.polled for item in feed.items))

    # -------------------------------------------------------------- running ----

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(_PUBLISHERS):
                        group.create_task(self._publish())
                    group.create_task(self._keep_watch())
                    group.create_task(self._until_lost())
            except* _LostError:
                pass
            if self._closing:
                return  # a task group that just failed swallows being cancelled
            self._ready.clear()
            self._lost.clear()
            try:
                await self._mend()
            except UnavailableError as error:
                self._give_up(error)
                return
            self._ready.set()

    async def _until_lost(self) -> None:
        await self._lost.wait()
        raise _LostError

    def _give_up(self, error: UnavailableError) -> None:
        self._dead = error
        self._count(Rung.GAVE_UP)
        log.debug("%s is given up: %s", self._link.address, error)
        for feed in self._feeds:
            feed.fail(error)
        self._ready.set()

    async def _publish(self) -> None:
        """Ask for messages, one after the other; several of these run side by side."""
        acknowledgements: list[ua.SubscriptionAcknowledgement] = []
        while True:
            await self._fed.wait()
            try:
                answer = await self.channel.session.publish(acknowledgements)
                answer.ResponseHeader.ServiceResult.check()
            except (UaError, OSError, TimeoutError) as error:
                acknowledgements = []
                if await self._refused_to_publish(error):
                    continue
                return
            acknowledgements = await self._take(answer.Parameters)

    async def _refused_to_publish(self, error: Exception) -> bool:
        """Whether to ask again."""
        code = getattr(error, "code", None)
        if code == ua.StatusCodes.BadTooManyPublishRequests:
            return False
        if code == ua.StatusCodes.BadNoSubscription:
            # The server has forgotten them, or somebody is just about to make one.
            await asyncio.sleep(_FIRST_PAUSE)
            for feed in self._feeds:
                feed.heard_at = 0.0
            return True
        if code == ua.StatusCodes.BadTimeout:
            return True
        if is_gone(error_of(error, "publishing")):
            raise _LostError from error
        await asyncio.sleep(_LONGEST_PAUSE)
        return True

    async def _take(self, result: ua.PublishResult) -> list[ua.SubscriptionAcknowledgement]:
        message = result.NotificationMessage
        feed = next((f for f in self._feeds if f.subscription == result.SubscriptionId), None)
        if feed is None:
            return []
        feed.heard_at = time.monotonic()
        number = message.SequenceNumber
        if not message.NotificationData:
            # Its number is that of the next message: anything before it is missing.
            if feed.sequence and number != following(feed.sequence):
                self._count(Rung.REPUBLISH, max(0, await feed.republish(self.channel, number)))
            return []
        if feed.sequence and number != following(feed.sequence):
            self._count(Rung.REPUBLISH, max(0, await feed.republish(self.channel, number)))
        feed.sequence = number
        feed.take(message)
        for part in message.NotificationData:
            if isinstance(part, ua.StatusChangeNotification) and not part.Status.is_good():
                feed.heard_at = 0.0
        return [ua.SubscriptionAcknowledgement(result.SubscriptionId, number)]

    # ------------------------------------------------------------- watching ----

    async def _keep_watch(self) -> None:
        retried_at = time.monotonic()
        while True:
            await asyncio.sleep(0.25)
            now = time.monotonic()
            if now - self._used_at > self._link.session_timeout / 3:
                await self._look_whether_alive()
            for feed in [feed for feed in self._feeds if feed.is_silent]:
                await self._wake(feed)
            if now - retried_at > self._link.retry_refused:
                retried_at = now
                for feed in list(self._feeds):
                    await self._retry(feed)

    async def _look_whether_alive(self) -> None:
        self._used_at = time.monotonic()
        try:
            await self.channel.read([ua.NodeId(ua.ObjectIds.Server_ServerStatus_State)])
        except DmiError as error:
            raise _LostError from error

    async def _wake(self, feed: Feed) -> None:
        """Make a silent subscription anew, unless it is the whole connection that is silent."""
        self._count(Rung.SILENT)
        await self._look_whether_alive()
        if feed not in self._feeds:
            return
        try:
            await self._recreate(feed)
        except DmiError as error:
            raise _LostError from error

    async def _retry(self, feed: Feed) -> None:
        """Try the items again that the server refused."""
        again = list(feed.refused)
        if not again:
            return
        try:
            await feed.watch(self.channel, again)
        except DmiError as error:
            if is_gone(error):
                raise _LostError from error
            return
        for index in again:
            item = feed.items[index]
            if item.refusal is not None:
                item.publish(item.refusal)

    # ------------------------------------------------------------- recovery ----

    async def _mend(self) -> None:
        """Climb the ladder until data flows again.

        Raises:
            UnavailableError: Not within `recoveryTime`.
        """
        deadline = time.monotonic() + self._link.recovery_time
        pause = _FIRST_PAUSE
        while True:
            try:
                async with asyncio.timeout(self._link.recovery_time):
                    await self._climb()
            except (DmiError, TimeoutError) as error:
                if time.monotonic() + pause > deadline:
                    text = f"{self._link.address}: the connection was lost: {error}"
                    raise UnavailableError(text) from error
            else:
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _climb(self) -> None:
        same = await self.channel.reopen()
        self._count(Rung.RESUME if same else Rung.NEW_SESSION)
        for feed in list(self._feeds):
            # Also within the session from before: some servers send to the old connection else.
            moved = await self._transferred(feed, initial=not same)
            if moved and not same:
                self._count(Rung.TRANSFER)
            missed = await feed.republish(self.channel) if moved or same else -1
            if missed < 0:
                await self._recreate(feed)
            else:
                self._count(Rung.REPUBLISH, missed)
                feed.expect()

    async def _transferred(self, feed: Feed, *, initial: bool) -> bool:
        try:
            return await feed.transfer(self.channel, initial=initial)
        except DmiError as error:
            if is_gone(error):
                raise
            return False

    async def _recreate(self, feed: Feed) -> None:
        polled = [item.polled for item in feed.items]
        try:
            await feed.delete(self.channel)
        except DmiError as error:
            if is_gone(error):
                raise
        await feed.create(self.channel)
        self._count(Rung.RECREATE)
        self._report_refusals(feed, polled)

    def _report_refusals(self, feed: Feed, polled: list[bool]) -> None:
        for item, was_polled in zip(feed.items, polled, strict=True):
            if item.refusal is None:
                continue
            if item.polled and not was_polled:
                # Nobody reads it yet: its device must subscribe again, and poll the rest.
                self._count(Rung.FEWER_ITEMS)
                item.publish(UnavailableError(f"the server takes fewer items: {item.refusal}"))
            elif not item.polled:
                item.publish(item.refusal)

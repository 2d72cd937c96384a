"""Mending a session whose connection was cut: what is tried, in which order, and counted."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum

from dmi.errors import DmiError, UnavailableError
from mappers.opcua.session.channel import Channel
from mappers.opcua.session.feed import Feed
from mappers.opcua.values.refusals import is_gone

__all__ = ["Ladder", "LostError", "Rung"]

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 1.0


class Rung(StrEnum):
    """What was done to keep data flowing, from the least to the most, and what was lost."""

    REPUBLISH = "opcua_republished_messages"
    RESUME = "opcua_resumed_sessions"
    TRANSFER = "opcua_transferred_subscriptions"
    RECREATE = "opcua_recreated_subscriptions"
    NEW_SESSION = "opcua_new_sessions"
    FEWER_ITEMS = "opcua_items_polled_instead"
    SILENT = "opcua_silent_subscriptions"
    GAVE_UP = "opcua_sessions_given_up"
    LOST_MESSAGES = "opcua_lost_messages"
    OVERFLOWS = "opcua_queue_overflows"


class LostError(Exception):
    """Ends the work on a connection that is cut."""


class Ladder:
    """Climbs until data flows again.

    Args:
        channel: The session.
        feeds: Those of the session, at any time.
        tally: Where the rungs are counted.
    """

    def __init__(self, channel: Channel, feeds: Sequence[Feed], tally: Counter[str]) -> None:
        self._channel = channel
        self._feeds = feeds
        self._tally = tally

    def count(self, rung: Rung, times: int = 1) -> None:
        """Note that something was done or lost."""
        if times:
            self._tally[rung.value] += times

    async def mend(self) -> None:
        """Connect again, and let all subscriptions go on.

        Raises:
            UnavailableError: Not within `recoveryTime`.
        """
        link = self._channel.link
        deadline = time.monotonic() + link.recovery_time
        pause = _FIRST_PAUSE
        while True:
            try:
                async with asyncio.timeout(link.recovery_time):
                    await self._climb()
            except (DmiError, TimeoutError) as error:
                if time.monotonic() + pause > deadline:
                    text = f"{link.address}: the connection was lost: {error}"
                    raise UnavailableError(text) from error
            else:
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _climb(self) -> None:
        same = await self._channel.reopen()
        self.count(Rung.RESUME if same else Rung.NEW_SESSION)
        # One that is just being made fails by itself, and whoever makes it hears of it.
        for feed in [feed for feed in self._feeds if feed.complete]:
            # Also within the session from before: some servers send to the old connection else.
            moved = await self._transferred(feed, initial=not same)
            if moved and not same:
                self.count(Rung.TRANSFER)
            missed = await feed.republish(self._channel) if moved or same else -1
            if missed < 0:
                await self.recreate(feed)
            else:
                self.count(Rung.REPUBLISH, missed)
                feed.expect()

    async def _transferred(self, feed: Feed, *, initial: bool) -> bool:
        try:
            return await feed.transfer(self._channel, initial=initial)
        except DmiError as error:
            if is_gone(error):
                raise
            return False

    async def recreate(self, feed: Feed) -> None:
        """Make a subscription anew; all values come again.

        Raises:
            DmiError: The server does not let us.
        """
        polled = [item.polled for item in feed.items]
        try:
            await feed.delete(self._channel)
        except DmiError as error:
            if is_gone(error):
                raise
        try:
            await feed.make(self._channel)
            await feed.fill(self._channel)
        finally:
            feed.complete = True  # also when this failed: the next climb must not forget it
        if feed not in self._feeds:
            await feed.delete(self._channel)  # it was dropped meanwhile
            return
        self.count(Rung.RECREATE)
        self._report_refusals(feed, polled)

    def _report_refusals(self, feed: Feed, polled: list[bool]) -> None:
        for item, was_polled in zip(feed.items, polled, strict=True):
            if item.refusal is None:
                continue
            if item.polled and not was_polled:
                # Nobody reads it yet: its device must subscribe again, and poll the rest.
                self.count(Rung.FEWER_ITEMS)
                item.publish(UnavailableError(f"the server takes fewer items: {item.refusal}"))
            elif not item.polled:
                item.publish(item.refusal)

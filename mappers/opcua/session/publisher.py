"""Asking a server for messages, and bringing them into order."""

import asyncio
import time
from collections.abc import Sequence

from asyncua import ua
from asyncua.ua.uaerrors import UaError

from dmi.errors import DmiError
from mappers.opcua.session.channel import Channel
from mappers.opcua.session.feed import Feed, following
from mappers.opcua.session.ladder import Ladder, LostError, Rung
from mappers.opcua.values.refusals import error_of, is_gone

__all__ = ["Publisher"]

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 1.0


class Publisher:
    """Hands each message to the feed that it is for; several of its waiters run side by side.

    Args:
        channel: The session.
        feeds: Those of the session, at any time.
        ladder: Where is counted what was fetched once more, and what is lost.
        fed: Set while there are feeds.
    """

    def __init__(
        self, channel: Channel, feeds: Sequence[Feed], ladder: Ladder, fed: asyncio.Event
    ) -> None:
        self._channel = channel
        self._feeds = feeds
        self._ladder = ladder
        self._fed = fed

    async def wait_for_messages(self) -> None:
        """Ask for messages, one after the other, until the server has waiters enough.

        Raises:
            LostError: The connection is cut.
        """
        acknowledgements: list[ua.SubscriptionAcknowledgement] = []
        while True:
            await self._fed.wait()
            try:
                answer = await self._channel.session.publish(acknowledgements)
                answer.ResponseHeader.ServiceResult.check()
            except (UaError, OSError, TimeoutError) as error:
                acknowledgements = []
                if await self._goes_on_after(error):
                    continue
                return
            try:
                acknowledgements = await self._take(answer.Parameters)
            except DmiError as error:
                raise LostError from error

    async def _goes_on_after(self, error: Exception) -> bool:
        """Whether to ask again."""
        code = getattr(error, "code", None)
        if code == ua.StatusCodes.BadTooManyPublishRequests:
            return False
        if code == ua.StatusCodes.BadNoSubscription:
            # The server has forgotten them, unless the first one is just being made.
            forgotten = [feed for feed in self._feeds if feed.complete]
            await asyncio.sleep(_FIRST_PAUSE)
            for feed in forgotten:
                feed.heard_at = 0.0
            return True
        if code == ua.StatusCodes.BadTimeout:
            return True
        if is_gone(error_of(error, "publishing")):
            raise LostError from error
        await asyncio.sleep(_LONGEST_PAUSE)
        return True

    async def _take(self, result: ua.PublishResult) -> list[ua.SubscriptionAcknowledgement]:
        message = result.NotificationMessage
        feed = next((f for f in self._feeds if f.subscription == result.SubscriptionId), None)
        if feed is None:
            return []
        feed.heard_at = time.monotonic()
        number = message.SequenceNumber
        async with feed.order:
            # A message without content bears the number of the next one.
            if number != following(feed.sequence):
                await self._fetch(feed, number)
            if not message.NotificationData:
                return []
            feed.sequence = number
            feed.take(message)
            if feed.held:
                await feed.release(self._channel)
        self._ladder.count(Rung.OVERFLOWS, feed.overflows)
        feed.overflows = 0
        return [ua.SubscriptionAcknowledgement(result.SubscriptionId, number)]

    async def _fetch(self, feed: Feed, number: int) -> None:
        """Fetch what should have come before a message."""
        fetched = max(0, await feed.republish(self._channel, number))
        self._ladder.count(Rung.REPUBLISH, fetched)
        missing = number - following(feed.sequence)
        if missing > 0:
            self._ladder.count(Rung.LOST_MESSAGES, missing)
            feed.sequence = number - 1

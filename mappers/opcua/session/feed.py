"""One subscription on a server: its items, and what has been heard of it."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from asyncua import ua

from dmi.errors import DmiError, UnavailableError
from mappers.opcua.session.channel import Channel
from mappers.opcua.session.items import EventItem, Item
from mappers.opcua.session.space import resolve
from mappers.opcua.session.types import with_structures
from mappers.opcua.values.refusals import cannot_subscribe, is_gone, status_error
from mappers.opcua.values.structures import Structures, UnknownStructureError

__all__ = ["Feed", "following"]

log = logging.getLogger(__name__)

_SILENCE = 1.5
_LAST_SEQUENCE = 0xFFFFFFFF
_OVERFLOW = 0x0480
"""Bits of a status code. Source: OPC UA Part 4, 7.39.1 (InfoType DataValue, Overflow)."""
_UNKNOWN_SUBSCRIPTION = frozenset(
    {ua.StatusCodes.BadSubscriptionIdInvalid, ua.StatusCodes.BadNoSubscription}
)


@dataclass(slots=True, eq=False)
class Feed:
    """Items that share a subscription; it lives through recoveries under changing numbers.

    Attributes:
        interval: Publishing interval, in milliseconds.
        keep_alive: Seconds after which the server says that it is there.
        subscription: The server's number of it; 0 while there is none.
        sequence: Number of the last message that was taken in.
        heard_at: When the server last said anything, on the monotonic clock.
        complete: Whether all items have been asked for; nothing is mended before.
        order: Held while messages are taken in, for they come to several waiters.
        overflows: How many values said that the server had dropped others before them.
        held: What could not be handed on before more is known of a structure.
    """

    interval: float
    keep_alive: float
    lifetime: float
    items: list[Item] = field(default_factory=list)
    events: list[EventItem] = field(default_factory=list)
    subscription: int = 0
    sequence: int = 0
    heard_at: float = field(default_factory=time.monotonic)
    complete: bool = False
    order: asyncio.Lock = field(default_factory=asyncio.Lock)
    overflows: int = 0
    held: list[Callable[[], None]] = field(default_factory=list)
    structures: Structures = field(default_factory=Structures)
    _promised: float = 0.0
    _timeout: float = 0.0

    # ------------------------------------------------------- on the server ----

    async def make(self, channel: Channel) -> None:
        """Make the subscription, still without items.

        Raises:
            DmiError: The server makes none.
        """
        count = max(1, round(self.keep_alive * 1000 / self.interval))
        parameters = ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=self.interval,
            RequestedLifetimeCount=max(3 * count, round(self.lifetime * 1000 / self.interval)),
            RequestedMaxKeepAliveCount=count,
            MaxNotificationsPerPublish=0,
            PublishingEnabled=True,
            Priority=0,
        )
        self.complete = False
        create = channel.session.create_subscription
        made = await channel.ask("subscribing", create, parameters, _ignore)
        interval = made.RevisedPublishingInterval / 1000
        self._timeout = channel.link.timeout
        self._promised = interval * made.RevisedMaxKeepAliveCount
        self.structures = channel.structures
        self.sequence = 0
        self.heard_at = time.monotonic()
        self.subscription = made.SubscriptionId

    async def fill(self, channel: Channel) -> None:
        """Let the server watch everything; items may be refused one by one.

        Raises:
            DmiError: The server refuses the events, or is away.
        """
        await self.watch(channel, range(len(self.items)))
        await self._watch_events(channel)
        self.complete = True

    async def watch(self, channel: Channel, indexes: Sequence[int]) -> None:
        """Let the server watch these items; each is refused or not for itself."""
        found = await resolve(channel, (self.items[index].address for index in indexes))
        wanted: list[tuple[int, ua.NodeId]] = []
        for index in indexes:
            item = self.items[index]
            item.server_handle, item.last = 0, None
            node = found[item.address]
            if isinstance(node, DmiError):
                item.refusal = node
            else:
                wanted.append((index, node))
        size = channel.limits.items
        for start in range(0, len(wanted), size):
            await self._create_items(channel, wanted[start : start + size])

    async def _create_items(
        self, channel: Channel, wanted: Sequence[tuple[int, ua.NodeId]]
    ) -> None:
        parameters = ua.CreateMonitoredItemsParameters(
            SubscriptionId=self.subscription,
            TimestampsToReturn=ua.TimestampsToReturn.Both,
            ItemsToCreate=[self.items[index].request(node, index) for index, node in wanted],
        )
        create = channel.session.create_monitored_items
        results = await channel.ask("watching", create, parameters)
        for (index, node), result in zip(wanted, results, strict=True):
            item, code = self.items[index], result.StatusCode.value
            item.refusal, item.polled = None, False
            if result.StatusCode.is_good():
                item.server_handle = result.MonitoredItemId
            else:
                item.refusal = status_error(code, f"watching {node.to_string()}")
                item.polled = cannot_subscribe(code)

    async def _watch_events(self, channel: Channel) -> None:
        if not self.events:
            return
        for one in self.events:
            await one.prepare(channel)
        first = len(self.items)
        parameters = ua.CreateMonitoredItemsParameters(
            SubscriptionId=self.subscription,
            TimestampsToReturn=ua.TimestampsToReturn.Both,
            ItemsToCreate=[one.request(first + index) for index, one in enumerate(self.events)],
        )
        create = channel.session.create_monitored_items
        for result in await channel.ask("watching events", create, parameters):
            if not result.StatusCode.is_good():
                raise status_error(result.StatusCode.value, "watching events")
        await self.refresh(channel)

    @property
    def wants_refresh(self) -> bool:
        """Whether the server has said that conditions must be asked for anew."""
        return any(one.wants_refresh() for one in self.events)

    async def refresh(self, channel: Channel) -> None:
        """Let the server tell all conditions that stand; one without conditions refuses.

        Raises:
            UnavailableError: The server is away.

        Source:
            OPC UA Part 9, 5.5.7 (ConditionRefresh).
        """
        request = ua.CallMethodRequest(
            ObjectId=ua.NodeId(ua.ObjectIds.ConditionType),
            MethodId=ua.NodeId(ua.ObjectIds.ConditionType_ConditionRefresh),
            InputArguments=[ua.Variant(self.subscription, ua.VariantType.UInt32)],
        )
        try:
            await channel.ask("asking for conditions", channel.session.call, [request])
        except DmiError as error:
            if is_gone(error):
                raise
            log.debug("no conditions: %s", error)

    async def delete(self, channel: Channel) -> None:
        """Let the server forget it.

        Raises:
            DmiError: The server is away; it forgets it by itself then.
        """
        subscription, self.subscription = self.subscription, 0
        if subscription:
            delete = channel.session.delete_subscriptions
            await channel.ask("unsubscribing", delete, [subscription])

    async def transfer(self, channel: Channel, *, initial: bool) -> bool:
        """Move it from a session that is gone to the present one; False if it is gone too.

        Args:
            channel: The present session.
            initial: Let the server send all values again.
        """
        parameters = ua.TransferSubscriptionsParameters(
            SubscriptionIds=[self.subscription], SendInitialValues=initial
        )
        transfer = channel.session.transfer_subscriptions
        (result,) = await channel.ask("moving a subscription", transfer, parameters)
        return bool(result.StatusCode.is_good())

    async def republish(self, channel: Channel, until: int | None = None) -> int:
        """Fetch the messages after the last one that came, and take them in.

        Args:
            channel: The present session.
            until: Number of the first message that need not be fetched; None for all there are.

        Returns:
            How many there were; -1 if the server does not know the subscription any more.

        Raises:
            UnavailableError: The server is away.
        """
        count = 0
        while until is None or following(self.sequence) != until:
            wanted = following(self.sequence)
            again = channel.session.republish
            try:
                message = await channel.ask("fetching messages", again, self.subscription, wanted)
            except DmiError as error:
                if is_gone(error):
                    raise
                code = getattr(error.__cause__, "code", None)
                return -1 if code in _UNKNOWN_SUBSCRIPTION else count
            if message.SequenceNumber != wanted:
                return count  # some servers answer with nothing instead of an error
            self.take(message)
            await self.release(channel)
            self.sequence = wanted
            count += 1
        return count

    # ------------------------------------------------------------ what came ----

    @property
    def is_silent(self) -> bool:
        """Whether the server has said nothing for longer than it promised."""
        return time.monotonic() - self.heard_at > _SILENCE * self._promised + self._timeout

    def expect(self) -> None:
        """After a recovery: it must be heard of as soon as it promised, or it is made anew."""
        self.heard_at = time.monotonic() - 0.5 * self._promised - 0.8 * self._timeout

    @property
    def refused(self) -> Iterator[int]:
        """Indexes of the items that the server refused and nobody polls."""
        items = enumerate(self.items)
        return (n for n, item in items if item.refusal is not None and not item.polled)

    def take(self, message: ua.NotificationMessage) -> None:
        """Hand on everything in a message; structures that are still to be read of are held."""
        now = time.time()
        items, structures = self.items, self.structures
        for part in message.NotificationData or ():
            if isinstance(part, ua.DataChangeNotification):
                for one in part.MonitoredItems or ():
                    value = one.Value
                    status = value.StatusCode
                    if status is not None and status.value & _OVERFLOW == _OVERFLOW:
                        self.overflows += 1
                    item = items[one.ClientHandle]
                    try:
                        item.take(value, now, structures)
                    except UnknownStructureError:
                        self.held.append(partial(item.take, value, now, structures))
            elif isinstance(part, ua.EventNotificationList):
                for event in part.Events or ():
                    source = self.events[event.ClientHandle - len(items)]
                    try:
                        source.take(event.EventFields)
                    except UnknownStructureError:
                        self.held.append(partial(source.take, event.EventFields))
            elif isinstance(part, ua.StatusChangeNotification) and not part.Status.is_good():
                self.heard_at = 0.0  # the server has ended it

    async def release(self, channel: Channel) -> None:
        """Hand on what was held, in its order.

        Raises:
            UnavailableError: The server is away.
        """
        held, self.held = self.held, []
        for hand_on in held:
            await with_structures(channel, hand_on)

    def fail(self, error: UnavailableError) -> None:
        """Tell everybody that nothing will come any more."""
        for item in self.items:
            item.publish(error)


def following(sequence: int) -> int:
    """The next sequence number: 1 follows the largest one. Source: OPC UA Part 4, 7.7."""
    return 1 if sequence >= _LAST_SEQUENCE else sequence + 1


def _ignore(_: ua.PublishResult) -> None:
    """Our own publisher hands messages on; see `mappers.opcua.session.publisher`."""

"""One subscription on a server: its items, and what has been heard of it."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from asyncua import ua

from dmi.errors import DmiError, UnavailableError
from mapper_sdk.driver import Answer
from mappers.opcua.addresses import Address
from mappers.opcua.session.channel import Channel
from mappers.opcua.session.space import resolve
from mappers.opcua.values.refusals import cannot_subscribe, status_error
from mappers.opcua.values.variants import answer_of
from mappers.opcua.visit import DeadbandType, OpcuaVisit, Trigger

__all__ = ["Feed", "Item"]

_TRIGGERS = {
    Trigger.STATUS: ua.DataChangeTrigger.Status,
    Trigger.STATUS_VALUE: ua.DataChangeTrigger.StatusValue,
    Trigger.STATUS_VALUE_TIME: ua.DataChangeTrigger.StatusValueTimestamp,
}
_SILENCE = 1.5
_LAST_SEQUENCE = 0xFFFFFFFF
_UNKNOWN_SUBSCRIPTION = frozenset(
    {ua.StatusCodes.BadSubscriptionIdInvalid, ua.StatusCodes.BadNoSubscription}
)


@dataclass(slots=True, eq=False)
class Item:
    """One node that the server watches for us.

    Attributes:
        publish: Takes what the server says of it.
        refusal: Why the server does not watch it now; None while it does.
        polled: It was refused in a way that leaves reading; somebody polls it.
        server_handle: The server's number of it; 0 while it has none.
        last: What came last since the server watches it; a server that has moved it to
            another connection may say that again.
    """

    visit: OpcuaVisit
    publish: Callable[[Answer], None]
    refusal: DmiError | None = None
    polled: bool = False
    server_handle: int = 0
    last: ua.DataValue | None = None

    def take(self, value: ua.DataValue, now: float) -> None:
        """Hand on a change, unless it is what came last."""
        last, self.last = self.last, value
        # Times first: they differ in all but the rarest case, and are cheap to compare.
        if last is None or not _is_repeated(last, value):
            self.publish(answer_of(value, now))

    @property
    def address(self) -> Address:
        """The node."""
        return self.visit.address

    def request(self, node: ua.NodeId, handle: int) -> ua.MonitoredItemCreateRequest:
        """What the server is asked to watch, and how."""
        visit = self.visit
        parameters = ua.MonitoringParameters(
            ClientHandle=handle,
            SamplingInterval=-1.0 if visit.sampling_interval is None else visit.sampling_interval,
            Filter=_filter(visit),
            QueueSize=visit.queue_size,
            DiscardOldest=True,
        )
        return ua.MonitoredItemCreateRequest(
            ua.ReadValueId(node, ua.AttributeIds.Value), ua.MonitoringMode.Reporting, parameters
        )


def _filter(visit: OpcuaVisit) -> ua.DataChangeFilter | None:
    if visit.trigger is Trigger.STATUS_VALUE and visit.server_deadband is None:
        return None  # that is what a server does unasked, and some know no filters
    kind = ua.DeadbandType.None_
    if visit.server_deadband is not None:
        percent = visit.deadband_type is DeadbandType.PERCENT
        kind = ua.DeadbandType.Percent if percent else ua.DeadbandType.Absolute
    return ua.DataChangeFilter(_TRIGGERS[visit.trigger], kind, visit.server_deadband or 0.0)


@dataclass(slots=True, eq=False)
class EventItem:
    """An object whose events the server sends us.

    Attributes:
        tell: Takes the fields of one event, in the order of the filter's clauses.
    """

    request: Callable[[int], ua.MonitoredItemCreateRequest]
    tell: Callable[[Sequence[ua.Variant]], None]


@dataclass(slots=True, eq=False)
class Feed:
    """Items that share a subscription; it lives through recoveries under changing numbers.

    Attributes:
        interval: Publishing interval, in milliseconds.
        keep_alive: Seconds after which the server says that it is there.
        subscription: The server's number of it; 0 while there is none.
        sequence: Number of the last message that was taken in.
        heard_at: When the server last said anything, on the monotonic clock.
    """

    interval: float
    keep_alive: float
    lifetime: float
    items: list[Item] = field(default_factory=list)
    events: list[EventItem] = field(default_factory=list)
    subscription: int = 0
    sequence: int = 0
    heard_at: float = field(default_factory=time.monotonic)
    closed: bool = False
    _promised: float = 0.0
    _timeout: float = 0.0

    # ------------------------------------------------------- on the server ----

    async def create(self, channel: Channel) -> None:
        """Make the subscription and its items; items may be refused one by one.

        Raises:
            DmiError: The server makes no subscription.
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
        create = channel.session.create_subscription
        made = await channel.ask("subscribing", create, parameters, _ignore)
        interval = made.RevisedPublishingInterval / 1000
        self._timeout = channel.link.timeout
        self._promised = interval * made.RevisedMaxKeepAliveCount
        self.sequence = 0
        self.heard_at = time.monotonic()
        self.subscription = made.SubscriptionId
        await self.watch(channel, range(len(self.items)))
        await self._watch_events(channel)

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
        """
        count = 0
        while until is None or following(self.sequence) != until:
            wanted = following(self.sequence)
            try:
                message = await channel.session.republish(self.subscription, wanted)
            except ua.UaStatusCodeError as error:
                return -1 if error.code in _UNKNOWN_SUBSCRIPTION else count
            if message.SequenceNumber != wanted:
                return count  # some servers answer with nothing instead of an error
            self.take(message)
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
        """Hand on everything in a message."""
        now = time.time()
        items = self.items
        for part in message.NotificationData or ():
            if isinstance(part, ua.DataChangeNotification):
                for one in part.MonitoredItems or ():
                    items[one.ClientHandle].take(one.Value, now)
            elif isinstance(part, ua.EventNotificationList):
                for event in part.Events or ():
                    self.events[event.ClientHandle - len(items)].tell(event.EventFields)

    def fail(self, error: UnavailableError) -> None:
        """Tell everybody that nothing will come any more."""
        for item in self.items:
            item.publish(error)


def _is_repeated(last: ua.DataValue, value: ua.DataValue) -> bool:
    time = value.SourceTimestamp
    return (
        time is not None
        and time == last.SourceTimestamp
        and value.StatusCode == last.StatusCode
        and value.Value == last.Value
    )


def following(sequence: int) -> int:
    """The next sequence number: 1 follows the largest one. Source: OPC UA Part 4, 7.7."""
    return 1 if sequence >= _LAST_SEQUENCE else sequence + 1


def _ignore(_: ua.PublishResult) -> None:
    """The peer's own publish loop hands messages on; see `mappers.opcua.session.peer`."""

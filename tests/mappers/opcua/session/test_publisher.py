"""Messages out of order, lost, refused: by a server that does what the test says."""

import asyncio
from collections import Counter, deque

import pytest
from asyncua import ua
from asyncua.ua.uaerrors import UaStatusCodeError

from dmi.errors import ConversionError, DeadlineError, UnavailableError
from mappers.opcua.config import OpcuaLink
from mappers.opcua.session.channel import Channel
from mappers.opcua.session.feed import Feed, following
from mappers.opcua.session.items import Item
from mappers.opcua.session.ladder import Ladder, LostError, Rung
from mappers.opcua.session.publisher import Publisher
from mappers.opcua.values.structures import UnknownStructureError
from mappers.opcua.visit import OpcuaVisit

VISIT = OpcuaVisit.model_validate({"nodeID": "i=1"})
STATUS = ua.StatusCodes


def message(number, *values, status=0):
    notes = [
        ua.MonitoredItemNotification(0, ua.DataValue(ua.Variant(v), ua.StatusCode(status)))
        for v in values
    ]
    data = [ua.DataChangeNotification(MonitoredItems=notes)] if notes else []
    return ua.NotificationMessage(SequenceNumber=number, NotificationData=data)


class Session:
    """Answers with what lies ready; asked for more it waits, and says so."""

    def __init__(self):
        self.ready = deque()
        self.kept = {}
        self.asked = []
        self.acknowledged = []
        self.idle = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def publish(self, acknowledgements):
        self.acknowledged += [one.SequenceNumber for one in acknowledgements]
        if not self.ready:
            self.idle.set()
            await asyncio.Event().wait()
        answer = self.ready.popleft()
        if isinstance(answer, Exception):
            raise answer
        result = ua.PublishResult(SubscriptionId=7, NotificationMessage=answer)
        return ua.PublishResponse(Parameters=result)

    async def republish(self, subscription, number):
        self.asked.append(number)
        await self.gate.wait()
        found = self.kept.get(number, UaStatusCodeError(STATUS.BadMessageNotAvailable))
        if isinstance(found, Exception):
            raise found
        return found


class Stage:
    """A publisher, one feed, and what it has handed on."""

    def __init__(self, monkeypatch, waiters=1):
        self.session, self.heard, self.tally = Session(), [], Counter()
        monkeypatch.setattr(Channel, "session", property(lambda _: self.session))
        channel = Channel(OpcuaLink.model_validate({"url": "opc.tcp://plc"}))
        item = Item(VISIT, lambda answer: self.heard.append(answer.value))
        self.feed = Feed(50, 1, 60, [item], subscription=7, complete=True)
        self.feeds, fed = [self.feed], asyncio.Event()
        fed.set()
        self.ladder = Ladder(channel, self.feeds, self.tally)
        self.publisher = Publisher(channel, self.feeds, self.ladder, fed)
        self.waiters = waiters

    async def run(self, *answers):
        """Let the server answer, until it is asked for more."""
        self.session.ready.extend(answers)
        self.session.idle.clear()
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self.publisher.wait_for_messages()) for _ in range(self.waiters)
            ]
            await self.session.idle.wait()
            self.session.gate.set()
            async with self.feed.order:  # whoever was at it has handed on
                pass
            for task in tasks:
                task.cancel()

    def counted(self, rung):
        return self.tally[rung.value]


@pytest.fixture
def stage(monkeypatch):
    return Stage(monkeypatch)


async def test_messages_are_handed_on_and_acknowledged(stage):
    await stage.run(message(1, 1.0), message(2, 2.0, 3.0), message(3))
    assert stage.heard == [1.0, 2.0, 3.0]
    assert stage.session.acknowledged == [1, 2]
    assert stage.session.asked == []


async def test_one_that_is_missing_is_fetched(stage):
    stage.session.kept = {2: message(2, 2.0), 3: message(3, 3.0)}
    await stage.run(message(1, 1.0), message(4, 4.0))
    assert stage.heard == [1.0, 2.0, 3.0, 4.0]
    assert (stage.counted(Rung.REPUBLISH), stage.counted(Rung.LOST_MESSAGES)) == (2, 0)


async def test_a_message_without_content_tells_that_one_is_missing(stage):
    stage.session.kept = {2: message(2, 2.0)}
    await stage.run(message(1, 1.0), message(3), message(3, 3.0))
    assert stage.heard == [1.0, 2.0, 3.0]


async def test_the_first_one_may_be_missing_too(stage):
    stage.session.kept = {1: message(1, 1.0)}
    await stage.run(message(2, 2.0))
    assert stage.heard == [1.0, 2.0]


async def test_what_the_server_has_no_more_is_counted(stage):
    await stage.run(message(1, 1.0), message(4, 4.0), message(5, 5.0))
    assert stage.heard == [1.0, 4.0, 5.0]
    assert stage.counted(Rung.LOST_MESSAGES) == 2
    assert stage.session.asked == [2]


async def test_two_waiters_fetch_nothing_twice(monkeypatch):
    stage = Stage(monkeypatch, waiters=3)
    stage.session.kept = {n: message(n, float(n)) for n in (2, 3)}
    stage.session.gate.clear()
    await stage.run(message(1, 1.0), message(4, 4.0), message(5, 5.0))
    assert stage.heard == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert stage.session.asked == [2, 3]


async def test_values_that_the_server_has_dropped_are_counted(stage):
    overflow = 0x00000480
    await stage.run(message(1, 1.0), message(2, 2.0, status=overflow))
    assert stage.heard == [1.0, 2.0]
    assert stage.counted(Rung.OVERFLOWS) == 1


async def test_a_subscription_that_the_server_ends_counts_as_silent(stage):
    ended = ua.StatusChangeNotification(Status=ua.StatusCode(STATUS.BadTimeout))
    await stage.run(ua.NotificationMessage(SequenceNumber=1, NotificationData=[ended]))
    assert stage.feed.is_silent


async def test_messages_for_nobody(stage):
    stage.feed.subscription = 8
    await stage.run(message(1, 1.0))
    assert stage.heard == stage.session.acknowledged == []


@pytest.mark.parametrize(
    "error",
    [UaStatusCodeError(STATUS.BadSessionClosed), ConnectionError("cut"), TimeoutError()],
    ids=repr,
)
async def test_a_cut_ends_the_work(stage, error):
    with pytest.raises(ExceptionGroup) as ended:
        await stage.run(error)
    assert ended.group_contains(LostError)


async def test_a_cut_while_something_is_fetched(stage):
    stage.session.kept = {1: UaStatusCodeError(STATUS.BadSecureChannelClosed)}
    with pytest.raises(ExceptionGroup) as ended:
        await stage.run(message(2, 2.0))
    assert ended.group_contains(LostError)


async def test_a_server_with_waiters_enough(stage):
    stage.session.ready.append(UaStatusCodeError(STATUS.BadTooManyPublishRequests))
    await stage.publisher.wait_for_messages()
    assert stage.session.ready == deque()


async def test_a_server_that_has_forgotten_everything(stage, monkeypatch):
    monkeypatch.setattr("mappers.opcua.session.publisher._FIRST_PAUSE", 0)
    making = Feed(50, 1, 60, subscription=9)
    stage.feeds.append(making)
    await stage.run(UaStatusCodeError(STATUS.BadNoSubscription))
    assert stage.feed.heard_at == 0
    assert making.heard_at > 0  # it is just being made


async def test_answers_that_mean_nothing_are_asked_for_again(stage, monkeypatch):
    monkeypatch.setattr("mappers.opcua.session.publisher._LONGEST_PAUSE", 0)
    odd = (UaStatusCodeError(STATUS.BadTimeout), UaStatusCodeError(STATUS.BadUnexpectedError))
    await stage.run(*odd, message(1, 1.0))
    assert stage.heard == [1.0]


def test_numbers_begin_anew():
    assert [following(n) for n in (0, 1, 0xFFFFFFFE, 0xFFFFFFFF)] == [1, 2, 0xFFFFFFFF, 1]


async def test_what_cannot_be_shown_yet_waits_in_its_order(stage, monkeypatch):
    """An event with a structure that is not known yet, and a value of one."""
    told, known = [], []

    class Source:
        def take(self, fields):
            if not known:
                raise UnknownStructureError(ua.NodeId(5))
            told.append(fields)

    async def learn(channel, encoding):
        known.append(encoding)

    monkeypatch.setattr("mappers.opcua.session.types._learn", learn)
    stage.feed.events.append(Source())
    events = [ua.EventFieldList(ClientHandle=1, EventFields=[ua.Variant(n)]) for n in (1, 2)]
    note = ua.EventNotificationList(Events=events)
    await stage.run(ua.NotificationMessage(SequenceNumber=1, NotificationData=[note]))
    assert [fields[0].Value for fields in told] == [1, 2]
    assert known == [ua.NodeId(5)]


async def test_a_feed_that_fails_says_so_to_everybody(stage):
    stage.feed.items[0].publish = stage.heard.append
    stage.feed.fail(UnavailableError("gone"))
    assert isinstance(stage.heard[0], UnavailableError)


async def test_republishing_where_nothing_is_known(stage):
    channel = stage.publisher._channel
    stage.session.kept = {1: UaStatusCodeError(STATUS.BadSubscriptionIdInvalid)}
    assert await stage.feed.republish(channel) == -1
    stage.session.kept = {1: message(0)}  # asyncua's server says nothing so
    assert await stage.feed.republish(channel) == 0
    stage.session.kept = {1: message(1, 1.0), 2: message(2, 2.0)}
    assert await stage.feed.republish(channel) == 2
    stage.session.kept = {3: TimeoutError()}
    with pytest.raises(DeadlineError):
        await stage.feed.republish(channel)


async def test_a_structure_that_does_not_fit_is_told(stage):
    item = stage.feed.items[0]
    item.publish = stage.heard.append

    class Misfit:
        def decoded(self, raw):
            raise ConversionError("no")

    raw = ua.ExtensionObject(TypeId=ua.NodeId(5), Body=b"")
    item.take(ua.DataValue(ua.Variant(raw, ua.VariantType.ExtensionObject)), 1.0, Misfit())
    assert isinstance(stage.heard[0], ConversionError)

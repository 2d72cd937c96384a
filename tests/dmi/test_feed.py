import asyncio
from contextlib import aclosing

import orjson
import pytest

from dmi.feed import Event, Feed, Gap, sse_frame, sse_stream


async def take(feed, after_id, limit):
    async with aclosing(feed.read(after_id, limit=limit)) as items:
        return [item async for item in items]


def published(count, size=8):
    feed = Feed(size=size, epoch="e")
    for number in range(1, count + 1):
        feed.publish(number)
    return feed


async def test_a_reader_without_an_id_sees_only_what_comes():
    feed = published(3)
    with feed.reader() as reader:
        feed.publish(4)
        await reader.wait()
        assert reader.take() == [Event("e-4", 4)]


async def test_resumes_after_the_last_id():
    assert await take(published(5), "e-3", 2) == [Event("e-4", 4), Event("e-5", 5)]


async def test_everything_seen_waits_for_the_next():
    feed = published(2)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(take(feed, "e-2", 1))
        await asyncio.sleep(0)  # the task runs up to its wait
        assert feed.has_readers
        feed.publish(3)
    assert task.result() == [Event("e-3", 3)]


async def test_too_old_an_id_is_a_gap_with_its_size():
    items = await take(published(20), "e-5", 3)
    assert items == [Gap("e-12", 7), Event("e-13", 13), Event("e-14", 14)]


@pytest.mark.parametrize(
    "foreign", ["other-3", "e-99", "e-", "e-x", "e-²", "", "e-" + "9" * 5000, "e--1"]
)
async def test_an_id_that_is_not_ours_is_a_gap_of_unknown_size_and_all_there_is(foreign):
    items = await take(published(2), foreign, 3)
    assert items == [Gap("e-0", None), Event("e-1", 1), Event("e-2", 2)]


async def test_a_gap_comes_at_once_even_when_nothing_was_published():
    assert await take(Feed(size=4, epoch="e"), "old-7", 1) == [Gap("e-0", None)]


async def test_resuming_after_a_gap_goes_on_behind_it():
    feed = published(20)
    gap = (await take(feed, "e-1", 1))[0]
    assert (await take(feed, gap.id, 1)) == [Event("e-13", 13)]


async def test_a_slow_reader_falls_out_and_goes_on():
    feed = Feed(size=4, epoch="e")
    with feed.reader() as reader:
        feed.publish(1)
        assert reader.take() == [Event("e-1", 1)]
        for number in range(2, 12):
            feed.publish(number)
        assert reader.take(limit=2) == [Gap("e-7", 6), Event("e-8", 8), Event("e-9", 9)]
        assert reader.take() == [Event("e-10", 10), Event("e-11", 11)]
        assert reader.take() == []


async def test_many_readers_wake_and_one_that_is_cancelled_harms_none():
    feed = Feed(size=4, epoch="e")
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(take(feed, None, 1)) for _ in range(5)]
        await asyncio.sleep(0)  # all run up to their wait
        tasks[0].cancel()
        await asyncio.sleep(0)
        feed.publish("x")
    assert [task.result() for task in tasks[1:]] == [[Event("e-1", "x")]] * 4
    assert tasks[0].cancelled()
    assert not feed.has_readers


async def test_a_lazy_event_is_made_once_and_only_when_read():
    feed = Feed(size=4, epoch="e")
    made = []
    feed.publish(lambda: made.append(1) or "made")
    assert made == []
    assert await take(feed, "e-0", 1) == [Event("e-1", "made")]
    assert await take(feed, "e-0", 1) == [Event("e-1", "made")]
    assert made == [1]


async def test_closing_ends_every_reader():
    feed = Feed(size=4, epoch="e")
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(take(feed, None, 5)) for _ in range(2)]
        stream = group.create_task(chunks(feed, None, 1))
        await asyncio.sleep(0)  # all run up to their wait
        feed.close()
    assert [task.result() for task in tasks] == [[], []]
    assert len(stream.result()) == 1
    assert await take(feed, "e-0", 1) == []
    assert [chunk async for chunk in sse_stream(feed, None, encode)] == [
        b"retry: 1000\nid: e-0\n\n"
    ]


async def test_skipping_makes_nothing():
    feed = Feed(size=4, epoch="e")
    with feed.reader() as reader:
        feed.publish(lambda: pytest.fail("nobody wanted it"))
        reader.skip()
        feed.publish(2)
        assert reader.take() == [Event("e-2", 2)]


def test_two_feeds_have_two_epochs():
    assert Feed().epoch != Feed().epoch
    assert Feed(epoch="e").last_id == "e-0"


def test_a_feed_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        Feed(size=0)


def test_frame():
    assert sse_frame("twin", b'{"a":1}', "e-1") == b'id: e-1\nevent: twin\ndata: {"a":1}\n\n'


def encode(data):
    return None if data < 0 else ("number", orjson.dumps(data))


async def chunks(feed, after_id, count, **settings):
    async with aclosing(sse_stream(feed, after_id, encode, **settings)) as stream:
        return [await anext(stream) for _ in range(count)]


async def test_stream_opens_with_a_place_to_resume_from():
    assert await chunks(published(2), None, 1) == [b"retry: 1000\nid: e-2\n\n"]
    assert await chunks(published(2), "", 1) == [b"retry: 1000\nid: e-2\n\n"]


async def test_stream_replays_in_one_chunk_without_echoing_the_clients_id():
    opening, body = await chunks(published(2), "e\nevil-1", 2)
    assert opening == b"retry: 1000\n\n"
    assert body == (
        b'id: e-0\nevent: gap\ndata: {"missed":null}\n\n'
        b"id: e-1\nevent: number\ndata: 1\n\nid: e-2\nevent: number\ndata: 2\n\n"
    )


async def test_what_is_left_out_still_moves_the_resume_point():
    feed = Feed(size=8, epoch="e")
    for number in (1, -1, -2):
        feed.publish(number)
    assert (await chunks(feed, "e-0", 2))[1] == b"id: e-1\nevent: number\ndata: 1\n\nid: e-3\n\n"


async def test_silence_is_broken_by_comments_and_loses_nothing():
    feed = Feed(size=8, epoch="e")
    async with aclosing(sse_stream(feed, None, encode, keep_alive=0.01)) as stream:
        await anext(stream)
        assert await anext(stream) == b": keep-alive\n\n"
        feed.publish(5)
        assert await anext(stream) == b"id: e-1\nevent: number\ndata: 5\n\n"
    assert not feed.has_readers


def test_a_reader_can_go_on_from_anothers_place():
    feed = published(3)
    with feed.reader("e-1") as one, feed.reader("e-1") as two, feed.reader("x-1") as lost:
        assert one.place == two.place == 1
        assert [event.id for event in one.take()] == ["e-2", "e-3"]
        two.move(one.place)
        assert two.id == "e-3"
        assert two.take() == []
        assert lost.place is None
        lost.take()
        assert lost.place == 3

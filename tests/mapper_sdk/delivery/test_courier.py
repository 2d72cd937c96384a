"""The border to a sink: what it does with batches of which the target takes only a part."""

from dmi.errors import DeadlineError
from mapper_sdk.delivery.contract import make_route
from mapper_sdk.delivery.courier import Courier
from tests.mapper_sdk.delivery.fake_sink import FakePlace, FakeServer, FakeTarget, make_fake_kind


class SlowServer(FakeServer):
    """Takes so many readings within the time."""

    most = 30


def make_courier(server):
    class SlowSink(make_fake_kind(lambda _: server)):
        async def send(self, items):
            if len(items) > server.most:
                raise DeadlineError("too many at once")
            return await super().send(items)

    return Courier(SlowSink(FakeTarget()), 100, 5.0)


async def test_a_batch_that_takes_too_long_is_tried_in_smaller_ones(make):
    server, route = SlowServer(), make_route(FakePlace())
    courier = make_courier(server)
    left = [(route, reading) for reading in make.readings(500)]
    tries = 0
    while left:
        left = (await courier.deliver(left)).left
        tries += 1
        assert tries < 60
    assert (server.count, server.doubles()) == (500, 0)
    assert [time for _, _, time in server.taken] == [r.time for r in make.readings(500)]


async def test_batches_grow_again_when_the_target_is_fast_again(make):
    server, route = SlowServer(), make_route(FakePlace())
    courier = make_courier(server)
    items = [(route, reading) for reading in make.readings(100)]
    server.most = 0
    for _ in range(10):
        assert len((await courier.deliver(items)).left) == 100
    server.most = 100
    for _ in range(10):
        assert not (await courier.deliver(items)).left
    assert server.batches[0] == 1
    assert server.batches[-1] == 100

"""The v1 link against managers that misbehave, by script."""

import asyncio

import grpc
import pytest

from dmi.convert.batch import decode_batch
from dmi.convert.v1 import device_to_v1, key_to_v1, model_to_v1
from dmi.proto.v1 import api_pb2 as pb
from dmi.proto.v1 import api_pb2_grpc as rpc
from dmi.resources import Key
from dmi.unix_socket import bind
from mapper_sdk.link.outbox import Outbox
from mapper_sdk.link.v1 import V1Link
from mapper_sdk.link.v1_watch import Watch


class Script(
    rpc.MapperManagementServicer, rpc.DeviceManagementServicer, rpc.DeviceDataManagementServicer
):
    """A manager that does what the test says."""

    def __init__(self) -> None:
        self.lease_ms = 10_000
        self.welcomes = True
        self.answers_beats = True
        self.goodbye = asyncio.Event()
        self.events: list[pb.WatchEvent] = []
        self.ends_watch = False
        self.committed = 0
        self.acks = True
        self.batches_per_stream = 1000
        self.registrations: list[pb.Registration] = []
        self.watches: list[pb.WatchRequest] = []
        self.streams: list[list[pb.ReportBatch]] = []

    async def Register(self, requests, context):
        beat = await context.read()
        self.registrations.append(beat.registration)
        if not self.welcomes:
            yield pb.MapperNotice(beat=pb.Beat())
            return
        welcome = pb.Welcome(session="s", lease_ms=self.lease_ms, epoch="e")
        yield pb.MapperNotice(welcome=welcome)
        if not self.answers_beats:
            await asyncio.sleep(60)
        waiting = asyncio.ensure_future(self.goodbye.wait())
        while True:
            reading = asyncio.ensure_future(context.read())
            done, _ = await asyncio.wait({reading, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if waiting in done:
                self.goodbye.clear()
                reading.cancel()
                yield pb.MapperNotice(goodbye=pb.Goodbye(reason="update"))
                await asyncio.sleep(60)
            if reading.result() is grpc.aio.EOF:
                waiting.cancel()
                return
            yield pb.MapperNotice(beat=pb.Beat())

    async def Watch(self, request, context):
        self.watches.append(request)
        for event in self.events:
            yield event
        if not self.ends_watch:
            await asyncio.sleep(60)

    async def Report(self, requests, context):
        opening = await context.read()
        assert opening.opening.session == "s"
        batches: list[pb.ReportBatch] = []
        self.streams.append(batches)
        yield pb.ReportAck(sequence=self.committed)
        while len(batches) < self.batches_per_stream:
            batch = await context.read()
            if batch is grpc.aio.EOF:
                return
            batches.append(batch)
            if self.acks:
                self.committed = batch.sequence
                yield pb.ReportAck(sequence=batch.sequence)
        await context.abort(grpc.StatusCode.INTERNAL, "cut")


@pytest.fixture
async def script(socket_dir):
    script = Script()
    server = grpc.aio.server()
    rpc.add_MapperManagementServicer_to_server(script, server)
    rpc.add_DeviceManagementServicer_to_server(script, server)
    rpc.add_DeviceDataManagementServicer_to_server(script, server)
    bind(server, socket_dir / "m.sock")
    await server.start()
    yield script
    await server.stop(None)


@pytest.fixture
def link(script, socket_dir, plant) -> V1Link:
    return V1Link(socket_dir / "m.sock", plant.registration)


def values(batch: pb.ReportBatch) -> list[object]:
    return [reading.value for _, reading in decode_batch(batch)]


async def test_an_acknowledgement_that_was_lost_is_heard_at_the_next_opening(
    script, link, served, plant, running, eventually
):
    script.acks, script.batches_per_stream = False, 1
    async with running(link, served):
        link.report([plant.reading(1.0)])
        await eventually(lambda: script.streams and script.streams[0])
        script.acks, script.batches_per_stream, script.committed = True, 1000, 1
        await eventually(lambda: len(script.streams) > 1)
        link.report([plant.reading(2.0)])
        async with asyncio.timeout(10):
            await link.drain()
    assert [(b.sequence, values(b)) for b in script.streams[-1]] == [(2, [2.0])]
    assert [b.property for b in script.streams[-1][0].bindings] == ["temperature"]


async def test_what_was_not_committed_is_sent_again_under_its_number(
    script, link, served, plant, running, eventually
):
    script.acks, script.batches_per_stream = False, 1
    async with running(link, served):
        link.report([plant.reading(1.0)])
        await eventually(lambda: script.streams and script.streams[0])
        script.acks, script.batches_per_stream = True, 1000
        link.report([plant.reading(2.0)])
        async with asyncio.timeout(10):
            await link.drain()
    sent = [(b.sequence, values(b)) for b in script.streams[-1]]
    assert sent == [(1, [1.0]), (2, [2.0])]
    assert len(script.streams[-1][0].bindings) == 1
    assert len(script.streams[-1][1].bindings) == 0


async def test_the_first_reading_goes_at_once_and_the_next_ones_together(
    script, link, served, plant, running, eventually
):
    async with running(link, served):
        await eventually(lambda: link.connected and script.streams)
        link.report([plant.reading(1.0)])
        await eventually(lambda: script.streams[0])
        for value in (2.0, 3.0, 4.0):
            link.report([plant.reading(value)])
        async with asyncio.timeout(10):
            await link.drain()
    assert [values(b) for b in script.streams[0]] == [[1.0], [2.0, 3.0, 4.0]]


async def test_a_manager_that_falls_silent_is_left(script, link, served, running, eventually):
    script.lease_ms, script.answers_beats = 200, False
    async with running(link, served):
        await eventually(lambda: len(script.registrations) >= 2)
        script.answers_beats = True
        await eventually(lambda: link.connected)


async def test_goodbye_is_used_to_flush(script, link, served, plant, running, eventually):
    async with running(link, served):
        await eventually(lambda: link.connected and script.streams)
        link.report([plant.reading(1.0)])
        link.report([plant.reading(2.0)])
        script.goodbye.set()
        await eventually(lambda: len(script.registrations) == 2)
    assert [v for stream in script.streams for b in stream for v in values(b)] == [1.0, 2.0]


async def test_goodbye_of_a_manager_that_no_longer_commits(
    served, script, socket_dir, plant, running, eventually
):
    script.acks = False
    link = V1Link(socket_dir / "m.sock", plant.registration)
    async with running(link, served):
        link.report([plant.reading(1.0)])
        await eventually(lambda: script.streams and script.streams[0])
        script.acks = True
        script.goodbye.set()
        await eventually(lambda: len(script.registrations) == 2)
        async with asyncio.timeout(10):
            await link.drain()


async def test_no_welcome_and_an_ended_watch_mean_another_attempt(
    script, link, served, running, eventually, caplog
):
    caplog.set_level("DEBUG")
    script.welcomes = False
    async with running(link, served):
        await eventually(lambda: "did not say welcome" in caplog.text)
        script.welcomes, script.ends_watch = True, True
        await eventually(lambda: "watch devices: the manager ended the call" in caplog.text)
        script.ends_watch = False
        await eventually(lambda: link.connected)


async def test_bindings_are_needed_once_a_stream_and_texts_survive(
    script, link, served, plant, running
):
    async with running(link, served):
        for value in ("a", "b"):
            link.report([plant.reading(value, name="label")])
            async with asyncio.timeout(10):
                await link.drain()
    assert [len(b.bindings) for b in script.streams[0]] == [1, 0]


async def test_what_was_dropped_is_said(script, served, socket_dir, plant, running):
    link = V1Link(socket_dir / "m.sock", plant.registration, outbox=Outbox(most_waiting=5000))
    for value in range(12_000):
        link.report([plant.reading(float(value))])
    async with running(link, served):
        async with asyncio.timeout(10):
            await link.drain()
    said = sum(b.dropped["backlog"] for stream in script.streams for b in stream)
    sent = sum(len(values(b)) for stream in script.streams for b in stream)
    assert said == link.dropped["backlog"]
    assert said + sent == 12_000


# ------------------------------------------------------------------- watch ----


def event(version: int, **what: object) -> pb.WatchEvent:
    return pb.WatchEvent(version=version, **what)


async def test_resumes_from_where_it_was_in_step(script, link, served, plant, running, eventually):
    script.events = [
        event(0, relist=pb.Relist()),
        event(0, model_put=model_to_v1(plant.model())),
        event(0, device_put=device_to_v1(plant.device())),
        event(7, synced=pb.Synced(epoch="e")),
        event(7, device_put=device_to_v1(plant.device("kiln-2"))),
    ]
    script.ends_watch = True
    async with running(link, served):
        await eventually(lambda: len(script.watches) >= 2)
        # Each list takes the second one away until it is told again.
        await eventually(lambda: served.names == {"kiln-1", "kiln-2"})
    first, second = script.watches[:2]
    assert (first.resume_version, first.epoch) == (0, "")
    assert (second.resume_version, second.epoch) == (7, "e")


async def test_wishes_tell_the_epoch_of_their_versions(
    script, link, running, served, plant, eventually
):
    wish = pb.DesiredPut(
        device=key_to_v1(Key("plant", "kiln-1")), property="temperature", version=2
    )
    wish.value.double = 740.0
    script.events = [event(0, device_put=device_to_v1(plant.device())), event(0, desired_put=wish)]
    async with running(link, served):
        await eventually(lambda: served.desired)
    assert [(wish.version, wish.epoch) for wish in served.desired.values()] == [(2, "e")]


def test_a_list_that_broke_off_removes_nothing_and_is_asked_for_again(served, plant):
    watch = Watch(served)
    served.put_device(plant.device("old"))
    watch.take(event(3, relist=pb.Relist()))
    watch.take(event(3, device_put=device_to_v1(plant.device())))
    assert (watch.version, served.names) == (0, {"old", "kiln-1"})
    watch.take(event(4, relist=pb.Relist()))
    watch.take(event(4, device_put=device_to_v1(plant.device())))
    watch.take(event(5, synced=pb.Synced(epoch="e")))
    assert (watch.version, served.names) == (5, {"kiln-1"})


def test_changes_after_the_list(served, plant):
    watch = Watch(served)
    watch.take(event(1, model_put=model_to_v1(plant.model())))
    watch.take(event(1, device_put=device_to_v1(plant.device())))
    wish = pb.DesiredPut(
        device=key_to_v1(Key("plant", "kiln-1")), property="temperature", version=2
    )
    wish.value.double = 740.0
    watch.take(event(1, desired_put=wish))
    watch.take(event(2, device_gone=key_to_v1(Key("plant", "kiln-1"))))
    watch.take(event(2, model_gone=key_to_v1(Key("plant", "kiln"))))
    watch.take(event(3))
    assert served.told == [
        "model kiln",
        "device kiln-1",
        "desired kiln-1 temperature 740.0",
        "no device kiln-1",
        "no model kiln",
    ]


def test_nonsense_costs_only_itself(served, plant, caplog):
    watch = Watch(served)
    broken = pb.DevicePut(key=key_to_v1(Key("plant", "kiln-1")), json=b"{")
    served.put_device(plant.device())
    watch.take(event(1, relist=pb.Relist()))
    watch.take(event(1, device_put=broken))
    watch.take(event(1, device_put=pb.DevicePut()))
    watch.take(event(1, device_put=device_to_v1(plant.device("kiln-2"))))
    watch.take(event(2, synced=pb.Synced(epoch="e")))
    assert served.names == {"kiln-1", "kiln-2"}
    assert caplog.text.count("cannot be understood") == 2

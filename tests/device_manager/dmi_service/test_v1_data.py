import asyncio
import time

import grpc
import pytest

from device_manager.dmi_service import bindings, v1_data
from device_manager.dmi_service.batches import MOST_READINGS, read_batch
from device_manager.node import Node
from device_manager.records import TwinReading
from dmi.errors import UnavailableError
from dmi.proto.v1 import api_pb2 as pb
from dmi.readings import Quality, Reading
from dmi.reports import OutcomeStatus
from tests.device_manager.dmi_service.v1_mapper import (
    bind,
    ints,
    key,
    mapper,
    now_us,
    serving,
    status_of,
    until,
)
from tests.device_manager.plants import PUMP, device, model

ALL = {
    "i": "INT",
    "f": "FLOAT",
    "d": "DOUBLE",
    "b": "BOOLEAN",
    "s": "STRING",
    "y": "BYTES",
}


def reported(node, name="speed"):
    return node.twin(PUMP, name).reported


def texts(value, handle=1):
    return pb.TextColumn(handle=[handle], time_us=[now_us()], value=[value])


async def send(stream, sequence, **content):
    await stream.write(pb.ReportBatch(sequence=sequence, **content))
    return await stream.read()


@pytest.fixture
async def plant(node):
    await node.apply(model(), device(), origin="api")
    return node


async def test_a_reading_is_there_when_it_is_acknowledged(plant):
    async with serving(plant) as (server, line, _):
        stream, committed = await (await mapper(line)).report()
        assert committed == 0
        ack = await send(stream, 1, bindings=[bind(1)], ints=ints(7))
        assert (ack.sequence, list(ack.refused)) == (1, [])
        assert reported(plant).value == 7
        assert abs(reported(plant).time - time.time()) < 5
        assert server.counters.readings == {"v1": 1}


async def test_every_kind_of_value_with_quality_and_reason(node):
    await node.apply(model(**ALL), device(**dict.fromkeys(ALL)), origin="api")
    now = now_us()
    batch = {
        "bindings": [bind(n, name=name) for n, name in enumerate(ALL)],
        "ints": pb.IntColumn(handle=[0], time_us=[now], value=[-(2**63)]),
        "doubles": pb.DoubleColumn(handle=[1, 2], time_us=[now] * 2, value=[0.5, 1e300]),
        "bools": pb.BoolColumn(handle=[3], time_us=[now], value=[True]),
        "texts": pb.TextColumn(
            handle=[4], time_us=[now], value=["Grüße"], quality=[1], reason=["stale"]
        ),
        "blobs": pb.BytesColumn(handle=[5], time_us=[now], value=[b"\0\xff"]),
    }
    async with serving(node) as (_, line, _):
        stream, _ = await (await mapper(line)).report()
        await send(stream, 1, **batch)
    values = {name: twin.reported.value for name, twin in node.twins(PUMP).items()}
    assert values == {"i": -(2**63), "f": 0.5, "d": 1e300, "b": True, "s": "Grüße", "y": b"\0\xff"}
    assert reported(node, "s").quality is Quality.UNCERTAIN
    assert reported(node, "s").reason == "stale"
    assert reported(node, "i").time == pytest.approx(now / 1e6)


async def test_a_value_of_another_type_is_converted_or_becomes_a_fault(node):
    await node.apply(model(**ALL), device(**dict.fromkeys(ALL)), origin="api")
    now = now_us()
    async with serving(node) as (server, line, _):
        stream, _ = await (await mapper(line)).report()
        await send(
            stream,
            1,
            bindings=[bind(n, name=name) for n, name in enumerate(ALL)],
            ints=pb.IntColumn(handle=[1, 4], time_us=[now] * 2, value=[3, 3]),
            doubles=pb.DoubleColumn(handle=[0, 2], time_us=[now] * 2, value=[4.0, float("nan")]),
        )
        assert reported(node, "f").value == 3.0
        assert reported(node, "i").value == 4
        for name in ("s", "d"):
            assert reported(node, name).value is None
            assert reported(node, name).quality is Quality.BAD
            assert reported(node, name).reason == "conversion"
        assert server.counters.refused == {"conversion": 1}


async def test_a_float_beyond_32_bits_is_a_fault(node):
    await node.apply(model(**ALL), device(**dict.fromkeys(ALL)), origin="api")
    async with serving(node) as (_, line, _):
        stream, _ = await (await mapper(line)).report()
        column = pb.DoubleColumn(handle=[1], time_us=[now_us()], value=[1e300])
        await send(stream, 1, bindings=[bind(1, name="f")], doubles=column)
    assert reported(node, "f").reason == "conversion"


async def test_a_value_that_is_not_a_number_hides_no_other(node):
    await node.apply(model(**ALL), device(**dict.fromkeys(ALL)), origin="api")
    async with serving(node) as (_, line, _):
        stream, _ = await (await mapper(line)).report()
        value = [float("nan"), 1e300]
        column = pb.DoubleColumn(handle=[2, 1], time_us=[now_us()] * 2, value=value)
        bound = [bind(1, name="f"), bind(2, name="d")]
        await send(stream, 1, bindings=bound, doubles=column)
    assert reported(node, "f").reason == "conversion"
    assert reported(node, "d").reason == "conversion"


async def test_of_a_value_and_a_fault_in_one_batch_the_later_wins(plant):
    async with serving(plant) as (_, line, _):
        stream, _ = await (await mapper(line)).report()
        now = now_us()
        fault = pb.FaultColumn(handle=[1], time_us=[now], reason=["deadline"])
        later = pb.IntColumn(handle=[1], time_us=[now + 1], value=[7])
        await send(stream, 1, bindings=[bind(1)], ints=later, faults=fault)
        assert reported(plant).value == 7
        earlier = pb.IntColumn(handle=[1], time_us=[now - 1], value=[7])
        await send(stream, 2, ints=earlier, faults=fault)
        assert reported(plant).value is None
        assert reported(plant).reason == "deadline"


@pytest.mark.parametrize("moment", [0, -1, -(2**63), 2**63 - 1])
async def test_a_time_that_cannot_be_becomes_the_present(plant, moment):
    async with serving(plant) as (_, line, _):
        stream, _ = await (await mapper(line)).report()
        column = pb.IntColumn(handle=[1], time_us=[moment], value=[7])
        await send(stream, 1, bindings=[bind(1)], ints=column)
    assert abs(reported(plant).time - time.time()) < 5


async def test_states_and_outcomes(plant):
    wish = await plant.set_desired(PUMP, "speed", 7)
    state = pb.DeviceState(device=key("pump"), state="offline", reason="r", message="m", since_us=5)
    outcome = pb.DesiredOutcome(
        device=key("pump"), property="speed", version=wish.version, status=2, time_us=now_us()
    )
    async with serving(plant) as (server, line, _):
        stream, _ = await (await mapper(line)).report()
        await send(stream, 1, states=[state], outcomes=[outcome])
        assert plant.state(PUMP).state == "offline"
        assert plant.state(PUMP).reason == "r"
        strange = [
            pb.DeviceState(device=key("pump"), state="dancing"),
            pb.DeviceState(device=key("nobody"), state="online"),
            pb.DeviceState(),
        ]
        await send(stream, 2, states=strange, outcomes=[pb.DesiredOutcome(status=77)])
        assert server.counters.refused == {"unreadable": 3, "unknown_device": 1}
    assert plant.twin(PUMP, "speed").desired.status is OutcomeStatus.CONFIRMED


@pytest.mark.parametrize("moment", [0, -1, 2**63 - 1])
async def test_a_state_since_a_time_that_cannot_be_is_since_now(plant, moment):
    async with serving(plant) as (_, line, _):
        stream, _ = await (await mapper(line)).report()
        online = pb.DeviceState(device=key("pump"), state="online", since_us=moment)
        await send(stream, 1, states=[online])
    state = plant.state(PUMP)
    assert abs(state.since - time.time()) < 5
    assert abs(state.last_online - time.time()) < 5


async def test_handles_that_stand_for_nothing_are_refused_once_each(plant):
    async with serving(plant) as (server, line, _):
        stream, _ = await (await mapper(line)).report()
        made_up = [bind(1), bind(2, name="color"), bind(3, device="nobody")]
        ack = await send(stream, 1, bindings=made_up, ints=ints(1, 2, handle=2))
        assert sorted(ack.refused) == [2, 3]
        ack = await send(stream, 2, ints=ints(7, handle=2))
        assert list(ack.refused) == []
        ack = await send(stream, 3, ints=ints(7, handle=99))
        assert list(ack.refused) == [99]
        assert server.counters.refused == {"unknown_property": 3, "unbound": 1}
        await send(stream, 4, ints=ints(8, handle=1))
        assert reported(plant).value == 8


async def test_devices_of_another_mapper_are_refused(plant):
    async with serving(plant) as (server, line, _):
        stream, _ = await (await mapper(line, protocol="ble")).report()
        state = pb.DeviceState(device=key("pump"), state="online")
        ack = await send(stream, 1, bindings=[bind(1)], ints=ints(1), states=[state])
        assert list(ack.refused) == [1]
        assert server.counters.refused == {"not_assigned": 2}
    assert reported(plant) is None


async def test_handles_follow_what_is_wanted(plant):
    async with serving(plant) as (_, line, _):
        stream, _ = await (await mapper(line)).report()
        await send(stream, 1, bindings=[bind(1), bind(2, name="extra")], ints=ints(1))
        await plant.apply(
            model(speed="STRING", extra="INT"), device(speed=None, extra=None), origin="api"
        )
        ack = await send(stream, 2, ints=ints(5, handle=2))
        assert list(ack.refused) == [], "the property is there now"
        assert reported(plant, "extra").value == 5
        await send(stream, 3, ints=ints(6))
        assert reported(plant).reason == "conversion", "the type has changed"
        await plant.delete("Device", PUMP, "api")
        ack = await send(stream, 4, ints=ints(7))
        assert list(ack.refused) == [1]
        await plant.apply(device(), origin="api")
        ack = await send(stream, 5, bindings=[bind(1, name="speed")], ints=ints(8))
        assert list(ack.refused) == []


async def test_handles_follow_the_instances(plant):
    async with serving(plant) as (server, line, _):
        one = await mapper(line, instance="a")
        stream, _ = await one.report()
        assert list((await send(stream, 1, bindings=[bind(1)], ints=ints(1))).refused) == []
        others = [await mapper(line, instance=f"b{number}") for number in range(8)]
        while server.leases.owner(PUMP).id == one.session:
            others.append(await mapper(line, instance=f"c{len(others)}"))
        assert list((await send(stream, 2, ints=ints(2))).refused) == [1]
        for other in others:
            await other.leave()
        await until(lambda: len(server.leases.sessions) == 1)
        assert list((await send(stream, 3, ints=ints(3))).refused) == []
        assert reported(plant).value == 3


async def test_a_batch_sent_again_is_applied_once(plant):
    async with serving(plant) as (_, line, _):
        one = await mapper(line)
        stream, _ = await one.report()
        for sequence in (1, 2):
            await send(stream, sequence, bindings=[bind(1)], ints=ints(sequence))
        stream.cancel()
        stream, committed = await one.report()
        assert committed == 2
        ack = await send(stream, 2, bindings=[bind(5)], ints=ints(99, handle=5))
        assert ack.sequence == 2
        assert reported(plant).value == 2
        assert (await send(stream, 3, ints=ints(3, handle=5))).sequence == 3
        assert reported(plant).value == 3


async def test_what_was_under_way_when_a_stream_broke_is_not_applied_with_what_follows(
    plant, monkeypatch
):
    await plant.apply_report("s", 3, [TwinReading(PUMP, "speed", Reading(3, 1.0))], [], [])
    real, go, read = plant.apply_report, asyncio.Event(), []

    async def gated(*args):
        await go.wait()
        await real(*args)

    def counted(*args):
        read.append(args)
        return read_batch(*args)

    monkeypatch.setattr(plant, "apply_report", gated)
    monkeypatch.setattr(v1_data, "read_batch", counted)
    # As if the commit of the batch above were still under way.
    monkeypatch.setattr(plant, "committed_sequence", lambda _: 0)
    after = plant.feed.last_id
    async with serving(plant) as (_, line, _):
        stream, _ = await (await mapper(line)).report()
        for sequence in range(1, 5):
            message = pb.ReportBatch(sequence=sequence, bindings=[bind(1)], ints=ints(sequence))
            await stream.write(message)
        await until(lambda: len(read) == 4)
        go.set()
        while (await stream.read()).sequence < 4:
            pass
    with plant.feed.reader(after) as reader:
        told = [event.data for event in reader.take() if event.data["event"] == "twin"]
    assert [twin["reported"]["value"] for twin in told] == [4]


async def test_what_is_committed_survives_the_manager(tmp_path):
    node = await Node.open(tmp_path / "a.db")
    await node.apply(model(), device(), origin="api")
    async with serving(node) as (_, line, _):
        stream, _ = await (await mapper(line)).report("mine")
        await send(stream, 1, bindings=[bind(1)], ints=ints(7))
    await node.close()
    node = await Node.open(tmp_path / "a.db")
    async with serving(node) as (_, line, _):
        one = await mapper(line)
        assert (await one.report("mine"))[1] == 1
        assert (await one.report("other"))[1] == 0
    assert reported(node).value == 7
    await node.close()


async def test_batches_are_read_ahead_and_acknowledged_in_order(plant):
    async with serving(plant) as (server, line, _):
        stream, _ = await (await mapper(line)).report()
        await stream.write(pb.ReportBatch(sequence=1, bindings=[bind(1)], ints=ints(1)))
        for sequence in range(2, 101):
            await stream.write(pb.ReportBatch(sequence=sequence, ints=ints(sequence)))
        acks = []
        while not acks or acks[-1] < 100:
            acks.append((await stream.read()).sequence)
        assert acks == sorted(set(acks))
        assert server.counters.batches == {"v1": 100}
        assert reported(plant).value == 100


async def test_what_was_sent_before_the_end_is_acknowledged(plant):
    async with serving(plant) as (_, line, _):
        stream, _ = await (await mapper(line)).report()
        await stream.write(pb.ReportBatch(sequence=1, bindings=[bind(1)], ints=ints(1)))
        await stream.write(pb.ReportBatch(sequence=2, ints=ints(2)))
        await stream.done_writing()
        last = 0
        while (ack := await stream.read()) is not grpc.aio.EOF:
            last = ack.sequence
        assert last == 2
        assert await stream.code() is grpc.StatusCode.OK


async def test_no_acknowledgement_until_the_store_commits(plant, monkeypatch):
    async with serving(plant) as (_, line, _):
        stream, _ = await (await mapper(line)).report()
        await send(stream, 1, bindings=[bind(1)], ints=ints(1))
        full, real = asyncio.Event(), plant.apply_report

        async def refuse(*_args):
            full.set()
            raise UnavailableError("database or disk is full")

        monkeypatch.setattr(plant, "apply_report", refuse)
        await stream.write(pb.ReportBatch(sequence=2, ints=ints(2)))
        await stream.write(pb.ReportBatch(sequence=3, ints=ints(3)))
        await full.wait()
        ack = asyncio.ensure_future(stream.read())
        assert not ack.done()
        assert reported(plant).value == 1
        monkeypatch.setattr(plant, "apply_report", real)
        answers = [(await ack).sequence]
        while answers[-1] < 3:
            answers.append((await stream.read()).sequence)
        assert reported(plant).value == 3


async def test_a_stream_opened_again_ends_the_older_one(plant):
    async with serving(plant) as (_, line, _):
        one = await mapper(line)
        old, _ = await one.report("mine")
        await send(old, 1, bindings=[bind(1)], ints=ints(1))
        new, committed = await one.report("mine")
        assert committed == 1
        assert (await status_of(old))[0] is grpc.StatusCode.ABORTED
        await send(new, 2, bindings=[bind(1)], ints=ints(2))
        assert reported(plant).value == 2


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"sequence": 0}, "sequence 0"),
        ({"sequence": 5}, "sequence 5 came after 1"),
        ({"sequence": 1}, "sequence 1 came after 1"),
        ({"sequence": 2, "ints": pb.IntColumn(handle=[1, 1], time_us=[1])}, "ints"),
        ({"sequence": 2, "faults": pb.FaultColumn(handle=[1])}, "faults"),
    ],
)
async def test_a_malformed_batch_is_refused_with_what_is_wrong(plant, content, told):
    async with serving(plant) as (_, line, _):
        stream, _ = await (await mapper(line)).report()
        await send(stream, 1, bindings=[bind(1)], ints=ints(1))
        await stream.write(pb.ReportBatch(**content))
        code, text = await status_of(stream)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert told in text


async def test_too_many_readings_too_many_handles_too_long_messages(plant, monkeypatch):
    exhausted = grpc.StatusCode.RESOURCE_EXHAUSTED
    async with serving(plant) as (_, line, _):
        one = await mapper(line)
        stream, _ = await one.report()
        many = MOST_READINGS + 1
        column = pb.IntColumn(handle=[1] * many, time_us=[1] * many, value=[1] * many)
        await stream.write(pb.ReportBatch(sequence=1, ints=column))
        assert (await status_of(stream))[0] is exhausted

        monkeypatch.setattr(bindings, "MOST_HANDLES", 3)
        stream, _ = await one.report()
        await stream.write(pb.ReportBatch(sequence=1, bindings=[bind(n) for n in range(4)]))
        assert (await status_of(stream))[0] is exhausted

        stream, _ = await one.report()
        text = pb.TextColumn(handle=[1], time_us=[1], value=["x" * 17_000_000])
        await stream.write(pb.ReportBatch(sequence=1, texts=text))
        assert (await status_of(stream))[0] is exhausted

        stream, _ = await one.report()
        assert (await send(stream, 1, bindings=[bind(1)], ints=ints(1))).sequence == 1


async def test_a_stream_begins_with_an_opening_that_fits(plant):
    async with serving(plant) as (_, line, _):
        one = await mapper(line)
        for stream_id in ("", "x" * 200):
            stream = one.data.Report()
            opening = pb.Opening(session=one.session, stream_id=stream_id)
            await stream.write(pb.ReportBatch(opening=opening))
            assert (await status_of(stream))[0] is grpc.StatusCode.INVALID_ARGUMENT
        stream = one.data.Report()
        await stream.write(pb.ReportBatch(sequence=1))
        assert (await status_of(stream))[0] is grpc.StatusCode.INVALID_ARGUMENT
        stream = one.data.Report()
        await stream.write(pb.ReportBatch(opening=pb.Opening(session="?", stream_id="s")))
        assert (await status_of(stream))[0] is grpc.StatusCode.UNAUTHENTICATED


async def test_a_mapper_that_dies_in_the_middle_leaves_what_was_acknowledged(plant):
    async with serving(plant) as (server, line, _):
        one = await mapper(line)
        stream, _ = await one.report()
        await send(stream, 1, bindings=[bind(1)], ints=ints(1))
        await stream.write(pb.ReportBatch(sequence=2, ints=ints(2)))
        stream.cancel()
        one.lease.cancel()
        await until(lambda: not server.leases.sessions)
        assert reported(plant).value in (1, 2)
        assert plant.committed_sequence("s") in (1, 2)


async def test_what_a_mapper_had_to_drop_is_counted(plant):
    async with serving(plant) as (server, line, _):
        stream, _ = await (await mapper(line)).report()
        await send(stream, 1, dropped={"overflow": 5})
        await send(stream, 2, dropped={f"made up {n}": 1 for n in range(200)})
        assert server.counters.dropped["m/0", "overflow"] == 5
        assert sum(server.counters.dropped.values()) == 205
        assert len(server.counters.dropped) <= 65


async def test_a_batch_that_comes_again_counts_once(plant, monkeypatch):
    asked, real = asyncio.Event(), plant.apply_report

    async def never(*_args):
        asked.set()
        await asyncio.Event().wait()

    async with serving(plant) as (server, line, _):
        one = await mapper(line)
        content = {"bindings": [bind(1)], "ints": ints(7, 8, handle=1), "dropped": {"overflow": 5}}
        content["ints"].handle[1] = 99
        stream, _ = await one.report()
        monkeypatch.setattr(plant, "apply_report", never)
        await stream.write(pb.ReportBatch(sequence=1, **content))
        await asked.wait()
        stream.cancel()
        monkeypatch.setattr(plant, "apply_report", real)
        for _ in range(2):
            stream, _ = await one.report()
            assert (await send(stream, 1, **content)).sequence == 1
            stream.cancel()
        assert server.counters.batches == {"v1": 1}
        assert server.counters.readings == {"v1": 1}
        assert server.counters.refused == {"unbound": 1}
        assert server.counters.dropped == {("m/0", "overflow"): 5}


async def test_twins_for_tools(plant):
    await plant.set_desired(PUMP, "speed", 9)
    async with serving(plant) as (_, line, _):
        one = await mapper(line)
        stream, _ = await one.report()
        await send(stream, 1, bindings=[bind(1)], ints=ints(7))
        everything = await one.data.GetTwins(pb.GetTwinsRequest())
        some = await one.data.GetTwins(pb.GetTwinsRequest(devices=[key("pump"), key("nobody")]))
    assert everything == some
    speed = next(twin for twin in some.twins if twin.property == "speed")
    assert (speed.reported.int, speed.desired.int, speed.desired_status) == (7, 9, 0)
    label = next(twin for twin in some.twins if twin.property == "label")
    assert not label.HasField("reported")
    assert not label.HasField("desired")


async def test_services_of_later_are_unimplemented(plant):
    async with serving(plant) as (_, line, _):
        call = line.unary_unary("/dmi.v1.DeviceEventManagement/List")
        assert (await status_of(call(b"")))[0] is grpc.StatusCode.UNIMPLEMENTED


async def test_a_handle_that_stands_for_something_else_is_refused_anew(plant):
    async with serving(plant) as (_, line, _):
        stream, _ = await (await mapper(line)).report()
        ack = await send(stream, 1, bindings=[bind(1, name="colour")], ints=ints(7))
        assert list(ack.refused) == [1]
        ack = await send(stream, 2, bindings=[bind(1, name="taste")], ints=ints(7))
        assert list(ack.refused) == [1]


async def test_a_property_that_only_the_model_has_is_refused(plant):
    """What would be acknowledged and not kept."""
    await plant.apply(model(), device(speed=None), origin="api")
    async with serving(plant) as (server, line, _):
        stream, _ = await (await mapper(line)).report()
        ack = await send(stream, 1, bindings=[bind(1, name="label")], texts=texts("x"))
        assert list(ack.refused) == [1]
        assert server.counters.refused == {"unknown_property": 1}
        await plant.apply(device(speed=None, label=None), origin="api")
        ack = await send(stream, 2, texts=texts("y"))
        assert list(ack.refused) == []
        assert reported(plant, "label").value == "y"


@pytest.mark.parametrize("first", [2**63, 2**64 - 1])
async def test_a_sequence_that_no_database_holds_is_refused(plant, first):
    async with serving(plant) as (_, line, _):
        stream, _ = await (await mapper(line)).report()
        await stream.write(pb.ReportBatch(sequence=first, bindings=[bind(1)], ints=ints(7)))
        code, text = await status_of(stream)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "sequence" in text
        stream, committed = await (await mapper(line)).report()
        assert committed == 0
        assert (await send(stream, 1, bindings=[bind(1)], ints=ints(8))).sequence == 1
        assert reported(plant).value == 8

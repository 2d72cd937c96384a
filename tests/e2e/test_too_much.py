"""A mapper that says far too much: refused in words, in bounded memory, to nobody else's harm."""

import grpc
import pytest

from dmi.proto.v1 import api_pb2 as pb
from dmi.unix_socket import channel
from tests.device_manager.dmi_service.go_mapper import manager, twins
from tests.device_manager.dmi_service.v1_mapper import bind, key, mapper, now_us, status_of
from tests.e2e.node import TANK_MODEL, tank

pytestmark = [
    pytest.mark.process,
    # Making a million twins takes Python some seconds, on the sending side.
    pytest.mark.timeout(60),
]

MILLION = 1_000_000
MOST_MORE_MIB = 200
"""What the manager may grow by; a million twins as Python objects would take far more."""


@pytest.fixture
async def busy(stage):
    """A manager with a mapper process that it serves, and what both are like."""
    stage.write("tank.yaml", TANK_MODEL, tank())
    program, rest = await stage.manager()
    await stage.mapper()
    await rest.until_reported("tank", "level")
    before = program.rss_mib
    yield rest
    answer = await rest.put_desired("tank", "setpoint", 9, wait=5)
    assert answer.json()["desired"]["status"] == "confirmed"
    assert program.running
    assert program.rss_mib - before < MOST_MORE_MIB


async def test_a_million_twins_in_one_v1beta1_report(stage, busy):
    async with channel(stage.socket) as line:
        report = twins("1", device="tank", name="level")
        one = report.reportedDevice.SerializeToString()
        report.reportedDevice.MergeFromString(one * (MILLION - 1))
        assert len(report.reportedDevice.twins) == MILLION
        code, text = await status_of(manager(line).ReportDeviceStatus(report))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "larger than max" in text


async def test_a_million_readings_in_one_v1_batch(stage, busy):
    async with channel(stage.socket) as line:
        stream, _ = await (await mapper(line, protocol="other")).report()
        # Small enough to be read by the library: it is the count that is too big.
        column = pb.IntColumn(handle=[1] * MILLION, time_us=[0] * MILLION, value=[0] * MILLION)
        await stream.write(pb.ReportBatch(sequence=1, bindings=[bind(1, "tank")], ints=column))
        code, text = await status_of(stream)
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "1000000 readings in one batch" in text


async def test_a_million_batches_worth_of_unknown_twins(stage, busy):
    """Bindings to ever other devices that do not exist must not pile up."""
    async with channel(stage.socket) as line:
        stream, _ = await (await mapper(line, protocol="other")).report()
        for sequence in range(1, 41):
            names = [f"nobody-{sequence}-{n}" for n in range(10_000)]
            bindings = [
                pb.Binding(handle=n, device=key(name), property="p" * 200)
                for n, name in enumerate(names)
            ]
            await stream.write(pb.ReportBatch(sequence=sequence, bindings=bindings))
            ack = await stream.read()
            assert ack.sequence == sequence


async def test_readings_for_somebody_elses_device_are_refused(stage, busy):
    async with channel(stage.socket) as line:
        stream, _ = await (await mapper(line, protocol="other")).report()
        column = pb.IntColumn(handle=[1], time_us=[now_us()], value=[-5])
        await stream.write(
            pb.ReportBatch(sequence=1, bindings=[bind(1, "tank", "level")], ints=column)
        )
        ack = await stream.read()
        assert (ack.sequence, list(ack.refused)) == (1, [1])
        assert (await busy.twin("tank", "level"))["reported"]["value"] >= 0


async def test_a_text_of_ten_megabytes(stage, busy):
    answer = await busy.put_desired("tank", "label", "x" * 10 * 1024 * 1024)
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"

import pytest

from dmi.errors import UnavailableError
from mapper_sdk.sessions.bus import Bus
from mappers.modbus.config import ModbusLink
from mappers.modbus.endpoint import Membership
from mappers.modbus.line import Pacing

RTU = {"transport": "rtu", "serialPort": "/dev/ttyS0"}


class FakeWire:
    def __init__(self, link):
        self.link = link
        self.pacing = Pacing(numbered=False)
        self.open = True

    def is_active(self):
        return self.open

    async def shut(self):
        self.open = False


class Opener:
    def __init__(self):
        self.wires = []
        self.fails = False

    async def __call__(self, link):
        if self.fails:
            raise UnavailableError("no such line")
        self.wires.append(FakeWire(link))
        return self.wires[-1]


@pytest.fixture
def opener():
    return Opener()


def member(opener, **settings):
    return Membership(ModbusLink.model_validate({**RTU, **settings}), opener)


async def test_the_last_one_closes_the_connection(opener):
    bus, first, second = Bus(), member(opener, unit=1), member(opener, unit=2)
    await first.join(bus)
    await second.join(bus)
    (wire,) = opener.wires
    assert await first.wire() is await second.wire() is wire
    await first.leave()
    await first.leave()
    assert wire.open
    await second.leave()
    assert not wire.open


async def test_a_connection_that_died_while_idle_is_not_joined(opener):
    bus, first, second = Bus(), member(opener, unit=1), member(opener, unit=2)
    await first.join(bus)
    opener.wires[0].open = False
    await second.join(bus)
    assert await second.wire() is opener.wires[1]
    assert await first.wire() is opener.wires[1]
    await first.leave()
    await second.leave()
    assert not opener.wires[1].open


async def test_a_broken_connection_is_dropped_once(opener):
    bus, only = Bus(), member(opener)
    assert not only.drop_if_broken()
    await only.join(bus)
    assert not only.drop_if_broken()
    opener.wires[0].open = False
    assert only.drop_if_broken()
    await only.leave()
    await only.join(bus)
    assert len(opener.wires) == 2
    await only.leave()


async def test_what_cannot_be_opened_again_is_left(opener):
    bus, only = Bus(), member(opener)
    await only.join(bus)
    opener.wires[0].open, opener.fails = False, True
    for words in ("no such line", "not connected"):
        with pytest.raises(UnavailableError, match=words):
            await only.wire()


async def test_who_disagrees_about_the_line_does_not_close_it(opener):
    bus, first, second = Bus(), member(opener), member(opener, baudRate=300)
    await first.join(bus)
    with pytest.raises(UnavailableError, match="other line settings"):
        await second.join(bus)
    assert opener.wires[0].open
    await first.leave()
    await second.join(bus)
    assert await second.wire() is opener.wires[1]
    await second.leave()


async def test_a_late_answer_is_expected_on_a_line_opened_anew_too(opener):
    bus, only = Bus(), member(opener, unit=5)
    await only.join(bus)
    opener.wires[0].pacing.expect_late(5, opener.wires[0].link)
    await only.leave()
    await only.join(bus)
    assert opener.wires[1].pacing.awaits_late_answer(5)
    assert not opener.wires[1].pacing.awaits_late_answer(1)
    await only.leave()

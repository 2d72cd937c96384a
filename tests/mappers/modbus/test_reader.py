import pytest

from dmi.errors import ConfigError, ConversionError, DeadlineError, UnavailableError
from mappers.modbus.config import ModbusLink
from mappers.modbus.planner import Span
from mappers.modbus.reader import Reader
from mappers.modbus.refusals import Refusal
from mappers.modbus.visit import ModbusVisit, Register


class Device:
    """A unit whose register contents are their addresses; some of them are missing or silent."""

    def __init__(self, missing=(), silent=(), most=125, code=2):
        self.missing = set(missing)
        self.silent = set(silent)
        self.most = most
        self.code = code
        self.asked = []

    async def fetch(self, register, span):
        self.asked.append(tuple(span))
        addresses = set(range(*span))
        if addresses & self.silent:
            raise DeadlineError("silence")
        if addresses & self.missing or len(addresses) > self.most:
            raise Refusal("no", self.code)
        if register.is_bit:
            return bytes((len(addresses) + 7) // 8)
        return b"".join(a.to_bytes(2, "big") for a in range(*span))

    def take_asked(self):
        asked, self.asked = self.asked, []
        return asked


class Time:
    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


def at(offset, **settings):
    return ModbusVisit.model_validate({"register": "holding", "offset": offset, **settings})


def reader(now=None, **settings):
    link = ModbusLink.model_validate({"host": "plc", **settings})
    return Reader(link, now or Time())


def values(answers):
    return [a if isinstance(a, int) else type(a).__name__ for a in answers]


async def test_tables_are_asked_one_by_one_and_answers_keep_their_order():
    device = Device()
    visits = [at(7), at(0, register="coil"), at(5), at(8, register="input")]
    assert await reader().read(visits, device.fetch) == [7, False, 5, 8]
    assert sorted(device.asked) == [(0, 1), (5, 8), (8, 9)]


async def test_a_plan_is_made_once_for_the_same_visits():
    device, made = Device(), reader()
    visits = [at(1), at(2)]
    for _ in range(3):
        assert await made.read(list(visits), device.fetch) == [1, 2]
    assert await made.read([visits[1]], device.fetch) == [2]
    assert device.asked == [(1, 3)] * 3 + [(2, 3)]


async def test_many_plans_do_not_pile_up():
    device, made = Device(), reader()
    for offset in range(200):
        assert await made.read([at(offset)], device.fetch) == [offset]


async def test_a_missing_register_is_found_and_not_asked_for_again():
    device, made = Device(missing=[4]), reader()
    visits = [at(offset) for offset in range(8)]
    expected = [0, 1, 2, 3, "Refusal", 5, 6, 7]
    assert values(await made.read(visits, device.fetch)) == expected
    assert len(device.take_asked()) == 7  # 8, 4+4, 2+2, 1+1
    assert values(await made.read(visits, device.fetch)) == expected
    assert device.take_asked() == [(0, 4), (5, 8)]


async def test_a_hole_that_the_device_refuses_is_not_run_over_again():
    device, made = Device(missing=[2, 3]), reader()
    visits = [at(0), at(1), at(4), at(5)]
    assert await made.read(visits, device.fetch) == [0, 1, 4, 5]
    assert device.take_asked() == [(0, 6), (0, 2), (4, 6)]
    assert await made.read(visits, device.fetch) == [0, 1, 4, 5]
    assert device.take_asked() == [(0, 2), (4, 6)]


async def test_a_device_with_a_lower_limit_than_told_is_learnt():
    device, made = Device(most=4), reader()
    visits = [at(offset) for offset in range(8)]
    assert await made.read(visits, device.fetch) == list(range(8))
    device.take_asked()
    assert await made.read(visits, device.fetch) == list(range(8))
    assert device.take_asked() == [(0, 4), (4, 8)]


async def test_overlapping_values_that_are_granted_apart_only():
    device, made = Device(most=4), reader()
    visits = [at(0, type="uint64"), at(2, type="uint64")]
    first = await made.read(visits, device.fetch)
    device.take_asked()
    assert await made.read(visits, device.fetch) == first
    assert device.take_asked() == [(0, 4), (2, 6)]


async def test_what_was_refused_is_tried_again_after_a_while():
    time = Time()
    device, made = Device(missing=[1]), reader(time, refusedAgainAfter=60)
    visits = [at(0), at(1)]
    await made.read(visits, device.fetch)
    device.missing.clear()
    assert values(await made.read(visits, device.fetch)) == [0, "Refusal"]
    time.seconds = 60
    assert await made.read(visits, device.fetch) == [0, 1]
    device.take_asked()
    await made.read(visits, device.fetch)
    assert device.take_asked() == [(0, 2)]


async def test_a_new_connection_is_asked_for_everything():
    device, made = Device(missing=[1]), reader()
    await made.read([at(0), at(1)], device.fetch)
    device.missing.clear()
    made.start_afresh()
    assert await made.read([at(0), at(1)], device.fetch) == [0, 1]


async def test_a_missing_function_refuses_the_whole_table_at_once():
    device, made = Device(missing=[1], code=1), reader()
    visits = [at(offset) for offset in range(4)]
    assert values(await made.read(visits, device.fetch)) == ["Refusal"] * 4
    assert device.take_asked() == [(0, 4)]
    await made.read(visits, device.fetch)
    assert device.take_asked() == []


async def test_a_failing_device_is_asked_again_each_time():
    device, made = Device(missing=[1], code=4), reader()
    visits = [at(0), at(1)]
    assert values(await made.read(visits, device.fetch)) == ["Refusal"] * 2
    device.missing.clear()
    assert await made.read(visits, device.fetch) == [0, 1]


async def test_a_value_too_long_for_the_device_is_a_matter_of_settings():
    device, made = Device(), reader(maxReadRegisters=4)
    answers = await made.read([at(0, type="string", limit=8), at(9)], device.fetch)
    assert isinstance(answers[0], ConfigError)
    assert "maxReadRegisters of 4" in str(answers[0])
    assert answers[1] == 9


async def test_bits_have_limits_of_their_own():
    device, made = Device(), reader(maxReadCoils=16, maxGapCoils=0)
    visits = [at(0, register="coil"), at(15, register="coil"), at(2, register="coil", count=17)]
    answers = await made.read(visits, device.fetch)
    assert values(answers) == [0, 0, "ConfigError"]
    assert device.asked == [(0, 1), (15, 16)]
    assert "maxReadCoils" in str(answers[2])


async def test_a_value_that_cannot_be_decoded_fails_alone():
    device = Device()
    visits = [at(0xFFFE, type="string", limit=1), at(0xFFFD)]
    answers = await reader().read(visits, device.fetch)
    assert isinstance(answers[0], ConversionError)
    assert answers[1] == 0xFFFD


async def test_a_dead_unit_costs_one_silence():
    device, made = Device(silent=range(200)), reader()
    with pytest.raises(DeadlineError):
        await made.read([at(0), at(100)], device.fetch)
    assert len(device.asked) == 1


async def test_a_silent_block_does_not_hide_the_living_ones():
    device, made = Device(silent=[0]), reader()
    visits = [at(0), at(100)]
    with pytest.raises(DeadlineError):
        await made.read(visits, device.fetch)
    device.take_asked()
    assert values(await made.read(visits, device.fetch)) == ["DeadlineError", 100]
    assert device.take_asked() == [(100, 101), (0, 1)]


async def test_a_block_that_stays_silent_is_divided_and_then_left_alone():
    device, made = Device(silent=[3]), reader()
    visits = [at(0), at(3), at(100)]
    with pytest.raises(DeadlineError):
        await made.read(visits, device.fetch)
    for _ in range(3):
        assert values(await made.read(visits, device.fetch)) == ["DeadlineError"] * 2 + [100]
    # From now on 0 and 3 are asked for apart; after three silences more, 3 not at all.
    for _ in range(3):
        assert values(await made.read(visits, device.fetch)) == [0, "DeadlineError", 100]
    device.take_asked()
    answers = await made.read(visits, device.fetch)
    assert values(answers) == [0, "DeadlineError", 100]
    assert "while others are answered" in str(answers[1])
    assert device.take_asked() == [(0, 1), (100, 101)]


async def test_a_silence_now_and_then_teaches_nothing():
    device, made = Device(), reader()
    visits = [at(0), at(100)]
    for _ in range(5):
        device.silent = {100}
        assert values(await made.read(visits, device.fetch)) == [0, "DeadlineError"]
        device.silent = set()
        assert await made.read(visits, device.fetch) == [0, 100]


async def test_a_lost_way_is_the_whole_reads_failure():
    async def gone(register, span):
        raise UnavailableError("gone")

    with pytest.raises(UnavailableError):
        await reader().read([at(0)], gone)


def test_the_four_tables_are_told_apart():
    assert [kind for kind in Register if kind.is_bit] == [Register.COIL, Register.DISCRETE_INPUT]
    assert Span(1, 2).holds(Span(1, 2))

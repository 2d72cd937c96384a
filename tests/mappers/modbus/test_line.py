import asyncio
import time

import pytest

from mappers.modbus.config import ModbusLink
from mappers.modbus.line import Pacing, same_line, seconds_on_line, silent_interval


def link(**settings):
    return ModbusLink.model_validate(settings)


RTU = {"transport": "rtu", "serialPort": "/dev/ttyS0"}


@pytest.mark.parametrize(
    ("baud", "stop_bits", "parity", "seconds"),
    [
        (9600, 1, "even", 3.5 * 11 / 9600),
        (9600, 1, "none", 3.5 * 10 / 9600),
        (19200, 2, "none", 3.5 * 11 / 19200),
        (38400, 1, "even", 0.00175),
    ],
)
def test_silence_between_rtu_frames(baud, stop_bits, parity, seconds):
    device = link(**RTU, baudRate=baud, stopBits=stop_bits, parity=parity)
    assert silent_interval(device) == pytest.approx(seconds)


def test_other_frames_need_no_silence():
    assert silent_interval(link(transport="ascii", serialPort="/dev/ttyS0")) == 0
    assert silent_interval(link(host="plc")) == 0


def test_characters_take_their_time_on_a_serial_line_only():
    assert seconds_on_line(250, link(host="plc")) == 0
    rtu = seconds_on_line(250, link(**RTU, baudRate=1200))
    assert rtu == pytest.approx(266 * 11 / 1200)
    ascii_ = seconds_on_line(250, link(transport="ascii", serialPort="x", baudRate=1200))
    assert ascii_ == pytest.approx(2 * rtu)


def test_who_shares_a_line_must_agree_on_it():
    assert same_line(link(**RTU, unit=1, timeout=1), link(**RTU, unit=2, timeout=2))
    assert not same_line(link(**RTU), link(**RTU, parity="none"))
    assert not same_line(link(**RTU), link(transport="ascii", serialPort="/dev/ttyS0"))
    assert same_line(link(host="plc"), link(host="plc", baudRate=300))
    tls = {"transport": "tls", "host": "plc"}
    assert not same_line(link(**tls), link(**tls, verify=False))


class TestPacing:
    SLOW = link(**RTU, baudRate=115200, lateResponseWait=5)
    BRIEF = link(**RTU, baudRate=115200, lateResponseWait=0.05)

    async def test_a_late_answer_ends_the_wait(self):
        pacing = Pacing(numbered=False)
        pacing.expect_late(1, self.SLOW)
        waiting = asyncio.ensure_future(pacing.wait(1, self.SLOW))
        await asyncio.sleep(0)
        assert not waiting.done()
        pacing.note_stray(1)
        await asyncio.wait_for(waiting, 1)
        assert not pacing.awaits_late_answer(1)

    async def test_other_units_need_not_wait(self):
        pacing = Pacing(numbered=False)
        pacing.expect_late(1, self.SLOW)
        await asyncio.wait_for(pacing.wait(2, self.SLOW), 1)
        assert pacing.awaits_late_answer(1)

    async def test_a_cancelled_wait_is_not_forgotten(self):
        pacing = Pacing(numbered=False)
        pacing.expect_late(1, self.SLOW)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pacing.wait(1, self.SLOW), 0.01)
        assert pacing.awaits_late_answer(1)

    async def test_the_wait_has_an_end(self):
        pacing = Pacing(numbered=False)
        began = time.monotonic()
        pacing.expect_late(1, self.BRIEF)
        await asyncio.wait_for(pacing.wait(1, self.BRIEF), 1)
        assert time.monotonic() - began >= 0.049

    async def test_what_is_over_is_not_carried_to_a_new_connection(self):
        pacing = Pacing(numbered=False)
        pacing.expect_late_until(1, time.monotonic() - 1)
        assert pacing.late_until(1) == 0.0

    async def test_numbered_answers_need_no_waiting(self):
        pacing = Pacing(numbered=True)
        pacing.expect_late(1, self.SLOW)
        assert not pacing.awaits_late_answer(1)

    async def test_three_silences_in_a_row_make_the_connection_suspect(self):
        pacing = Pacing(numbered=True)
        assert [pacing.note_silence() for _ in range(2)] == [False, False]
        pacing.note_answer()
        assert [pacing.note_silence() for _ in range(3)] == [False, False, True]

import asyncio
import logging
import time

import pytest

from dmi.errors import (
    AccessDeniedError,
    ConfigError,
    ConversionError,
    DeadlineError,
    OverloadedError,
    RefusedError,
    UnavailableError,
    UnsupportedError,
)
from mappers.modbus.simulation.faults import Fault, FaultKind
from mappers.modbus.visit import ModbusVisit, Register


def at(offset=0, register="holding", **settings):
    return ModbusVisit.model_validate({"register": register, "offset": offset, **settings})


def functions(simulator):
    asked = [function for _, function, _ in simulator.requests]
    simulator.requests.clear()
    return asked


# ------------------------------------------------------------------ reading ----


async def test_the_plant_in_one_request_per_table(simulator, connect):
    boiler = await connect(1)
    visits = [
        at(0, "input", type="float32"),
        at(2, "input", type="float32"),
        at(0, "holding", type="float32"),
        at(0, "coil"),
        at(0, "discrete"),
    ]
    temperature, pressure, setpoint, burner, _ = await boiler.read(visits)
    assert (setpoint, burner) == (60.0, True)
    assert pressure == pytest.approx(1 + temperature / 100)
    assert sorted(functions(simulator)) == [1, 2, 3, 4]


async def test_a_refused_block_is_divided_on_the_wire_too(simulator, connect):
    rack = await connect()
    visits = [at(98), at(99), at(100)]
    with simulator.faults.on(Fault(FaultKind.REFUSE, 4, 3, start=98, end=99)):
        for _ in range(2):
            answers = await rack.read(visits)
            assert isinstance(answers[0], RefusedError)
            assert "illegal data value (0x03)" in str(answers[0])
            assert answers[1] == 99
            assert "unit 4 at tcp://127.0.0.1" in str(answers[2])
        assert simulator.requests[-1] == (4, 3, range(99, 100))


@pytest.mark.parametrize(
    ("code", "error", "word"),
    [
        (1, RefusedError, "illegal function"),
        (4, RefusedError, "device failure"),
        (99, RefusedError, "an unknown word"),
    ],
)
async def test_a_refusal_has_the_devices_own_word(simulator, connect, code, error, word):
    rack = await connect()
    with simulator.faults.on(Fault(FaultKind.REFUSE, 4, code)):
        (answer,) = await rack.read([at(0)])
    assert type(answer).__mro__[1] is error
    assert word in str(answer)


@pytest.mark.parametrize(
    ("code", "error"),
    [(5, OverloadedError), (6, OverloadedError), (10, UnavailableError), (11, UnavailableError)],
)
async def test_a_busy_or_unreached_device_is_unavailable(simulator, connect, code, error):
    rack = await connect(retries=0)
    with simulator.faults.on(Fault(FaultKind.REFUSE, 4, code)), pytest.raises(error):
        await rack.read([at(0)])


@pytest.mark.parametrize("kind", [FaultKind.REFUSE, FaultKind.SILENT])
async def test_a_passing_fault_is_overcome_by_a_retry(simulator, connect, kind):
    rack = await connect()
    await rack.read([at(0)])
    with simulator.faults.on(Fault(kind, 4, 6, times=1)):
        assert await rack.read([at(7)]) == [7]


async def test_a_unit_that_is_not_there_is_unavailable(connect):
    nobody = await connect(77)
    with pytest.raises(UnavailableError, match="gateway target device failed to respond"):
        await nobody.read([at(0)])


async def test_a_first_silence_is_not_waited_for_twice(simulator, connect):
    rack = await connect(timeout=0.05, retries=5)
    with simulator.faults.on(Fault(FaultKind.SILENT, 4)):
        with pytest.raises(DeadlineError, match=r"did not answer within 0\.05 s"):
            await rack.read([at(0)])
        assert len(simulator.requests) == 1


# ------------------------------------------------------------ broken links ----


async def test_a_connection_dropped_in_the_middle_of_a_read(simulator, connect):
    rack = await connect(timeout=10)
    await rack.read([at(0)])
    began = time.monotonic()
    with simulator.faults.on(Fault(FaultKind.DROP, 4)), pytest.raises(UnavailableError) as lost:
        await rack.read([at(0)])
    assert not isinstance(lost.value, DeadlineError)
    assert time.monotonic() - began < 5, "it waited for the timeout"
    await rack.close()
    await rack.connect()
    assert await rack.read([at(0)]) == [0]


async def test_a_connection_closed_while_idle_is_opened_again(simulator, connect):
    rack = await connect()
    await rack.read([at(0)])
    await simulator.stop()
    await simulator.start()
    await asyncio.sleep(0)
    assert await rack.read([at(5)]) == [5]


async def test_a_server_that_is_gone_is_told_by_its_own_error(simulator, connect):
    rack = await connect()
    await rack.read([at(0)])
    await simulator.stop()
    with pytest.raises(UnavailableError) as first:
        await rack.read([at(0)])
    if "the connection was lost" in str(first.value):  # that it was closed had not arrived yet
        with pytest.raises(UnavailableError) as first:
            await rack.read([at(0)])
    assert "Connect call failed" in str(first.value)


async def test_garbage_is_no_value(simulator, connect):
    rack = await connect()
    await rack.read([at(0)])
    garbling = simulator.faults.on(Fault(FaultKind.GARBLE, 4))
    with garbling, pytest.raises(UnavailableError, match="garbage came instead of an answer"):
        await rack.read([at(0)])
    await rack.connect()
    assert await rack.read([at(3)]) == [3]


async def test_an_endpoint_that_falls_silent_is_connected_anew(simulator, connect):
    """Three silences: the other end may be gone without having closed the connection."""
    rack = await connect(timeout=0.2, retries=0)
    await rack.read([at(0)])
    with simulator.faults.on(Fault(FaultKind.SILENT)):
        for _ in range(3):
            with pytest.raises(DeadlineError):
                await rack.read([at(0)])
    assert await rack.read([at(9)]) == [9]


async def test_reading_without_connecting(connect):
    rack = await connect()
    await rack.close()
    with pytest.raises(UnavailableError, match="not connected"):
        await rack.read([at(0)])


async def test_nobody_listens(connect, simulator):
    await simulator.stop()
    with pytest.raises(UnavailableError, match=f"tcp://127.0.0.1:{simulator.port}"):
        await connect()


async def test_a_name_that_does_not_exist(connect):
    with pytest.raises(UnavailableError, match=r"plc\.invalid"):
        await connect(host="plc.invalid")


# ------------------------------------------------------------- late answers ----


async def test_a_late_answer_is_never_the_next_ones_on_tcp(simulator, connect):
    rack = await connect(timeout=0.3, retries=0)
    late = Fault(FaultKind.DELAY, 4, 0.4, times=1)
    with simulator.faults.on(late), pytest.raises(DeadlineError):
        await rack.read([at(20)])
    # The late answer arrives while this one is waited for.
    with simulator.faults.on(Fault(FaultKind.DELAY, 4, 0.15, times=1)):
        for offset in range(3):
            assert await rack.read([at(offset)]) == [offset]


async def test_nothing_is_logged_by_the_library(simulator, connect, caplog):
    caplog.set_level(logging.INFO)
    rack = await connect(timeout=0.05, retries=0)
    with simulator.faults.on(Fault(FaultKind.SILENT, 4)), pytest.raises(DeadlineError):
        await rack.read([at(0)])
    with simulator.faults.on(Fault(FaultKind.GARBLE, 4)), pytest.raises(UnavailableError):
        await rack.read([at(0)])
    assert caplog.records == []


# ------------------------------------------------------------------ writing ----


@pytest.mark.parametrize(
    ("visit", "value", "function"),
    [
        (at(0, "coil"), True, 5),
        (at(0, "coil", count=3), "[true,false,true]", 15),
        (at(0), 4711, 6),
        (at(0, type="float32"), 21.5, 16),
        (at(0, type="int64", byteOrder="CDAB"), -5, 16),
        (at(0, type="string", limit=4), "hello", 16),
        (at(0, type="bytes", limit=1), b"\x01\x02", 6),
        (at(0, count=4), "[1,2,3,4]", 16),
        (at(0, bit=5), True, 22),
    ],
)
async def test_each_kind_of_write_by_its_function(simulator, connect, visit, value, function):
    rack = await connect()
    await rack.write(visit, value)
    assert functions(simulator) == [function]
    assert await rack.read([visit]) == [value]


async def test_a_bit_is_written_without_touching_the_others(simulator, connect):
    rack = await connect()
    table = simulator.tables(4)[Register.HOLDING]
    table[0] = 0b1010_0000_0000_0101
    await rack.write(at(0, bit=0), False)
    await rack.write(at(0, bit=1), True)
    assert table[0] == 0b1010_0000_0000_0110
    assert functions(simulator) == [22, 22]


async def test_a_device_without_masked_writes_is_read_and_written_back(simulator, connect):
    rack = await connect()
    table = simulator.tables(4)[Register.HOLDING]
    table[0] = 0xFF00
    lacking = Fault(FaultKind.REFUSE, 4, 1, functions=frozenset({22}))
    with simulator.faults.on(lacking):
        await rack.write(at(0, bit=0), True)
        await rack.write(at(0, bit=15, isSwap=True), True)
    assert table[0] == 0xFF81
    assert functions(simulator) == [22, 3, 6, 3, 6]


async def test_masked_writes_can_be_switched_off(simulator, connect):
    rack = await connect(maskWrite=False)
    await rack.write(at(0, bit=4), True)
    assert functions(simulator) == [3, 6]


@pytest.mark.parametrize(("register", "single", "multiple"), [("coil", 5, 15), ("holding", 6, 16)])
async def test_a_device_without_single_writes(simulator, connect, register, single, multiple):
    rack = await connect()
    lacking = Fault(FaultKind.REFUSE, 4, 1, functions=frozenset({single}))
    with simulator.faults.on(lacking):
        await rack.write(at(1, register), 1)
        await rack.write(at(1, register), 0)
    assert functions(simulator) == [single, multiple, multiple]


async def test_single_writes_can_be_switched_off(simulator, connect):
    rack = await connect(writeMultiple=True)
    await rack.write(at(1), 1)
    await rack.write(at(1, "coil"), True)
    assert functions(simulator) == [16, 15]


@pytest.mark.parametrize("visit", [at(200), at(99, type="int32"), at(200, bit=1)])
async def test_a_refused_write_has_the_devices_own_word(simulator, connect, visit):
    rack = await connect()
    with pytest.raises(RefusedError, match="illegal data address"):
        await rack.write(visit, 1)


@pytest.mark.parametrize(
    ("visit", "value", "error"),
    [
        (at(0, "input"), 1, AccessDeniedError),
        (at(0, "discrete"), True, AccessDeniedError),
        (at(0), 70000, ConversionError),
        (at(0, bit=1), "yes", ConversionError),
        (at(0, type="string", limit=9), "x", ConfigError),
        (at(0, "coil", count=17), "[]", ConfigError),
    ],
)
async def test_what_cannot_be_written_is_not_even_sent(simulator, connect, visit, value, error):
    rack = await connect(maxWriteRegisters=8, maxWriteCoils=16)
    with pytest.raises(error):
        await rack.write(visit, value)
    assert simulator.counted == 0


async def test_a_write_without_an_answer_is_not_repeated(simulator, connect):
    rack = await connect(timeout=0.2, retries=3)
    await rack.read([at(0)])
    functions(simulator)
    with simulator.faults.on(Fault(FaultKind.SILENT, 4)), pytest.raises(DeadlineError):
        await rack.write(at(0), 1)
    assert functions(simulator) == [6]


# -------------------------------------------------------------------- times ----


async def test_pauses_are_kept(simulator, connect):
    began = time.monotonic()
    rack = await connect(pauseAfterConnect=0.05, pauseBetweenRequests=0.05)
    await rack.read([at(0)])
    await rack.read([at(0)])
    assert time.monotonic() - began >= 0.1


# -------------------------------------------------------------- sharing ----


async def test_units_of_one_endpoint_share_one_connection(simulator, connect):
    first, second = await connect(4), await connect(5)
    assert first.bus is second.bus
    both = await asyncio.gather(
        *(_turns(driver, [at(offset)]) for offset, driver in ((1, first), (2, second)))
    )
    assert both == [[1] * 5, [2] * 5]
    assert len(simulator.connections) == 1
    await first.close()
    assert await second.read([at(3)]) == [3]
    await second.close()
    async with asyncio.timeout(5):
        await simulator.wait_disconnected()


async def give_up_reading(driver, after):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(after):
            await driver.read([at(50)])


async def _turns(driver, visits):
    values = []
    for _ in range(5):
        async with driver.bus.turn():
            values += await driver.read(visits)
    return values


async def test_a_dead_unit_leaves_the_living_ones_their_connection(simulator, connect):
    living, dead = await connect(4), await connect(5, timeout=0.02)
    with simulator.faults.on(Fault(FaultKind.SILENT, 5)):
        for round_ in range(5):
            with pytest.raises(DeadlineError):
                await dead.read([at(0)])
            await dead.close()
            assert await living.read([at(round_)]) == [round_]
            await dead.connect()
    assert len(simulator.connections) == 1
    assert simulator.accepted == 1


async def test_a_connection_that_one_unit_found_broken_is_renewed_for_all(simulator, connect):
    first, second = await connect(4), await connect(5)
    with simulator.faults.on(Fault(FaultKind.DROP, 4, times=1)), pytest.raises(UnavailableError):
        await first.read([at(0)])
    assert await second.read([at(1)]) == [1]
    await first.close()
    await first.connect()
    assert await first.read([at(2)]) == [2]
    assert len(simulator.connections) == 1


async def test_a_cancelled_read_leaves_the_connection_in_order(simulator, connect):
    rack = await connect(timeout=1)
    with simulator.faults.on(Fault(FaultKind.DELAY, 4, 0.05, times=1)):
        await give_up_reading(rack, after=0.02)
    assert await rack.read([at(6)]) == [6]
    assert simulator.accepted == 1


# ----------------------------------------------------------- writing at once ----


async def test_registers_that_follow_each_other_are_written_by_one_request(simulator, connect):
    rack = await connect()
    simulator.requests.clear()
    writes = [(at(12, type="uint32"), 70000), (at(10, type="int16"), -2), (at(11), 7)]
    await rack.write_together(writes)
    assert functions(simulator) == [16]
    assert await rack.read([visit for visit, _ in writes]) == [70000, -2, 7]


@pytest.mark.parametrize(
    "writes",
    [
        [(at(10), 1), (at(12), 2)],
        [(at(10), 1), (at(10), 2)],
        [(at(10), 1), (at(11, "coil"), True)],
        [(at(10), 1), (at(11, bit=3, type="bool"), True)],
    ],
)
async def test_others_cannot_be_written_at_once(simulator, connect, writes):
    rack = await connect()
    simulator.requests.clear()
    with pytest.raises(UnsupportedError):
        await rack.write_together(writes)
    assert functions(simulator) == []


async def test_no_more_are_written_at_once_than_the_device_takes(simulator, connect):
    rack = await connect(maxWriteRegisters=1)
    with pytest.raises(UnsupportedError):
        await rack.write_together([(at(10), 1), (at(11), 2)])


async def test_a_device_that_refuses_one_of_them_takes_none(simulator, connect):
    rack = await connect()
    await rack.write_together([(at(98), 5), (at(99), 6)])
    with pytest.raises(RefusedError):
        await rack.write_together([(at(99), 1), (at(100), 2)])
    assert await rack.read([at(98), at(99)]) == [5, 6]


async def test_a_device_without_function_16_is_written_one_by_one(simulator, connect):
    rack = await connect()
    with (
        simulator.faults.on(Fault(FaultKind.REFUSE, 4, 1, functions=frozenset({16}))),
        pytest.raises(UnsupportedError),
    ):
        await rack.write_together([(at(10), 1), (at(11), 2)])

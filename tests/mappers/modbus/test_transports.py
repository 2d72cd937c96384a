"""Every transport against a real server, its own faults included."""

import asyncio
import ssl
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dmi.errors import DeadlineError, RefusedError, UnavailableError
from mapper_sdk.sessions.bus import Bus
from mappers.modbus.config import ModbusLink, Transport
from mappers.modbus.driver import ModbusDriver
from mappers.modbus.simulation.faults import Fault, FaultKind
from mappers.modbus.simulator import ModbusSimulator
from mappers.modbus.visit import ModbusVisit

FIXTURES = Path(__file__).parents[2] / "fixtures" / "modbus"
PLC = str(FIXTURES / "plc.crt")

UNNUMBERED = [Transport.RTU_OVER_TCP, Transport.RTU, Transport.ASCII]


def at(offset=0, register="holding", **settings):
    return ModbusVisit.model_validate({"register": register, "offset": offset, **settings})


def server_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PLC, FIXTURES / "plc.key")
    return context


@asynccontextmanager
async def serving(transport, request):
    """A simulator, and the settings that reach it."""
    if transport.is_serial:
        device_end, our_end = request.getfixturevalue("serial_line")
        simulator = ModbusSimulator(
            transport=transport, serial_port=device_end, units=5, baud_rate=115200
        )
        # Pseudo terminals know no parity.
        settings = {"serialPort": our_end, "baudRate": 115200, "parity": "none"}
    else:
        context = server_context() if transport is Transport.TLS else None
        simulator = ModbusSimulator(transport=transport, units=5, context=context)
        settings = {"host": "127.0.0.1", "caFile": PLC}
    async with simulator:
        if not transport.is_serial:
            settings["port"] = simulator.port
        yield simulator, {"transport": transport, "unit": 4, "timeout": 0.5, **settings}


@asynccontextmanager
async def connected(settings, bus=None):
    driver = ModbusDriver(ModbusLink.model_validate(settings))
    driver.bus = bus or Bus()
    await driver.connect()
    try:
        yield driver
    finally:
        await driver.close()


@pytest.mark.parametrize("transport", list(Transport))
async def test_reads_and_writes(transport, request):
    async with serving(transport, request) as (_, settings), connected(settings) as rack:
        wide = at(0, count=100)
        assert await rack.read([wide]) == [str(list(range(100))).replace(" ", "")]
        await rack.write(at(8, type="float64", byteOrder="BADC"), 2.5)
        await rack.write(at(3, "coil"), True)
        await rack.write(at(20, bit=15), True)
        visits = [at(8, type="float64", byteOrder="BADC"), at(3, "coil"), at(20, bit=15), at(100)]
        *values, refused = await rack.read(visits)
        assert values == [2.5, True, True]
        assert isinstance(refused, RefusedError)


@pytest.mark.parametrize("transport", list(Transport))
async def test_a_silent_unit_is_told_from_a_living_one(transport, request):
    async with serving(transport, request) as (simulator, settings):
        bus = Bus()
        dead = settings | {"unit": 5, "timeout": 0.05, "lateResponseWait": 0.05}
        async with connected(settings, bus) as living, connected(dead, bus) as silent:
            with simulator.faults.on(Fault(FaultKind.SILENT, 5)):
                for offset in range(4):
                    with pytest.raises(DeadlineError, match="unit 5"):
                        await silent.read([at(0)])
                    assert await living.read([at(offset)]) == [offset]


@pytest.mark.parametrize("transport", UNNUMBERED)
async def test_a_late_answer_is_never_the_next_ones(transport, request):
    """Without numbers both answers look alike: same unit, same function, same length."""
    async with serving(transport, request) as (simulator, settings):
        hasty = settings | {"timeout": 0.3, "retries": 0, "lateResponseWait": 2}
        async with connected(hasty) as rack:
            await rack.read([at(1)])
            late = Fault(FaultKind.DELAY, 4, 0.4, times=1)
            with simulator.faults.on(late), pytest.raises(DeadlineError):
                await rack.read([at(50)])
            assert await rack.read([at(2)]) == [2]
            assert await rack.read([at(3)]) == [3]


@pytest.mark.parametrize("transport", UNNUMBERED)
async def test_the_answer_to_a_cancelled_read_is_never_the_next_ones(transport, request):
    async with serving(transport, request) as (simulator, settings), connected(settings) as rack:
        with simulator.faults.on(Fault(FaultKind.DELAY, 4, 0.1, times=1)):
            await give_up_reading(rack, after=0.05)
        assert await rack.read([at(2)]) == [2]


async def give_up_reading(driver, after):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(after):
            await driver.read([at(50)])


async def test_waiting_for_a_late_answer_ends_without_one():
    async with serving(Transport.RTU_OVER_TCP, None) as (simulator, settings):
        hasty = settings | {"timeout": 0.2, "lateResponseWait": 0.1}
        async with connected(hasty) as rack:
            with simulator.faults.on(Fault(FaultKind.SILENT, 4)), pytest.raises(DeadlineError):
                await rack.read([at(50)])
            began = time.monotonic()
            assert await rack.read([at(2)]) == [2]
            assert time.monotonic() - began > 0.09


@pytest.mark.parametrize("transport", [*UNNUMBERED, Transport.UDP])
async def test_a_garbled_answer_is_repeated(transport, request):
    async with serving(transport, request) as (simulator, settings):
        hasty = settings | {"timeout": 0.3, "lateResponseWait": 0.05}
        async with connected(hasty) as rack:
            await rack.read([at(0)])
            with simulator.faults.on(Fault(FaultKind.GARBLE, 4, times=1)):
                assert await rack.read([at(7)]) == [7]


async def test_a_udp_port_where_nobody_listens_is_told_at_once(request):
    udp = serving(Transport.UDP, request)
    async with udp as (simulator, settings), connected(settings | {"timeout": 5}) as rack:
        await rack.read([at(0)])
        await simulator.stop()
        async with asyncio.timeout(2):
            with pytest.raises(UnavailableError):
                await rack.read([at(0)])


async def test_tls_trusts_only_who_signed_the_device(request):
    async with serving(Transport.TLS, request) as (_, settings):
        stranger = settings | {"caFile": str(FIXTURES / "stranger.crt")}
        with pytest.raises(UnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
            async with connected(stranger):
                pass
        async with connected(stranger | {"verify": False}) as rack:
            assert await rack.read([at(1)]) == [1]


async def test_tls_checks_the_name_that_is_expected(request):
    async with serving(Transport.TLS, request) as (_, settings):
        async with connected(settings | {"serverName": "plc.example"}) as rack:
            assert await rack.read([at(1)]) == [1]
        with pytest.raises(UnavailableError, match=r"other\.example"):
            async with connected(settings | {"serverName": "other.example"}):
                pass


async def test_tls_shows_a_certificate_to_a_device_that_wants_one():
    context = server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(PLC)
    async with ModbusSimulator(transport=Transport.TLS, units=4, context=context) as simulator:
        settings = {
            "transport": "tls",
            "host": "127.0.0.1",
            "port": simulator.port,
            "unit": 4,
            "caFile": PLC,
            "certFile": PLC,
            "keyFile": str(FIXTURES / "plc.key"),
        }
        async with connected(settings) as rack:
            assert await rack.read([at(1)]) == [1]


@pytest.mark.parametrize("missing", ["caFile", "certFile"])
async def test_tls_files_that_are_missing_are_named(missing):
    settings = {"transport": "tls", "host": "127.0.0.1", missing: "/nowhere/x.pem"}
    with pytest.raises(UnavailableError, match=r"/nowhere/x\.pem"):
        async with connected(settings):
            pass


async def test_a_serial_line_that_is_not_there():
    with pytest.raises(UnavailableError, match="/dev/nowhere"):
        async with connected({"serialPort": "/dev/nowhere"}):
            pass


async def test_an_unplugged_serial_line_is_lost_at_once(request):
    line = serving(Transport.RTU, request)
    async with line as (_, settings), connected(settings | {"timeout": 5}) as rack:
        await rack.read([at(0)])
        (process,) = request.getfixturevalue("serial_processes")
        process.terminate()
        async with asyncio.timeout(2):
            with pytest.raises(UnavailableError):
                await rack.read([at(0)])


async def test_units_of_one_line_must_agree_on_its_speed(request):
    async with serving(Transport.RTU, request) as (_, settings):
        bus = Bus()
        async with connected(settings, bus) as rack:
            with pytest.raises(UnavailableError, match="other line settings"):
                async with connected(settings | {"unit": 5, "baudRate": 9600}, bus):
                    pass
            assert await rack.read([at(1)]) == [1]
        async with connected(settings | {"baudRate": 9600}, bus) as rack:
            assert await rack.read([at(1)]) == [1]

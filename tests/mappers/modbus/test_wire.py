"""Answers that no decent device gives, from a server that says what the test wants."""

import asyncio
import contextlib
import struct
from contextlib import asynccontextmanager

import pytest

from dmi.errors import DeadlineError, UnavailableError
from mapper_sdk.sessions.bus import Bus
from mappers.modbus.config import ModbusLink
from mappers.modbus.driver import ModbusDriver
from mappers.modbus.visit import ModbusVisit

REQUEST = struct.Struct(">3H2B2H")


def at(offset=0, register="holding", **settings):
    return ModbusVisit.model_validate({"register": register, "offset": offset, **settings})


def answer(number, payload, unit=1):
    return struct.pack(">3HB", number, 0, len(payload) + 1, unit) + payload


def words(*values):
    return struct.pack(f">2B{len(values)}H", 3, 2 * len(values), *values)


@asynccontextmanager
async def device(script, **settings):
    """A driver for a server whose `script(number, address, writer)` answers each request."""

    writers = []

    async def serve(reader, writer):
        writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                request = await reader.readexactly(REQUEST.size)
                number, _, _, _, _, address, _ = REQUEST.unpack(request)
                script(number, address, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        driver = ModbusDriver(
            ModbusLink.model_validate(
                {"host": "127.0.0.1", "port": port, "timeout": 0.3, "retries": 0, **settings}
            )
        )
        driver.bus = Bus()
        try:
            await driver.connect()
            yield driver
        finally:
            await driver.close()
            for writer in writers:
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()


async def test_an_answer_in_pieces_is_put_together():
    def script(number, address, writer):
        whole = answer(number, words(address))
        writer.write(whole[:5])
        asyncio.get_running_loop().call_later(0.02, writer.write, whole[5:])

    async with device(script) as driver:
        assert await driver.read([at(7)]) == [7]


async def test_answers_with_other_numbers_are_passed_over():
    def script(number, address, writer):
        for other in (number - 1, 0, number + 1):
            writer.write(answer(other, words(666)))
        writer.write(answer(number, words(address)))

    async with device(script) as driver:
        assert [await driver.read([at(n)]) for n in (3, 4)] == [[3], [4]]


async def test_answers_of_another_unit_are_passed_over():
    def script(number, address, writer):
        writer.write(answer(number, words(666), unit=9) + answer(number, words(address)))

    async with device(script) as driver:
        assert await driver.read([at(5)]) == [5]


@pytest.mark.parametrize(
    "payload",
    [
        words(1, 2),
        struct.pack(">2BH", 4, 2, 1),
        struct.pack(">2BH", 3, 4, 1),
        struct.pack(">2BH", 0x55, 2, 1),
    ],
    ids=["too long", "other function", "wrong byte count", "unknown function"],
)
async def test_an_answer_to_another_question_is_no_value(payload):
    def script(number, address, writer):
        writer.write(answer(number, payload))

    async with device(script) as driver:
        with pytest.raises(UnavailableError, match="garbage came instead of an answer"):
            await driver.read([at(0)])


async def test_half_an_answer_costs_the_connection():
    """The rest of it would be taken for the beginning of the next one."""
    connections = set()

    def script(number, address, writer):
        first = not connections
        connections.add(writer)
        whole = answer(number, words(address))
        writer.write(whole[:-1] if first else whole)

    async with device(script) as driver:
        with pytest.raises(DeadlineError):
            await driver.read([at(1)])
        assert await driver.read([at(2)]) == [2]
    assert len(connections) == 2


async def test_a_foreign_protocol_is_not_understood():
    def script(number, address, writer):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with device(script) as driver:
        with pytest.raises(UnavailableError):
            await driver.read([at(0)])


@pytest.mark.parametrize(
    ("visit", "value", "echo"),
    [
        (at(5), 7, struct.pack(">B2H", 6, 6, 7)),
        (at(5, count=2), "[1,2]", struct.pack(">B2H", 16, 5, 3)),
    ],
    ids=["other address", "other count"],
)
async def test_the_echo_of_another_write_is_not_believed(visit, value, echo):
    def script(number, address, writer):
        writer.write(answer(number, echo))

    async with device(script) as driver:
        with pytest.raises(UnavailableError, match="does not fit"):
            await driver.write(visit, value)


async def test_a_numbered_answer_may_bear_the_value_that_the_device_chose():
    def script(number, address, writer):
        writer.write(answer(number, struct.pack(">B2H", 6, 5, 1000)))

    async with device(script) as driver:
        await driver.write(at(5), 2000)


async def test_a_server_that_says_nothing_to_a_tls_greeting():
    def script(number, address, writer):
        """Say nothing."""

    with pytest.raises(UnavailableError, match=r"no connection in 0\.1 s"):
        async with device(script, transport="tls", connectTimeout=0.1):
            pass


async def test_a_cancelled_connect_holds_nothing():
    def script(number, address, writer):
        writer.write(answer(number, words(address)))

    async with device(script) as driver:
        slow = ModbusDriver(driver.link.model_copy(update={"pause_after_connect": 5.0}))
        slow.bus = Bus()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await slow.connect()
        with pytest.raises(UnavailableError, match="not connected"):
            await slow.read([at(0)])


async def test_a_device_that_closes_each_connection_at_once_is_not_connected_to_again_and_again():
    connections = 0

    async def refuse(reader, writer):
        nonlocal connections
        connections += 1
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        driver = ModbusDriver(
            ModbusLink.model_validate(
                {"host": "127.0.0.1", "port": port, "pauseAfterConnect": 0.05}
            )
        )
        driver.bus = Bus()
        with pytest.raises(UnavailableError, match="closed"):
            async with asyncio.timeout(2):
                await driver.connect()
        await driver.close()
    assert connections == 1

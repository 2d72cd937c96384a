"""A test of your own driver: inherit the toolkit's contract for drivers, and give it a device.

Run it with `python examples/02_own_driver_test.py`, or by pytest with the rest of your tests.
The kettle here is a server that can be switched off, which is what the contract likes best.
"""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence

import pytest
from pydantic import BaseModel

from dmi.errors import UnavailableError
from dmi.readings import Value
from mapper_sdk.driver import Answer, Driver
from mapper_sdk.testing import DriverContract


class Link(BaseModel):
    """How a kettle is reached."""

    port: int


class Visit(BaseModel):
    """How a property is reached."""

    item: str


class TcpKettleDriver(Driver[Link, Visit]):
    """Asks one line for each item: `setpoint` reads it, `setpoint 60` sets it."""

    protocol_name, link_model, visit_model = "tcp-kettle", Link, Visit
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def connect(self) -> None:
        try:
            self.streams = await asyncio.open_connection("127.0.0.1", self.link.port)
        except OSError as error:
            raise UnavailableError(str(error)) from error

    async def read(self, visits: Sequence[Visit]) -> Sequence[Answer]:
        return [int(await self._ask(visit.item)) for visit in visits]

    async def write(self, visit: Visit, value: Value) -> None:
        await self._ask(f"{visit.item} {value!r}")

    async def close(self) -> None:
        if self.streams is not None:
            self.streams[1].close()
        self.streams = None

    async def _ask(self, line: str) -> bytes:
        if self.streams is None:
            raise UnavailableError("not connected")
        try:
            self.streams[1].write(f"{line}\n".encode())
            return await self.streams[0].readuntil()
        except (OSError, EOFError) as error:
            raise UnavailableError(f"connection lost: {error!r}") from error


class Kettle:
    """The simulated device; `start` and `stop` are what the contract asks of it."""

    def __init__(self) -> None:
        self.port = 0
        self.writes = 0
        self.items = {"setpoint": 60}
        self.clients: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self.server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self.server.close()
        for client in self.clients:
            client.close()
        await self.server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.clients.add(writer)
        while line := (await reader.readline()).decode():
            item, *value = line.split()
            if value:
                self.items[item] = int(value[0])
                self.writes += 1
            writer.write(f"{self.items[item]}\n".encode())
        self.clients.discard(writer)
        writer.close()


class TestTcpKettle(DriverContract):
    """All tests are inherited; these fixtures are what they need."""

    @pytest.fixture
    async def simulator(self) -> AsyncIterator[Kettle]:
        kettle = Kettle()
        await kettle.start()
        yield kettle
        await kettle.stop()

    @pytest.fixture
    def driver(self, simulator: Kettle) -> TcpKettleDriver:
        return TcpKettleDriver(Link(port=simulator.port))

    @pytest.fixture
    def visit(self) -> Visit:
        return Visit(item="setpoint")


if __name__ == "__main__":
    options = ["-q", "-o", "asyncio_mode=auto", "-p", "no:cacheprovider"]
    sys.exit(subprocess.call([sys.executable, "-m", "pytest", *options, __file__]))

"""The smallest target: keeps rows by key, over TCP, pickled. And an honest sink for it."""

import asyncio
import pickle
from typing import ClassVar

from pydantic import Field

from dmi.errors import RefusedError, UnavailableError
from mapper_sdk.delivery.sink import Settings, Sink


class StoreServer:
    """Keeps readings by device, property and time; forgets nothing when it is killed."""

    def __init__(self):
        self.rows = {}
        self.port = 0
        self.sends = 0
        self._server = None
        self._writers = set()

    async def start(self):
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def kill(self):
        if self._server is not None:
            self._server.close()
            for writer in self._writers:
                writer.transport.abort()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader, writer):
        self._writers.add(writer)
        try:
            while True:
                size = int.from_bytes(await reader.readexactly(4), "big")
                self.sends += 1
                self.rows.update(pickle.loads(await reader.readexactly(size)))  # noqa: S301
                writer.write(b"+")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()


class StoreTarget(Settings):
    port: int = Field(description="Where it listens.")


class StorePlace(Settings):
    table: str = Field(default="t", description="A word before each key.")


class StoreSink(Sink[StoreTarget, StorePlace]):
    kind: ClassVar[str] = "store"
    target_model = StoreTarget
    place_model = StorePlace
    _streams = None

    async def open(self):
        try:
            self._streams = await asyncio.open_connection("127.0.0.1", self.target.port)
        except OSError as error:
            raise UnavailableError(str(error)) from error

    def row(self, route, reading):
        key = (route.place.table, route.source.device, route.source.property, reading.time)
        return key, reading

    async def send(self, items):
        reader, writer = self._streams
        rows, failed = {}, {}
        for index, (route, reading) in enumerate(items):
            if "%" in route.source.property:
                failed[index] = RefusedError("a name with %")
                continue
            key, row = self.row(route, reading)
            rows[key] = row
        data = pickle.dumps(rows)
        try:
            writer.write(len(data).to_bytes(4, "big") + data)
            await reader.readexactly(1)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise UnavailableError("lost") from error
        return failed

    async def close(self):
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].transport.abort()

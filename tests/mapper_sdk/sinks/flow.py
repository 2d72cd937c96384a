"""A flow of readings into a sink whose server is killed in its midst."""

import asyncio
import contextlib

from dmi.errors import UnavailableError
from dmi.readings import Reading
from dmi.resources import DataType, Key
from mapper_sdk.delivery.sink import Route, Source
from mapper_sdk.sinks.tables import SqlPlace

START = 1_790_000_000.0
BATCH = 200
KILLS = 2


class Flow:
    """Sends batch after batch, each again and again until it was taken.

    Attributes:
        taken: How many batches the sink has taken.
        failed: How many sends were in vain.
    """

    def __init__(self, sink):
        self.taken = self.failed = 0
        self._sink = sink
        self._routes = [
            Route(Source(Key("default", "dev-1"), f"p{n}", DataType.INT), SqlPlace())
            for n in range(BATCH)
        ]
        self._progress = asyncio.Event()
        self._stop = False

    async def run(self):
        while not self._stop:
            batch = [
                (route, Reading(self.taken * BATCH + n, START + self.taken))
                for n, route in enumerate(self._routes)
            ]
            while not await self._send(batch):
                self.failed += 1
                await self._sink.close()
                await asyncio.sleep(0.02)
            self.taken += 1
            self._progress.set()
        await self._sink.close()

    async def _send(self, batch):
        with contextlib.suppress(UnavailableError):
            await self._sink.open()
            assert not await self._sink.send(batch)
            return True
        return False

    async def reach(self, taken):
        async with asyncio.timeout(15):
            while self.taken < taken:
                self._progress.clear()
                await self._progress.wait()

    def stop(self):
        self._stop = True


async def survive_kills(sink, server):
    """Kill the server in mid-flow, again and again; give how many readings it must hold now."""
    flow = Flow(sink)
    async with asyncio.TaskGroup() as group:
        group.create_task(flow.run())
        for kill in range(KILLS):
            await flow.reach(flow.taken + 5 + kill)
            await server.kill()
            await server.start()
        await flow.reach(flow.taken + 5)
        flow.stop()
    assert flow.failed >= KILLS
    return flow.taken * BATCH

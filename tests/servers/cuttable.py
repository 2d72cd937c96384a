"""A line to a server that breaks when the test wants it to."""

import asyncio


class Cuttable:
    """Between a client and the broker; cuts when so many bytes have gone either way.

    With `hold_after`, it lets nothing more through after so many, until it is `released`.
    """

    def __init__(self, port):
        self.port = port
        self.cut_after = self.hold_after = None
        self.released = asyncio.Event()
        self.cuts = 0

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.own_port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()
        await self.server.wait_closed()

    async def _serve(self, reader, writer):
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.passed = 0
        try:
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        except ConnectionError:
            self.cuts += 1
        finally:
            for one in (writer, far_writer):
                one.transport.abort()

    async def _pump(self, reader, writer):
        while data := await reader.read(512):
            if self.cut_after is not None and self.passed > self.cut_after:
                raise ConnectionError
            if self.hold_after is not None and self.passed > self.hold_after:
                await self.released.wait()
            self.passed += len(data)
            writer.write(data)
            await writer.drain()
        raise ConnectionError

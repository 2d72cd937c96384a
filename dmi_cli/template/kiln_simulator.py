"""A simulated kiln for tests and first steps: `python kiln_simulator.py [PORT]`."""

import asyncio
import json
import sys


class KilnSimulator:
    """A real server of the protocol, on a port of its own.

    Attributes:
        items: What the device knows; `setpoint` alone may be set.
        port: 0 until it is started; the same after every further start.
        writes: How many values were set.
    """

    def __init__(self, port: int = 0) -> None:
        self.items: dict[str, object] = {"temperature": 731.5, "setpoint": 740}
        self.port = port
        self.writes = 0
        self._server: asyncio.Server | None = None
        self._callers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Drop all connections and refuse further ones."""
        if self._server is not None:
            self._server.close()
            for caller in list(self._callers):
                caller.close()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._callers.add(writer)
        try:
            while line := await reader.readline():
                writer.write(f"{self._answer(line.decode())}\n".encode())
                await writer.drain()
        except ConnectionError:
            pass  # the caller has gone
        finally:
            self._callers.discard(writer)
            writer.close()

    def _answer(self, line: str) -> str:
        match line.split(maxsplit=2):
            case ["GET", item] if item in self.items:
                return json.dumps(self.items[item])
            case ["SET", "setpoint", value]:
                self.items["setpoint"] = json.loads(value)
                self.writes += 1
                return "OK"
        return "ERR there is no such item, or it cannot be set"


async def main() -> None:
    """Serve until Ctrl-C; the temperature follows the setpoint."""
    simulator = KilnSimulator(int(sys.argv[1]) if len(sys.argv) > 1 else 4001)
    await simulator.start()
    sys.stdout.write(f"kiln answers on 127.0.0.1:{simulator.port}\n")
    sys.stdout.flush()
    while True:
        await asyncio.sleep(1)
        now, aim = (
            float(str(simulator.items["temperature"])),
            float(str(simulator.items["setpoint"])),
        )
        simulator.items["temperature"] = round(now + (aim - now) / 10, 1)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        sys.exit(130)

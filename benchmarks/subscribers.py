"""Readers of server-sent events: `python -m benchmarks.subscribers URL --count N --seconds S`.

A process of its own, so that its CPU time is not that of the server.
"""

import argparse
import asyncio
import json
import time
from typing import Final
from urllib.parse import urlsplit

__all__ = ["main"]

_END_OF_HEAD: Final = b"\r\n\r\n"
_EVENT: Final = b"\nevent: readings\n"
_GAP: Final = b"\nevent: gap\ndata:"
_PIECE: Final = 256 * 1024


class _Subscriber:
    """One stream, of which only the events are counted."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = parts.hostname or "127.0.0.1", parts.port or 80
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        self._request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        self.events = 0
        self.gaps = 0

    async def run(self, begin: float, end: float) -> None:
        """Read until `end` on the monotonic clock; count from `begin` on."""
        reader, writer = await asyncio.open_connection(*self._address)
        writer.write(self._request)
        head = await reader.readuntil(_END_OF_HEAD)
        if not head.startswith(b"HTTP/1.1 200"):
            raise OSError(head.decode("latin-1"))
        rest = b""
        try:
            async with asyncio.timeout_at(
                asyncio.get_running_loop().time() + end - time.monotonic()
            ):
                while piece := await reader.read(_PIECE):
                    text = rest + piece
                    if time.monotonic() >= begin:
                        self.events += text.count(_EVENT)
                        self.gaps += text.count(_GAP)
                    # What is cut through is counted with the next piece: it is one byte longer.
                    rest = text[1 - len(_EVENT) :]
        except TimeoutError:
            pass
        finally:
            writer.close()


async def _subscribe(url: str, count: int, seconds: float) -> dict[str, float]:
    # All are there, and the servers calm, before anything is counted.
    begin = time.monotonic() + 1.0
    readers = [_Subscriber(url) for _ in range(count)]
    used = time.process_time()
    async with asyncio.TaskGroup() as group:
        for reader in readers:
            group.create_task(reader.run(begin, begin + seconds))
    events = [reader.events for reader in readers]
    return {
        "least_events_per_s": round(min(events) / seconds, 1),
        "most_events_per_s": round(max(events) / seconds, 1),
        "gaps": sum(reader.gaps for reader in readers),
        "cpu_s": round(time.process_time() - used, 3),
    }


def main() -> None:
    """Read from one address and print what came of it as one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.subscribers")
    parser.add_argument("url")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    found = asyncio.run(_subscribe(options.url, options.count, options.seconds))
    print(json.dumps(found))


if __name__ == "__main__":
    main()

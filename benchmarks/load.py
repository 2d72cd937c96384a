"""A small HTTP load generator with connections that stay open.

`python -m benchmarks.load URL --connections N --seconds S` runs it in a process of its own,
so that its CPU time is not that of whoever starts it.
"""

import argparse
import asyncio
import json
import random
import time
from typing import Final
from urllib.parse import urlsplit

from benchmarks.measured import percentiles

__all__ = ["HttpConnection"]

_END_OF_HEAD: Final = b"\r\n\r\n"


class HttpConnection:
    """One connection to a server on loopback; one request at a time."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._path = parts.path + (f"?{parts.query}" if parts.query else "")
        self._host_line = f"Host: {self._host}:{self._port}\r\n"

    async def open(self) -> None:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)

    def close(self) -> None:
        """Hang up."""
        self._writer.close()

    async def request(self, method: str = "GET", path: str = "", body: object = None) -> bytes:
        """Send one request and give the body of the answer.

        Raises:
            OSError: The status is not one of success.
        """
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path or self._path} HTTP/1.1\r\n{self._host_line}"
        if content:
            head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
        self._writer.write(f"{head}\r\n".encode() + content)
        answer = await self._reader.readuntil(_END_OF_HEAD)
        status, *lines = answer.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (li.partition(":") for li in lines)}
        content = await self._reader.readexactly(int(headers.get("content-length", "0")))
        if not 200 <= int(status.split()[1]) < 300:
            raise OSError(f"{method} {path}: {status}: {content[:500]!r}")
        return content


class _Getter:
    """Repeats one GET as quickly as the answers come.

    Source:
        RFC 9112, section 6.3: how long an answer is.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = parts.hostname or "127.0.0.1", parts.port or 80
        self._request = f"GET {parts.path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()

    async def run(self, end: float, waits: list[float], pause: float = 0.0) -> None:
        """Go on until `end` on the monotonic clock; note how long each answer took.

        Args:
            end: When to stop.
            waits: Where that is noted.
            pause: Seconds from one request to the next; a late one counts from when it was due.
        """
        reader, writer = await asyncio.open_connection(*self._address)
        now = time.monotonic() + pause * random.random()  # noqa: S311 - spreads them
        while now < end:
            if pause:
                await asyncio.sleep(now - time.monotonic())
            writer.write(self._request)
            head = await reader.readuntil(_END_OF_HEAD)
            if not head.startswith(b"HTTP/1.1 200"):
                raise OSError(head.decode("latin-1"))
            place = head.lower().index(b"content-length:") + 15
            await reader.readexactly(int(head[place : head.index(b"\r\n", place)]))
            before, now = now, time.monotonic()
            waits.append(now - before)
            now = before + pause if pause else now
        writer.close()


async def _load(url: str, connections: int, seconds: float, rate: float) -> dict[str, float]:
    waits: list[float] = []
    begin = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            pause = connections / rate if rate else 0.0
            group.create_task(_Getter(url).run(begin + seconds, waits, pause))
    taken = time.monotonic() - begin
    return {"requests_per_s": round(len(waits) / taken), **percentiles(waits)}


def main() -> None:
    """Load one address and print what came of it as one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load")
    parser.add_argument("url")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=float, default=0.0, help="requests a second; 0 for any")
    options = parser.parse_args()
    found = asyncio.run(_load(options.url, options.connections, options.seconds, options.rate))
    print(json.dumps(found))


if __name__ == "__main__":
    main()

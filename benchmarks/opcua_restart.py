"""OPC UA: how soon a mapper hears all items after their server was killed and started again."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.measured import Measured, progress
from benchmarks.opcua_items import documents
from benchmarks.processes import program, scratch_folder
from dmi.readings import Quality
from mapper_sdk.link.files import FilesLink
from mapper_sdk.mapper import Mapper
from mappers.opcua.driver import OpcuaDriver
from mappers.opcua.session.ladder import Rung

__all__ = ["TARGET", "measure"]

TARGET: Final = "after a server restart all items flow again within 10 s"

_MOST_SECONDS: Final = 10.0
_PATIENCE: Final = 90.0


class _Ears:
    """Which points a mapper has had good readings of."""

    def __init__(self, items: int) -> None:
        self._items = items
        self._heard: set[int] = set()
        self._bell = asyncio.Event()

    def listen(self, change: Any) -> None:  # noqa: ANN401 - readings, states and more
        """Take in what a mapper hands to its listeners."""
        if isinstance(change, list):
            good = (point.handle for point, reading in change if reading.quality is Quality.GOOD)
            self._heard.update(good)
            if len(self._heard) == self._items:
                self._bell.set()

    async def all(self) -> None:
        """Return when there is one of each since the last call."""
        await asyncio.wait_for(self._bell.wait(), _PATIENCE)
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self._heard.clear()
        self._bell.clear()


async def measure(*, quick: bool) -> Measured:
    """Serve all items, kill the server, start it again at its port, and wait for every item."""
    items = 100 if quick else 10_000
    serve = ["-m", "benchmarks.opcua_server", "--ready-json", "--items", str(items)]
    ears = _Ears(items)
    async with scratch_folder() as folder, AsyncExitStack() as serving:
        async with program([*serve, "--port", "0"], folder / "first.log") as server:
            port = server.ready["port"]
            mapper = _mapper(folder, server.ready["url"], items, ears)
            await serving.enter_async_context(mapper)
            await ears.all()
        progress(f"opcua_restart: {items} items, the server is gone")
        async with program([*serve, "--port", str(port)], folder / "second.log"):
            began = time.monotonic()
            ears.forget()
            await ears.all()
            taken = time.monotonic() - began
            await serving.aclose()
    figures = {
        "items": items,
        "seconds_from_listening": round(taken, 2),
        "sessions_given_up": OpcuaDriver.tally[Rung.GAVE_UP.value],
        "subscriptions_made_anew": OpcuaDriver.tally[Rung.RECREATE.value],
    }
    return Measured(figures, taken <= _MOST_SECONDS, {"allowed_s": _MOST_SECONDS})


@asynccontextmanager
async def _mapper(folder: Path, url: str, items: int, ears: _Ears) -> AsyncIterator[None]:
    """A whole mapper in this process, with its devices from a file."""
    file = folder / "devices.yaml"
    file.write_text("\n---\n".join(map(json.dumps, documents(url, items))))
    mapper = Mapper(OpcuaDriver, FilesLink(file))
    mapper.add_listener(ears.listen)
    running = asyncio.ensure_future(mapper.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])

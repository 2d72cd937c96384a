"""A mosquitto of our own for benchmarks: on a free port of loopback, without a disk."""

import asyncio
import contextlib
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from dmi.errors import UnavailableError

__all__ = ["run_broker"]

_START_SECONDS = 10.0


@asynccontextmanager
async def run_broker(folder: Path) -> AsyncIterator[int]:
    """Run a broker for the length of the block, and give its port.

    Raises:
        UnavailableError: mosquitto is not installed, or does not start.
    """
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        raise UnavailableError("mosquitto is not installed")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = folder / "mosquitto.conf"
    lines = (f"listener {port} 127.0.0.1", "allow_anonymous true", "persistence false")
    # Else it drops what a listener has not read in time.
    settings.write_text("\n".join((*lines, "max_queued_messages 0", "max_inflight_messages 0", "")))
    with (folder / "mosquitto.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(program, "-c", str(settings)), stdout=log, stderr=subprocess.STDOUT
        )
    try:
        await _answers(port)
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _answers(port: int) -> None:
    try:
        async with asyncio.timeout(_START_SECONDS):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    return
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise UnavailableError("mosquitto did not start") from None

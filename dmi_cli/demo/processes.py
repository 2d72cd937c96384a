"""The demo's operating-system processes: started, watched, killed, started again."""

import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from dmi.errors import UnavailableError

__all__ = ["Program"]

START_SECONDS = 20.0
STOP_SECONDS = 10.0


class Program:
    """One program of the demo, restarted whenever it ends, as a kubelet would.

    Attributes:
        name: Word for people.
        ready: What its READY line said, of the latest incarnation.
        starts: How many times it was started.
    """

    def __init__(self, name: str, arguments: Sequence[str], log: Path) -> None:
        self.name = name
        self.arguments = list(arguments)
        self.log = log
        self.ready: dict[str, str] = {}
        self.starts = 0
        self._process: asyncio.subprocess.Process | None = None
        self._is_ready = asyncio.Event()
        self._stopping = False

    async def run(self) -> None:
        """Keep the program running until cancelled or `stop`."""
        while not self._stopping:
            with self.log.open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "dmi_cli.demo.child", *self.arguments),
                    stdin=asyncio.subprocess.PIPE,  # how it knows that we are there
                    stdout=asyncio.subprocess.PIPE,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C is for the demo; it stops the others in order
                )
            self._process = process
            self.starts += 1
            await self._read_ready_line(process)
            await process.wait()
            self._is_ready.clear()
            if not self._stopping and process.returncode != -signal.SIGKILL:
                await asyncio.sleep(0.5)  # it failed by itself: do not spin

    async def _read_ready_line(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101 - asked for a pipe above
        async for line in process.stdout:
            if line.startswith(b"{"):
                self.ready = json.loads(line)
                self._is_ready.set()

    async def wait_ready(self) -> dict[str, str]:
        """Give the READY line of the running incarnation.

        Raises:
            UnavailableError: It did not come up; the message says where its log is.
        """
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._is_ready.wait()
        except TimeoutError:
            tail = await asyncio.to_thread(_tail, self.log)
            raise UnavailableError(
                f"the {self.name} did not start in {START_SECONDS:.0f} s; its log {self.log} "
                f"ends with:\n{tail}"
            ) from None
        return self.ready

    def kill(self) -> None:
        """End it as a crash would, with SIGKILL; `run` starts it again."""
        self._is_ready.clear()
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def stop(self) -> int | None:
        """Ask it to end with SIGTERM; give its exit code, None if it was not running."""
        self._stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return None
        process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                return await process.wait()
        except TimeoutError:
            process.kill()
            return await process.wait()


def _tail(log: Path, lines: int = 12) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])

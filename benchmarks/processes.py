"""Processes of the toolkit as users start them, and what they cost."""

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from dmi.errors import UnavailableError

__all__ = ["Program", "Usage", "program", "scratch_folder", "until"]

_ROOT: Final = Path(__file__).resolve().parent.parent
_TICK: Final = 1 / os.sysconf("SC_CLK_TCK")
_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 15.0


class Usage:
    """What a process and its children have used so far.

    Source:
        proc(5): fields 14 to 17 of `stat`, VmRSS and VmHWM of `status`.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def cpu_seconds(self) -> float:
        """CPU time of the process, of its children, and of those that it has waited for."""
        return sum(_cpu_ticks(pid) for pid in self._pids()) * _TICK

    def rss_mib(self) -> float:
        """Memory resident now."""
        return sum(_status_kib(pid, "VmRSS") for pid in self._pids()) / 1024

    def peak_mib(self) -> float:
        """The most memory that was ever resident."""
        return sum(_status_kib(pid, "VmHWM") for pid in self._pids()) / 1024

    def _pids(self) -> list[int]:
        pids, place = [self.pid], 0
        while place < len(pids):
            tasks = Path(f"/proc/{pids[place]}/task")
            for task in tasks.iterdir() if tasks.exists() else ():
                pids += map(int, (task / "children").read_text().split())
            place += 1
        return pids


def _cpu_ticks(pid: int) -> int:
    # The second field is a name in parentheses, which may hold spaces and parentheses.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15]))


def _status_kib(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0


class Program(Usage):
    """A running program.

    Attributes:
        ready: The JSON line that it printed when it was ready.
    """

    def __init__(self, process: asyncio.subprocess.Process, ready: dict[str, str]) -> None:
        super().__init__(process.pid)
        self.ready = ready
        self._process = process

    async def stop(self) -> None:
        """Ask it to end by SIGTERM and wait for that; kill it when it does not."""
        await _stop(self._process)


@asynccontextmanager
async def program(
    arguments: Sequence[str],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Program]:
    """Run `python ARGUMENTS` for the length of the block, then stop it by SIGTERM.

    It must print one line of JSON when it is ready; the block begins then.

    Args:
        arguments: After the interpreter, such as `-m dmi_cli manager`.
        log: Gets its standard error.
        environment: Variables beside our own.

    Raises:
        UnavailableError: It did not get ready; the message says what it logged last.
    """
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            cwd=_ROOT,
            env={**os.environ, **(environment or {})},
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    try:
        yield Program(process, await _ready_line(process, log))
    finally:
        await _stop(process)


async def _ready_line(process: asyncio.subprocess.Process, log: Path) -> dict[str, str]:
    assert process.stdout is not None
    line = b""
    try:
        async with asyncio.timeout(_START_SECONDS):
            while not line.startswith(b"{"):
                line = await process.stdout.readline()
                if not line:
                    break
    except TimeoutError:
        line = b""
    if not line:
        tail = await asyncio.to_thread(log.read_text, errors="replace")
        raise UnavailableError(f"it did not start; its log ends with:\n{tail[-2000:]}")
    ready: dict[str, str] = json.loads(line)
    return ready


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


@asynccontextmanager
async def scratch_folder() -> AsyncIterator[Path]:
    """A new folder with a path short enough for Unix sockets, removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="dmi-bench-") as path:
        yield Path(path)


async def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Return once something is so in another process.

    Raises:
        UnavailableError: It is not so after `seconds`; the message says what.
    """
    try:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - another process sets no event here
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise UnavailableError(f"not within {seconds:g} s: {what}") from None

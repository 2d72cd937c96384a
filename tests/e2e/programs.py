"""Programs of the toolkit as operating-system processes, started as users start them."""

import asyncio
import inspect
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

START_SECONDS = 30.0
STOP_SECONDS = 8.0
ROOT = Path(__file__).parents[2]


async def until(what, look, seconds=8.0):
    """Ask `look` until it gives something true, and give that; also what it gave last is told."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}; at last: {found!r}")
        await asyncio.sleep(0.02)


def environment(**more):
    """Ours without settings of the toolkit, so that a test says all there is."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DMI_")}
    return kept | {"PYTHONUNBUFFERED": "1"} | more


class Program:
    """One program and its incarnations; `ready` is what the latest one said."""

    def __init__(self, name, words, folder, **variables):
        self.name = name
        self.words = [str(word) for word in words]
        self.log = folder / f"{name}.log"
        self.ready = {}
        self.output = folder / f"{name}.out"
        self._variables = variables
        self._process = None

    @property
    def pid(self):
        return self._process.pid

    @property
    def running(self):
        return self._process is not None and self._process.poll() is None

    @property
    def rss_mib(self):
        text = Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) for line in text.splitlines() if "VmRSS" in line) / 1024

    def launch(self):
        """Start it, without waiting for it to be ready."""
        assert not self.running
        with self.output.open("wb") as said, self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "dmi_cli", *self.words],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=log,
                cwd=self.log.parent,
                env=environment(PYTHONPATH=str(ROOT), **self._variables),
                start_new_session=True,
            )

    async def start(self):
        """Start it and wait until it says that it is ready."""
        self.launch()
        self.ready = await until(f"{self} is ready", self._ready_line, START_SECONDS)
        return self.ready

    def _ready_line(self):
        for line in self.output.read_text().splitlines(keepends=True):
            if line.startswith("{") and line.endswith("\n"):
                return json.loads(line)
        assert self.running, f"{self} has ended with {self._process.returncode}"
        return None

    def kill(self):
        """End it as a crash does."""
        self._process.kill()
        self._process.wait()

    def signal(self, number):
        self._process.send_signal(number)

    def pause(self):
        self._process.send_signal(signal.SIGSTOP)

    def resume(self):
        self._process.send_signal(signal.SIGCONT)

    async def restart(self):
        """Kill it and start it anew."""
        self.kill()
        return await self.start()

    async def stop(self, seconds=STOP_SECONDS):
        """Ask it to end; give its exit code."""
        self._process.terminate()
        return await self.code(seconds)

    async def code(self, seconds=START_SECONDS):
        """Wait for its end; give its exit code."""
        await until(f"{self} ends", lambda: not self.running, seconds)
        return self._process.returncode

    def end(self):
        """Make sure that it is gone."""
        if self.running:
            self.resume()
            self.kill()

    def tail(self, lines=25):
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def __str__(self):
        return f"the {self.name}"


async def run(*words, folder, seconds=START_SECONDS, **variables):
    """Run one command line to its end: exit code, what it printed, what it complained of."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "dmi_cli",
        *map(str, words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=environment(PYTHONPATH=str(ROOT), **variables),
    )
    try:
        async with asyncio.timeout(seconds):
            out, err = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    return process.returncode, out.decode(), err.decode()

"""Real servers as processes of the tests: found, started, killed, started again as they were."""

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import ClassVar, Self

import pytest

_PATIENCE = 30.0
_STEP = 0.02
_TRIES = 3


def free_port() -> int:
    """Give a TCP port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def missing(problem: str) -> None:
    """Skip the test loudly; in CI, where everything is to be had, fail it."""
    if os.environ.get("CI") == "true":
        pytest.fail(problem)
    pytest.skip(problem)


class ServerProcess:
    """One server program with a folder and a port of its own.

    A subclass says `binary` and `command`, and where needed `prepare`, `answers` and `user`.
    Used by `with`, best in a fixture of the module: starting a database takes a second. The
    port and the data stay the same from one start to the next.

    Attributes:
        binary: Name of the program.
        places: Folders to look into besides PATH.
        user: Who runs it when we are root; some programs refuse root.
        folder: For its data and settings; belongs to that user and goes with the object.
        port: Where it listens, on 127.0.0.1.
    """

    binary: ClassVar[str]
    places: ClassVar[tuple[str, ...]] = ("/usr/sbin", "/usr/local/sbin")
    user: ClassVar[str] = ""

    def __init__(self) -> None:
        self.program = self.find(self.binary)
        self.folder = Path(tempfile.mkdtemp(prefix=f"dmi-{self.binary}-"))
        self.port = free_port()
        self._prepared = False
        self._process: subprocess.Popen[bytes] | None = None
        if self._account is not None:
            os.chown(self.folder, self._account.pw_uid, self._account.pw_gid)

    # ------------------------------------------------- for the subclasses ----

    def command(self) -> list[str]:
        """What starts it, with `self.program` first; it must stay in the foreground."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Make settings and an empty database, once."""

    def answers(self) -> bool:
        """Whether it serves now; called until it does."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    @classmethod
    def find(cls, name: str) -> str:
        """Give the path of a program of this server."""
        path = os.pathsep.join([os.environ.get("PATH", ""), *cls.places])
        found = shutil.which(name, path=path)
        if found is None:
            missing(f"{name} is not installed")
        return str(found)

    def write(self, name: str, text: str) -> Path:
        """Put a file into its folder, readable for it."""
        file = self.folder / name
        file.write_text(text)
        if self._account is not None:
            os.chown(file, self._account.pw_uid, self._account.pw_gid)
        return file

    def run(self, *command: str | Path) -> str:
        """Run a helper of the server as its user, to its end; give its output."""
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, check=False, **self._identity
        )
        if done.returncode:
            pytest.fail(f"{command[0]}: {done.stderr[-500:] or done.stdout[-500:]}")
        return done.stdout

    # ------------------------------------------------------- for the tests ----

    def __enter__(self) -> Self:
        try:
            self.launch()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.shut_down()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def launch(self) -> None:
        """Start it and return when it answers. Nothing happens when it runs."""
        if self.running:
            return
        if self._prepared:
            self._launch()
            return
        for left in reversed(range(_TRIES)):
            self.prepare()
            try:
                self._launch()
            except _EndedEarlyError:
                if not left:
                    raise
                self.port = free_port()  # somebody else may have taken it meanwhile
            else:
                self._prepared = True
                return

    def shut_down(self) -> None:
        """Ask it to end, and wait until it has."""
        self._end(signal.SIGTERM)

    def kill_now(self) -> None:
        """`kill -9`: it has no time for anything."""
        self._end(signal.SIGKILL)

    async def start(self) -> None:
        """Like `launch`, while the event loop runs on."""
        await asyncio.to_thread(self.launch)

    async def kill(self) -> None:
        """Like `kill_now`, while the event loop runs on."""
        await asyncio.to_thread(self.kill_now)

    def freeze(self) -> None:
        """Let it hang: it keeps its connections and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)
        # A thread stops when it gets to run next, which takes a while on a busy machine.
        deadline = time.monotonic() + _PATIENCE
        threads = Path(f"/proc/{self.pid}/task")
        while any(") T " not in (one / "stat").read_text() for one in threads.iterdir()):
            assert time.monotonic() < deadline, f"{self.binary} does not stop"
            time.sleep(_STEP)

    def thaw(self) -> None:
        """Let it go on after `freeze`."""
        os.kill(self.pid, signal.SIGCONT)

    @property
    def log(self) -> str:
        """What it has printed."""
        file = self.folder / "log"
        return file.read_text(errors="replace") if file.exists() else ""

    # ------------------------------------------------------------- details ----

    @property
    def _account(self) -> pwd.struct_passwd | None:
        return pwd.getpwnam(self.user) if self.user and os.geteuid() == 0 else None

    @property
    def _identity(self) -> dict:
        account = self._account
        if account is None:
            return {}
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}

    def _launch(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self._identity,
            )
        deadline = time.monotonic() + _PATIENCE
        while not self.answers():
            if not self.running:
                raise _EndedEarlyError(f"{self.binary} ended at once: {self.log[-1000:]}")
            if time.monotonic() > deadline:
                self.kill_now()
                pytest.fail(f"{self.binary} does not answer: {self.log[-1000:]}")
            time.sleep(_STEP)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


class _EndedEarlyError(Exception):
    """The program ended before it served, with what it said."""

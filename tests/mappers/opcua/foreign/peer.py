"""Starts the node-opcua server, and stands between it and a client to do harm."""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "dmi-toolkit"


def installed() -> Path:
    """Folder with node-opcua in it, fetched once; without it tests skip, in CI they fail."""
    folder = CACHE / "node-opcua"
    wanted = (HERE / "package.json").read_text()
    mark = folder / "package.json"
    if (folder / "node_modules").is_dir() and mark.is_file() and mark.read_text() == wanted:
        return folder
    npm = shutil.which("npm")
    problem = "npm is not installed"
    if npm is not None:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder / "node_modules", ignore_errors=True)
        mark.write_text(wanted)
        command = [npm, "install", "--no-audit", "--no-fund", "--silent"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        problem = f"npm could not install node-opcua: {done.stderr[-300:]}"
    if os.environ.get("CI") == "true":
        pytest.fail(problem)
    pytest.skip(f"{problem}: OPC UA is not tested against a foreign server")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ForeignServer:
    """One node-opcua server process."""

    def __init__(self, folder: Path, pki: Path, *options: str, limit: int = 25) -> None:
        self.port = free_port()
        self.url = f"opc.tcp://127.0.0.1:{self.port}"
        self._command = ["node", str(HERE / "server.mjs"), str(self.port), str(pki), str(limit)]
        self._command += options
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command,
            cwd=self._folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                json.loads(line)
                return
        pytest.fail("the node-opcua server did not start")

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None


class Meddler:
    """A TCP relay that can cut what goes through it, swallow it, or let nobody in."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.deaf = False
        self.closed = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}"

    async def __aenter__(self) -> "Meddler":
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.sleep(0)

    def cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.closed:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, back}
        self._writers |= pair
        try:
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        finally:
            self._writers -= pair
            for one in pair:
                one.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                if not self.deaf:
                    sink.write(data)
                    await sink.drain()
        sink.transport.abort()


def seconds_since(moment: float) -> float:
    return time.monotonic() - moment

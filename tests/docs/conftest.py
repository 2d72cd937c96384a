"""Pages run as their reader would run them: one shell, one empty folder, from top to bottom.

What a fence says after its language tells what becomes of it:

    ```python file=NAME   written to NAME; yaml, ini and others as well
    ```sh run             run; the shell is the same for the whole page
    ```text shown         what the block before must print; … stands for anything
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE = 100.0

_FENCE = re.compile(r"^```(\w+)(?: ([^\n]+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = "--- end of block ---"


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    language: str
    task: str
    text: str


def blocks_of(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    return [Block(found[1], found[2] or "", found[3]) for found in _FENCE.finditer(text)]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return str(probe.getsockname()[1])


class Reader:
    """Follows a page to the letter, but on ports and sockets of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.ports = {"10350": free_port(), "7777": free_port()}
        shutil.copytree(ROOT / "examples", folder / "examples")

    def follow(self, page):
        """Run a page; what it shows must be what is printed."""
        script, shown, runs = ["set -euo pipefail"], [], 0
        for block in blocks_of(page):
            if block.task.startswith("file="):
                # Written when its turn comes: the page may not have made the folder before.
                path = self.folder / block.task.removeprefix("file=")
                script.append(f"cat > {path} <<'{_MARK}'\n{self._moved(block.text)}{_MARK}")
            elif block.task == "run":
                script += [self._moved(block.text), f"echo '{_MARK}'"]
                runs += 1
            elif block.task == "shown":
                assert runs, f"{page} shows what nothing prints"
                shown.append((block, runs - 1))
        assert runs, f"{page} runs nothing"
        printed = self._run("\n".join(script))
        assert len(printed) == runs, f"{page} ended early after: {printed[-1]}"
        for block, number in shown:
            wanted = self._moved(block.text)
            assert _matches(wanted, printed[number]), f"{page} shows\n{wanted}\n{printed[number]}"
        return self

    def _run(self, script):
        environment = {
            **{name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "DMI_SERVER": f"http://127.0.0.1:{self.ports['10350']}",
            "DMI_MANAGER_API": f"127.0.0.1:{self.ports['10350']}",
            "DMI_MAPPER_REST": f"127.0.0.1:{self.ports['7777']}",
            "NO_COLOR": "1",
            "COLUMNS": "120",
        }
        output, errors = self.folder / "stdout", self.folder / "stderr"
        # Files, not pipes: what the page leaves running would hold those open.
        with output.open("w") as out, errors.open("w") as err:
            shell = subprocess.Popen(
                ["bash", "-c", script],
                stdout=out,
                stderr=err,
                cwd=self.folder,
                env=environment,
                start_new_session=True,
            )
            try:
                code = shell.wait(PATIENCE)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(shell.pid, signal.SIGKILL)
                shell.wait()
        printed = output.read_text(encoding="utf-8")
        assert code == 0, f"{printed}\n{errors.read_text(encoding='utf-8')}"
        return printed.split(f"{_MARK}\n")[:-1]

    def _moved(self, text):
        for known, own in self.ports.items():
            text = text.replace(f":{known}", f":{own}")
        return text


class Page:
    """A page and what can be looked up in it."""

    def __init__(self, path):
        self.text = (ROOT / path).read_text(encoding="utf-8")
        self.blocks = blocks_of(path)

    def table(self, name):
        """Cells of the rows between two marks."""
        text = self.text.partition(f"<!-- {name} -->\n")[2].partition("<!-- end -->")[0]
        rows = [line.strip("|").split("|") for line in text.splitlines()[2:]]
        assert rows, name
        return [[cell.strip() for cell in row] for row in rows]

    def file(self, name):
        """What the page writes to a file."""
        return next(block.text for block in self.blocks if block.task == f"file={name}")


def _matches(pattern, printed):
    """Whether a text is what the page shows; … stands for anything on one line or many."""
    parts = [re.escape(part) for part in pattern.strip().split("…")]
    return re.fullmatch(".*?".join(parts), printed.strip(), re.DOTALL) is not None


@pytest.fixture
def reader(socket_dir):
    return Reader(socket_dir)


@pytest.fixture
def page():
    """Read a page, and its tables: `page("docs/rest.md").table("manager routes")`."""
    return Page

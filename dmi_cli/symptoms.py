"""The single checks of `dmi doctor`; each looks at one thing and changes nothing."""

import os
import platform
import resource
import shutil
import socket
import stat
import sys
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Final, Literal

from dmi.errors import ConfigError, DmiError, UnavailableError
from dmi.unix_socket import MAX_PATH_BYTES
from dmi_cli.client import Client, Json, object_path
from dmi_cli.version import installed_version

__all__ = [
    "Finding",
    "check_clock",
    "check_directory",
    "check_files",
    "check_libraries",
    "check_manager",
    "check_python",
    "check_socket",
    "required",
]

_OLDEST_PYTHON: Final = (3, 11)
_ENOUGH_FILES: Final = 1024
_ENOUGH_BYTES: Final = 200 * 1024 * 1024
_MOST_PROBLEMS: Final = 5
_EARLIEST: Final = 1_767_225_600
"""2026-01-01 UTC; an earlier clock was never set."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        level: `bad` keeps something from working; `warning` may later.
        cure: What to do; empty when nothing needs to be done.
    """

    what: str
    level: Literal["ok", "warning", "bad"]
    found: str
    cure: str = ""

    def to_json(self) -> dict[str, str]:
        """Plain JSON."""
        return {"what": self.what, "level": self.level, "found": self.found, "cure": self.cure}


def check_python() -> Finding:
    """The version of the interpreter."""
    version = platform.python_version()
    if sys.version_info < _OLDEST_PYTHON:
        return Finding("python", "bad", version, "install Python 3.11 or newer")
    return Finding("python", "ok", f"{version}, {sys.executable}")


def required(extra: str) -> list[str]:
    """Names of what the distribution requires, for one extra or (with none) always."""
    try:
        lines = requires("dmi-toolkit") or []
    except PackageNotFoundError:
        return ["dmi-toolkit"]
    names = []
    for line in lines:
        name, _, marker = line.partition(";")
        wanted = f'extra == "{extra}"' in marker.replace("'", '"') if extra else not marker
        if wanted:
            names.append(name.split("[")[0].split("<")[0].split(">")[0].split("=")[0].strip())
    return names


def check_libraries() -> Finding:
    """Whether all that is always needed is installed."""
    missing = [name for name in required("") if installed_version(name) is None]
    if missing:
        cure = "pip install --force-reinstall dmi-toolkit"
        return Finding("libraries", "bad", f"missing: {', '.join(missing)}", cure)
    return Finding("libraries", "ok", f"dmi-toolkit {installed_version('dmi-toolkit')}")


def check_clock() -> Finding:
    """Whether the time can be true: edge computers often start without a clock."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if time.time() < _EARLIEST:
        return Finding("clock", "bad", now, "set the time: readings carry it")
    return Finding("clock", "ok", now)


def check_files() -> Finding:
    """How many files and sockets one process may have open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = f"{soft} per process (at most {hard})"
    if soft < _ENOUGH_FILES:
        return Finding("open files", "warning", found, "ulimit -n 4096, or LimitNOFILE= of systemd")
    return Finding("open files", "ok", found)


def check_socket(path: Path) -> Finding:
    """Whether a manager answers on its socket, or could listen there."""
    what = "manager socket"
    if len(os.fsencode(path.absolute())) > MAX_PATH_BYTES:
        cure = f"a Unix socket's path has at most {MAX_PATH_BYTES} bytes"
        return Finding(what, "bad", f"{path} is too long", cure)
    try:
        found = path.stat()
    except FileNotFoundError:
        return _absent(what, path)
    except OSError as error:
        cure = "give this user access to the directory"
        return Finding(what, "bad", f"{path}: {error.strerror}", cure)
    if not stat.S_ISSOCK(found.st_mode):
        return Finding(what, "bad", f"{path} is not a socket", "remove it, or name another path")
    return _dialled(what, path)


def _absent(what: str, path: Path) -> Finding:
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if os.access(parent, os.W_OK | os.X_OK):
        return Finding(what, "ok", f"{path} is free")
    cure = f"sudo install -d -o $USER {path.parent}, or name another path"
    return Finding(what, "warning", f"{path} is free, but {parent} is not writable", cure)


def _dialled(what: str, path: Path) -> Finding:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return Finding(what, "ok", f"{path} is stale: nobody listens; it will be replaced")
        except OSError as error:
            cure = "give this user access to the socket"
            return Finding(what, "bad", f"{path}: {error.strerror or error}", cure)
    return Finding(what, "ok", f"somebody listens on {path}")


def check_directory(path: Path) -> Finding:
    """Whether data can be written to a directory, and for how long."""
    what = "data directory"
    folder = next(part for part in (path.absolute(), *path.absolute().parents) if part.exists())
    if not folder.is_dir():
        return Finding(what, "bad", f"{folder} is not a directory", "name another one")
    free = shutil.disk_usage(folder).free
    found = f"{path}: {free // 1024 // 1024} MiB free"
    if not os.access(folder, os.W_OK | os.X_OK):
        cure = f"sudo install -d -o $USER {path}, or name another one"
        return Finding(what, "warning", f"{folder} is not writable", cure)
    if free < _ENOUGH_BYTES:
        return Finding(what, "warning", found, "make room: readings wait while nothing is stored")
    return Finding(what, "ok", found)


def check_manager(server: str | None) -> list[Finding]:
    """Whether the manager's REST API answers, is ready, and likes what it was given."""
    what = "manager"
    try:
        with Client(server, timeout=3.0) as client:
            status = client.request("GET", object_path("status"))
            address = client.server
    except ConfigError as error:
        cure = "correct --server, DMI_SERVER or DMI_TOKEN_FILE"
        return [Finding(what, "bad", str(error), cure)]
    except UnavailableError as error:
        return [Finding(what, "warning", str(error), "start it: dmi manager")]
    except DmiError as error:
        return [Finding(what, "bad", str(error), "is another program at this address?")]
    if not status.get("ready"):
        found = str(status.get("storage", {}).get("error", "it is not ready"))
        return [Finding(what, "bad", found, "make room on its disk, or look into its log")]
    return [Finding(what, "ok", f"{address} is ready"), *_complaints(status)]


def _complaints(status: Json) -> list[Finding]:
    """What the manager itself has to say of its sources and devices."""
    findings = [
        Finding(name, "warning", "; ".join(about["errors"]), "correct the files")
        for name, about in status.get("upstreams", {}).items()
        if about.get("errors")
    ]
    problems = status.get("problems", {})
    findings += [
        Finding(f"device {name}", "warning", text, "correct it, then dmi apply -f")
        for name, text in list(problems.items())[:_MOST_PROBLEMS]
    ]
    if len(problems) > _MOST_PROBLEMS:
        more = f"{len(problems) - _MOST_PROBLEMS} more have problems"
        findings.append(Finding("devices", "warning", more, "see all: dmi get devices"))
    return findings

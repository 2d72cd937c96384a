"""Checks of `dmi doctor` for what the bundled mappers need: libraries, lines, radios, sockets."""

import os
import socket
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Final

from dmi_cli.programs import BUILT_IN
from dmi_cli.symptoms import Finding, required
from dmi_cli.version import installed_version

__all__ = [
    "check_edgecore",
    "check_extras",
    "check_radio",
    "check_serial",
    "check_state",
]

_SUMS: Final = frozenset({"all", "sinks"})
"""Extras that only name others."""
_EDGECORE: Final = Path("/etc/kubeedge/dmi.sock")
_BUS: Final = Path("/run/dbus/system_bus_socket")
_SYSTEM: Final = Path("/sys/class")


def check_extras() -> list[Finding]:
    """What each extra of the distribution lacks; only a protocol's is missed."""
    try:
        extras = metadata("dmi-toolkit").get_all("Provides-Extra") or []
    except PackageNotFoundError:
        extras = list(BUILT_IN)
    return [_extra(name) for name in sorted(extras) if name not in _SUMS]


def _extra(name: str) -> Finding:
    what = f"extra {name}"
    missing = [library for library in required(name) if installed_version(library) is None]
    if not missing:
        return Finding(what, "ok", "installed")
    found = f"lacks {', '.join(missing)}"
    if name not in BUILT_IN:
        return Finding(what, "ok", f"not installed: {found}")
    return Finding(what, "warning", found, f"pip install 'dmi-toolkit[{name}]', if it is wanted")


def check_serial(pattern: str = "/dev/tty[UA]*[0-9]") -> Finding:
    """Whether serial adapters that are plugged in may be used, for Modbus and for radios.

    Args:
        pattern: Where they appear.
    """
    root = Path("/")
    adapters = sorted(root.glob(pattern.lstrip("/")))
    locked = [str(path) for path in adapters if not os.access(path, os.R_OK | os.W_OK)]
    if locked:
        cure = "add this user to the group that owns them (dialout), and log in again"
        return Finding("serial lines", "warning", f"no access to {', '.join(locked)}", cure)
    return Finding("serial lines", "ok", ", ".join(map(str, adapters)) or "none")


def check_radio(system: Path = _SYSTEM, bus: Path = _BUS) -> Finding:
    """Whether the Bluetooth adapters of this machine can be used through BlueZ.

    Args:
        system: Where the kernel shows its devices.
        bus: Socket of the D-Bus on which BlueZ serves.
    """
    what = "bluetooth"
    adapters = sorted(path.name for path in (system / "bluetooth").glob("hci*"))
    if not adapters:
        return Finding(what, "ok", "no adapter")
    if off := _switched_off(system / "rfkill"):
        cure = "rfkill unblock bluetooth, or the switch on the case"
        return Finding(what, "warning", f"{', '.join(off)} blocked", cure)
    trouble = _not_reached(bus)
    if trouble:
        cure = "install and start dbus and bluez, and let this user use them (group bluetooth)"
        return Finding(what, "warning", f"{', '.join(adapters)}, but {bus}: {trouble}", cure)
    return Finding(what, "ok", ", ".join(adapters))


def _switched_off(switches: Path) -> list[str]:
    """Names of the Bluetooth switches that are off."""
    off = []
    for switch in sorted(switches.glob("rfkill*")):
        kind, name, soft, hard = (_word(switch / one) for one in ("type", "name", "soft", "hard"))
        if kind == "bluetooth" and "1" in (soft, hard):
            off.append(name or switch.name)
    return off


def _word(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def check_state() -> Finding:
    """Whether mappers can keep certificates (OPC UA) and bonds (Bluetooth LE)."""
    what = "state folder"
    home = os.environ.get("XDG_STATE_HOME")
    folder = (Path(home) if home else Path("~/.local/state").expanduser()) / "dmi"
    there = next(part for part in (folder, *folder.absolute().parents) if part.exists())
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return Finding(what, "ok", str(folder))
    cure = "set XDG_STATE_HOME to a folder of this user's, or pkiDir in the devices"
    return Finding(what, "warning", f"{folder}: {there} is not writable", cure)


def check_edgecore(path: Path = _EDGECORE) -> Finding:
    """Whether mappers can be linked straight to the EdgeCore of this node, where there is one.

    Args:
        path: EdgeCore's socket; a mapper listens on one of its own beside it.
    """
    what = "edgecore"
    try:
        if not path.exists():
            return Finding(what, "ok", f"none at {path}")
    except OSError as error:
        return Finding(what, "warning", f"{path}: {error.strerror}", "run mappers as its user")
    if trouble := _not_reached(path):
        return Finding(what, "warning", f"{path}: {trouble}", "start EdgeCore, or run as its user")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        cure = "mappers that are linked to EdgeCore listen there: run them as its user"
        return Finding(what, "warning", f"{path.parent} is not writable", cure)
    return Finding(what, "ok", f"answers on {path}")


def _not_reached(path: Path) -> str:
    """Why nobody can be reached on a Unix socket; empty when somebody can."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2.0)
        try:
            probe.connect(str(path))
        except OSError as error:
            return error.strerror or str(error)
    return ""

"""The options of every verb; nothing else is loaded here."""

import argparse
from pathlib import Path
from typing import Final

from dmi_cli.programs import BUILT_IN, SIMULATORS

__all__ = [
    "apply",
    "call",
    "delete",
    "demo",
    "describe",
    "discover",
    "doctor",
    "get",
    "mapper",
    "new",
    "set_desired",
    "simulate",
    "token",
    "validate",
    "version",
    "watch",
]

KINDS: Final = ("devices", "models", "mappers", "twins", "commands")
_SINGULAR: Final = {
    "device": "devices",
    "model": "models",
    "devicemodel": "models",
    "mapper": "mappers",
    "twin": "twins",
    "command": "commands",
}
_DEFAULT_SERVER: Final = "http://127.0.0.1:10350"
_CHANGES: Final = (
    "twin",
    "desired",
    "state",
    "device",
    "model",
    "mapper",
    "upstream",
    "proposal",
    "command",
)
_BUNDLED: Final = ", ".join(BUILT_IN)
_SIMULATED: Final = ", ".join(SIMULATORS)


def _kind(word: str) -> str:
    """Understand singular, plural and capitals, as kubectl does."""
    plural = _SINGULAR.get(word.lower().removesuffix("s"))
    if plural is None:
        raise argparse.ArgumentTypeError(f"{word!r} is not one of {', '.join(KINDS)}")
    return plural


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return seconds


def _server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--server",
        metavar="URL",
        help=f"device manager: http(s)://host:port or unix:/path (DMI_SERVER, {_DEFAULT_SERVER})",
    )


def _namespace(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-n", "--namespace", metavar="NS", help="namespace; a name may also be written NS/NAME"
    )


def _output(parser: argparse.ArgumentParser, *formats: str) -> None:
    parser.add_argument(
        "-o",
        "--output",
        choices=formats,
        default=formats[0],
        help=f"how to print (default {formats[0]})",
    )


def _files(parser: argparse.ArgumentParser, *, required: bool) -> None:
    parser.add_argument(
        "-f",
        "--file",
        action="append",
        required=required,
        metavar="FILE|DIR|-",
        help="YAML or JSON; a directory with all below it; - for stdin; may be repeated",
    )


def demo(parser: argparse.ArgumentParser) -> None:
    """Options of `dmi demo`."""
    parser.add_argument(
        "--for",
        dest="seconds",
        type=_seconds,
        metavar="SECONDS",
        help="end after this time; without it, Ctrl-C ends it",
    )
    parser.add_argument("--json", action="store_true", help="no table; one JSON summary at the end")
    parser.add_argument("--protocol", choices=(*BUILT_IN, "all"), default="modbus")
    parser.add_argument("--keep", metavar="DIR", help="work in DIR and leave everything there")


def apply(parser: argparse.ArgumentParser) -> None:
    """Options of `dmi apply`."""
    _files(parser, required=True)
    _output(parser, "table", "json", "yaml")
    _server(parser)


def get(parser: argparse.ArgumentParser) -> None:
    """Options of `dmi get`."""
    parser.add_argument("kind", type=_kind, metavar="|".join(KINDS))
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="for twins and commands: name of the device"
    )
    parser.add_argument("property", nargs="?", metavar="PROPERTY", help="for twins only")
    _namespace(parser)
    _output(parser, "table", "wide", "yaml", "json")
    _server(parser)


def describe(parser: argparse.ArgumentParser) -> None:
    """Options of `dmi describe`."""
    parser.add_argument("kind", type=_kind, metavar="|".join(KINDS))
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("property", nargs="?", metavar="PROPERTY", help="for twins")
    _namespace(parser)
    _server(parser)


def delete(parser: argparse.ArgumentParser) -> None:
    """Options of `dmi delete`."""
    parser.add_argument("kind", type=_kind, nargs="?", metavar="devices|models|commands")
    parser.add_argument("names", nargs="*", metavar="NAME")
    _files(parser, required=False)
    parser.add_argument("--ignore-missing", action="store_true", help="what is gone is fine")
    _namespace(parser)
    _server(parser)


def watch(parser: argparse.ArgumentParser) -> None:
    """Options of `dmi watch`."""
    parser.add_argument("names", nargs="*", metavar="DEVICE", help="only these devices")
    parser.add_argument(
        "--kind",
        action="append",
        choices=_CHANGES,
        help="only these changes; may be repeated",
    )
    parser.add_argument("--since", metavar="ID", help="begin after this event")
    parser.add_argument("--count", type=int, metavar="N", help="end after so many events")
    parser.add_argument(
        "--for", dest="seconds", type=_seconds, metavar="SECONDS", help="end after this time"
    )
    _namespace(parser)
    _output(parser, "lines", "json")
    _server(parser)


def set_desired(parser: argparse.ArgumentParser) -> None:
    """Options of `dmi set`."""
    parser.add_argument("device", metavar="DEVICE")
    parser.add_argument("property", metavar="PROPERTY")
    parser.add_argument("value", nargs="?", metavar="VALUE", help="in the model's type and unit")
    parser.add_argument("--clear", action="store_true", help="desire nothing any more")
    parser.add_argument(
        "--wait",
        nargs="?",
        type=_seconds,
        const=10.0,
        metavar="SECONDS",
        help="until the device has confirmed it (10 when no number is given)",
    )
    _namespace(parser)
    _output(parser, "table", "json", "yaml")
    _server(parser)


def call(parser: argparse.ArgumentParser) -> None:
    """Options of `dmi call`."""
    parser.add_argument("device", metavar="DEVICE")
    parser.add_argument("method", nargs="?", metavar="METHOD", help="without it, all are listed")
    parser.add_argument(
        "arguments",
        nargs="*",
        metavar="NAME=VALUE",
        help="in the method's types; lists and objects as JSON",
    )
    parser.add_argument(
        "--wait", type=_seconds, default=10.0, metavar="SECONDS", help="for its end (default 10)"
    )
    parser.add_argument("--no-wait", action="store_true", help="end when the manager has it")
    parser.add_argument(
        "--deadline",
        type=_seconds,
        metavar="SECONDS",
        help="it must begin within this time, or never (default 30)",
    )
    _namespace(parser)
    _output(parser, "table", "json", "yaml")
    _server(parser)


def validate(parser: argparse.ArgumentParser) -> None:
    """Options of `dmi validate`."""
    _files(parser, required=True)
    parser.add_argument(
        "--driver",
        action="append",
        metavar="PACKAGE.MODULE:CLASS",
        help="judge settings by this driver of your own too; may be repeated",
    )
    parser.add_argument("--strict", action="store_true", help="warnings count as mistakes")
    _output(parser, "text", "json")


def new(parser: argparse.ArgumentParser) -> None:
    """Options of `dmi new`."""
    parser.add_argument("what", choices=("mapper",))
    parser.add_argument("name", metavar="NAME", help="such as kiln or acme-kiln")
    parser.add_argument("--directory", metavar="DIR", help="where (default ./NAME)")


def discover(parser: argparse.ArgumentParser) -> None:
    """Options of `dmi discover`."""
    parser.add_argument(
        "protocol", metavar="PROTOCOL", help="opcua, ble, or package.module:Class of your own"
    )
    parser.add_argument(
        "settings",
        nargs="*",
        metavar="KEY=VALUE",
        help="settings of the protocol; its page of the manual lists them",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write into this file")
    parser.add_argument(
        "--for",
        dest="seconds",
        type=_seconds,
        metavar="SECONDS",
        help="look for so long at most (default: as the protocol does; ble 10)",
    )
    parser.add_argument(
        "--node",
        metavar="NAME",
        help="the node that is to serve what is found (default: the name of this host)",
    )


def mapper(parser: argparse.ArgumentParser) -> None:
    """Options of `dmi mapper`."""
    parser.add_argument("name", metavar="NAME", help=f"{_BUNDLED}, or package.module:Class")


def simulate(parser: argparse.ArgumentParser) -> None:
    """Options of `dmi simulate`."""
    parser.add_argument("name", metavar="NAME", help=_SIMULATED)


def doctor(parser: argparse.ArgumentParser) -> None:
    """Options of `dmi doctor`."""
    parser.add_argument(
        "--manager-socket",
        type=Path,
        default=Path("/run/dmi/dmi.sock"),
        metavar="PATH",
        help="where the manager serves or shall serve (default %(default)s)",
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=Path("/var/lib/dmi"),
        metavar="DIR",
        help="where it keeps its data (default %(default)s)",
    )
    _output(parser, "table", "json")
    _server(parser)


def token(parser: argparse.ArgumentParser) -> None:
    """Options of `dmi token`."""
    parser.add_argument("name", metavar="NAME", help="of the client, for the audit trail")
    parser.add_argument(
        "--file",
        type=Path,
        required=True,
        metavar="FILE",
        help="the file named by restClients or apiClients; made when it is not there",
    )
    parser.add_argument(
        "--scope",
        action="append",
        choices=("read", "write", "admin"),
        help="what it may do (default read); may be repeated",
    )
    parser.add_argument(
        "--namespace",
        action="append",
        metavar="NS",
        help="where (default everywhere); may be repeated",
    )
    parser.add_argument("--days", type=_seconds, metavar="N", help="it ends after so many days")
    _output(parser, "text", "json")


def version(parser: argparse.ArgumentParser) -> None:
    """Options of `dmi version`."""
    _output(parser, "table", "json")

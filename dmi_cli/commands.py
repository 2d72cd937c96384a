"""Every verb: its words, its options, and where its function is; nothing else is loaded here."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dmi_cli.programs import BUILT_IN, SIMULATORS

__all__ = ["COMMANDS", "Command"]

KINDS: Final = ("devices", "models", "mappers", "twins")
_SINGULAR: Final = {
    "device": "devices",
    "model": "models",
    "devicemodel": "models",
    "mapper": "mappers",
    "twin": "twins",
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


def _nothing(_: argparse.ArgumentParser) -> None:
    """For verbs without options."""


@dataclass(frozen=True, slots=True)
class Command:
    """One verb.

    Attributes:
        handler: `module:function`, called with the parsed options; returns an exit code.
        passes_after: The verb is a program with options of its own: how many words belong to
            us before everything else is passed on. None: all options are ours.
    """

    name: str
    help: str
    handler: str
    arguments: Callable[[argparse.ArgumentParser], None] = _nothing
    description: str = ""
    epilog: str = ""
    passes_after: int | None = None


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


def _demo(parser: argparse.ArgumentParser) -> None:
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


def _apply(parser: argparse.ArgumentParser) -> None:
    _files(parser, required=True)
    _output(parser, "table", "json", "yaml")
    _server(parser)


def _get(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", type=_kind, metavar="|".join(KINDS))
    parser.add_argument("name", nargs="?", metavar="NAME", help="for twins: name of the device")
    parser.add_argument("property", nargs="?", metavar="PROPERTY", help="for twins only")
    _namespace(parser)
    _output(parser, "table", "wide", "yaml", "json")
    _server(parser)


def _describe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", type=_kind, metavar="|".join(KINDS))
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("property", nargs="?", metavar="PROPERTY", help="for twins")
    _namespace(parser)
    _server(parser)


def _delete(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", type=_kind, nargs="?", metavar="devices|models")
    parser.add_argument("names", nargs="*", metavar="NAME")
    _files(parser, required=False)
    parser.add_argument("--ignore-missing", action="store_true", help="what is gone is fine")
    _namespace(parser)
    _server(parser)


def _watch(parser: argparse.ArgumentParser) -> None:
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


def _set(parser: argparse.ArgumentParser) -> None:
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


def _validate(parser: argparse.ArgumentParser) -> None:
    _files(parser, required=True)
    parser.add_argument(
        "--driver",
        action="append",
        metavar="PACKAGE.MODULE:CLASS",
        help="judge settings by this driver of your own too; may be repeated",
    )
    parser.add_argument("--strict", action="store_true", help="warnings count as mistakes")
    _output(parser, "text", "json")


def _new(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("mapper",))
    parser.add_argument("name", metavar="NAME", help="such as kiln or acme-kiln")
    parser.add_argument("--directory", metavar="DIR", help="where (default ./NAME)")


def _discover(parser: argparse.ArgumentParser) -> None:
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


def _mapper(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help=f"{_BUNDLED}, or package.module:Class")


def _simulate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help=_SIMULATED)


def _doctor(parser: argparse.ArgumentParser) -> None:
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


def _token(parser: argparse.ArgumentParser) -> None:
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


def _version(parser: argparse.ArgumentParser) -> None:
    _output(parser, "table", "json")


COMMANDS: Final = (
    Command(
        "demo",
        "a small plant, end to end: simulator, manager and mapper on this machine",
        "dmi_cli.demo:run",
        _demo,
    ),
    Command(
        "manager",
        "run the device manager of this node",
        "dmi_cli.programs:manager",
        passes_after=0,
    ),
    Command(
        "mapper",
        f"run a mapper: {_BUNDLED}, or a driver of your own",
        "dmi_cli.programs:mapper",
        _mapper,
        epilog="examples:\n"
        "  dmi mapper modbus --help\n"
        "  dmi mapper modbus --manager-socket /etc/kubeedge/dmi.sock  # straight to EdgeCore\n"
        "  dmi mapper my_package.driver:MyDriver --devices ./devices",
        passes_after=1,
    ),
    Command(
        "simulate",
        f"run simulated devices: {_SIMULATED}",
        "dmi_cli.programs:simulate",
        _simulate,
        epilog="example:\n  dmi simulate modbus --help",
        passes_after=1,
    ),
    Command(
        "apply",
        "create or change the devices and models of a file",
        "dmi_cli.apply:apply",
        _apply,
    ),
    Command(
        "get",
        "list devices, models, mappers or twins",
        "dmi_cli.objects:get",
        _get,
        epilog="examples:\n"
        "  dmi get devices\n"
        "  dmi get twins boiler\n"
        "  dmi get twin boiler setpoint -o json",
    ),
    Command(
        "describe",
        "everything about one device, model, mapper or twin",
        "dmi_cli.describe:describe",
        _describe,
    ),
    Command("delete", "delete devices or models", "dmi_cli.apply:delete", _delete),
    Command(
        "watch",
        "follow changes as they happen",
        "dmi_cli.watch:watch",
        _watch,
        epilog="The connection is resumed when it breaks; what was missed meanwhile is caught up.",
    ),
    Command(
        "set",
        "set the desired value of a property",
        "dmi_cli.desired:set_desired",
        _set,
        epilog="example:\n  dmi set boiler setpoint 72.5 --wait",
    ),
    Command(
        "validate",
        "find every mistake in device files, offline",
        "dmi_cli.validate:validate",
        _validate,
        epilog="Also told: what a stock EdgeCore would drop, change or never deliver.",
    ),
    Command(
        "new",
        "begin a mapper of your own: a small driver that works, with its test",
        "dmi_cli.scaffold:new",
        _new,
    ),
    Command(
        "discover",
        "look for devices, and write models and devices that can be applied",
        "dmi_cli.discover:discover",
        _discover,
        epilog="examples:\n"
        "  dmi discover opcua url=opc.tcp://192.168.10.5:4840 --out found.yaml\n"
        "  dmi discover opcua url=opc.tcp://192.168.10.5:4840 root=2:Plant/2:Boiler\n"
        "  dmi discover ble radio=hci0 --for 20 --node edge-1 --out found.yaml",
    ),
    Command(
        "token",
        "make a token for one more client of a REST API",
        "dmi_cli.token:token",
        _token,
        description="Prints the token, this once: the file keeps only its hash. Programs that "
        "run see the change within a second.",
    ),
    Command(
        "doctor",
        "look for what could keep this machine from working, and tell the cure",
        "dmi_cli.doctor:doctor",
        _doctor,
    ),
    Command(
        "version",
        "print versions",
        "dmi_cli.version:version",
        _version,
    ),
)

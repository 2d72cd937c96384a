"""Every verb: its words, its options, and where its function is; nothing else is loaded here."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dmi_cli import options
from dmi_cli.programs import BUILT_IN, SIMULATORS

__all__ = ["COMMANDS", "Command"]

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


COMMANDS: Final = (
    Command(
        "demo",
        "a small plant, end to end: simulator, manager and mapper on this machine",
        "dmi_cli.demo:run",
        options.demo,
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
        options.mapper,
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
        options.simulate,
        epilog="example:\n  dmi simulate modbus --help",
        passes_after=1,
    ),
    Command(
        "apply",
        "create or change the devices and models of a file",
        "dmi_cli.apply:apply",
        options.apply,
    ),
    Command(
        "get",
        "list devices, models, mappers, twins or commands",
        "dmi_cli.objects:get",
        options.get,
        epilog="examples:\n"
        "  dmi get devices\n"
        "  dmi get twins boiler\n"
        "  dmi get twin boiler setpoint -o json\n"
        "  dmi get commands boiler",
    ),
    Command(
        "describe",
        "everything about one device, model, mapper, twin or command",
        "dmi_cli.describe:describe",
        options.describe,
    ),
    Command(
        "delete",
        "delete devices or models, or take commands back that have not begun",
        "dmi_cli.apply:delete",
        options.delete,
    ),
    Command(
        "watch",
        "follow changes as they happen",
        "dmi_cli.watch:watch",
        options.watch,
        epilog="The connection is resumed when it breaks; what was missed meanwhile is caught up.",
    ),
    Command(
        "set",
        "set the desired value of a property",
        "dmi_cli.desired:set_desired",
        options.set_desired,
        epilog="example:\n  dmi set boiler setpoint 72.5 --wait",
    ),
    Command(
        "call",
        "call a method of a device, or list what can be called",
        "dmi_cli.calling:call",
        options.call,
        epilog="examples:\n"
        "  dmi call boiler\n"
        "  dmi call boiler Mix first=1.5 second=2 --wait 30\n"
        "  dmi call boiler setAll setpoint=70 --deadline 5",
    ),
    Command(
        "validate",
        "find every mistake in device files, offline",
        "dmi_cli.validate:validate",
        options.validate,
        epilog="Also told: what a stock EdgeCore would drop, change or never deliver.",
    ),
    Command(
        "new",
        "begin a mapper of your own: a small driver that works, with its test",
        "dmi_cli.scaffold:new",
        options.new,
    ),
    Command(
        "discover",
        "look for devices, and write models and devices that can be applied",
        "dmi_cli.discover:discover",
        options.discover,
        epilog="examples:\n"
        "  dmi discover opcua url=opc.tcp://192.168.10.5:4840 --out found.yaml\n"
        "  dmi discover opcua url=opc.tcp://192.168.10.5:4840 root=2:Plant/2:Boiler\n"
        "  dmi discover ble radio=hci0 --for 20 --node edge-1 --out found.yaml",
    ),
    Command(
        "token",
        "make a token for one more client of a REST API",
        "dmi_cli.token:token",
        options.token,
        description="Prints the token, this once: the file keeps only its hash. Programs that "
        "run see the change within a second.",
    ),
    Command(
        "doctor",
        "look for what could keep this machine from working, and tell the cure",
        "dmi_cli.doctor:doctor",
        options.doctor,
    ),
    Command(
        "version",
        "print versions",
        "dmi_cli.version:version",
        options.version,
    ),
)

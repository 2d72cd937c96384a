"""`dmi simulate ble`: Bluetooth LE devices on a virtual radio, for the demo and for trying out."""

import argparse
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from dmi.errors import ConfigError
from mapper_sdk.simulating import Serving, run_simulator, simulator_parser
from mappers.ble.simulation.faults import FaultKind, parse_fault
from mappers.ble.simulation.server import BleSimulator

__all__ = ["BleSimulator", "main"]

_COMPARE = "compare"
_DIGITS = 6


def main(argv: Sequence[str] | None = None) -> int:
    """Run the simulator until SIGTERM or Ctrl-C; 2 for a wrong option, 1 if it cannot listen."""
    return run_simulator(_parser(), argv, _serve)


@asynccontextmanager
async def _serve(options: argparse.Namespace) -> AsyncIterator[Serving]:
    faults = [parse_fault(text) for text in options.fault]
    simulator = _from(options)
    for text in options.pairing:
        _set_pairing(simulator, text)
    async with simulator:
        for fault in faults:
            simulator.faults.add(fault)
        number = len(simulator.peripherals) + len(simulator.broadcasters)
        yield Serving(
            f"{number} devices around the radio {simulator.tcp_radio}",
            {"port": simulator.port, "radio": simulator.tcp_radio},
        )


def _from(options: argparse.Namespace) -> BleSimulator:
    """Make the simulator that the options describe."""
    return BleSimulator(
        host=options.host,
        port=options.port,
        controller=options.controller,
        peripherals=options.peripherals,
        advertisers_count=options.advertisers,
        interval=options.interval,
    )


def _set_pairing(simulator: BleSimulator, text: str) -> None:
    """Have a device paired as `DEVICE:WAY` says."""
    name, _, way = text.partition(":")
    try:
        device = simulator.peripheral(name)
    except KeyError:
        raise ConfigError(f"--pairing {text}: no device {name!r} takes links") from None
    if way == _COMPARE:
        device.compares = True
    elif len(way) == _DIGITS and way.isascii() and way.isdigit():
        device.passkey = int(way)
    else:
        raise ConfigError(f"--pairing {text}: write six digits, or {_COMPARE}, behind the colon")


def _parser() -> argparse.ArgumentParser:
    parser = simulator_parser(
        "ble",
        "A thermometer (F0:00:00:00:00:01), a heater (F0:...:02), two BTHome sensors "
        "(F1:...:01, F1:...:02), an iBeacon (F1:...:03) and an Eddystone (F1:...:04) on a virtual "
        "radio. A mapper uses it by the radio setting tcp-client:HOST:PORT.",
        "Names for --fault: thermometer, heater, room, cellar, beacon, tag.",
        port=9545,
    )
    parser.add_argument(
        "--controller",
        default="",
        metavar="TRANSPORT",
        help="a bumble transport to put a controller on as well, such as vhci: then BlueZ of "
        "this machine has an adapter on this radio",
    )
    parser.add_argument(
        "--peripherals", type=int, default=2, help="devices to connect to (%(default)s)"
    )
    parser.add_argument(
        "--advertisers", type=int, default=0, help="further BTHome sensors (%(default)s)"
    )
    parser.add_argument(
        "--interval", type=float, default=1.0, help="seconds between packets (%(default)s)"
    )
    parser.add_argument(
        "--pairing",
        action="append",
        default=[],
        metavar="DEVICE:WAY",
        help="how a device that takes links is paired: six digits that it shows, or "
        f"{_COMPARE} for a number to compare; others pair just so",
    )
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="KIND[:DEVICE[:PARAMETER]]",
        help=f"one of {', '.join(FaultKind)}; no device is all; parameter: seconds out of range "
        "(0 for ever), how many reads drop the link (0 all), the ATT error, seconds of delay, "
        "packets per second",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())

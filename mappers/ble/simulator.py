"""`dmi simulate ble`: Bluetooth LE devices on a virtual radio, for the demo and for trying out."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence

from dmi.errors import ConfigError, DmiError
from dmi.lifecycle import stopped_by_signals
from mappers.ble.simulation.faults import FaultKind, parse_fault
from mappers.ble.simulation.server import BleSimulator

__all__ = ["BleSimulator", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the simulator until SIGTERM or Ctrl-C; 2 for a wrong option, 1 if it cannot listen."""
    options = _parser().parse_args(sys.argv[1:] if argv is None else argv)
    try:
        return asyncio.run(_run(options))
    except ConfigError as error:
        sys.stderr.write(f"dmi simulate ble: {error}\n")
        return 2
    except DmiError as error:
        sys.stderr.write(f"dmi simulate ble: {error}\n")
        return 1


async def _run(options: argparse.Namespace) -> int:
    simulator = _from(options)
    stop = asyncio.Event()
    with stopped_by_signals(stop):
        async with simulator:
            for text in options.fault:
                simulator.faults.add(parse_fault(text))
            ready = {"port": simulator.port, "radio": simulator.tcp_radio}
            line = (
                json.dumps(ready)
                if options.ready_json
                else f"{len(simulator.peripherals) + len(simulator.broadcasters)} devices "
                f"around the radio {simulator.tcp_radio}"
            )
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
            await stop.wait()
    return 0


def _from(options: argparse.Namespace) -> BleSimulator:
    """Make the simulator that the options describe.

    Raises:
        ConfigError: A fault is not written as one.
    """
    for text in options.fault:
        parse_fault(text)
    return BleSimulator(
        host=options.host,
        port=options.port,
        controller=options.controller,
        peripherals=options.peripherals,
        advertisers_count=options.advertisers,
        interval=options.interval,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dmi simulate ble",
        description="A thermometer (F0:00:00:00:00:01), a heater (F0:...:02), two BTHome sensors "
        "(F1:...:01, F1:...:02), an iBeacon (F1:...:03) and an Eddystone (F1:...:04) on a virtual "
        "radio. A mapper uses it by the radio setting tcp-client:HOST:PORT.",
        epilog="Names for --fault: thermometer, heater, room, cellar, beacon, tag.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=9545, help="port, 0 for a free one (9545)")
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
        "--fault",
        action="append",
        default=[],
        metavar="KIND[:DEVICE[:PARAMETER]]",
        help=f"one of {', '.join(FaultKind)}; no device is all; parameter: seconds out of range "
        "(0 for ever), how many reads drop the link (0 all), the ATT error, seconds of delay, "
        "packets per second",
    )
    parser.add_argument(
        "--ready-json", action="store_true", help="say by one line of JSON when it listens"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())

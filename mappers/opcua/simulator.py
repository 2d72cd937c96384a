"""`dmi simulate opcua`: a small plant behind an OPC UA server, for the demo and for trying out."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from dmi.errors import ConfigError, DmiError
from dmi.lifecycle import stopped_by_signals
from mappers.opcua.simulation.faults import FaultKind, parse_fault
from mappers.opcua.simulation.server import OpcuaSimulator

__all__ = ["OpcuaSimulator", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the simulator until SIGTERM or Ctrl-C; 2 for a wrong option, 1 if it cannot listen."""
    options = _parser().parse_args(sys.argv[1:] if argv is None else argv)
    try:
        return asyncio.run(_run(options))
    except DmiError as error:
        sys.stderr.write(f"dmi simulate opcua: {error}\n")
        return 2 if isinstance(error, ConfigError) else 1


async def _run(options: argparse.Namespace) -> int:
    simulator = _from(options)
    faults = [parse_fault(text) for text in options.fault]
    stop = asyncio.Event()
    with stopped_by_signals(stop):
        async with simulator:
            for fault in faults:
                simulator.show(fault)
            ready = {"port": simulator.port, "host": simulator.host, "url": simulator.url}
            line = json.dumps(ready) if options.ready_json else f"serving at {simulator.url}"
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
            await stop.wait()
    return 0


def _from(options: argparse.Namespace) -> OpcuaSimulator:
    """Make the simulator that the options describe.

    Raises:
        ConfigError: They contradict each other.
    """
    if (options.cert_file is None) != (options.key_file is None):
        raise ConfigError("--cert-file and --key-file go together")
    users: dict[str, str] = {}
    for text in options.user:
        name, colon, password = text.partition(":")
        if not name or not colon:
            raise ConfigError("--user needs NAME:PASSWORD")
        users[name] = password
    return OpcuaSimulator(
        host=options.host,
        port=options.port,
        items=options.items,
        certificate=options.cert_file,
        key=options.key_file,
        users=users,
        padding=options.padding,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dmi simulate opcua",
        description="A boiler, a pump and a meter in one OPC UA server, with methods, an event, "
        "and history.",
        epilog="The method Plant.Fault switches a fault on while it runs; docs/opcua.md has the "
        "map.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=4840, help="port, 0 for a free one (4840)")
    parser.add_argument(
        "--items", type=int, default=0, help="further variables that change each second"
    )
    parser.add_argument(
        "--padding", type=int, default=0, help="namespaces before the plant's: moves its index"
    )
    parser.add_argument("--cert-file", type=Path, help="certificate, PEM or DER: security on")
    parser.add_argument("--key-file", type=Path, help="its key")
    parser.add_argument(
        "--user",
        action="append",
        default=[],
        metavar="NAME:PASSWORD",
        help="who may log in; everybody without it",
    )
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="KIND[:SECONDS]",
        help=f"one of {', '.join(FaultKind)}",
    )
    parser.add_argument(
        "--ready-json", action="store_true", help="say by one line of JSON when it listens"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())

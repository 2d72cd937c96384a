"""`dmi simulate opcua`: a small plant behind an OPC UA server, for the demo and for trying out."""

import argparse
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from dmi.errors import ConfigError
from mapper_sdk.simulating import Serving, run_simulator, simulator_parser
from mappers.opcua.simulation.faults import FaultKind, parse_fault
from mappers.opcua.simulation.server import OpcuaSimulator

__all__ = ["OpcuaSimulator", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the simulator until SIGTERM or Ctrl-C; 2 for a wrong option, 1 if it cannot listen."""
    return run_simulator(_parser(), argv, _serve)


@asynccontextmanager
async def _serve(options: argparse.Namespace) -> AsyncIterator[Serving]:
    faults = [parse_fault(text) for text in options.fault]
    async with _from(options) as simulator:
        for fault in faults:
            simulator.show(fault)
        yield Serving(
            f"serving at {simulator.url}",
            {"port": simulator.port, "host": simulator.host, "url": simulator.url},
        )


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
    parser = simulator_parser(
        "opcua",
        "A boiler, a pump and a meter in one OPC UA server, with methods, an event, and history.",
        "The method Plant.Fault switches a fault on while it runs; docs/opcua.md has the map.",
        port=4840,
    )
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
    return parser


if __name__ == "__main__":
    sys.exit(main())

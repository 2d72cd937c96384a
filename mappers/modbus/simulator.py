"""`dmi simulate modbus`: a small plant behind a Modbus server, for the demo and for trying out."""

import argparse
import ssl
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from dmi.errors import ConfigError
from mapper_sdk.simulating import Serving, run_simulator, simulator_parser
from mappers.modbus.config import Parity, Transport
from mappers.modbus.simulation.faults import FaultKind, parse_fault
from mappers.modbus.simulation.server import ModbusSimulator

__all__ = ["ModbusSimulator", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the simulator until SIGTERM or Ctrl-C; 2 for a wrong option, 1 if it cannot listen."""
    return run_simulator(_parser(), argv, _serve)


@asynccontextmanager
async def _serve(options: argparse.Namespace) -> AsyncIterator[Serving]:
    async with _from(options) as simulator:
        where = simulator.serial_port or f"{simulator.host}:{simulator.port}"
        yield Serving(
            f"serving {options.units} units at {where}",
            {"port": simulator.port, "host": simulator.host, "units": options.units},
        )


def _from(options: argparse.Namespace) -> ModbusSimulator:
    """Make the simulator that the options describe.

    Raises:
        ConfigError: They contradict each other.
    """
    transport = Transport(options.transport)
    if transport.is_serial != bool(options.serial_port):
        raise ConfigError("--serial-port goes with --transport rtu or ascii, and they with it")
    context = None
    if transport is Transport.TLS:
        if options.cert_file is None:
            raise ConfigError("--transport tls needs --cert-file")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(options.cert_file, options.key_file)
        except OSError as error:
            raise ConfigError(f"{options.cert_file}: {error}") from error
    simulator = ModbusSimulator(
        transport=transport,
        host=options.host,
        port=options.port,
        units=options.units,
        serial_port=options.serial_port,
        baud_rate=options.baud_rate,
        parity=Parity(options.parity),
        context=context,
    )
    simulator.keeps_requests = False  # it may run for months
    for text in options.fault:
        simulator.faults.add(parse_fault(text))
    return simulator


def _parser() -> argparse.ArgumentParser:
    parser = simulator_parser(
        "modbus",
        "A boiler (unit 1), a pump (2), a power meter (3), racks of registers behind.",
        "Writing to holding registers 0 to 3 of unit 247 switches a fault on while it "
        "runs; docs/modbus.md has the map.",
        port=1502,
    )
    parser.add_argument(
        "--transport", choices=list(Transport), default=Transport.TCP, help="(%(default)s)"
    )
    parser.add_argument("--serial-port", default="", help="device file, for rtu and ascii")
    parser.add_argument("--baud-rate", type=int, default=19200, help="(%(default)s)")
    parser.add_argument("--parity", choices=list(Parity), default=Parity.EVEN, help="(%(default)s)")
    parser.add_argument("--cert-file", type=Path, help="PEM certificate, for tls")
    parser.add_argument("--key-file", type=Path, help="PEM key, if it is not in --cert-file")
    parser.add_argument("--units", type=int, default=3, help="how many units (%(default)s)")
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="KIND[:UNIT[:PARAMETER]]",
        help=f"one of {', '.join(FaultKind)}; unit 0 is all; parameter: seconds of a delay, "
        "code of a refusal",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""`dmi simulate modbus`: a small plant behind a Modbus server, for the demo and for trying out."""

import argparse
import asyncio
import json
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path

from dmi.errors import ConfigError, DmiError
from dmi.lifecycle import stopped_by_signals
from mappers.modbus.config import Parity, Transport
from mappers.modbus.simulation.faults import FaultKind, parse_fault
from mappers.modbus.simulation.server import ModbusSimulator

__all__ = ["ModbusSimulator", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the simulator until SIGTERM or Ctrl-C; 2 for a wrong option, 1 if it cannot listen."""
    options = _parser().parse_args(sys.argv[1:] if argv is None else argv)
    try:
        return asyncio.run(_run(options))
    except ConfigError as error:
        sys.stderr.write(f"dmi simulate modbus: {error}\n")
        return 2
    except DmiError as error:
        sys.stderr.write(f"dmi simulate modbus: {error}\n")
        return 1


async def _run(options: argparse.Namespace) -> int:
    simulator = _from(options)
    stop = asyncio.Event()
    with stopped_by_signals(stop):
        async with simulator:
            where = simulator.serial_port or f"{simulator.host}:{simulator.port}"
            ready = {"port": simulator.port, "host": simulator.host, "units": options.units}
            line = (
                json.dumps(ready)
                if options.ready_json
                else f"serving {options.units} units at {where}"
            )
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
            await stop.wait()
    return 0


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
    parser = argparse.ArgumentParser(
        prog="dmi simulate modbus",
        description="A boiler (unit 1), a pump (2), a power meter (3), racks of registers behind.",
        epilog="Writing to holding registers 0 to 3 of unit 247 switches a fault on while it "
        "runs; docs/modbus.md has the map.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=1502, help="port, 0 for a free one (1502)")
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
    parser.add_argument(
        "--ready-json", action="store_true", help="say by one line of JSON when it listens"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""Run the Modbus mapper: `python -m mappers.modbus`, or `dmi mapper modbus`."""

import sys

from mapper_sdk.program import run_mapper
from mappers.modbus.driver import ModbusDriver


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM; give the exit code."""
    return run_mapper(ModbusDriver, sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    sys.exit(main())

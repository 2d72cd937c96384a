"""Run the BLE mapper: `python -m mappers.ble`, or `dmi mapper ble`."""

import sys

from mapper_sdk.program import run_mapper
from mappers.ble.driver import BleDriver


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM; give the exit code."""
    return run_mapper(BleDriver, sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    sys.exit(main())

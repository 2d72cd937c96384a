"""Run the OPC UA mapper: `python -m mappers.opcua`, or `dmi mapper opcua`."""

import sys

from mapper_sdk.program import run_mapper
from mappers.opcua.driver import OpcuaDriver


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM; give the exit code."""
    return run_mapper(OpcuaDriver, sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    sys.exit(main())

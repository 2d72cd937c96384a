"""`dmi version`."""

import argparse
import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as distribution_version
from typing import Final

from dmi_cli.exits import Exit
from dmi_cli.output import print_document, print_line

__all__ = ["installed_version", "version"]

_PARTS: Final = ("dmi-toolkit", "grpcio", "protobuf", "pydantic", "pymodbus")


def installed_version(distribution: str) -> str | None:
    """Version of an installed distribution; None when it is not there."""
    try:
        return distribution_version(distribution)
    except PackageNotFoundError:
        return None


def version(options: argparse.Namespace) -> int:
    """Print our version, and those of what we stand on."""
    found = {name: installed_version(name) for name in _PARTS}
    found["python"] = platform.python_version()
    if options.output == "json":
        print_document(found, "json")
        return Exit.OK
    for name, number in found.items():
        print_line(f"{name} {number or 'not installed'}")
    return Exit.OK

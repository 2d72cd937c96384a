"""`dmi manager`, `dmi mapper` and `dmi simulate`: programs that own their options."""

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dmi.errors import ConfigError, NotFoundError

if TYPE_CHECKING:
    from types import ModuleType

    from mapper_sdk.driver import Driver

__all__ = ["BUILT_IN", "SIMULATORS", "find_driver", "manager", "mapper", "simulate"]

BUILT_IN: Final = {
    "modbus": "mappers.modbus.driver:ModbusDriver",
    "opcua": "mappers.opcua.driver:OpcuaDriver",
    "ble": "mappers.ble.driver:BleDriver",
}
"""Protocols whose drivers come with the toolkit."""
SIMULATORS: Final = {
    "modbus": "mappers.modbus.simulator",
    "opcua": "mappers.opcua.simulator",
    "ble": "mappers.ble.simulator",
}
"""Protocols of which devices can be simulated."""
_EXTRAS: Final = {"bumble": "ble-hci"}
"""Libraries whose extra is not called like the protocol."""


def manager(options: argparse.Namespace) -> int:
    """Run the device manager until it is told to end."""
    from device_manager.__main__ import main

    return main(options.rest)


def mapper(options: argparse.Namespace) -> int:
    """Run a mapper until it is told to end.

    Raises:
        ConfigError: What is named is not a driver, or its library is not installed.
        NotFoundError: There is no such driver.
    """
    driver = find_driver(options.name)
    from mapper_sdk.program import run_mapper

    return run_mapper(driver, options.rest)


def simulate(options: argparse.Namespace) -> int:
    """Run a simulated device until it is told to end.

    Raises:
        NotFoundError: There is no simulator of that name.
    """
    name = SIMULATORS.get(options.name)
    if name is None:
        known = ", ".join(SIMULATORS)
        raise NotFoundError(f"there is no simulator {options.name!r}; there is: {known}")
    code: int = _import(name, options.name).main(options.rest)
    return code


def find_driver(name: str) -> "type[Driver[Any, Any]]":
    """Find a driver's class.

    Args:
        name: A protocol that comes with the toolkit, or `package.module:Class`, looked for
            in the current directory first, as `python -m` does.

    Raises:
        ConfigError: It is not a driver's class, or a library that it needs is missing.
        NotFoundError: There is no such protocol, module or class.
    """
    from mapper_sdk.driver import Driver

    target = BUILT_IN.get(name, name)
    module, colon, attribute = target.partition(":")
    if not colon or not attribute:
        known = ", ".join(BUILT_IN)
        raise NotFoundError(
            f"there is no mapper {name!r}; there is: {known}, or name your own as"
            " package.module:Class"
        )
    here = str(Path.cwd())
    if name not in BUILT_IN and here not in sys.path:
        sys.path.insert(0, here)
    found = getattr(_import(module, name), attribute, None)
    if found is None:
        raise NotFoundError(f"module {module} has no {attribute}")
    if not (isinstance(found, type) and issubclass(found, Driver)):
        raise ConfigError(f"{target} is not a subclass of mapper_sdk.driver.Driver")
    return found


def _import(module: str, name: str) -> "ModuleType":
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or module
        if module == missing or module.startswith(f"{missing}."):
            raise NotFoundError(f"there is no Python module {missing}") from error
        library = missing.split(".")[0]
        extra = _EXTRAS.get(library, name)
        ours = name in BUILT_IN or name in SIMULATORS
        cure = f"pip install 'dmi-toolkit[{extra}]'" if ours else "install it first"
        raise ConfigError(f"{name} needs the library {library}: {cure}") from error

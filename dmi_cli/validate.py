"""`dmi validate`: every mistake in device files, and what a stock EdgeCore would do, offline."""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from dmi.edgecore import device_faults, model_faults
from dmi.errors import ConfigError
from dmi.manifests import Manifest, Mistake
from dmi.manifests.checks import check_device
from dmi.resources import Device, DeviceModel, Key
from dmi_cli.exits import Exit
from dmi_cli.output import print_document, print_line
from dmi_cli.programs import BUILT_IN, find_driver
from dmi_cli.settings import settings_faults
from dmi_cli.sources import read_sources
from mapper_sdk.driver import Driver

__all__ = ["examine", "validate"]


def validate(options: argparse.Namespace) -> int:
    """Check files and print the result; refused when there is a mistake.

    Raises:
        NotFoundError: There is no such file or directory.
    """
    manifests, mistakes = read_sources(options.file)
    drivers = _drivers({*_protocols(manifests)}, options.driver or [])
    more, warnings = examine(manifests, drivers)
    mistakes = _in_order([*mistakes, *more])
    warnings = _in_order(warnings)
    refused = bool(mistakes) or (options.strict and bool(warnings))
    if options.output == "json":
        print_document(
            {
                "objects": len(manifests),
                "mistakes": [mistake.to_json() for mistake in mistakes],
                "warnings": [warning.to_json() for warning in warnings],
            },
            "json",
        )
        return Exit.REFUSED if refused else Exit.OK
    for mistake in mistakes:
        print_line(f"mistake: {mistake}")
    for warning in warnings:
        print_line(f"on a stock EdgeCore: {warning}")
    print_line(_summary(manifests, mistakes, warnings))
    return Exit.REFUSED if refused else Exit.OK


def _protocols(manifests: Sequence[Manifest]) -> Iterable[str]:
    for manifest in manifests:
        if isinstance(manifest.object, Device):
            yield manifest.object.spec.protocol.protocol_name


def _drivers(protocols: set[str], named: Sequence[str]) -> dict[str, type[Driver[Any, Any]]]:
    """Drivers by protocol, as far as they are installed: ours, and those that were named."""
    found: dict[str, type[Driver[Any, Any]]] = {}
    for name in sorted(protocols & BUILT_IN.keys()):
        with suppress(ConfigError):  # not installed: its settings cannot be judged here
            found[name] = find_driver(name)
    own = [find_driver(name) for name in named]
    return found | {driver.protocol_name: driver for driver in own}


def examine(
    manifests: Sequence[Manifest], drivers: Mapping[str, type[Driver[Any, Any]]]
) -> tuple[list[Mistake], list[Mistake]]:
    """Check readable objects against each other.

    Args:
        manifests: All that is known; models must be among them.
        drivers: By protocol name; settings of other protocols are not judged.

    Returns:
        The mistakes, and what is peculiar to a stock EdgeCore.
    """
    models: dict[Key, DeviceModel] = {
        manifest.key: manifest.object
        for manifest in manifests
        if isinstance(manifest.object, DeviceModel)
    }
    mistakes: list[Mistake] = []
    warnings: list[Mistake] = []
    for manifest in manifests:
        found = manifest.object
        if isinstance(found, Device):
            model = models.get(found.model_key)
            faults = check_device(found, model)
            driver = drivers.get(found.spec.protocol.protocol_name)
            if model is not None and driver is not None:
                faults += settings_faults(found, model, driver)
            mistakes += [manifest.mistake(fault) for fault in faults]
            warnings += [manifest.mistake(fault) for fault in device_faults(found)]
        elif isinstance(found, DeviceModel):
            warnings += [manifest.mistake(fault) for fault in model_faults(found)]
    return mistakes, warnings


def _in_order(mistakes: Sequence[Mistake]) -> list[Mistake]:
    files = {mistake.file: None for mistake in mistakes}
    order = {file: index for index, file in enumerate(files)}
    return sorted(mistakes, key=lambda m: (order[m.file], m.document, m.line))


def _summary(
    manifests: Sequence[Manifest], mistakes: Sequence[Mistake], warnings: Sequence[Mistake]
) -> str:
    devices = sum(manifest.kind == "Device" for manifest in manifests)
    models = sum(manifest.kind == "DeviceModel" for manifest in manifests)
    return (
        f"{devices} devices and {models} models read,"
        f" {len(mistakes)} mistakes, {len(warnings)} warnings"
    )

"""`dmi validate`: every mistake in device files, and what a stock EdgeCore would do, offline."""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from dmi.edgecore import device_faults, model_faults
from dmi.errors import ConfigError
from dmi.manifests import Fault, Manifest, Mistake
from dmi.manifests.checks import check_device
from dmi.resources import Device, DeviceModel, Key
from dmi_cli.exits import Exit
from dmi_cli.output import counted, print_document, print_line
from dmi_cli.programs import BUILT_IN, find_driver
from dmi_cli.settings import settings_faults
from dmi_cli.sources import survey_sources
from mapper_sdk.driver import Driver

__all__ = ["examine", "validate"]


def validate(options: argparse.Namespace) -> int:
    """Check files and print the result; refused when there is a mistake.

    Raises:
        NotFoundError: There is no such file or directory.
    """
    survey = survey_sources(options.file)
    manifests = survey.manifests
    everything = [*manifests, *survey.mended]
    drivers = _drivers({*_protocols(everything)}, options.driver or [])
    more, warnings = examine(everything, drivers)
    mistakes = _in_order([*survey.mistakes, *(m for m in more if m not in survey.mistakes)])
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
    models: dict[Key, Manifest] = {}
    for manifest in manifests:
        if isinstance(manifest.object, DeviceModel):
            models.setdefault(manifest.key, manifest)
    mistakes: list[Mistake] = []
    warnings: list[Mistake] = []
    for manifest in manifests:
        found = manifest.object
        if isinstance(found, Device):
            faults = _device_faults(found, models.get(found.model_key), drivers)
            mistakes += [manifest.mistake(fault) for fault in faults]
            warnings += [manifest.mistake(fault) for fault in device_faults(found)]
        elif isinstance(found, DeviceModel):
            warnings += [manifest.mistake(fault) for fault in model_faults(found)]
    return mistakes, warnings


def _device_faults(
    device: Device, declared: Manifest | None, drivers: Mapping[str, type[Driver[Any, Any]]]
) -> list[Fault]:
    """Judge a device by its model and its driver, but no property that its model has wrong."""
    model = declared.object if declared is not None else None
    if declared is None or not isinstance(model, DeviceModel):
        return check_device(device, None)
    faults = check_device(device, model)
    driver = drivers.get(device.spec.protocol.protocol_name)
    if driver is not None:
        faults += settings_faults(device, model, driver)
    names = [prop.name for prop in device.spec.properties]
    doubtful = [("spec", "properties", i) for i, n in enumerate(names) if n in declared.doubtful]
    return [fault for fault in faults if fault.path[:3] not in doubtful]


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
        f"{counted(devices, 'device')} and {counted(models, 'model')} read,"
        f" {counted(len(mistakes), 'mistake')}, {counted(len(warnings), 'warning')}"
    )

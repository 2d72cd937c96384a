"""`dmi discover`: look for devices, and write models and devices that can be applied."""

import argparse
import asyncio
import logging
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import yaml

from dmi.errors import ConfigError, UnsupportedError
from dmi_cli.programs import find_driver

__all__ = ["discover"]


def discover(options: argparse.Namespace) -> int:
    """Write what a protocol's discovery proposes as YAML; 0 also when it finds nothing.

    Raises:
        UnsupportedError: The driver cannot look for devices.
        ConfigError: A setting or the file to write is wrong.
    """
    driver = find_driver(options.protocol)
    from mapper_sdk.driver import Discovering

    if not issubclass(driver, Discovering):
        raise UnsupportedError(f"the {options.protocol} driver cannot look for devices")
    settings, seconds = _settings(options.settings), options.seconds
    if seconds is not None and driver.looking_setting:
        # It ends in time by itself then, and proposes what it has heard so far.
        settings[driver.looking_setting], seconds = seconds, None
    with _words_on_stderr(driver.__module__.partition(".")[0]):
        found = asyncio.run(_collect(driver, settings, seconds))
    # KubeEdge calls a node by its host's name in lower case, unless it is told another.
    _place(found, options.node or socket.gethostname().lower())
    # The dumper in C, where there is one: thousands of properties take seconds without.
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text = yaml.dump_all(found, Dumper=dumper, sort_keys=False, allow_unicode=True)
    if options.out is None:
        sys.stdout.write(text)
    else:
        try:
            options.out.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{options.out}: {error.strerror}") from error
    devices = sum(1 for document in found if document["kind"] == "Device")
    where = f" in {options.out}" if options.out else ""
    sys.stderr.write(f"{devices} device{'' if devices == 1 else 's'} proposed{where}\n")
    return 0


@contextmanager
def _words_on_stderr(package: str) -> Iterator[None]:
    """Show what a driver logs meanwhile: how far it is, and what it leaves out."""
    log, handler = logging.getLogger(package), logging.StreamHandler(sys.stderr)
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


async def _collect(
    driver: Any,  # noqa: ANN401 - a driver's class that is Discovering as well
    settings: Mapping[str, Any],
    seconds: float | None,
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    try:
        async with asyncio.timeout(seconds):
            async for proposal in driver.discover(settings):
                found += [dict(proposal.model), dict(proposal.device)]
    except TimeoutError:
        pass  # it was told how long to look
    return found


def _place(found: list[dict[str, Any]], node: str) -> None:
    """Say which node serves each device, unless its driver has."""
    for document in found:
        if document["kind"] == "Device":
            document["spec"] = {"nodeName": node, **document["spec"]}


def _settings(given: list[str]) -> dict[str, Any]:
    """Read `key=value` words; values are read as YAML, so numbers and truth values are such."""
    settings: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise ConfigError(f"{text!r} is no setting; write KEY=VALUE")
        try:
            settings[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            settings[key] = value
    return settings

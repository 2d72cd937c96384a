"""`dmi set`: desire a value, and wait until the device has it."""

import argparse
import time
from typing import Final

from dmi.errors import ConfigError, ConflictError, DeadlineError, RefusedError
from dmi.resources import DataType
from dmi.values import json_value, parse_value
from dmi_cli.client import Client, Json, object_path
from dmi_cli.exits import Exit
from dmi_cli.names import split_name
from dmi_cli.output import print_document, print_line, value_text

__all__ = ["set_desired"]

_LONGEST_WAIT: Final = 30.0
"""Seconds that the manager itself waits at most."""
_LOOK_AGAIN: Final = 0.2
_SETTLED: Final = frozenset({"confirmed", "rejected", "failed"})


def set_desired(options: argparse.Namespace) -> int:
    """Set or clear the desired value of one property.

    Raises:
        RefusedError: The device did not take it.
        DeadlineError: It is not confirmed within the time of `--wait`; it stays desired.
        DmiError: There is no such property, the value does not fit, or no manager answers.
    """
    if (options.value is None) is not options.clear:
        raise ConfigError("give either a VALUE or --clear")
    namespace, device = split_name(options.device, options.namespace)
    path = object_path("devices", namespace, device, "twins", options.property)
    with Client(options.server) as client:
        if options.clear:
            twin = client.request("DELETE", f"{path}/desired")
        else:
            twin = _put(client, path, options.value, options.wait)
    if options.output != "table":
        print_document(twin, options.output)
    return _judge(twin, options)


def _put(client: Client, path: str, text: str, wait: float | None) -> Json:
    declared = client.request("GET", path).get("type")
    value: object = text
    if declared is not None:
        kind = DataType(declared)
        value = json_value(parse_value(text, kind))
    deadline = time.monotonic() + (wait or 0.0)
    asked = min(wait, _LONGEST_WAIT) if wait is not None else None
    twin = client.request(
        "PUT",
        f"{path}/desired",
        params={"wait": asked} if asked is not None else None,
        json={"value": value},
        patience=asked or 0.0,
    )
    return _await(client, path, twin, deadline)


def _await(client: Client, path: str, twin: Json, deadline: float) -> Json:
    """Look again until the wish is settled, replaced, or time is over."""
    version = (twin.get("desired") or {}).get("version")
    while time.monotonic() < deadline:
        desired = twin.get("desired") or {}
        if desired.get("status") in _SETTLED or desired.get("version") != version:
            break
        time.sleep(_LOOK_AGAIN)
        twin = client.request("GET", path)
    if (twin.get("desired") or {}).get("version") != version:
        raise ConflictError("somebody else has set or cleared this property meanwhile")
    return twin


def _judge(twin: Json, options: argparse.Namespace) -> int:
    """Turn the outcome into a line and an exit code."""
    name = f"{options.device} {options.property}"
    desired = twin.get("desired")
    human = options.output == "table"
    if options.clear:
        if human:
            print_line(f"{name}: nothing is desired any more")
        return Exit.OK
    status = desired["status"] if desired else "gone"
    reason = ": ".join(
        word for word in ((desired or {}).get("reason"), (desired or {}).get("message")) if word
    )
    if status in {"rejected", "failed"}:
        raise RefusedError(f"{name}: {status}{f', {reason}' if reason else ''}")
    if options.wait is not None and status != "confirmed":
        raise DeadlineError(
            f"{name}: not confirmed by the device within {options.wait:g} s (it is {status});"
            " it stays desired"
        )
    if human:
        print_line(f"{name} = {value_text(desired['value']) if desired else ''}: {status}")
    return Exit.OK

"""`dmi call`: what a device's methods are, calling one, and waiting for its end."""

import argparse
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Final

from dmi.errors import (
    ConfigError,
    ConflictError,
    DeadlineError,
    DmiError,
    NotFoundError,
    RefusedError,
    UnavailableError,
    error_class,
)
from dmi.methods import argument_from_text, type_word
from dmi_cli.client import Client, Json, object_path
from dmi_cli.exits import Exit
from dmi_cli.names import split_name
from dmi_cli.output import print_document, print_fields, print_line, print_table

__all__ = ["call"]

_LONGEST_WAIT: Final = 30.0
"""Seconds that the manager itself waits at most."""
_LOOK_AGAIN: Final = 0.2
_FINAL: Final = frozenset({"succeeded", "unsuccessful", "expired", "cancelled"})


def call(options: argparse.Namespace) -> int:
    """List a device's methods, or call one.

    Raises:
        NotFoundError: There is no such device or method.
        ConversionError: An argument is missing, unknown or of another type.
        RefusedError: The device did not do it.
        DeadlineError: It has not ended within the time of `--wait`, or never began.
        DmiError: The class is that of the reason for which it did not succeed.
    """
    namespace, device = split_name(options.device, options.namespace)
    path = object_path("devices", namespace, device, "methods")
    with Client(options.server) as client:
        known = client.request("GET", path)
        if options.method is None:
            return _list(known, options)
        arguments = _arguments(known, options.method, options.arguments)
        path = object_path("devices", namespace, device, "methods", options.method)
        command = _call(client, path, arguments, options)
    if options.output != "table":
        print_document(command, options.output)
    return _judge(command, options)


def _list(known: Json, options: argparse.Namespace) -> int:
    if options.output != "table":
        print_document(known, options.output)
        return Exit.OK
    rows = [
        (
            method["name"],
            _words(method.get("arguments", {})),
            _words(method.get("results", {})),
            method.get("source"),
            method.get("description"),
        )
        for method in known["items"]
    ]
    columns = ("METHOD", "ARGUMENTS", "RESULTS", "SOURCE", "DESCRIPTION")
    print_table(columns, rows, empty=f"{options.device} has no methods")
    if not known.get("complete", True):
        print_line("what the device itself offers is not known: no mapper has connected to it yet")
    return Exit.OK


def _words(schemas: Mapping[str, Json]) -> str:
    """Names with their types; what may be left out is in brackets."""
    words = []
    for name, schema in schemas.items():
        word = f"{name}:{type_word(schema)}"
        words.append(f"[{word}]" if "default" in schema else word)
    return " ".join(words)


def _arguments(known: Json, method: str, given: list[str]) -> dict[str, object]:
    """Read `name=value` words by the types that the method declares."""
    found = next((one for one in known["items"] if one["name"] == method), None)
    if found is None and known.get("complete", True):
        there = ", ".join(one["name"] for one in known["items"]) or "none"
        raise NotFoundError(f"there is no method {method!r}; there is: {there}")
    schemas = found.get("arguments", {}) if found is not None else {}
    arguments: dict[str, object] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise ConfigError(f"{text!r} is no argument; write NAME=VALUE")
        if name in arguments:
            raise ConfigError(f"argument {name!r} is given twice")
        # What is not declared is left to the manager, which says so in its own words.
        arguments[name] = argument_from_text(name, schemas.get(name, {}), value)
    return arguments


def _call(
    client: Client, path: str, arguments: Mapping[str, object], options: argparse.Namespace
) -> Json:
    wait = 0.0 if options.no_wait else options.wait
    until = time.monotonic() + wait
    asked = min(wait, _LONGEST_WAIT)
    params: dict[str, str | int | float] = {"wait": asked}
    if options.deadline is not None:
        params["deadline"] = options.deadline
    # By its key it is one call, however often it is sent.
    headers = {"idempotency-key": secrets.token_hex(16)}
    body = {"arguments": arguments}
    command = _patiently(
        until,
        lambda: client.request(
            "POST", path, params=params, json=body, headers=headers, patience=asked
        ),
    )
    place = object_path("commands", command["id"])
    while command["phase"] not in _FINAL and time.monotonic() < until:
        time.sleep(_LOOK_AGAIN)
        command = _patiently(until, lambda: client.request("GET", place))
    return command


def _patiently(until: float, ask: Callable[[], Json]) -> Json:
    """Ask a manager that has answered before: it may be starting anew."""
    while True:
        try:
            return ask()
        except UnavailableError:
            if time.monotonic() >= until:
                raise
        time.sleep(_LOOK_AGAIN)


def _judge(command: Json, options: argparse.Namespace) -> int:
    """Turn what became of it into lines and an exit code."""
    name, phase = f"{options.device} {options.method}", command["phase"]
    human = options.output == "table"
    if phase == "succeeded":
        if human:
            _print_success(name, command)
        return Exit.OK
    if phase in _FINAL:
        raise _error(command)(f"{name}: {phase}, {command['reason']}: {command['message']}")
    if not options.no_wait:
        raise DeadlineError(
            f"{name}: not ended within {options.wait:g} s (it is {phase}); it goes on as"
            f" command {command['id']}: dmi get command {command['id']}"
        )
    if human:
        print_line(f"{name}: {phase} as command {command['id']}")
    return Exit.OK


def _print_success(name: str, command: Json) -> None:
    if command["message"]:
        print_line(f"{name}: succeeded; {command['message']}")
    elif command["results"]:
        print_fields(command["results"])
    else:
        print_line(f"{name}: succeeded")


def _error(command: Json) -> type[DmiError]:
    """The class whose exit code says best what happened."""
    if command["phase"] == "expired":
        return DeadlineError
    if command["phase"] == "cancelled":
        return ConflictError
    if command["reason"] == "outcome_unknown":
        return UnavailableError
    return error_class(command["reason"]) or RefusedError

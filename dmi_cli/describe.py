"""`dmi describe`: everything about one thing, for people."""

import argparse
from collections.abc import Callable
from typing import Final

from dmi.errors import ConfigError
from dmi_cli.client import Client, Json, object_path
from dmi_cli.exits import Exit
from dmi_cli.names import split_name
from dmi_cli.objects import fetch_commands, fetch_mappers, fetch_twins, twin_row
from dmi_cli.output import age_text, print_fields, print_line, print_table, value_text

__all__ = ["describe"]


def describe(options: argparse.Namespace) -> int:
    """Print all that is known of one device, model, mapper, twin or command.

    Raises:
        DmiError: The manager cannot be reached, or there is no such thing.
    """
    if options.property and options.kind != "twins":
        raise ConfigError("a PROPERTY can be named for twins only")
    with Client(options.server) as client:
        _DESCRIBERS[options.kind](client, options)
    return Exit.OK


def _device(client: Client, options: argparse.Namespace) -> None:
    namespace, name = split_name(options.name, options.namespace)
    device = client.request("GET", object_path("devices", namespace, name))
    twins = fetch_twins(client, name, namespace)
    spec, status = device.get("spec", {}), device.get("status", {})
    protocol = spec.get("protocol", {})
    print_fields(
        {
            "Name": name,
            "Namespace": namespace,
            "Labels": device["metadata"].get("labels", {}),
            "Model": spec.get("deviceModelRef", {}).get("name", ""),
            "Node": spec.get("nodeName", ""),
            "Protocol": protocol.get("protocolName", ""),
            "Settings": protocol.get("configData", {}),
            "State": _since(status),
            "Reason": status.get("reason", ""),
            "Message": status.get("message", ""),
            "Last online": status.get("lastOnlineTime"),
            "Mapper": status.get("mapper", ""),
            "Problem": status.get("problem", ""),
        }
    )
    print_line("Properties:")
    properties = {prop["name"]: prop for prop in spec.get("properties", [])}
    rows = [
        [*_without_owner(twin), *_cycles(properties.get(twin["property"], {}))] for twin in twins
    ]
    names = list(twin_row(twins[0]))[2:] if twins else []
    print_table([*names, "COLLECT", "SETTINGS"], rows, empty="  none")
    for method in spec.get("methods", []):
        print_line(f"Method {method['name']}: writes {', '.join(method.get('propertyNames', []))}")


def _since(status: Json) -> str:
    since = age_text(status.get("since"))
    return f"{status.get('state', 'unknown')}{f' (for {since})' if since else ''}"


def _without_owner(twin: Json) -> list[object]:
    return list(twin_row(twin).values())[2:]


def _cycles(prop: Json) -> tuple[str, str]:
    config = prop.get("visitors", {}).get("configData", {})
    settings = " ".join(f"{name}={value_text(value)}" for name, value in config.items())
    return f"{prop.get('collectCycle', 1000)} ms", settings


def _model(client: Client, options: argparse.Namespace) -> None:
    namespace, name = split_name(options.name, options.namespace)
    model = client.request("GET", object_path("models", namespace, name))
    spec = model.get("spec", {})
    print_fields({"Name": name, "Namespace": namespace, "Protocol": spec.get("protocol", "")})
    if spec.get("protocolConfigData"):
        print_fields({"Default settings": spec["protocolConfigData"]})
    print_line("Properties:")
    columns = ("name", "type", "accessMode", "unit", "minimum", "maximum", "description")
    defaults = {"type": "STRING", "accessMode": "ReadOnly"}
    print_table(
        [name.upper() for name in columns],
        [
            [prop.get(column, defaults.get(column)) for column in columns]
            for prop in spec.get("properties", [])
        ],
        empty="  none",
    )


def _mapper(client: Client, options: argparse.Namespace) -> None:
    for mapper in fetch_mappers(client, options.name):
        seen = age_text(mapper.get("lastSeen"))
        print_fields(
            {
                "Name": mapper["name"],
                "Instance": mapper.get("instance"),
                "Protocol": mapper.get("protocol"),
                "Version": mapper.get("version"),
                "API": mapper.get("api"),
                "Address": mapper.get("address"),
                "Alive": mapper.get("alive"),
                "Last seen": f"{seen} ago" if seen else "",
                "Abilities": ", ".join(mapper.get("abilities", [])),
                "Devices": mapper.get("devices"),
            }
        )


def _twin(client: Client, options: argparse.Namespace) -> None:
    if not options.property:
        raise ConfigError("name the device and the property: dmi describe twin DEVICE PROPERTY")
    (twin,) = fetch_twins(client, options.name, options.namespace, options.property)
    print_fields(
        {
            "Device": f"{twin['namespace']}/{twin['device']}",
            "Property": twin["property"],
            "Type": twin.get("type"),
            "Unit": twin.get("unit"),
            "Access": twin.get("access"),
            "Reported": twin.get("reported") or {},
            "Desired": twin.get("desired") or {},
        }
    )


def _command(client: Client, options: argparse.Namespace) -> None:
    for command in fetch_commands(client, options.name, options.namespace):
        print_fields(
            {
                "Command": command["id"],
                "Device": f"{command['namespace']}/{command['device']}",
                "Method": command["method"],
                "Arguments": command["arguments"],
                "Phase": command["phase"],
                "Reason": command["reason"],
                "Message": command["message"],
                "Results": command["results"],
                "Caller": command["caller"],
                "Mapper": command["mapper"],
                "Created": command["created"],
                "Deadline": command["deadline"],
                "Started": command["started"],
                "Ended": command["ended"],
            }
        )


_DESCRIBERS: Final[dict[str, Callable[[Client, argparse.Namespace], None]]] = {
    "devices": _device,
    "models": _model,
    "mappers": _mapper,
    "twins": _twin,
    "commands": _command,
}

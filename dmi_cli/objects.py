"""`dmi get`: lists of devices, models, mappers, twins and commands."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dmi.errors import ConfigError, NotFoundError
from dmi_cli.client import Client, Json, object_path
from dmi_cli.exits import Exit
from dmi_cli.names import split_name
from dmi_cli.output import age_text, print_document, print_table, value_text

__all__ = ["fetch_commands", "fetch_mappers", "fetch_twins", "get", "twin_row"]

Cell = Callable[[Json], object]


@dataclass(frozen=True, slots=True)
class _View:
    """Columns of one kind; those from `narrow` on are for `-o wide` only."""

    columns: tuple[tuple[str, Cell], ...]
    narrow: int


def _metadata(name: str) -> Cell:
    return lambda item: item["metadata"].get(name, "default" if name == "namespace" else "")


def _spec(name: str) -> Cell:
    return lambda item: item.get("spec", {}).get(name, "")


def _status(name: str) -> Cell:
    return lambda item: item.get("status", {}).get(name, "")


def _side(side: str, name: str) -> Cell:
    return lambda item: value_text((item.get(side) or {}).get(name))


_VIEWS: Final = {
    "devices": _View(
        (
            ("NAMESPACE", _metadata("namespace")),
            ("NAME", _metadata("name")),
            ("MODEL", lambda item: item["spec"].get("deviceModelRef", {}).get("name")),
            ("PROTOCOL", lambda item: item["spec"].get("protocol", {}).get("protocolName")),
            ("STATE", _status("state")),
            ("SINCE", lambda item: age_text(item.get("status", {}).get("since"))),
            ("MAPPER", _status("mapper")),
            ("PROBLEM", _status("problem")),
            ("REASON", _status("reason")),
            ("MESSAGE", _status("message")),
            ("NODE", _spec("nodeName")),
        ),
        8,
    ),
    "models": _View(
        (
            ("NAMESPACE", _metadata("namespace")),
            ("NAME", _metadata("name")),
            ("PROTOCOL", _spec("protocol")),
            ("PROPERTIES", lambda item: len(item.get("spec", {}).get("properties", []))),
            (
                "NAMES",
                lambda item: ",".join(p["name"] for p in item["spec"].get("properties", [])),
            ),
        ),
        4,
    ),
    "mappers": _View(
        (
            ("NAME", lambda item: item["name"]),
            ("INSTANCE", lambda item: item.get("instance")),
            ("PROTOCOL", lambda item: item.get("protocol")),
            ("API", lambda item: item.get("api")),
            ("ALIVE", lambda item: "yes" if item.get("alive") else "gone"),
            ("SEEN", lambda item: age_text(item.get("lastSeen"))),
            ("DEVICES", lambda item: item.get("devices")),
            ("VERSION", lambda item: item.get("version")),
            ("ADDRESS", lambda item: item.get("address")),
            ("ABILITIES", lambda item: ",".join(item.get("abilities", []))),
        ),
        7,
    ),
    "twins": _View(
        (
            ("NAMESPACE", lambda item: item["namespace"]),
            ("DEVICE", lambda item: item["device"]),
            ("PROPERTY", lambda item: item["property"]),
            ("REPORTED", _side("reported", "value")),
            ("UNIT", lambda item: item.get("unit")),
            ("QUALITY", _side("reported", "quality")),
            ("AGE", lambda item: age_text((item.get("reported") or {}).get("time"))),
            ("DESIRED", _side("desired", "value")),
            ("STATUS", _side("desired", "status")),
            ("TYPE", lambda item: item.get("type")),
            ("ACCESS", lambda item: item.get("access")),
            ("REASON", _side("reported", "reason")),
            ("MESSAGE", _side("desired", "message")),
            ("TIME", _side("reported", "time")),
        ),
        9,
    ),
    "commands": _View(
        (
            ("ID", lambda item: item["id"]),
            ("NAMESPACE", lambda item: item["namespace"]),
            ("DEVICE", lambda item: item["device"]),
            ("METHOD", lambda item: item["method"]),
            ("PHASE", lambda item: item["phase"]),
            ("AGE", lambda item: age_text(item["created"])),
            ("REASON", lambda item: item["reason"]),
            ("MESSAGE", lambda item: item["message"]),
            ("ARGUMENTS", lambda item: _values(item["arguments"])),
            ("RESULTS", lambda item: _values(item["results"])),
            ("CALLER", lambda item: item["caller"]),
            ("MAPPER", lambda item: item["mapper"]),
        ),
        7,
    ),
}


def _is_single(options: argparse.Namespace, items: list[Json]) -> bool:
    """Whether the name that was given is that of one item, not of a device that has several."""
    if options.kind == "twins":
        return bool(options.property)
    return options.kind != "commands" or any(item["id"] == options.name for item in items)


def _values(values: Json) -> str:
    return " ".join(f"{name}={value_text(value)}" for name, value in values.items())


def get(options: argparse.Namespace) -> int:
    """Print what was asked for.

    Raises:
        DmiError: The manager cannot be reached, or there is no such thing.
    """
    if options.property and options.kind != "twins":
        raise ConfigError("a PROPERTY can be named for twins only")
    with Client(options.server) as client:
        items = _fetch(client, options)
    if options.output in {"json", "yaml"}:
        single = options.name and _is_single(options, items)
        print_document(items[0] if single else {"items": items}, options.output)
        return Exit.OK
    view = _VIEWS[options.kind]
    columns = view.columns if options.output == "wide" else view.columns[: view.narrow]
    where = f" in namespace {options.namespace}" if options.namespace else ""
    print_table(
        [name for name, _ in columns],
        [[cell(item) for _, cell in columns] for item in items],
        empty=f"no {options.kind}{where}",
    )
    return Exit.OK


def twin_row(twin: Json) -> dict[str, object]:
    """The columns of a twin in `dmi get twins`, by name."""
    view = _VIEWS["twins"]
    return {name: cell(twin) for name, cell in view.columns[: view.narrow]}


def _fetch(client: Client, options: argparse.Namespace) -> list[Json]:
    if options.kind == "mappers":
        return fetch_mappers(client, options.name)
    if options.kind == "twins":
        return fetch_twins(client, options.name, options.namespace, options.property)
    if options.kind == "commands":
        return fetch_commands(client, options.name, options.namespace)
    if options.name:
        path = object_path(options.kind, *split_name(options.name, options.namespace))
        return [client.request("GET", path)]
    # Whoever may see one namespace only must say which.
    wanted = {"namespace": options.namespace} if options.namespace else None
    return client.items(object_path(options.kind), wanted)


def fetch_twins(
    client: Client, device: str | None, namespace: str | None, prop: str | None = None
) -> list[Json]:
    """Twins of everything, of a namespace, of a device, or one alone.

    Raises:
        NotFoundError: There is no such device or property.
    """
    if not device:
        return client.items(object_path("twins"), {"namespace": namespace} if namespace else None)
    path = object_path(
        "devices", *split_name(device, namespace), "twins", *([prop] if prop else [])
    )
    return [client.request("GET", path)] if prop else client.items(path)


def fetch_commands(client: Client, name: str | None, namespace: str | None) -> list[Json]:
    """All commands, those of a device, or the one of an id.

    Raises:
        NotFoundError: There is neither a command nor a device of that name.
    """
    path = object_path("commands")
    if not name:
        return client.items(path, {"namespace": namespace} if namespace else None)
    if "/" not in name:
        try:
            return [client.request("GET", object_path("commands", name))]
        except NotFoundError:
            pass  # the name of a device, then
    owner, device = split_name(name, namespace)
    found = client.items(path, {"namespace": owner, "device": device})
    if not found:
        client.request("GET", object_path("devices", owner, device))
    return found


def fetch_mappers(client: Client, name: str | None) -> list[Json]:
    """All mappers, or those called `NAME` or `NAME/INSTANCE`.

    Raises:
        NotFoundError: There is none of that name.
    """
    items = client.items(object_path("mappers"))
    if not name:
        return items
    found = [m for m in items if name in {m["name"], f"{m['name']}/{m.get('instance')}"}]
    if not found:
        raise NotFoundError(f"there is no mapper {name}")
    return found

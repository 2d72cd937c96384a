"""`dmi apply` and `dmi delete`: what somebody wrote in files, given to the manager."""

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Final

from dmi.errors import ConfigError, NotFoundError
from dmi.manifests import Fault, Manifest
from dmi.rest.problem import from_problem
from dmi_cli.client import Client, Json, object_path
from dmi_cli.exits import Exit
from dmi_cli.names import split_name
from dmi_cli.output import print_document, print_line
from dmi_cli.sources import read_sources

__all__ = ["apply", "delete"]

_ITEM: Final = re.compile(r"items\[(\d+)\]\.?(.*)")
_COLLECTIONS: Final = {"Device": "devices", "DeviceModel": "models"}
_UNPROCESSABLE: Final = 422
_PORTION: Final = 500
"""Objects in one request: the manager limits how long a body may be."""
_DELETABLE: Final = ("devices", "models", "commands")
_ALL_DELETABLE: Final = "devices, models and commands"


def apply(options: argparse.Namespace) -> int:
    """Apply every object that is right; tell every mistake; refused when there was one.

    Raises:
        DmiError: There is nothing to apply, the manager cannot be reached or refuses all.
    """
    manifests, mistakes = read_sources(options.file)
    complaints = [str(mistake) for mistake in mistakes]
    for manifest in manifests:
        if manifest.kind not in _COLLECTIONS:
            fault = Fault(("kind",), f"a {manifest.kind} cannot be applied, only reported")
            complaints.append(str(manifest.mistake(fault)))
    # Models go first: then no device is ever seen without its own.
    wanted = [one for one in manifests if one.kind == "DeviceModel"]
    wanted += [one for one in manifests if one.kind == "Device"]
    if not wanted and not complaints:
        raise ConfigError(f"no Device or DeviceModel in {', '.join(options.file)}")
    applied: list[Json] = []
    with Client(options.server) as client:
        for start in range(0, len(wanted), _PORTION):
            portion = wanted[start : start + _PORTION]
            answer = _send(client, portion)
            found = answer.get("applied", [])
            complaints += [_placed(mistake, portion) for mistake in answer.get("mistakes", [])]
            applied += found
            if options.output == "table":
                _print(found)
    if options.output != "table":
        print_document({"applied": applied, "mistakes": complaints}, options.output)
    for complaint in complaints:
        sys.stderr.write(f"{complaint}\n")
    return Exit.REFUSED if complaints else Exit.OK


def _send(client: Client, portion: Sequence[Manifest]) -> Json:
    items = [manifest.object.to_json() for manifest in portion]
    body = {"apiVersion": "v1", "kind": "List", "items": items}
    answer = client.request(
        "POST", object_path("apply"), json=body, patience=20.0, also=(_UNPROCESSABLE,)
    )
    if "applied" not in answer:
        raise from_problem(_UNPROCESSABLE, answer)
    return answer


def _print(applied: Sequence[Json]) -> None:
    for entry in applied:
        print_line(f"{entry['kind']} {entry['namespace']}/{entry['name']} {entry['result']}")


def _placed(mistake: Json | str, sent: Sequence[Manifest]) -> str:
    """A mistake that the manager found, with the file that we sent it from."""
    if isinstance(mistake, str):
        return mistake
    path, problem = str(mistake.get("path", "")), str(mistake.get("problem", ""))
    hint = f" ({mistake['hint']})" if mistake.get("hint") else ""
    found = _ITEM.fullmatch(path)
    if found is None or int(found[1]) >= len(sent):
        return f"{path}: {problem}{hint}" if path else f"{problem}{hint}"
    manifest = sent[int(found[1])]
    place = f"{manifest.file}: document {manifest.document}, line {manifest.line}"
    return f"{place}, {found[2]}: {problem}{hint}" if found[2] else f"{place}: {problem}{hint}"


def delete(options: argparse.Namespace) -> int:
    """Delete what is named, or what files describe: devices before models.

    A command is taken back, which is possible until it begins.

    Raises:
        DmiError: Nothing is named; the manager cannot be reached or refused; something that
            is named is not there.
    """
    targets = _targets(options)
    missing: list[str] = []
    with Client(options.server) as client:
        for collection, namespace, name in targets:
            whole = (namespace, name) if namespace else (name,)
            what = f"{collection.removesuffix('s')} {'/'.join(whole)}"
            try:
                answer = client.request("DELETE", object_path(collection, *whole), patience=10.0)
            except NotFoundError:
                missing.append(what)
            else:
                print_line(f"{what} {answer.get('phase', 'deleted')}")
    if missing and not options.ignore_missing:
        raise NotFoundError(f"not there: {', '.join(missing)}")
    return Exit.OK


def _targets(options: argparse.Namespace) -> list[tuple[str, str, str]]:
    targets: list[tuple[str, str, str]] = []
    if options.kind is not None:
        if options.kind not in _DELETABLE:
            raise ConfigError(f"{options.kind} cannot be deleted; only {_ALL_DELETABLE} can")
        if not options.names:
            raise ConfigError(f"name the {options.kind} to delete")
        names = [
            ("", name) if options.kind == "commands" else split_name(name, options.namespace)
            for name in options.names
        ]
        targets += [(options.kind, *name) for name in names]
    if options.file:
        manifests, mistakes = read_sources(options.file)
        for mistake in mistakes:
            sys.stderr.write(f"{mistake}\n")
        targets += [
            (_COLLECTIONS[manifest.kind], *manifest.key)
            for manifest in manifests
            if manifest.kind in _COLLECTIONS
        ]
    if not targets:
        raise ConfigError("say what to delete: a kind and names, or -f FILE")
    return sorted(targets, key=lambda target: target[0] == "models")

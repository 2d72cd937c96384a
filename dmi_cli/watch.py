"""`dmi watch`: changes as they happen, over broken connections."""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from dmi.errors import UnavailableError
from dmi_cli.client import Client, Json, object_path
from dmi_cli.exits import Exit
from dmi_cli.names import split_name
from dmi_cli.output import counted, print_json_line, print_line, value_text

__all__ = ["Change", "changes", "parse_events", "watch"]

_FIRST_WAIT: Final = 0.2
_LONGEST_WAIT: Final = 5.0
_SILENCE: Final = 60.0


@dataclass(slots=True)
class Change:
    """One server-sent event.

    Attributes:
        id: To resume after it; empty when it has none.
        event: twin, desired, state, device, model, mapper, upstream, proposal, or gap.
        data: Its JSON.
    """

    id: str = ""
    event: str = "message"
    data: Json = field(default_factory=dict)


def parse_events(lines: Iterator[str]) -> Iterator[Change]:
    """Read server-sent events; comments and unfinished events are left out.

    Source:
        HTML Living Standard, section 9.2.6, interpreting an event stream.
    """
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            joined = name == "data" and "data" in fields
            fields[name] = f"{fields['data']}\n{value}" if joined else value
        elif "data" in fields:
            yield Change(
                fields.get("id", ""), fields.get("event", "message"), _json(fields["data"])
            )
            fields = {}
        else:
            fields = {}


def _json(text: str) -> Json:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise UnavailableError(f"the stream of changes is not JSON: {error}") from error
    return found if isinstance(found, dict) else {"value": found}


def changes(
    client: Client, params: Mapping[str, str], since: str, deadline: float | None
) -> Iterator[Change]:
    """Every change after `since`, reconnecting for as long as it takes.

    Args:
        client: Where to ask.
        params: What to leave out: `types`, `namespace`.
        since: Id of the last event that was seen; empty for only what comes.
        deadline: Moment on the monotonic clock to end at.

    Raises:
        UnavailableError: The manager could not be reached even once.
        DmiError: It refused.
    """
    last, wait, connected = since, _FIRST_WAIT, False
    while deadline is None or time.monotonic() < deadline:
        try:
            silence = _remaining(deadline, _SILENCE)
            with client.lines(object_path("changes"), params, last, silence) as lines:
                connected = True
                for change in parse_events(_until(lines, deadline)):
                    wait = _FIRST_WAIT
                    last = change.id or last
                    yield change
        except UnavailableError as error:
            if deadline is not None and time.monotonic() >= deadline:
                return
            if not connected:
                raise
            sys.stderr.write(f"dmi: {error}; trying again\n")
        time.sleep(_remaining(deadline, wait))
        wait = min(2 * wait, _LONGEST_WAIT)


def _until(lines: Iterator[str], deadline: float | None) -> Iterator[str]:
    for line in lines:
        yield line
        if deadline is not None and time.monotonic() >= deadline:
            return


def _remaining(deadline: float | None, most: float) -> float:
    """Seconds until the deadline, within bounds that a timeout may have."""
    if deadline is None:
        return most
    return max(0.001, min(most, deadline - time.monotonic()))


def watch(options: argparse.Namespace) -> int:
    """Print changes until enough were seen, time is over, or Ctrl-C.

    Raises:
        DmiError: The manager could not be reached even once, or refused.
    """
    wanted = {split_name(name, options.namespace) for name in options.names}
    deadline = time.monotonic() + options.seconds if options.seconds is not None else None
    left = options.count
    params = {"types": ",".join(options.kind)} if options.kind else {}
    namespaces = {namespace for namespace, _ in wanted} or {options.namespace}
    if len(namespaces) == 1 and (namespace := namespaces.pop()):
        # Whoever may see one namespace only must say which.
        params["namespace"] = namespace
    with Client(options.server) as client:
        for change in changes(client, params, options.since or "", deadline):
            if not _is_wanted(change, options, wanted):
                continue
            if options.output == "json":
                print_json_line({"id": change.id, "event": change.event, "data": change.data})
            else:
                print_line(_words(change))
                sys.stdout.flush()
            if left is not None:
                left -= 1
                if left <= 0:
                    break
    return Exit.OK


def _is_wanted(change: Change, options: argparse.Namespace, wanted: set[tuple[str, str]]) -> bool:
    """A gap always is: it says that what is wanted may be missing."""
    if change.event == "gap":
        return True
    if options.kind and change.event not in options.kind:
        return False
    namespace, device = _owner(change.data)
    if wanted:
        return (namespace, device) in wanted
    return options.namespace in {None, namespace}


def _owner(data: Json) -> tuple[str, str]:
    """Namespace and name of the object that a change concerns."""
    name = data.get("device") or data.get("name") or data.get("origin") or ""
    return str(data.get("namespace") or ""), str(name)


def _words(change: Change) -> str:
    data = change.data
    namespace, name = _owner(data)
    owner = f"{namespace}/{name}" if namespace else name
    clock = time.strftime("%H:%M:%S")
    if change.event == "gap":
        missed = data.get("missed")
        if missed is None:
            return f"{clock} gap      an unknown number of changes is missing here"
        verb = "is" if missed == 1 else "are"
        return f"{clock} gap      {counted(missed, 'change')} {verb} missing here"
    return f"{clock} {change.event:<8} {owner} {_detail(change.event, data)}".rstrip()


def _detail(event: str, data: Json) -> str:
    if event in {"twin", "desired"}:
        return f"{data.get('property', '')} {_sides(data)}"
    if event == "state":
        reason = ": ".join(str(data[k]) for k in ("reason", "message") if data.get(k))
        return f"{data.get('state', '')}{f' ({reason})' if reason else ''}"
    if event == "mapper":
        return f"{data.get('instance', '')} {'is there' if data.get('alive') else 'is gone'}"
    if event == "upstream":
        return "; ".join(data.get("errors") or []) or "has no mistakes any more"
    if event == "proposal":
        return f"{(data.get('object') or {}).get('kind', '')} found by {data.get('mapper', '')}"
    if event == "command":
        why = f" ({data['reason']}: {data.get('message', '')})" if data.get("reason") else ""
        return f"{data.get('method', '')} {data.get('phase', '')}{why}"
    if event in {"device", "model"}:
        problem = data.get("problem")
        return "deleted" if data.get("deleted") else f"applied{f': {problem}' if problem else ''}"
    return ""


def _sides(twin: Json) -> str:
    unit = f" {twin['unit']}" if twin.get("unit") else ""
    words = []
    if reported := twin.get("reported"):
        quality = reported.get("quality", "good")
        shown = "?" if reported.get("value") is None else value_text(reported["value"])
        words.append(f"= {shown}{unit}")
        if quality != "good":
            words.append(f"({quality}: {reported.get('reason', '')})")
    if desired := twin.get("desired"):
        words.append(f"desired {value_text(desired.get('value'))} {desired.get('status', '')}")
    return " ".join(words)

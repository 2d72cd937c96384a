"""How the demo shows itself: a live table on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dmi_cli.demo.snapshot import Snapshot, Twin

__all__ = ["View"]

_COLOURS = {"good": "green", "uncertain": "yellow", "bad": "red"}
_STATES = {"online": "green", "offline": "red", "unhealthy": "red", "unknown": "yellow"}
_MARKS = {True: "[green]✓[/]", False: "[red]✗[/]", None: "[cyan]…[/]"}


class View:
    """Everything that the demo says to a person; nothing of it goes to stdout in JSON mode."""

    def __init__(self, *, live: bool, latest: Callable[[], Snapshot]) -> None:
        self._console = Console(stderr=not live, highlight=False)
        self._live = live
        self._latest = latest
        self._steps: list[tuple[str, bool | None, str]] = []
        self._notes: list[str] = []

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Keep the table fresh on a terminal for the length of the block."""
        if not self._live:
            yield
            return
        with Live(get_renderable=self.render, console=self._console, refresh_per_second=4):
            yield

    def begin(self, title: str) -> None:
        """A step begins."""
        self._steps.append((title, None, ""))
        self._say(f"… {title}")

    def end(self, *, held: bool, detail: str) -> None:
        """The latest step ended."""
        title = self._steps[-1][0]
        self._steps[-1] = (title, held, detail)
        self._say(f"{'✓' if held else '✗'} {title}: {detail}")

    def note(self, text: str) -> None:
        """Something for the reader to keep, such as an address."""
        self._notes.append(text)
        self._say(text)

    def _say(self, text: str) -> None:
        if not self._live:
            self._console.print(text, markup=False, soft_wrap=True)

    def render(self) -> Group:
        """Table, steps and notes, as they are now."""
        steps = [
            Text.from_markup(f"{_MARKS[held]} {title}  [dim]{detail}[/]")
            for title, held, detail in self._steps
        ]
        notes = [Text(note, style="dim", no_wrap=True, overflow="ellipsis") for note in self._notes]
        return Group(_table(self._latest()), *steps, *notes)


def _table(snapshot: Snapshot) -> Table:
    table = Table(title="twins", title_justify="left", expand=False)
    for column in ("device", "state", "property", "desired", "reported", "quality"):
        table.add_column(column, no_wrap=True)
    table.add_column("age", justify="right", no_wrap=True)
    last = ""
    for twin in snapshot.twins.values():
        device = str(twin["device"])
        state = str(snapshot.devices.get(device, {}).get("state", "unknown"))
        first = device != last
        table.add_row(
            device if first else "",
            Text(state, style=_STATES.get(state, "")) if first else "",
            twin["property"],
            _desired(twin),
            *_reported(twin),
        )
        last = device
    return table


def _desired(twin: Twin) -> str:
    wish = twin["desired"]
    return "" if wish is None else f"{_text(wish['value'])} ({wish['status']})"


def _reported(twin: Twin) -> tuple[str, Text, Text]:
    reported = twin["reported"]
    if reported is None:
        return ("-", Text("none", style="dim"), Text("-"))
    unit = twin.get("unit") or ""
    age = time.time() - datetime.fromisoformat(reported["time"]).timestamp()
    return (
        f"{_text(reported['value'])} {unit}".strip(),
        Text(reported["quality"], style=_COLOURS.get(reported["quality"], "")),
        Text(f"{max(age, 0):.1f} s"),
    )


def _text(value: Any) -> str:  # noqa: ANN401 - JSON
    return f"{value:.5g}" if isinstance(value, float) else str(value)

"""How results are printed: tables on a terminal, plain aligned columns in a pipe, YAML, JSON."""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

__all__ = [
    "age_text",
    "counted",
    "is_terminal",
    "print_document",
    "print_fields",
    "print_json_line",
    "print_line",
    "print_table",
    "value_text",
]

_STYLES: Final = {
    "online": "green",
    "ok": "green",
    "good": "green",
    "confirmed": "green",
    "alive": "green",
    "yes": "green",
    "offline": "red",
    "bad": "red",
    "failed": "red",
    "rejected": "red",
    "gone": "red",
    "unhealthy": "yellow",
    "uncertain": "yellow",
    "pending": "yellow",
    "written": "yellow",
    "warning": "yellow",
}


def is_terminal() -> bool:
    """Whether a person looks at stdout."""
    return sys.stdout.isatty()


def print_line(text: str) -> None:
    """Print one line of a result."""
    sys.stdout.write(f"{text}\n")


def print_json_line(document: object) -> None:
    """Print JSON on one line at once, for streams."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def print_document(document: object, form: str) -> None:
    """Print a whole answer as `json` or `yaml`."""
    if form == "json":
        print_line(json.dumps(document, ensure_ascii=False, indent=2))
        return
    import yaml

    sys.stdout.write(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str = "nothing found"
) -> None:
    """Print rows under headings; without rows, say `empty` on stderr."""
    if not rows:
        sys.stderr.write(f"{empty}\n")
        return
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if is_terminal():
        _print_rich(columns, cells)
    else:
        _print_plain([list(columns), *cells])


def _print_plain(rows: Sequence[Sequence[str]]) -> None:
    """Columns with two spaces between, no cell ever empty or broken: made for awk and diff."""
    shown = [[" ".join(cell.split()) or "-" for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*shown, strict=True)]
    for row in shown:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print_line(line.rstrip())


def _print_rich(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell or "-", style=_STYLES.get(cell, "")) for cell in row))
    Console(no_color="NO_COLOR" in os.environ, highlight=False).print(table)


def print_fields(fields: Mapping[str, object], indent: int = 0) -> None:
    """Print `Name:  value` lines, aligned; nested mappings are indented."""
    width = max((len(name) for name in fields), default=0) + 1
    for name, value in fields.items():
        head = f"{' ' * indent}{name}:"
        if isinstance(value, Mapping):
            print_line(head if value else f"{head:<{width + indent}}  -")
            print_fields(value, indent + 2)
        else:
            shown = value_text(value)
            print_line(f"{head:<{width + indent}}  {'-' if shown == '' else shown}")


def value_text(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Spell a JSON value for people."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def age_text(moment: str | None, now: Callable[[], datetime] | None = None) -> str:
    """How long ago an RFC 3339 time was: `3s`, `5m`, `2h`, `4d`; empty for never."""
    if not moment:
        return ""
    try:
        then = datetime.fromisoformat(moment)
    except ValueError:
        return moment
    seconds = ((now() if now else datetime.now(UTC)) - then).total_seconds()
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds // length)}{unit}"
    return f"{max(0, round(seconds))}s"


def counted(number: int, thing: str) -> str:
    """Say how many there are: 0 devices, 1 device, 2 devices."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"

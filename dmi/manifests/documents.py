"""YAML and JSON text as plain data that remembers its lines, safe against hostile input.

Built on the parser's events instead of PyYAML's loaders: those lose line numbers, let a repeated
key win silently, follow alias bombs, and read `10:20:30:40:50:55` as a number.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from dmi.mistakes import Mistake, YamlPath, path_text

__all__ = ["MAX_BYTES", "Document", "Plain", "split_documents"]

Plain = dict[str, "Plain"] | list["Plain"] | str | int | float | bool | None

MAX_BYTES: Final = 16 * 1024 * 1024
"""Longest text that is read."""
MAX_NODES: Final = 1_000_000
"""Most values in one document, each use of an alias counted in full."""
MAX_DEPTH: Final = 64

_BOOLEANS: Final = {
    spelling: value
    for value, words in ((True, ("true", "yes", "on")), (False, ("false", "no", "off")))
    for word in words
    for spelling in (word, word.title(), word.upper())
}
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_DECIMAL: Final = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
_BASED: Final = re.compile(r"[-+]?(0x[0-9a-fA-F_]+|0b[01_]+|0o?[0-7_]+)")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?")
_ENDLESS: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_SCALAR_TAGS: Final = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("int", "float", "bool", "null")
)
_MOST_DIGITS: Final = 1000
"""Of a whole number in JSON; Python itself refuses to read more than a few thousand."""
_PARSER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)
class Document:
    """One document of a file.

    Attributes:
        file: Name of the file.
        index: Position in the file, from 1.
        data: What it says.
        lines: Line in the file, from 1, by path; values that came by alias have none.
    """

    file: str
    index: int
    data: Plain = None
    lines: dict[YamlPath, int] = field(default_factory=dict)

    def line(self, path: YamlPath) -> int:
        """Line of `path`, or of the nearest thing around it that has one."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)

    def mistake(self, path: YamlPath, problem: str, hint: str = "") -> Mistake:
        """Word a mistake at `path` of this document."""
        return Mistake(self.file, self.index, self.line(path), path_text(path), problem, hint)


class _Unreadable(Exception):
    def __init__(self, line: int, problem: str, hint: str = "") -> None:
        super().__init__(problem)
        self.line, self.problem, self.hint = line, problem, hint


def split_documents(text: str, file: str) -> tuple[list[Document], list[Mistake]]:
    """Read every document that can be read; each one that cannot yields mistakes instead.

    Args:
        text: YAML (several documents) or JSON.
        file: Name to put in mistakes.

    Returns:
        The readable documents, empty ones left out, and the mistakes.
    """
    if len(text) > MAX_BYTES:
        problem = f"longer than {MAX_BYTES // 1024 // 1024} MiB"
        return [], [Mistake(file, 0, 0, "", problem, "split it into several files")]
    documents: list[Document] = []
    mistakes: list[Mistake] = []
    for index, (offset, part) in enumerate(_parts(text), start=1):
        document = Document(file, index)
        try:
            faults = _Builder(document, offset).build(part)
        except _Unreadable as error:
            mistakes.append(Mistake(file, index, error.line, "", error.problem, error.hint))
            continue
        mistakes += faults
        if not faults and document.data is not None:
            documents.append(document)
    return documents, mistakes


def _parts(text: str) -> Iterator[tuple[int, str]]:
    """Cut at the document markers, so that one broken document leaves the others readable."""
    lines = text.removeprefix("\ufeff").splitlines(keepends=True)
    start = 0
    for number, line in enumerate([*lines, "---"]):
        if line.startswith("---") and (len(line) == 3 or line[3].isspace()):
            part = lines[start:number]
            if any(_says_something(one) for one in part):
                yield start, "".join(part)
            start = number


def _says_something(line: str) -> bool:
    line = line.strip()
    return line not in {"", "---", "..."} and line[0] not in "#%"


class _Builder:
    """Turns one document's events into data, refusing what is dangerous or ambiguous."""

    def __init__(self, document: Document, offset: int) -> None:
        self._document = document
        self._offset = offset
        self._anchors: dict[str, tuple[Plain, int]] = {}
        self._nodes = 0
        self._faults: list[Mistake] = []
        self._events: Iterator[Event] = iter(())

    def build(self, text: str) -> list[Mistake]:
        try:
            self._events = yaml.parse(text, Loader=_PARSER)
            starts = 0
            for event in self._events:
                if isinstance(event, DocumentStartEvent):
                    starts += 1
                    if starts > 1:
                        raise _Unreadable(self._line(event), "a document without '---' before it")
                    self._document.data = self._value(next(self._events), ())
        except yaml.MarkedYAMLError as error:
            if text.lstrip()[:1] in {"{", "["}:
                return self._build_json(text)
            raise _Unreadable(*self._syntax(error)) from None
        except yaml.YAMLError as error:
            raise _Unreadable(self._offset + 1, f"not YAML: {error}".replace("\n", " ")) from None
        return self._faults

    def _build_json(self, text: str) -> list[Mistake]:
        """For JSON that the YAML parser does not take: tabs, surrogate pairs."""

        def pairs(items: list[tuple[str, Plain]]) -> dict[str, Plain]:
            found = dict(items)
            if len(found) < len(items):
                names = [name for name, _ in items]
                twice = next(name for name in names if names.count(name) > 1)
                raise _Unreadable(0, f"key {twice!r} is given twice in one object")
            return found

        def constant(word: str) -> Plain:
            raise _Unreadable(0, f"{word} is not JSON")

        def whole(word: str) -> int:
            digits = word.removeprefix("-")
            if len(digits) > _MOST_DIGITS:
                problem = f"a whole number of {len(digits)} digits is too big for JSON"
                raise _Unreadable(0, problem)
            return int(word)

        try:
            self._document.data = json.loads(
                text, object_pairs_hook=pairs, parse_constant=constant, parse_int=whole
            )
        except json.JSONDecodeError as error:
            problem = f"neither YAML nor JSON: {error.msg}"
            raise _Unreadable(self._offset + error.lineno, problem) from None
        except RecursionError:
            raise _Unreadable(0, f"nested deeper than {MAX_DEPTH} levels") from None
        self._document.lines[()] = self._offset + 1
        return []

    def _syntax(self, error: yaml.MarkedYAMLError) -> tuple[int, str, str]:
        mark = error.problem_mark or error.context_mark
        line = self._offset + (mark.line if mark else 0) + 1
        problem = f"not YAML: {error.problem or error}".replace("\n", " ")
        hint = "YAML is indented with spaces" if "\\t" in problem or "'\t'" in problem else ""
        if error.context_mark and mark and error.context_mark.line != mark.line:
            problem += f", {error.context or 'in what starts'}"
            problem += f" of line {self._offset + error.context_mark.line + 1}"
        return line, problem, hint

    def _line(self, event: Event) -> int:
        mark = event.start_mark
        return self._offset + (mark.line if mark is not None else 0) + 1

    def _value(self, event: Event, path: YamlPath) -> Plain:
        self._count(1, event)
        if isinstance(event, AliasEvent):
            return self._alias(event)
        self._document.lines.setdefault(path, self._line(event))
        before = self._nodes
        if len(path) > MAX_DEPTH:
            raise _Unreadable(self._line(event), f"nested deeper than {MAX_DEPTH} levels")
        value: Plain
        if isinstance(event, ScalarEvent):
            value = self._scalar(event, path)
        elif isinstance(event, SequenceStartEvent):
            value = []
            while not isinstance(item := next(self._events), SequenceEndEvent):
                value.append(self._value(item, (*path, len(value))))
        elif isinstance(event, MappingStartEvent):
            value = self._mapping(path)
        else:
            raise _Unreadable(self._line(event), f"unexpected {event}")
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, self._nodes - before + 1)
        return value

    def _count(self, nodes: int, event: Event) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise _Unreadable(
                self._line(event),
                f"more than {MAX_NODES:,} values in one document",
                "aliases are counted as often as they are used",
            )

    def _alias(self, event: AliasEvent) -> Plain:
        if event.anchor not in self._anchors:
            problem = f"alias *{event.anchor} stands before or inside what it names"
            raise _Unreadable(self._line(event), problem)
        value, nodes = self._anchors[event.anchor]
        self._count(nodes, event)
        return value

    def _mapping(self, path: YamlPath) -> dict[str, Plain]:
        own: dict[str, Plain] = {}
        inherited: dict[str, Plain] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            if isinstance(event, ScalarEvent) and event.value == "<<" and event.implicit[0]:
                self._inherit(event, path, inherited)
                continue
            key = self._key(event)
            if key in own:
                self._document.lines[*path, key] = self._line(event)
                self._fault((*path, key), "this key is given twice", "remove one of the two")
                self._value(next(self._events), (*path, key))
                continue
            self._document.lines[*path, key] = self._line(event)
            own[key] = self._value(next(self._events), (*path, key))
        return {**inherited, **own}

    def _inherit(self, event: Event, path: YamlPath, inherited: dict[str, Plain]) -> None:
        """Take over the keys of `<<: *base` or `<<: [*first, *second]`; earlier ones win."""
        value = self._value(next(self._events), (*path, "<<"))
        for base in value if isinstance(value, list) else [value]:
            if not isinstance(base, dict):
                raise _Unreadable(self._line(event), "'<<' needs an alias of a block of fields")
            for key, inner in base.items():
                inherited.setdefault(key, inner)

    def _key(self, event: Event) -> str:
        if not isinstance(event, ScalarEvent):
            raise _Unreadable(self._line(event), "a key must be plain text")
        value = self._scalar(event, ())
        if isinstance(value, str):
            return value
        if isinstance(value, bool) or not isinstance(value, int):
            problem = f"key {event.value!r} is not read as text"
            raise _Unreadable(self._line(event), problem, f'put it in quotes: "{event.value}"')
        return event.value

    def _scalar(self, event: ScalarEvent, path: YamlPath) -> Plain:
        text, tag = event.value, event.tag
        plain = event.implicit[0] and not tag
        if not plain and tag not in _SCALAR_TAGS:
            if tag not in {None, "!", "tag:yaml.org,2002:str"}:
                raise _Unreadable(self._line(event), f"tag {tag} is not allowed")
            return text
        if _ENDLESS.fullmatch(text):
            self._fault(
                path, f"{text} is not a number that JSON knows", f'text needs quotes: "{text}"'
            )
        value = _plain_scalar(text)
        if _is_too_big(value):
            self._fault(path, f"{text[:40]} is too big for JSON", "use fewer digits, or quotes")
        return value

    def _fault(self, path: YamlPath, problem: str, hint: str) -> None:
        self._faults.append(self._document.mistake(path, problem, hint))


def _is_too_big(value: Plain) -> bool:
    """Whether a number lies outside 64 bits: nothing that JSON travels through would keep it."""
    if isinstance(value, int):
        return not -(2**63) <= value < 2**64
    return isinstance(value, float) and math.isinf(value)


def _plain_scalar(text: str) -> Plain:
    """Read an unquoted scalar as Kubernetes does (YAML 1.1 words, without its base-60 numbers)."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if text[0] not in "+-.0123456789" or len(text) > 400:
        return text
    if _DECIMAL.fullmatch(text):
        return int(text.replace("_", ""))
    if _BASED.fullmatch(text):
        digits = text.replace("_", "").lower()
        octal = re.fullmatch(r"([-+]?)0([0-7]+)", digits)
        return int(f"{octal[1]}0o{octal[2]}" if octal else digits, 0)
    if _FLOAT.fullmatch(text):
        return float(text.replace("_", ""))
    return text

"""Label selectors as Kubernetes writes them."""

import re
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from dmi.errors import ConfigError

__all__ = ["Selector", "parse_selector"]

Selector: TypeAlias = Callable[[Mapping[str, object]], bool]
"""Says whether labels are among those that are meant."""

_KEY: Final = r"(?:[\w.-]{1,253}/)?\w(?:[\w.-]{0,61}\w)?"
_VALUE: Final = r"(?:\w(?:[\w.-]{0,61}\w)?)?"
_COMPARED: Final = re.compile(rf"({_KEY})\s*(==|=|!=)\s*({_VALUE})", re.ASCII)
_AMONG: Final = re.compile(
    rf"({_KEY})\s+(in|notin)\s*\(\s*({_VALUE}(?:\s*,\s*{_VALUE})*)\s*\)", re.ASCII
)
_THERE: Final = re.compile(rf"(!?)\s*({_KEY})", re.ASCII)
_COMMA: Final = re.compile(r",(?![^()]*\))")


def parse_selector(text: str) -> Selector:
    """Understand requirements with commas between them: all of them must hold.

    `k=v`, `k==v`, `k!=v`, `k in (a,b)`, `k notin (a,b)`, `k` (is there) and `!k`. As in
    Kubernetes, `!=` and `notin` also hold where there is no such label.

    Raises:
        ConfigError: It is not of that form.

    Source:
        Kubernetes, Labels and Selectors; `k8s.io/apimachinery/pkg/labels`.
    """
    requirements = [_requirement(part.strip()) for part in _COMMA.split(text)]

    def select(labels: Mapping[str, object]) -> bool:
        return all(holds(labels) for holds in requirements)

    return select


def _requirement(text: str) -> Selector:
    if found := _COMPARED.fullmatch(text):
        key, operator, value = found.groups()
        return _one_of(key, frozenset({value}), wanted=operator != "!=")
    if found := _AMONG.fullmatch(text):
        key, operator, values = found.groups()
        members = frozenset(value.strip() for value in values.split(","))
        return _one_of(key, members, wanted=operator == "in")
    if found := _THERE.fullmatch(text):
        absent, key = found.groups()
        return (lambda labels: key not in labels) if absent else (lambda labels: key in labels)
    raise ConfigError(f"label selector: {text!r} is not understood; write k=v, k!=v, k in (a,b), k")


def _one_of(key: str, values: frozenset[str], *, wanted: bool) -> Selector:
    def holds(labels: Mapping[str, object]) -> bool:
        value = labels.get(key)
        return (value is not None and str(value) in values) is wanted

    return holds

"""Tables of settings for the manuals, made from the models that read them."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

__all__ = ["render", "settings_table"]


def settings_table(model: type[BaseModel]) -> str:
    """The settings that a model reads, as a Markdown table; without units where none has one."""
    schema = model.model_json_schema(by_alias=True)
    has_units = any("unit" in entry for entry in schema["properties"].values())
    rows: list[tuple[str, ...]] = [("setting", "type", "unit", "default", "allowed", "meaning")]
    for info in model.model_fields.values():
        entry = schema["properties"][info.alias]
        value = _value_schema(entry, schema.get("$defs", {}))
        given = info.get_default(call_default_factory=True, validated_data={})
        default = _default(given)
        cells = (
            f"`{info.alias}`",
            value["type"],
            entry.get("unit", ""),
            "required" if info.is_required() else default and f"`{default}`",
            _allowed(value),
            info.description,
        )
        rows.append(tuple(str(cell) for cell in cells))
    if not has_units:
        rows = [(*row[:2], *row[3:]) for row in rows]
    head, *lines = (f"| {' | '.join(row)} |\n" for row in rows)
    return "".join([head, "|" + "---|" * len(rows[0]) + "\n", *lines])


def _default(given: object) -> str:
    """Word a default; blocks of further settings have a table of their own."""
    if given is None or isinstance(given, (BaseModel, dict, tuple, list)):
        return ""
    return given.value if isinstance(given, StrEnum) else str(given).lower()


def _value_schema(entry: dict[str, Any], named: dict[str, Any]) -> dict[str, Any]:
    """What a setting may be when it is given: without `null`, and names looked up."""
    value = entry
    if "anyOf" in value:
        value = next(choice for choice in value["anyOf"] if choice.get("type") != "null")
    return dict(named[value["$ref"].rpartition("/")[2]]) if "$ref" in value else value


def _allowed(value: dict[str, Any]) -> str:
    if "enum" in value:
        return ", ".join(f"`{word}`" for word in value["enum"])
    low = value.get("minimum", value.get("exclusiveMinimum"))
    high = value.get("maximum")
    if low is None and high is None:
        return ""
    word = "above " if "exclusiveMinimum" in value else ""
    if high is None:
        return f"{word or 'from '}{low}"
    return f"{word}{low} to {high}"


def render(document: str, models: Mapping[str, type[BaseModel]]) -> str:
    """Put a table for each model into a page, between its two marks.

    Args:
        document: The page, with `<!-- NAME settings -->` and `<!-- end -->` for each model.
        models: Name to model.
    """
    for name, model in models.items():
        start, end = f"<!-- {name} settings -->\n", "<!-- end -->\n"
        before, _, rest = document.partition(start)
        _, _, after = rest.partition(end)
        document = before + start + settings_table(model) + end + after
    return document

"""What readings look like as JSON and as text, and how places are named after their source."""

import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

import orjson

from dmi.clock import time_text
from dmi.errors import ConversionError
from dmi.readings import QUALITIES, Quality, Reading
from dmi.values import format_value, json_value
from mapper_sdk.delivery.sink import Source

__all__ = [
    "NOT_IN_MQTT",
    "Template",
    "check_json",
    "checked_template",
    "device_json",
    "kubeedge_text",
    "kubeedge_time",
    "reading_json",
    "reading_object",
    "topic_level",
    "url_segment",
]

Json = dict[str, Any]


def check_json(source: Source, reading: Reading) -> None:
    """Let a reading pass that JSON can hold.

    Raises:
        ConversionError: It cannot (NaN, infinity).
    """
    value = reading.value
    if type(value) is float and not math.isfinite(value):
        raise ConversionError(f"{source.property}: JSON has no {value}")


def _part(source: Source, reading: Reading) -> Json:
    check_json(source, reading)
    value = reading.value
    return {
        "property": source.property,
        "value": None if value is None else json_value(value, source.type),
        "type": source.type,
        "unit": source.unit,
        "time": time_text(reading.time),
        "quality": QUALITIES[reading.quality],
        "reason": reading.reason,
    }


def reading_object(source: Source, reading: Reading) -> Json:
    """One reading as JSON has it, with the names and forms of the REST API.

    `value` is null when there is none, a number or a boolean as such, BYTES in base64.

    Raises:
        ConversionError: JSON cannot hold the value (NaN, infinity).
    """
    namespace, device = source.device
    return {"namespace": namespace, "device": device, **_part(source, reading)}


def reading_json(source: Source, reading: Reading) -> bytes:
    """One reading as the text of `reading_object`.

    Raises:
        ConversionError: JSON cannot hold the value (NaN, infinity).
    """
    return orjson.dumps(reading_object(source, reading))


def device_json(readings: Sequence[tuple[Source, Reading]]) -> bytes:
    """Several readings of one device, which is named once.

    Args:
        readings: At least one; all of the same device.

    Raises:
        ConversionError: JSON cannot hold one of the values.
    """
    namespace, device = readings[0][0].device
    parts = [_part(source, reading) for source, reading in readings]
    return orjson.dumps({"namespace": namespace, "device": device, "readings": parts})


# --------------------------------------------------------- KubeEdge's text ----


def kubeedge_time(seconds: float) -> str:
    """A time as mapper-framework's push methods write it, but always in UTC.

    Source:
        mapper-framework `data/publish`: `2006-01-02 15:04:05`, in the local zone, unnamed.
    """
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"


def kubeedge_text(topic: str, source: Source, reading: Reading) -> str | None:
    """What mapper-framework publishes to MQTT; None for a BAD reading, which it cannot say.

    Raises:
        ConversionError: The value has no text (BYTES that are not UTF-8).

    Source:
        mapper-framework `data/publish/mqtt`: time, two blanks, topic, colon, value.
    """
    if reading.value is None or reading.quality is Quality.BAD:
        return None
    value = format_value(reading.value, source.type)
    return f"time is {kubeedge_time(reading.time)}  {topic}: {value}"


# ---------------------------------------------------------------- templates ----

Escape = Callable[[str], str]
"""Makes one name harmless where it is put in."""

_FIELD: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_NAMES: Final = ("namespace", "device", "property", "model")
_LABEL: Final = "label:"
_PLANES: Final = "".join(map(chr, (n << 16 | end for n in range(17) for end in (0xFFFE, 0xFFFF))))
NOT_IN_MQTT: Final = f"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef{_PLANES}]"
"""A regular expression for what no text in MQTT may have in it: brokers hang up (MQTT 5, 1.5.4)."""
_NOT_IN_TOPICS: Final = re.compile(f"[%/+#]|{NOT_IN_MQTT}")
_NO_LABEL: Final = "_"


def topic_level(name: str) -> str:
    """A name as one level of an MQTT topic: `/`, `+`, `#`, `%`, controls as `%` and hex."""
    return _NOT_IN_TOPICS.sub(lambda found: f"%{ord(found[0]):02X}", name)


def url_segment(name: str) -> str:
    """A name as one segment of a URL's path."""
    # Dots alone would climb in the path, and they are not among what `quote` escapes.
    return name.replace(".", "%2E") if name in {".", ".."} else quote(name, safe="")


class Template:
    """Text with `{namespace}`, `{device}`, `{property}`, `{model}`, `{label:NAME}` in it.

    `{{` and `}}` stand for braces. A label that a Device has not becomes `_`.

    Attributes:
        fields: The names that are in it; a label as `label:NAME`.
    """

    def __init__(self, text: str) -> None:
        """Parse it.

        Raises:
            ValueError: A field that does not exist, or a single brace.
        """
        self._parts: list[tuple[str, str]] = []  # text before a field, the field
        before, end = "", 0
        for found in _FIELD.finditer(text):
            before, end = before + text[end : found.start()], found.end()
            if found[0] in ("{{", "}}"):
                before += found[0][0]
                continue
            self._parts.append((before, _known_field(found[1], text)))
            before = ""
        self._end = before + text[end:]
        self.fields = frozenset(name for _, name in self._parts)

    def fill(self, source: Source, escape: Escape) -> str:
        """Put the names of a source in, each escaped; what stands around them is as it was."""
        filled = [before + escape(_lookup(source, name)) for before, name in self._parts]
        return "".join([*filled, self._end])


def _known_field(name: str | None, text: str) -> str:
    if name in _NAMES or (name and name.startswith(_LABEL) and name != _LABEL):
        return name
    shown = f"{{{name}}}" if name is not None else "a single brace"
    raise ValueError(
        f"{shown} in {text!r}: there is {{namespace}}, {{device}}, {{property}}, {{model}}"
        " and {label:NAME}; {{ and }} for braces"
    )


def _lookup(source: Source, name: str) -> str:
    if name == "namespace":
        return source.device.namespace
    if name == "device":
        return source.device.name
    if name == "property":
        return source.property
    if name == "model":
        return source.model or _NO_LABEL
    return source.labels.get(name.removeprefix(_LABEL)) or _NO_LABEL


def checked_template(text: str) -> str:
    """Let a template pass that can be parsed; for `AfterValidator`.

    Raises:
        ValueError: It cannot.
    """
    Template(text)
    return text

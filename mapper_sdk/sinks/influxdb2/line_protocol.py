"""InfluxDB's line protocol, written: names, values and times as text.

    measurement,tag=value field=1.5,other="text" 1790000000000000

Source:
    InfluxDB OSS v2, reference "Line protocol": elements, data types, special characters.
"""

import base64
import math
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from dmi.errors import ConversionError
from dmi.readings import Value

__all__ = ["Precision", "field_value", "measurement_name", "tag_or_key", "unit_of"]

_UNWRITABLE: Final = re.compile(r"[\x00-\x1f\x7f]|\\(?=[,= ]|$)")
_MEASUREMENT: Final = str.maketrans({",": r"\,", " ": r"\ "})
_KEY: Final = str.maketrans({",": r"\,", "=": r"\=", " ": r"\ "})
_STRING: Final = str.maketrans({'"': r"\"", "\\": r"\\"})


class Precision(StrEnum):
    """Unit of the times in a request."""

    MS = "ms"
    US = "us"
    NS = "ns"


_UNITS: Final[Mapping[Precision, tuple[float, int]]] = {
    Precision.MS: (1e3, 1),
    Precision.US: (1e6, 1),
    Precision.NS: (1e6, 1000),
}


def measurement_name(name: str) -> str:
    """Escape the name of a measurement.

    Raises:
        ConversionError: The protocol cannot write it, see `tag_or_key`; a leading `#` would
            make the line a comment.
    """
    if name.startswith("#"):
        raise ConversionError(f"{name!r}: a measurement cannot begin with #")
    return _writable(name).translate(_MEASUREMENT)


def tag_or_key(name: str) -> str:
    r"""Escape a tag's key or value, or a field's key.

    Raises:
        ConversionError: It is empty, has a control character, or has a backslash where a
            reader would take it for an escape: before a comma, `=` or space, or at the end.
            The protocol has no escape for the backslash itself in names.
    """
    return _writable(name).translate(_KEY)


def field_value(value: Value) -> str:
    """Write a value: `1i`, `1.5`, `true`, `"text"`; bytes become base64 text.

    Raises:
        ConversionError: NaN and the infinities do not exist in this protocol.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value}i"
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ConversionError(f"{value}: InfluxDB holds no such number")
        return repr(value)
    if isinstance(value, bytes):
        value = base64.b64encode(value).decode("ascii")
    # A line break is allowed as it is inside the quotes.
    return f'"{value.translate(_STRING)}"'


def unit_of(precision: Precision) -> tuple[float, int]:
    """Give what a time in seconds is multiplied by before it is rounded, and after that.

    A time in seconds as a 64-bit float is exact to about a quarter of a microsecond:
    nanoseconds are given as whole microseconds, not as digits that mean nothing.
    """
    return _UNITS[precision]


def _writable(name: str) -> str:
    if not name:
        raise ConversionError("a name for InfluxDB must not be empty")
    if _UNWRITABLE.search(name):
        raise ConversionError(f"{name!r} cannot be written in line protocol")
    return name

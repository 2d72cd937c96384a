"""Derived readings as apps write them: JSON, the same by REST and by MQTT."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from dmi.errors import ConfigError, MalformedError
from dmi.readings import Quality, Value
from dmi.resources import DataType
from dmi.values import value_from_json
from mapper_sdk.derived.readings import Derived

__all__ = ["readings_from_json"]

_MOST: Final = 10_000
_QUALITIES: Final = {quality.name.lower(): quality for quality in Quality}
_FIELDS: Final = frozenset({"value", "time", "quality", "reason"})


def readings_from_json(body: bytes, kind: DataType, now: float) -> list[Derived]:
    """Read one reading or a list of them, and give them in the order of time.

    A reading is `{"value": …}` with, if need be, `time` (ISO 8601, or seconds since 1970),
    `quality` (`good`, `uncertain` or `bad`) and `reason`.

    Args:
        body: JSON.
        kind: The property's declared type.
        now: The time of readings that say none, in seconds since 1970.

    Raises:
        MalformedError: It is not JSON.
        ConfigError: It is not of that form.
        ConversionError: A value does not fit the type.
    """
    readings = [_reading(item, kind, now) for item in _items(body)]
    return sorted(readings, key=lambda reading: reading.time)


def _items(body: bytes) -> list[Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedError(f"the body is not JSON: {error}") from None
    items = found if isinstance(found, list) else [found]
    if not 0 < len(items) <= _MOST:
        raise ConfigError(f"the body must be a reading, or a list of 1 to {_MOST}")
    return items


def _reading(given: object, kind: DataType, now: float) -> Derived:
    if not isinstance(given, Mapping):
        raise ConfigError('a reading must be {"value": …}')
    if unknown := sorted(given.keys() - _FIELDS):
        raise ConfigError(f"a reading has no {', '.join(unknown)}")
    if "value" not in given:
        raise ConfigError("a reading must have a value, which may be null")
    value: Value | None = None
    if given["value"] is not None:
        value = value_from_json(given["value"], kind)
    quality = _QUALITIES.get(str(given.get("quality", "bad" if value is None else "good")))
    if quality is None:
        raise ConfigError(f"quality must be one of {', '.join(_QUALITIES)}")
    reason = given.get("reason", "")
    if not isinstance(reason, str):
        raise ConfigError("reason must be text")
    return Derived(value, _moment(given.get("time"), now), quality, reason)


def _moment(given: object, now: float) -> float:
    """Seconds since 1970; a time without a zone is in UTC."""
    if given is None:
        return now
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        return float(given)
    try:
        moment = datetime.fromisoformat(str(given))
    except ValueError:
        raise ConfigError(f"time {given!r} is neither ISO 8601 nor seconds since 1970") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()

"""A Device's pushMethod as kinds of sinks, and the address inside settings of any kind."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from dmi.mistakes import YamlPath
from dmi.resources import PushMethod, Resource

__all__ = ["address_of", "declared_pushes", "merged"]

_ADDRESSES: Final = (
    "address",
    "url",
    "endpoint",
    "endpointUrl",
    "endpointURL",
    "addr",
    "servers",
    "path",
    "file",
)


def declared_pushes(push: PushMethod) -> Iterator[tuple[YamlPath, str, Resource]]:
    """Give each target that a pushMethod names: its path in there, its kind, its block."""
    blocks: list[tuple[YamlPath, str, Resource | None]] = [
        (("http",), "http", push.http),
        (("mqtt",), "mqtt", push.mqtt),
        (("otel",), "otel", push.otel),
    ]
    if (databases := push.db_method) is not None:
        blocks += [
            (("dbMethod", "influxdb2"), "influxdb2", databases.influxdb2),
            (("dbMethod", "redis"), "redis", databases.redis),
            (("dbMethod", "TDEngine"), "tdengine", databases.tdengine),
            (("dbMethod", "mysql"), "mysql", databases.mysql),
        ]
    for path, kind, block in blocks:
        if block is not None:
            yield path, kind, block


def address_of(settings: Mapping[str, Any]) -> str:
    """Say whom settings of a target reach, without credentials; empty when that is not clear.

    Args:
        settings: As a file spells them.
    """
    for name in _ADDRESSES:
        if given := settings.get(name):
            break
    else:
        host, port = settings.get("host", ""), settings.get("port")
        return f"{host}:{port}" if host and port else str(host)
    if isinstance(given, Sequence) and not isinstance(given, str):
        return ",".join(_without_user(str(one)) for one in given)
    return _without_user(str(given))


def _without_user(address: str) -> str:
    scheme, separator, rest = address.rpartition("://")
    authority, slash, path = rest.partition("/")
    # What stands before an @, or in a query, may be a secret.
    host = authority.rpartition("@")[2].partition("?")[0]
    return scheme + separator + host + slash + path.partition("?")[0]


def merged(settings: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Put more settings over these; blocks are merged, everything else is replaced."""
    result = dict(settings)
    for name, value in more.items():
        known = result.get(name)
        if isinstance(known, Mapping) and isinstance(value, Mapping):
            result[name] = merged(known, value)
        else:
            result[name] = value
    return result

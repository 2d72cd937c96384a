"""Readings as Redis keeps them: keys, names and values in turn, KubeEdge's JSON."""

from collections.abc import Mapping
from typing import Final

import orjson

from dmi.readings import QUALITIES, Reading, Value
from dmi.values import format_value
from mapper_sdk.delivery.sink import Route, Source
from mapper_sdk.sinks.payloads import Template
from mapper_sdk.sinks.redis.settings import Layout, RedisPlace

__all__ = ["Way", "kubeedge_json"]

_NAMES: Final = ("namespace", "device", "property")

_KEYS: Final[Mapping[Layout, str]] = {
    Layout.STREAM: "dmi:{namespace}:{device}:{property}",
    Layout.LATEST: "dmi:latest:{namespace}:{device}:{property}",
    Layout.PUBLISH: "dmi:{namespace}:{device}:{property}",
    Layout.ZSET: "{device}",
}


class Way:
    """What is the same for all readings of one route."""

    __slots__ = ("key", "names", "place", "source")

    def __init__(self, route: Route[RedisPlace]) -> None:
        self.source, self.place = route.source, route.place
        template = Template(route.place.key or _KEYS[route.place.layout])
        self.key = template.fill(route.source, _key_part)
        names = (*route.source.device, route.source.property)
        self.names: list[str | bytes] = []
        for name, value in zip(_NAMES, names, strict=True):
            if name not in template.fields:
                self.names += [name, value]
        self.names += ["type", route.source.type.value]

    def fields(self, reading: Reading) -> list[str | bytes]:
        """A reading as names and values in turn; Redis knows text and bytes only."""
        fields = [*self.names, "time", f"{reading.time:.6f}"]
        if reading.value is not None:
            fields += ["value", _text(reading.value)]
        fields += ["quality", QUALITIES[reading.quality]]
        return [*fields, "reason", reading.reason] if reading.reason else fields


def _key_part(name: str) -> str:
    return name.replace("%", "%25").replace(":", "%3A")


def _text(value: Value) -> str | bytes:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, (str, bytes)) else repr(value)


def kubeedge_json(source: Source, reading: Reading, value: Value) -> bytes:
    """One member of KubeEdge's sorted set.

    Source:
        mapper-framework `data/dbmethod/redis` and `pkg/common` (DataModel).
    """
    return orjson.dumps(
        {
            "DeviceName": source.device.name,
            "PropertyName": source.property,
            "Namespace": source.device.namespace,
            "Value": format_value(value, source.type),
            "Type": source.type.value.lower(),
            "TimeStamp": round(reading.time * 1000),
        }
    )

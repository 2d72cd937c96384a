"""The kinds of sinks by name; a kind's module, and its library, are loaded when it is used."""

from importlib import import_module
from types import MappingProxyType
from typing import Any, Final

from dmi.errors import ConfigError
from mapper_sdk.delivery.sink import Sink

__all__ = ["KINDS", "sink_class"]

KINDS: Final = MappingProxyType(
    {
        "http": "mapper_sdk.sinks.http.sink:HttpSink",
        "influxdb2": "mapper_sdk.sinks.influxdb2:Influxdb2Sink",
        "jsonl": "mapper_sdk.sinks.jsonl.sink:JsonLinesSink",
        "kafka": "mapper_sdk.sinks.kafka:KafkaSink",
        "mqtt": "mapper_sdk.sinks.mqtt.sink:MqttSink",
        "mysql": "mapper_sdk.sinks.mysql:MysqlSink",
        "otel": "mapper_sdk.sinks.otel:OtelSink",
        "postgresql": "mapper_sdk.sinks.postgresql:PostgresqlSink",
        "redis": "mapper_sdk.sinks.redis:RedisSink",
        "sqlite": "mapper_sdk.sinks.sqlite:SqliteSink",
        "tdengine": "mapper_sdk.sinks.tdengine:TDengineSink",
    }
)
"""Where each kind is; those that need a library are extras of the same name."""


def sink_class(kind: str) -> type[Sink[Any, Any]]:
    """Load the class of a kind.

    Args:
        kind: One of `KINDS`, or `MODULE:CLASS` for one of your own.

    Raises:
        ConfigError: There is no such kind, or its library is not installed.
    """
    place = KINDS.get(kind, kind)
    module, colon, name = place.partition(":")
    if not colon:
        raise ConfigError(f"there is no kind of sink {kind!r}; there are {', '.join(KINDS)}")
    try:
        found = getattr(import_module(module), name, None)
    except ModuleNotFoundError as error:
        if kind not in KINDS:
            raise ConfigError(f"the sink {kind} cannot be loaded: {error}") from error
        raise ConfigError(
            f"the sink {kind} needs {error.name}, which is not installed:"
            f' pip install "dmi-toolkit[{kind}]"'
        ) from error
    if not (isinstance(found, type) and issubclass(found, Sink)):
        raise ConfigError(f"the sink {kind}: {module} has no class {name} that is a Sink")
    return found

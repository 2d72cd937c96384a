"""A property's push targets to and from v1beta1.

Resource and message have the same tree, field by field; only some names are spelt with
other capitals, so that one short table does for all of it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from google.protobuf.message import Message

from dmi.convert.any_values import config_from_any, config_to_any
from dmi.proto.v1beta1 import api_pb2 as pb
from dmi.resources import PushMethod

__all__ = ["push_from_v1beta1", "push_to_v1beta1"]

_TO_MESSAGE: Mapping[str, str] = MappingProxyType(
    {
        "hostName": "hostname",
        "requestPath": "requestpath",
        "TDEngine": "tdengine",
        "TDEngineClientConfig": "tdEngineClientConfig",
        "dbName": "dbname",
    }
)
_TO_RESOURCE: Mapping[str, str] = MappingProxyType({v: k for k, v in _TO_MESSAGE.items()})


def push_to_v1beta1(push: PushMethod, target: pb.PushMethod) -> None:
    """Write push targets into a message.

    Raises:
        ConfigError: A setting of the anomaly detection cannot travel.
        ValueError: A number is beyond the range of its field.
    """
    data = push.to_json()
    detection = data.pop("anomalyDetection", None)
    _write(data, target)
    if detection is not None:
        target.anomalyDetection.SetInParent()
        config_to_any(detection, target.anomalyDetection.data)


def push_from_v1beta1(source: pb.PushMethod) -> dict[str, Any]:
    """Read push targets as JSON of a resource.

    Raises:
        ConfigError: A setting of the anomaly detection is of an unknown type.
    """
    data = _read(source)
    if source.HasField("anomalyDetection"):
        data["anomalyDetection"] = config_from_any(source.anomalyDetection.data)
    return data


def _write(data: Mapping[str, Any], target: Message) -> None:
    for name, value in data.items():
        field = _TO_MESSAGE.get(name, name)
        if value is None:
            continue
        if not isinstance(value, dict):
            setattr(target, field, value)
            continue
        inner = getattr(target, field)
        if isinstance(inner, Message):
            inner.SetInParent()
            _write(value, inner)
        else:
            inner.update(value)


def _read(source: Message) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for field, value in source.ListFields():
        name = _TO_RESOURCE.get(field.name, field.name)
        if isinstance(value, Message):
            data[name] = _read(value)
        else:
            data[name] = dict(value) if isinstance(value, Mapping) else value
    return data

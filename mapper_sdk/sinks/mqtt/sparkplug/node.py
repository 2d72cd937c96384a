"""An edge node of Sparkplug B: births before data, one count of all messages, names as numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError

from dmi.errors import ConversionError
from dmi.readings import Quality, Reading
from dmi.resources import DataType, Key
from mapper_sdk.delivery.sink import Source
from mapper_sdk.sinks.mqtt.sparkplug import payload_pb2 as pb
from mapper_sdk.sinks.payloads import topic_level

__all__ = ["Node", "Publish", "is_rebirth"]

# Numbers of the specification's data types (Sparkplug 3.0, section 6.4.16).
_INT32: Final = 3
_INT64: Final = 4
_UINT64: Final = 8
_BOOLEAN: Final = 11
_STRING: Final = 12
_TYPES: Final[Mapping[DataType, tuple[int, str]]] = MappingProxyType(
    {
        DataType.INT: (_INT64, "long_value"),
        DataType.FLOAT: (9, "float_value"),
        DataType.DOUBLE: (10, "double_value"),
        DataType.BOOLEAN: (_BOOLEAN, "boolean_value"),
        DataType.STRING: (_STRING, "string_value"),
        DataType.BYTES: (17, "bytes_value"),
        DataType.STREAM: (_STRING, "string_value"),
    }
)
"""Each type's number, and the field that its values are in."""

# The only codes that a Quality may have there; what is uncertain is the last good one, "stale".
_QUALITY: Final[Mapping[Quality, int]] = MappingProxyType(
    {Quality.GOOD: 192, Quality.UNCERTAIN: 500, Quality.BAD: 0}
)
_REBIRTH: Final = "Node Control/Rebirth"
_SEQUENCE: Final = 256
_LONG: Final = 2**64 - 1


class Publish(NamedTuple):
    """One message, to be sent with QoS 0 and not retained; the order matters.

    Attributes:
        of: Indexes of the readings in it.
    """

    topic: str
    payload: bytes
    of: tuple[int, ...] = ()


@dataclass(slots=True)
class _Metric:
    alias: int
    source: Source
    latest: Reading | None = None


@dataclass(slots=True)
class _Device:
    name: str
    metrics: dict[str, _Metric] = field(default_factory=dict)
    born: bool = False


class Node:
    """What the edge node has told, and what it must tell next.

    Source:
        Eclipse Sparkplug specification 3.0: topics section 4, payloads section 6.4.
    """

    def __init__(self, group: str, node: str) -> None:
        """Begin unborn.

        Args:
            group: The group's id.
            node: The edge node's id.
        """
        self._group = group
        self._node = node
        self._births = -1
        self._sequence = 0
        self._aliases = 0
        self._devices: dict[Key, _Device] = {}

    @property
    def commands(self) -> str:
        """The topic of commands for the node."""
        return self._topic("NCMD")

    def death(self, time: float) -> Publish:
        """The last will of the next connection, which this begins: all must be born again."""
        self._births = (self._births + 1) % _SEQUENCE
        for device in self._devices.values():
            device.born = False
        return self.farewell(time)

    def farewell(self, time: float) -> Publish:
        """The certificate of death of the connection that there is."""
        payload = pb.Payload(timestamp=_milliseconds(time))
        self._add_births(payload)
        return Publish(self._topic("NDEATH"), payload.SerializeToString())

    def birth(self, time: float) -> list[Publish]:
        """Certificates of birth: the node's, then those of all devices that it knows."""
        self._sequence = 0
        payload = pb.Payload(timestamp=_milliseconds(time), seq=0)
        self._add_births(payload)
        payload.metrics.add(name=_REBIRTH, datatype=_BOOLEAN, boolean_value=False)
        found = [Publish(self._topic("NBIRTH"), payload.SerializeToString())]
        return found + [self._device_birth(device, time) for device in self._devices.values()]

    def data(
        self, readings: Sequence[tuple[int, Source, Reading]], time: float
    ) -> tuple[list[Publish], dict[int, ConversionError]]:
        """Messages for readings: one per device, after its birth if that is due.

        Args:
            readings: Each with its index.
            time: Now, in seconds since 1970.

        Returns:
            The messages, and by index what does not fit the declared type.
        """
        refused: dict[int, ConversionError] = {}
        grouped: dict[Key, list[tuple[int, Source, Reading]]] = {}
        for one in readings:
            grouped.setdefault(one[1].device, []).append(one)
        found: list[Publish] = []
        for key, group in grouped.items():
            device = self._devices.setdefault(
                key, _Device(topic_level(f"{key.namespace}.{key.name}"))
            )
            for _, source, _ in group:
                self._declare(device, source)
            if not device.born:
                found.append(self._device_birth(device, time))
            found += self._device_data(device, group, refused, time)
        return found, refused

    # -------------------------------------------------------------- details ----

    def _topic(self, kind: str, device: str = "") -> str:
        topic = f"spBv1.0/{self._group}/{kind}/{self._node}"
        return f"{topic}/{device}" if device else topic

    def _add_births(self, payload: pb.Payload) -> None:
        payload.metrics.add(name="bdSeq", datatype=_UINT64, long_value=max(0, self._births))

    def _next(self) -> int:
        self._sequence = (self._sequence + 1) % _SEQUENCE
        return self._sequence

    def _declare(self, device: _Device, source: Source) -> None:
        known = device.metrics.get(source.property)
        if known is None:
            device.metrics[source.property] = _Metric(self._aliases, source)
            self._aliases += 1
            device.born = False
        elif known.source is not source:
            if (known.source.type, known.source.unit) != (source.type, source.unit):
                known.latest, device.born = None, False
            known.source = source

    def _device_birth(self, device: _Device, time: float) -> Publish:
        payload = pb.Payload(timestamp=_milliseconds(time), seq=self._next())
        for name, known in device.metrics.items():
            reading = known.latest or Reading(None, time, Quality.BAD)
            metric = payload.metrics.add(
                name=name, alias=known.alias, datatype=_TYPES[known.source.type][0]
            )
            _fill(metric, reading, known.source.type)
            metric.properties.keys.append("engUnit")
            metric.properties.values.add(type=_STRING, string_value=known.source.unit)
        device.born = True
        return Publish(self._topic("DBIRTH", device.name), payload.SerializeToString())

    def _device_data(
        self,
        device: _Device,
        group: Sequence[tuple[int, Source, Reading]],
        refused: dict[int, ConversionError],
        time: float,
    ) -> list[Publish]:
        payload = pb.Payload(timestamp=_milliseconds(time))
        of: list[int] = []
        for index, source, reading in group:
            known = device.metrics[source.property]
            metric = pb.Metric(alias=known.alias)
            try:
                _fill(metric, reading, source.type)
            except ConversionError as error:
                refused[index] = error
                continue
            if known.latest is not None and reading.time < known.latest.time:
                metric.is_historical = True
            else:
                known.latest = reading
            payload.metrics.append(metric)
            of.append(index)
        if not of:
            return []
        payload.seq = self._next()
        topic = self._topic("DDATA", device.name)
        return [Publish(topic, payload.SerializeToString(), tuple(of))]


def is_rebirth(payload: bytes) -> bool:
    """Whether a command asks the node for its certificates of birth."""
    try:
        metrics = pb.Payload.FromString(payload).metrics
    except DecodeError:
        return False
    return any(metric.name == _REBIRTH and metric.boolean_value for metric in metrics)


def _milliseconds(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def _fill(metric: pb.Metric, reading: Reading, data_type: DataType) -> None:
    """Set time, value and quality."""
    value = reading.value
    try:
        if value is None:
            metric.is_null = True
        elif data_type is DataType.INT:
            metric.long_value = int(value) & _LONG  # two's complement
        else:
            setattr(metric, _TYPES[data_type][1], value)
    except (TypeError, ValueError) as error:
        raise ConversionError(f"{value!r:.60} does not fit type {data_type}") from error
    metric.timestamp = _milliseconds(reading.time)
    metric.properties.keys.append("Quality")
    metric.properties.values.add(type=_INT32, int_value=_QUALITY[reading.quality])

"""The MQTT sink: readings as JSON, as KubeEdge's text or as Sparkplug B, to one broker."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from dmi.errors import ConfigError, ConversionError, DmiError
from dmi.readings import Reading
from dmi.resources import PushMqtt, Resource
from mapper_sdk.delivery.sink import Item, Route, Sink, Source
from mapper_sdk.sinks.mqtt.connection import Connection
from mapper_sdk.sinks.mqtt.flight import Message
from mapper_sdk.sinks.mqtt.settings import MqttPlace, MqttTarget, Payload
from mapper_sdk.sinks.mqtt.sparkplug.node import Node, Publish, is_rebirth
from mapper_sdk.sinks.payloads import (
    Template,
    check_json,
    device_json,
    kubeedge_text,
    reading_json,
    topic_level,
)

__all__ = ["MqttSink"]

_CONTENT: Final = {"json": "application/json", "device": "application/json"}
_SPARKPLUG_COMMANDS_QOS: Final = 1
_NO_NODE: Final = "payload sparkplug needs the target's setting sparkplug"
_CHUNK: Final = 200  # readings before the event loop has a turn: about a millisecond


class _Prepared(Properties):
    """Properties that do not change any more: packed once, not for each message."""

    def pack(self) -> bytes:
        """Give the bytes on the wire."""
        known: bytes | None = self.__dict__.get("packed")
        if known is None:
            # Properties allows no attributes but those of MQTT.
            known = self.__dict__["packed"] = super().pack()  # type: ignore[no-untyped-call]
        return known


class _Way:
    """What is the same for all readings of one route: its topic and MQTT 5 properties."""

    def __init__(self, source: Source, place: MqttPlace, target: MqttTarget) -> None:
        self.place = place
        self.payload = place.payload or target.payload
        self.topic = Template(place.topic_template(self.payload)).fill(source, topic_level)
        self.properties = _properties(place, self.payload)

    def message(self, payload: bytes) -> Message:
        place = self.place
        return Message(self.topic, payload, place.qos, place.retained, self.properties)


_Pack = tuple[Message, tuple[int, ...]]
"""A message, and the indexes of the readings that are in it."""


class MqttSink(Sink[MqttTarget, MqttPlace]):
    """Publishes to one broker, on one connection."""

    kind = "mqtt"
    target_model = MqttTarget
    place_model = MqttPlace
    batch = 5000

    def __init__(self, target: MqttTarget) -> None:
        """Keep the settings; reach nobody yet."""
        super().__init__(target)
        plug = target.sparkplug
        self._node = Node(plug.group, plug.node) if plug else None
        self._sending = False
        self._rebirth_due = False
        self._connection = Connection(
            target,
            in_flight=target.in_flight,
            session_expiry=target.session_expiry,
            timeout=target.timeout,
            topics=[(self._node.commands, _SPARKPLUG_COMMANDS_QOS)] if self._node else (),
            received=self._commanded,
        )

    @classmethod
    def pushed(cls, declared: Resource) -> tuple[dict[str, Any], dict[str, Any]]:
        """Read `pushMethod.mqtt`; without a topic, readings go where the sink's default is."""
        if not isinstance(declared, PushMqtt):
            return super().pushed(declared)
        place = {"topic": declared.topic, "qos": declared.qos, "retained": declared.retained}
        return {"address": declared.address}, place

    @classmethod
    def check(cls, target: MqttTarget, place: MqttPlace) -> None:
        """Refuse Sparkplug at a target that is no edge node."""
        if place.payload == "sparkplug" and target.sparkplug is None:
            raise ConfigError(_NO_NODE)

    async def open(self) -> None:
        """Connect; then tell of it, where there is a status or an edge node."""
        if self._node is not None:
            await self._connection.open(_plain(self._node.death(time.time())))
            await self._tell(self._node.birth(time.time()))
        elif (status := self.target.status) is not None:
            await self._connection.open(self._status(status.offline))
            await self._publish([(self._status(status.online), ())])
        else:
            await self._connection.open()

    async def send(self, items: Sequence[Item[MqttPlace]]) -> Mapping[int, DmiError]:
        """Publish all; return when the broker has acknowledged all of QoS 1 and 2."""
        refused: dict[int, DmiError] = {}
        self._sending = True
        try:
            packs = await self._pack(items, refused)
            refused.update(await self._publish(packs))
        finally:
            self._sending = False
        if self._rebirth_due:
            self._rebirth()
        return refused

    async def close(self) -> None:
        """Tell that nobody is there any more, and hang up."""
        farewell = None
        if self._node is not None:
            # The same as the last will, which a broker does not publish after a goodbye.
            farewell = _plain(self._node.farewell(time.time()))
        elif self.target.status is not None:
            farewell = self._status(self.target.status.offline)
        await self._connection.close(farewell)

    # -------------------------------------------------------------- details ----

    def _status(self, text: str) -> Message:
        status = self.target.status
        assert status is not None  # noqa: S101 - callers have looked
        return Message(status.topic, text.encode(), status.qos, status.retained)

    async def _pack(
        self, items: Sequence[Item[MqttPlace]], refused: dict[int, DmiError]
    ) -> list[_Pack]:
        packs: list[_Pack] = []
        devices: dict[tuple[object, ...], tuple[_Way, list[int]]] = {}
        metrics: list[tuple[int, Source, Reading]] = []
        for index, (route, reading) in enumerate(items):
            if not index % _CHUNK:
                await asyncio.sleep(0)
            way = self._way(route)
            if way.payload == "sparkplug":
                metrics.append((index, route.source, reading))
            elif way.payload == "device":
                key = (route.source.device, way.topic, way.place.qos, way.place.retained)
                devices.setdefault(key, (way, []))[1].append(index)
            else:
                try:
                    text = _text(way, route.source, reading)
                except ConversionError as error:
                    refused[index] = error
                else:
                    packs += [(way.message(text), (index,))] if text is not None else []
        packs += _device_packs(items, devices.values(), refused)
        return packs + self._metric_packs(metrics, refused) if metrics else packs

    def _way(self, route: Route[MqttPlace]) -> _Way:
        way = route.cache
        if not isinstance(way, _Way):
            way = route.cache = _Way(route.source, route.place, self.target)
        return way

    def _metric_packs(
        self, metrics: Sequence[tuple[int, Source, Reading]], refused: dict[int, DmiError]
    ) -> list[_Pack]:
        if self._node is None:
            raise ConfigError(_NO_NODE)  # such as of readings that were stored before it was gone
        messages, unfit = self._node.data(metrics, time.time())
        refused.update(unfit)
        return [(_plain(one), one.of) for one in messages]

    async def _publish(self, packs: Sequence[_Pack]) -> dict[int, DmiError]:
        outcomes = await self._connection.publish([message for message, _ in packs])
        failed: dict[int, DmiError] = {}
        for (_, of), error in zip(packs, outcomes, strict=True):
            if error is not None:
                failed.update((index, error) for index in of)
        return failed

    async def _tell(self, messages: Iterable[Publish]) -> None:
        await self._publish([(_plain(one), ()) for one in messages])

    def _commanded(self, _topic: str, payload: bytes) -> None:
        """In paho's thread: somebody commands the edge node."""
        if is_rebirth(payload):
            self._connection.call_in_loop(self._rebirth)

    def _rebirth(self) -> None:
        """Be born again, but not between two messages that have their numbers already."""
        self._rebirth_due = self._sending
        if self._node is not None and not self._sending:
            self._connection.fire([_plain(one) for one in self._node.birth(time.time())])


def _text(way: _Way, source: Source, reading: Reading) -> bytes | None:
    if way.payload == "json":
        return reading_json(source, reading)
    text = kubeedge_text(way.topic, source, reading)
    return None if text is None else text.encode()


def _device_packs(
    items: Sequence[Item[MqttPlace]],
    devices: Iterable[tuple[_Way, list[int]]],
    refused: dict[int, DmiError],
) -> list[_Pack]:
    packs: list[_Pack] = []
    for way, indexes in devices:
        readings = [(items[index][0].source, items[index][1]) for index in indexes]
        try:
            packs.append((way.message(device_json(readings)), tuple(indexes)))
        except ConversionError:
            # One value spoils the message: say which one, and publish the others.
            fit: list[int] = []
            for index, (source, reading) in zip(indexes, readings, strict=True):
                try:
                    check_json(source, reading)
                    fit.append(index)
                except ConversionError as error:
                    refused[index] = error
            packs += _device_packs(items, [(way, fit)], refused) if fit else []
    return packs


def _plain(one: Publish) -> Message:
    return Message(one.topic, one.payload)


def _properties(place: MqttPlace, payload: Payload) -> Properties | None:
    content = _CONTENT.get(payload)
    if not (content or place.expiry or place.user_properties):
        return None
    properties = _Prepared(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    if content:
        properties.ContentType = content
    if place.expiry:
        properties.MessageExpiryInterval = place.expiry
    if place.user_properties:
        properties.UserProperty = list(place.user_properties.items())
    return properties

"""Settings of the MQTT sink: the broker, and where and in which form readings are published."""

import re
from typing import Annotated, Final, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from dmi.secret_refs import SecretRef
from mapper_sdk.delivery.sink import Settings
from mapper_sdk.sinks.addresses import split_url
from mapper_sdk.sinks.payloads import NOT_IN_MQTT, Template, checked_template
from mapper_sdk.sinks.tls import Tls

__all__ = ["Address", "BrokerSettings", "MqttPlace", "MqttTarget", "Payload", "SparkplugNode"]

Payload = Literal["json", "device", "kubeedge", "sparkplug"]
Transport = Literal["tcp", "websockets", "unix"]

_SCHEMES: Final = {
    "tcp": "mqtt",
    "mqtt": "mqtt",
    "ssl": "mqtts",
    "tls": "mqtts",
    "mqtts": "mqtts",
    "ws": "ws",
    "wss": "wss",
}
_PORTS: Final = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
_NO_TOPIC: Final = re.compile(f"[+#]|{NOT_IN_MQTT}")
_OF_THE_BROKER: Final = re.compile(r"\$(SYS|share|queue)(/|$)")
_LONGEST_TOPIC: Final = 1024


class Address(NamedTuple):
    """A broker's address, taken apart."""

    transport: Transport
    host: str
    port: int
    path: str
    tls: bool


def parse_address(text: str) -> Address:
    """Take an address apart that `_canonical` has written."""
    parts = urlsplit(text)
    if parts.scheme == "unix":
        return Address("unix", parts.path, 1883, "", tls=False)
    transport: Transport = "websockets" if parts.scheme in ("ws", "wss") else "tcp"
    secure = parts.scheme in ("mqtts", "wss")
    return Address(transport, parts.hostname or "", parts.port or 0, parts.path, secure)


def _canonical(text: str) -> str:
    """Write an address in the one way that makes two spellings of a broker equal."""
    if text.startswith(("unix:", "/")):
        path = "/" + text.removeprefix("unix:").lstrip("/")
        if path == "/":
            raise ValueError("the path of the Unix socket is missing")
        return f"unix://{path}"
    parts = split_url(text if "://" in text else f"mqtt://{text}")
    scheme = _SCHEMES.get(parts.scheme)
    if scheme is None or not parts.hostname:
        raise ValueError(
            f"must be HOST:PORT, tcp://, mqtt://, ssl://, mqtts://, ws://, wss:// or unix:/PATH,"
            f" not {_without_user(text)!r}"
        )
    if "@" in parts.netloc:
        raise ValueError("a name or password does not belong here: use username and password")
    port = parts.port or _PORTS[scheme]
    if parts.query or parts.fragment or (scheme.startswith("mqtt") and parts.path.strip("/")):
        raise ValueError("has something after the port that means nothing")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    path = (parts.path if parts.path.strip("/") else "/mqtt") if scheme.startswith("ws") else ""
    return f"{scheme}://{host}:{port}{path}"


def _without_user(text: str) -> str:
    return text.rpartition("@")[2]


def _level(text: str) -> str:
    if not text or "/" in text or _NO_TOPIC.search(text):
        raise ValueError("must be one level of a topic: not empty, without / + # and controls")
    return text


def _topic(text: str) -> str:
    checked_template(text)
    if _NO_TOPIC.search(text) or len(text) > _LONGEST_TOPIC:
        raise ValueError(
            f"a topic has no + or # or controls, and at most {_LONGEST_TOPIC} characters here"
        )
    if _OF_THE_BROKER.match(text):
        raise ValueError("is a topic of the broker's own, which nobody else may publish to")
    return text


def _text(text: str) -> str:
    if re.search(NOT_IN_MQTT, text):
        raise ValueError("has controls in it, or what is no character")
    return text


Level = Annotated[str, AfterValidator(_level)]
Topic = Annotated[str, AfterValidator(_topic)]
Text = Annotated[str, AfterValidator(_text)]


class Status(Settings):
    """A retained message that says whether this connection is there: birth and last will."""

    topic: Topic = Field(min_length=1, description="Where it is published; names nothing.")
    online: str = Field(default="online", description="Its text while connected.")
    offline: str = Field(
        default="offline", description="Its text when not; the broker publishes it for us."
    )
    qos: int = Field(default=1, ge=0, le=2, description="Quality of service of both.")
    retained: bool = Field(default=True, description="Whether the broker keeps it.")

    @model_validator(mode="after")
    def _fits(self) -> "Status":
        if Template(self.topic).fields:
            raise ValueError("the status is one for all devices: no {} in its topic")
        return self


class SparkplugNode(Settings):
    """This connection as a Sparkplug edge node."""

    group: Level = Field(description="Group of the edge node.")
    node: Level = Field(description="Name of the edge node, unique in its group.")


class BrokerSettings(Settings):
    """How a broker is reached."""

    address: Annotated[str, AfterValidator(_canonical)] = Field(
        description="`HOST:PORT`, or with `tcp://` or `mqtt://`, `ssl://` or `mqtts://` (TLS), "
        "`ws://`, `wss://`, or `unix:/PATH`."
    )
    version: Literal["auto", "5", "3.1.1"] = Field(
        default="auto", description="Of MQTT. auto: 5, or 3.1.1 where the broker knows no 5."
    )
    client_id: Text = Field(
        default="",
        max_length=256,
        description="Name of the connection; no two may have the same. Without it one is made "
        "up at each start.",
    )
    username: Text = Field(default="", description="Name to log in with.")
    password: SecretRef | None = Field(
        default=None, description="Where its password is: `env:NAME` or `file:/path`."
    )
    tls: Tls | None = Field(
        default=None, description="TLS, where the address asks for it; see [TLS](#tls)."
    )
    keep_alive: int = Field(
        default=30,
        ge=5,
        le=3600,
        description="Silence after which either side asks whether the other is still there.",
        json_schema_extra={"unit": "s"},
    )
    connect_timeout: float = Field(
        default=5.0,
        gt=0,
        le=60,
        description="How long connecting may take, and then the broker's first answer.",
        json_schema_extra={"unit": "s"},
    )

    @model_validator(mode="after")
    def _fits(self) -> "BrokerSettings":
        if self.password and not self.username:
            raise ValueError("a password without a username")
        if self.tls and not parse_address(self.address).tls:
            raise ValueError("tls, but the address is one without: use mqtts:// or wss://")
        return self


class MqttTarget(BrokerSettings):
    """A broker that gets readings; all that goes there shares one connection."""

    timeout: float = Field(
        default=10.0,
        gt=0,
        le=300,
        description="How long no publish at all may be acknowledged before the connection is "
        "given up.",
        json_schema_extra={"unit": "s"},
    )
    in_flight: int = Field(
        default=20,
        ge=1,
        le=1000,
        description="Publishes with QoS 1 and 2 that wait for their acknowledgement at a time.",
    )
    session_expiry: int = Field(
        default=3600,
        ge=0,
        le=2**32 - 1,
        description="MQTT 5: how long the broker remembers what it has already got with QoS 2.",
        json_schema_extra={"unit": "s"},
    )
    payload: Payload = Field(
        default="json", description="Form of messages where a place, or a Device, says none."
    )
    status: Status | None = Field(
        default=None, description="Birth and last will; see [Status](#status)."
    )
    sparkplug: SparkplugNode | None = Field(
        default=None, description="Needed for the payload `sparkplug`; see [Sparkplug](#sparkplug)."
    )

    @model_validator(mode="after")
    def _goes_together(self) -> "MqttTarget":
        if self.status and self.sparkplug:
            raise ValueError("status and sparkplug: a connection has one last will only")
        if self.payload == "sparkplug" and not self.sparkplug:
            raise ValueError("payload sparkplug needs the setting sparkplug")
        return self


class MqttPlace(Settings):
    """Where and in which form readings are published."""

    topic: Topic = Field(
        default="",
        description="May have `{namespace}`, `{device}`, `{property}`, `{model}`, `{label:NAME}` "
        "in it. By default `dmi/data/{namespace}/{device}/{property}`; payload `device` leaves "
        "out the last.",
    )
    payload: Payload | None = Field(
        default=None,
        description="One message per reading as `json` or as `kubeedge` text, one per `device` "
        "and batch, or `sparkplug` B; without it, as the target says.",
    )
    qos: int = Field(default=1, ge=0, le=2, description="Quality of service.")
    retained: bool = Field(
        default=False, description="Whether the broker keeps the latest message of a topic."
    )
    expiry: int | None = Field(
        default=None,
        ge=1,
        le=2**32 - 1,
        description="MQTT 5: after this time the broker delivers a message no more.",
        json_schema_extra={"unit": "s"},
    )
    user_properties: dict[Text, Text] = Field(
        default={}, description="MQTT 5: names and texts that go with each message."
    )

    @model_validator(mode="after")
    def _fits(self) -> "MqttPlace":
        if self.payload == "device" and "property" in Template(self.topic).fields:
            raise ValueError("payload device is one message for all properties: no {property}")
        if self.payload == "sparkplug" and self.topic:
            raise ValueError("Sparkplug says what its topics are")
        return self

    def topic_template(self, payload: Payload) -> str:
        """The topic, or what it is by default for a form of message."""
        if self.topic:
            return self.topic
        device = "dmi/data/{namespace}/{device}"
        return device if payload == "device" else f"{device}/{{property}}"

"""Settings of the ways by which derived readings come in, besides REST."""

from typing import Annotated, Final

from pydantic import AfterValidator, Field

from mapper_sdk.delivery.sink import Settings
from mapper_sdk.sinks.mqtt.settings import BrokerSettings

__all__ = ["FIELDS", "DerivedConfig", "DerivedMqttConfig"]

FIELDS: Final = ("namespace", "device", "property")
"""What a topic names, each as one level."""


def _topic(text: str) -> str:
    levels = text.split("/")
    wanted = [f"{{{name}}}" for name in FIELDS]
    if any(levels.count(field) != 1 for field in wanted):
        raise ValueError(f"must have each of {', '.join(wanted)} as one level")
    others = [level for level in levels if level not in wanted]
    if any(set(level) & set("{}+#\x00") for level in others):
        raise ValueError("what stands around the names has no braces, + and #")
    return text


class DerivedMqttConfig(BrokerSettings):
    """The broker that apps publish derived readings at."""

    topic: Annotated[str, AfterValidator(_topic)] = Field(
        default="dmi/derived/{namespace}/{device}/{property}",
        description="Where they are published. In names, `/`, `+`, `#` and `%` are written as `%` "
        "and two hex digits.",
    )
    qos: int = Field(default=1, ge=0, le=2, description="Quality of service of the subscription.")


class DerivedConfig(Settings):
    """Ways by which derived readings come in, besides REST."""

    mqtt: DerivedMqttConfig | None = Field(
        default=None, description="A broker where apps publish them."
    )

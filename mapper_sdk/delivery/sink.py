"""The contract of a sink: what speaks to one target, and nothing else.

The worker around it owns batching, queueing, retries, the spool and the ledger. A sink turns
one batch into the target's own calls, in as few of them as the target allows.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from dmi.errors import DmiError, UnsupportedError
from dmi.readings import Reading
from dmi.resources import DataType, Key, Resource

__all__ = ["Item", "Place", "Route", "Settings", "Sink", "Source", "Target"]


class Settings(BaseModel):
    """Base of every sink's settings: strict, and equal settings are one target."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True
    )


Target = TypeVar("Target", bound=BaseModel)
"""Who is reached and how: address, credentials by reference, TLS. One target has one worker."""

Place = TypeVar("Place", bound=BaseModel)
"""Where one property's readings go at the target: a topic, a table, a measurement."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where readings come from: one property of one device, as it is declared now.

    Attributes:
        device: Namespace and name.
        property: Its name.
        type: The declared type; a reading's value is of this type.
        unit: As the model declares it; may be empty.
        model: Name of the DeviceModel.
        labels: The Device's labels.
    """

    device: Key
    property: str
    type: DataType
    unit: str = ""
    model: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Route(Generic[Place]):
    """One property's way into one target. The same object for all its readings.

    Attributes:
        source: Where the readings come from.
        place: Where they go at the target.
        cache: For the sink, to keep what it derives once per route: a topic, escaped names.
    """

    source: Source
    place: Place
    cache: object = None


Item = tuple[Route[Place], Reading]
"""One reading on its way. A BAD reading has no value; its time, quality and reason count."""


class Sink(ABC, Generic[Target, Place]):
    """Speaks to one target. Made in the event loop; calls never overlap.

    Attributes:
        kind: The word for it in settings, such as `mqtt`.
        target_model: Validates the target's settings.
        place_model: Validates a place's settings; every field has a default.
        batch: Most readings of one `send`, unless settings say otherwise.
    """

    kind: ClassVar[str]
    target_model: ClassVar[type[BaseModel]]
    place_model: ClassVar[type[BaseModel]]
    batch: ClassVar[int] = 1000

    def __init__(self, target: Target) -> None:
        """Keep the settings; reach nobody yet."""
        self.target = target

    @classmethod
    def pushed(cls, declared: Resource) -> tuple[dict[str, Any], dict[str, Any]]:
        """Read this kind's block of a Device's `pushMethod`.

        Args:
            declared: Such as `PushMqtt` or `DbRedis`.

        Returns:
            The settings of target and place, as a file of settings would spell them, not
            validated yet. Credentials are not among them: a Device holds none.

        Raises:
            UnsupportedError: A Device's `pushMethod` has no such kind.
        """
        raise UnsupportedError(f"a Device's pushMethod has no {cls.kind}")

    @classmethod
    def check(cls, target: Target, place: Place) -> None:
        """Refuse a place that this target cannot serve, when settings are read.

        Raises:
            ConfigError: The two do not go together.
        """

    @abstractmethod
    async def open(self) -> None:
        """Connect and make what is needed once: a session, a schema. Secrets are read now.

        Called again after each failed `send`, when `close` has been.

        Raises:
            UnavailableError: The target cannot be reached now; it is tried again.
            ConfigError: It never will be like this (a wrong password, a missing secret);
                tried again too, but rarely, and shown as what a human must mend.
        """

    @abstractmethod
    async def send(self, items: Sequence[Item[Place]]) -> Mapping[int, DmiError]:
        """Return when the target has taken over these readings for good.

        Sending the same readings again, after an answer was lost, must leave the target as
        if they had come once, as far as its protocol can tell them apart.

        Returns:
            What was not taken, by index. A retryable error is sent again; any other is
            final and counted as lost, with its `reason`. Empty when all was taken.

        Raises:
            DmiError: Like such an error for each of them. A non-retryable one makes the
                worker halve the batch until it has found the readings that are refused.
        """

    @abstractmethod
    async def close(self) -> None:
        """Release everything. Safe to call twice; never raises."""

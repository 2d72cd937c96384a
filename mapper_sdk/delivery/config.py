"""Settings of the delivery: the block `delivery` of a mapper's file."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, ByteSize, Field, field_validator

from mapper_sdk.delivery.sink import Settings

__all__ = [
    "AllowConfig",
    "BatchConfig",
    "DeliveryConfig",
    "PushedConfig",
    "SelectConfig",
    "SinkConfig",
    "SpoolConfig",
]

_WEEK: Final = 7 * 86_400.0
_GIBIBYTE: Final = 2**30


def _off_is_none(given: object) -> object:
    # In YAML, `off` is the word for false.
    return None if given in (False, "off") else given


def _off_is_empty(given: object) -> object:
    return () if given in (False, "off") else given


class SelectConfig(Settings):
    """Which properties a sink gets. All that is said must fit; `*` stands for anything."""

    device: str = Field(default="*", description="The device: NAME, or NAMESPACE/NAME.")
    model: str = Field(default="*", description="Name of its DeviceModel.")
    property: str = Field(default="*", description="Name of the property.")
    labels: dict[str, str] = Field(
        default={}, description="Labels that the Device must have, with these values."
    )


class BatchConfig(Settings):
    """How readings are gathered before they are sent."""

    size: int | None = Field(
        default=None, ge=1, description="Most readings of one batch; by default the sink's own."
    )
    seconds: float = Field(
        default=0.2,
        ge=0,
        le=3600,
        description="How long the first reading of a batch waits for others.",
        json_schema_extra={"unit": "s"},
    )


class SpoolConfig(Settings):
    """What is kept on disk while a target is away. It needs the setting `folder`."""

    bytes: ByteSize = Field(
        default=ByteSize(_GIBIBYTE),
        ge=1024,
        description="How much is kept, as a number or such as `512MiB`; then the oldest goes.",
        json_schema_extra={"unit": "bytes"},
    )
    age: float = Field(
        default=_WEEK,
        gt=0,
        description="How long anything is kept.",
        json_schema_extra={"unit": "s"},
    )
    drain: float = Field(
        default=50_000.0,
        gt=0,
        description="How many stored readings follow in a second when the target is back. New"
        " ones always go first.",
        json_schema_extra={"unit": "readings/s"},
    )
    always: bool = Field(
        default=False,
        description="Put every reading on disk before it is sent, so that nothing is lost when"
        " the process is killed. All readings then arrive in order, new ones last.",
    )


class SinkConfig(Settings):
    """One target, and which readings it gets."""

    name: str = Field(
        min_length=1,
        max_length=63,
        description="Its name, in status, metrics and in the name of its spool.",
    )
    kind: str = Field(description="Kind of sink, or MODULE:CLASS for one of your own.")
    target: dict[str, Any] = Field(default={}, description="Whom to reach: settings of that kind.")
    place: dict[str, Any] = Field(
        default={}, description="Where readings go there: settings of that kind."
    )
    select: tuple[SelectConfig, ...] = Field(
        default=(SelectConfig(),),
        description="Which properties it gets: those that one of these fits.",
    )
    pace: Literal["reading", "report"] = Field(
        default="reading",
        description="reading: everything that was read and has changed enough. report: the newest"
        " reading in each report cycle of the property.",
    )
    batch: BatchConfig = Field(default=BatchConfig(), description="Size and time of batches.")
    queue: int = Field(
        default=50_000,
        ge=1,
        description="Most readings in memory. More go to the spool; without one, the oldest go.",
    )
    timeout: float = Field(
        default=30.0,
        gt=0,
        description="How long the target may take for one batch.",
        json_schema_extra={"unit": "s"},
    )
    spool: Annotated[SpoolConfig | None, BeforeValidator(_off_is_none)] = Field(
        default=SpoolConfig(), description="What is kept on disk; `off` for nothing."
    )

    @field_validator("name")
    @classmethod
    def _is_file_name(cls, name: str) -> str:
        if not name.replace("-", "a").replace("_", "a").replace(".", "a").isalnum():
            raise ValueError("may have letters, digits, '-', '_' and '.' only")
        if not (name.isascii() and name[0].isalnum()) or name.startswith("pushed-"):
            raise ValueError("must be ASCII, begin with a letter or digit, and not with 'pushed-'")
        return name


class PushedConfig(Settings):
    """What is added to targets that Devices name, as Devices hold no credentials."""

    kind: str = Field(default="*", description="Of this kind; `*` stands for anything.")
    address: str = Field(
        min_length=1,
        description="With an address that this fits, as the Device says it. Whoever may write"
        " Devices gets to know what is set here at all the addresses that it fits.",
    )
    set: dict[str, Any] = Field(
        description="Settings of the target, such as `password: file:/run/secrets/broker`; they"
        " win over the Device's."
    )


class AllowConfig(Settings):
    """Targets that Devices may name."""

    kind: str = Field(default="*", description="Of this kind; `*` stands for anything.")
    address: str = Field(default="*", description="With an address that this fits.")


class DeliveryConfig(Settings):
    """Where readings go."""

    folder: Path | None = Field(
        default=None,
        description="Where readings wait for targets that are away, and where it is kept what was"
        " lost; for this mapper alone. Without one, both are in memory.",
    )
    sinks: tuple[SinkConfig, ...] = Field(default=(), description="Targets of this mapper.")
    pushed: tuple[PushedConfig, ...] = Field(
        default=(), description="What is added to targets that a Device's `pushMethod` names."
    )
    allow: Annotated[tuple[AllowConfig, ...], BeforeValidator(_off_is_empty)] = Field(
        default=(AllowConfig(),),
        description="Which targets a Device's `pushMethod` may name; `off` for none.",
    )

    @field_validator("sinks")
    @classmethod
    def _have_names_of_their_own(cls, sinks: tuple[SinkConfig, ...]) -> tuple[SinkConfig, ...]:
        names = [sink.name for sink in sinks]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"several sinks are named {', '.join(sorted(twice))}")
        return sinks

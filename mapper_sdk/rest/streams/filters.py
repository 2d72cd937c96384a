"""Which changes somebody wants to hear of, and how each reads as JSON."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from dmi.feed import Encode
from dmi.reports import DeviceState, Outcome
from dmi.resources import Key
from dmi.selectors import Selector, parse_selector
from mapper_sdk.events import DeviceEvent
from mapper_sdk.hub import Batch
from mapper_sdk.rest.queries import words
from mapper_sdk.rest.views import batch_view, event_view, outcome_view, state_view

__all__ = ["KINDS", "Change", "ChangesQuery", "Filter", "encoder"]

Change = Batch | DeviceState | Outcome | DeviceEvent
"""What the stream carries."""

KINDS: Final = ("readings", "state", "outcome", "event")
"""What a change can be named, beside `gap`."""

Labels = Callable[[Key], Mapping[str, object]]
"""Gives the labels of a device; none of one that is not served."""


def _known(text: str) -> str:
    if unknown := [word for word in words(text) if word not in KINDS]:
        raise ValueError(f"{', '.join(unknown)} unknown; there are {', '.join(KINDS)}")
    return text


class ChangesQuery(BaseModel):
    """Which changes, and from when on."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    kinds: Annotated[str, AfterValidator(_known)] = Field(
        default="",
        description=f"Of {', '.join(f'`{kind}`' for kind in KINDS)}, with commas; empty for all.",
        examples=["readings,state"],
    )
    devices: str = Field(
        default="",
        description="NAMESPACE/NAME of the only devices, with commas.",
        examples=["default/kettle"],
    )
    device: str = Field(default="", description="NAMESPACE/NAME of the only device.")
    namespace: str = Field(default="", description="Only devices of this namespace.")
    properties: str = Field(
        default="",
        description="Names of the only properties, with commas; of readings and outcomes.",
        examples=["temperature"],
    )
    labels: str = Field(
        default="",
        description="Only devices with these labels, in Kubernetes' syntax.",
        examples=["site=hall-1"],
    )
    last_event_id: str = Field(
        default="",
        alias="lastEventId",
        description="Go on after this one; the header `Last-Event-ID` does the same.",
    )


@dataclass(frozen=True, slots=True)
class Filter:
    """What of the changes is wanted; empty means all. Equal ones share their work."""

    kinds: frozenset[str] = frozenset()
    devices: frozenset[str] = frozenset()
    namespace: str = ""
    properties: frozenset[str] = frozenset()
    labels: str = ""

    @classmethod
    def of(cls, query: ChangesQuery) -> "Filter":
        """Read it from a request.

        Raises:
            ConfigError: The label selector is not understood.
        """
        if query.labels:
            parse_selector(query.labels)
        return cls(
            frozenset(words(query.kinds)),
            frozenset(words(f"{query.devices},{query.device}")),
            query.namespace,
            frozenset(words(query.properties)),
            query.labels.strip(),
        )


def encoder(wanted: Filter, labels_of: Labels) -> Encode[Change]:
    """Give the function that names and writes a change, or leaves it out."""
    select: Selector | None = parse_selector(wanted.labels) if wanted.labels else None
    properties = wanted.properties

    def encode(change: Change) -> tuple[str, bytes] | None:
        kind, device = _kind(change)
        if wanted.kinds and kind not in wanted.kinds:
            return None
        if wanted.namespace and device.namespace != wanted.namespace:
            return None
        if wanted.devices and str(device) not in wanted.devices:
            return None
        if select is not None and not select(labels_of(device)):
            return None
        if isinstance(change, list):
            if properties:
                change = [pair for pair in change if pair[0].name in properties]
            return (kind, orjson.dumps(batch_view(change))) if change else None
        if isinstance(change, DeviceState):
            return kind, orjson.dumps(state_view(change))
        if isinstance(change, DeviceEvent):
            return kind, _event_json(change)
        if properties and change.property not in properties:
            return None
        return kind, orjson.dumps(outcome_view(change))

    return encode


def _kind(change: Change) -> tuple[str, Key]:
    if isinstance(change, list):
        return "readings", change[0][0].device
    if isinstance(change, DeviceState):
        return "state", change.device
    if isinstance(change, DeviceEvent):
        return "event", change.device
    return "outcome", change.device


def _event_json(change: DeviceEvent) -> bytes:
    # What a driver puts into an event's fields is its own; it may not be JSON at all.
    return orjson.dumps(event_view(change), default=str, option=orjson.OPT_NON_STR_KEYS)

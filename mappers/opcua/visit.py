"""The settings of one property: which node it is, and how the server watches it."""

from enum import StrEnum
from functools import cached_property
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, JsonValue, model_validator

from mapper_sdk.devices.spelling import SpelledSettings, to_integer, word_for
from mappers.opcua.addresses import Address, parse_node_id, parse_path

__all__ = ["DeadbandType", "OpcuaVisit", "Trigger"]


class Trigger(StrEnum):
    """What makes the server send an item. Source: OPC UA Part 4, 7.22.2."""

    STATUS = "status"
    STATUS_VALUE = "statusValue"
    STATUS_VALUE_TIME = "statusValueTimestamp"


class DeadbandType(StrEnum):
    """How the server's deadband is measured."""

    ABSOLUTE = "absolute"
    PERCENT = "percent"


_MILLISECONDS: dict[str, JsonValue] = {"unit": "ms"}


class OpcuaVisit(SpelledSettings):
    """One variable of a server. Keys may be written in any case."""

    node_id: str | None = Field(
        default=None,
        alias="nodeID",
        min_length=1,
        description="The node, as `ns=2;s=Boiler.Temperature`, `i=2258`, `g=...`, `b=...`, or "
        "with the namespace's URI as `nsu=urn:plant;s=Boiler.Temperature`: an index may change "
        "when the server restarts, a URI does not.",
    )
    browse_path: str | None = Field(
        default=None,
        min_length=1,
        description="The way to the node instead, as `2:Plant/2:Boiler/2:Temperature` from the "
        "Objects folder, or `/Objects/2:Plant` from the root.",
    )
    browse_name: str | None = Field(
        default=None,
        min_length=1,
        description="KubeEdge's. Beside `nodeID` a remark; alone a `browsePath` of one name.",
    )
    namespace_uri: str | None = Field(
        default=None,
        min_length=1,
        description="Namespace of those names and of the id where they say none.",
    )
    subscribe: bool = Field(
        default=True,
        description="Let the server send changes. Without it, or where the server cannot, the "
        "node is read each collect cycle.",
    )
    sampling_interval: float | None = Field(
        default=None,
        ge=0,
        description="How often the server looks at the value; the publishing interval without "
        "it. 0 means as fast as it can.",
        json_schema_extra=_MILLISECONDS,
    )
    queue_size: Annotated[int, BeforeValidator(to_integer)] = Field(
        default=10,
        ge=1,
        le=1_000_000,
        description="Changes that the server keeps between two publishings; the oldest go first.",
    )
    server_deadband: float | None = Field(
        default=None,
        gt=0,
        description="The server sends only changes greater than this, in the node's unit, or "
        "in percent of its range. Without it, the common `deadband` still holds here.",
    )
    deadband_type: Annotated[DeadbandType, BeforeValidator(word_for(DeadbandType, {}))] = Field(
        default=DeadbandType.ABSOLUTE, description="What `serverDeadband` is measured in."
    )
    trigger: Annotated[Trigger, BeforeValidator(word_for(Trigger, {}))] = Field(
        default=Trigger.STATUS_VALUE, description="What counts as a change."
    )

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.node_id is not None and self.browse_path is not None:
            raise ValueError("nodeID and browsePath are two ways to say it; keep one of them")
        if self.deadband_type is DeadbandType.PERCENT and (self.server_deadband or 0) > 100:
            raise ValueError("serverDeadband is a percentage: at most 100")
        self.address  # noqa: B018 - a wrong one must be told now
        return self

    @cached_property
    def address(self) -> Address:
        """The node."""
        namespace = self.namespace_uri or 0
        if self.node_id is not None:
            return parse_node_id(self.node_id, namespace)
        path = self.browse_path or self.browse_name
        if path is None:
            raise ValueError("set `nodeID` or `browsePath`")
        return parse_path(path, namespace)

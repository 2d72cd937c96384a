"""What the server watches for us: variables, and objects with events."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from asyncua import ua

from dmi.errors import DmiError
from mapper_sdk.driver import Answer
from mappers.opcua.addresses import Address
from mappers.opcua.session.channel import Channel
from mappers.opcua.values.reading import answer_of
from mappers.opcua.values.structures import Structures
from mappers.opcua.visit import DeadbandType, OpcuaVisit, Trigger

__all__ = ["EventItem", "Item"]

_TRIGGERS = {
    Trigger.STATUS: ua.DataChangeTrigger.Status,
    Trigger.STATUS_VALUE: ua.DataChangeTrigger.StatusValue,
    Trigger.STATUS_VALUE_TIME: ua.DataChangeTrigger.StatusValueTimestamp,
}


@dataclass(slots=True, eq=False)
class Item:
    """One node that the server watches for us.

    Attributes:
        publish: Takes what the server says of it.
        refusal: Why the server does not watch it now; None while it does.
        polled: It was refused in a way that leaves reading; somebody polls it.
        server_handle: The server's number of it; 0 while it has none.
        last: What came last since the server watches it; a server that has moved it to
            another connection may say that again.
    """

    visit: OpcuaVisit
    publish: Callable[[Answer], None]
    refusal: DmiError | None = None
    polled: bool = False
    server_handle: int = 0
    last: ua.DataValue | None = None

    def take(self, value: ua.DataValue, now: float, structures: Structures) -> None:
        """Hand on a change, unless it is what came last.

        Raises:
            UnknownStructureError: The definition of a structure must be read first.
        """
        last = self.last
        # Times first: they differ in all but the rarest case, and are cheap to compare.
        if last is None or not _is_repeated(last, value):
            self.publish(answer_of(value, now, structures))
        self.last = value

    @property
    def address(self) -> Address:
        """The node."""
        return self.visit.address

    def request(self, node: ua.NodeId, handle: int) -> ua.MonitoredItemCreateRequest:
        """What the server is asked to watch, and how."""
        visit = self.visit
        parameters = ua.MonitoringParameters(
            ClientHandle=handle,
            SamplingInterval=-1.0 if visit.sampling_interval is None else visit.sampling_interval,
            Filter=_filter(visit),
            QueueSize=visit.queue_size,
            DiscardOldest=True,
        )
        return ua.MonitoredItemCreateRequest(
            ua.ReadValueId(node, ua.AttributeIds.Value), ua.MonitoringMode.Reporting, parameters
        )


def _filter(visit: OpcuaVisit) -> ua.DataChangeFilter | None:
    if visit.trigger is Trigger.STATUS_VALUE and visit.server_deadband is None:
        return None  # that is what a server does unasked, and some know no filters
    kind = ua.DeadbandType.None_
    if visit.server_deadband is not None:
        percent = visit.deadband_type is DeadbandType.PERCENT
        kind = ua.DeadbandType.Percent if percent else ua.DeadbandType.Absolute
    return ua.DataChangeFilter(_TRIGGERS[visit.trigger], kind, visit.server_deadband or 0.0)


def _is_repeated(last: ua.DataValue, value: ua.DataValue) -> bool:
    time = value.SourceTimestamp
    return (
        time is not None
        and time == last.SourceTimestamp
        and value.StatusCode == last.StatusCode
        and value.Value == last.Value
    )


class EventItem(Protocol):
    """An object whose events the server sends us."""

    async def prepare(self, channel: Channel) -> None:
        """Find out what is to be asked for, before each subscription."""

    def request(self, handle: int) -> ua.MonitoredItemCreateRequest:
        """What the server is asked to send."""

    def take(self, fields: Sequence[ua.Variant]) -> None:
        """Hand on one event, its fields in the order of the filter's clauses."""

    def wants_refresh(self) -> bool:
        """Whether the server has said that what is known of its conditions is old; told once."""

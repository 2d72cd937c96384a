"""Events, alarms and conditions of a server's object."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from asyncua import ua

from mapper_sdk.driver import Event
from mappers.opcua.conditions import Conditions
from mappers.opcua.session.channel import Channel
from mappers.opcua.session.items import EventItem
from mappers.opcua.session.space import browse
from mappers.opcua.values.reading import jsonable, seconds_of
from mappers.opcua.values.structures import Structures

__all__ = ["event_item"]

_BASE = ("EventType", "SourceName", "Time", "Severity", "Message", "EventId")
_CONDITION = (
    *(("ConditionName",), ("BranchId",), ("Retain",), ("EnabledState", "Id"), ("AckedState", "Id")),
    *(("ConfirmedState", "Id"), ("ActiveState", "Id"), ("Comment",)),
)
"""What conditions and alarms add. Source: OPC UA Part 9, 5.5.2, 5.7.2 and 5.8.2."""
_CONDITION_ID = ua.SimpleAttributeOperand(
    TypeDefinitionId=ua.NodeId(ua.ObjectIds.ConditionType),
    BrowsePath=[],
    AttributeId=ua.AttributeIds.NodeId,
)
"""The id of the condition itself, which is no field. Source: OPC UA Part 9, 5.5.2.13."""

_QUEUE = 1000


async def event_item(
    channel: Channel,
    source: ua.NodeId,
    event_type: ua.NodeId | None,
    conditions: Conditions,
    tell: Callable[[Event], None],
) -> EventItem:
    """What must be asked of the server to hear of an object's events.

    Args:
        channel: The session.
        source: The object.
        event_type: Only this type and those derived from it, with its own fields.
        conditions: Keeps what is to be known of those that stand.
        tell: Takes the events.
    """
    paths = [[ua.QualifiedName(name, 0)] for name in _BASE]
    paths += [[ua.QualifiedName(name, 0) for name in path] for path in _CONDITION]
    known = {path[0].Name for path in paths}
    kinds: dict[ua.NodeId, str] = {}
    if event_type is not None:
        (data,) = await channel.read([event_type], ua.AttributeIds.BrowseName)
        kinds[event_type] = str(data.Value.Value.Name) if data.Value is not None else ""
        for field in await browse(channel, event_type, ua.NodeClass.Variable):
            if field.BrowseName.Name not in known:
                paths.append([field.BrowseName])
    names = [".".join(str(part.Name) for part in path) for path in paths] + ["ConditionId"]
    filtering = _filter(paths, event_type)

    def request(handle: int) -> ua.MonitoredItemCreateRequest:
        parameters = ua.MonitoringParameters(
            ClientHandle=handle,
            SamplingInterval=0.0,
            Filter=filtering,
            QueueSize=_QUEUE,
            DiscardOldest=True,
        )
        return ua.MonitoredItemCreateRequest(
            ua.ReadValueId(source, ua.AttributeIds.EventNotifier),
            ua.MonitoringMode.Reporting,
            parameters,
        )

    def take(fields: Sequence[ua.Variant]) -> None:
        given = dict(zip(names, (field.Value for field in fields), strict=False))
        event = _event(given, kinds, channel.structures)
        if conditions.is_news(given):
            tell(event)

    return EventItem(request, take, conditions.take_request)


def _filter(
    paths: Sequence[Sequence[ua.QualifiedName]], event_type: ua.NodeId | None
) -> ua.EventFilter:
    base = ua.NodeId(ua.ObjectIds.BaseEventType)
    clauses = [
        ua.SimpleAttributeOperand(
            # A field may be selected by the base type although only a derived one has it.
            TypeDefinitionId=base,
            BrowsePath=list(path),
            AttributeId=ua.AttributeIds.Value,
        )
        for path in paths
    ]
    clauses.append(_CONDITION_ID)
    filtering = ua.EventFilter(SelectClauses=clauses)
    if event_type is not None:
        operand = ua.LiteralOperand(Value=ua.Variant(event_type))
        element = ua.ContentFilterElement(
            FilterOperator=ua.FilterOperator.OfType, FilterOperands=[operand]
        )
        filtering.WhereClause = ua.ContentFilter(Elements=[element])
    return filtering


def _event(
    given: Mapping[str, Any], kinds: Mapping[ua.NodeId, str], structures: Structures
) -> Event:
    fields = dict(given)
    kind, moment, message = (fields.pop(name, None) for name in ("EventType", "Time", "Message"))
    source, severity = fields.pop("SourceName", None), fields.pop("Severity", None)
    return Event(
        time=time.time() if moment is None else seconds_of(moment),
        kind=_kind_name(kind, kinds),
        source=str(source or ""),
        severity=int(severity or 0),
        message=(message.Text or "") if isinstance(message, ua.LocalizedText) else "",
        fields={
            name: jsonable(value, structures) for name, value in fields.items() if value is not None
        },
    )


def _kind_name(kind: ua.NodeId | None, kinds: Mapping[ua.NodeId, str]) -> str:
    if kind is None:
        return ""
    if kind in kinds:
        return kinds[kind]
    if kind.NamespaceIndex == 0:
        return str(ua.ObjectIdNames.get(kind.Identifier, kind.Identifier))
    return str(kind.to_string())

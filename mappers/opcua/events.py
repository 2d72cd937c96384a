"""Events, alarms and conditions of a server's object."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from asyncua import ua

from dmi.errors import DmiError
from mapper_sdk.driver import Event
from mappers.opcua.addresses import Address
from mappers.opcua.conditions import Conditions
from mappers.opcua.session.channel import Channel
from mappers.opcua.session.space import browse, browse_all, found, written
from mappers.opcua.values.reading import jsonable, seconds_of
from mappers.opcua.values.structures import Structures

__all__ = ["EventSource"]

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


class EventSource:
    """An object whose events a device has.

    Args:
        source: The object.
        event_type: Only this type and those derived from it, with its own fields.
        conditions: Keeps what is to be known of those that stand.
        tell: Takes the events.
    """

    def __init__(
        self,
        source: Address,
        event_type: Address | None,
        conditions: Conditions,
        tell: Callable[[Event], None],
    ) -> None:
        self._source, self._event_type = source, event_type
        self._conditions = conditions
        self._tell = tell
        self._names: Sequence[str] = ()
        self._kinds: Mapping[ua.NodeId, str] = {}
        self._structures = Structures()
        self._channel: Channel | None = None
        self._node = ua.NodeId()
        self._filter = ua.EventFilter()

    async def prepare(self, channel: Channel) -> None:
        """Find the nodes, which may have other indexes in each life of the server.

        Raises:
            DmiError: There are none such, or the server is away.
        """
        self._node = await found(channel, self._source)
        paths = [[ua.QualifiedName(name, 0)] for name in _BASE]
        paths += [[ua.QualifiedName(name, 0) for name in path] for path in _CONDITION]
        event_type = None
        if self._event_type is not None:
            known = {path[0].Name for path in paths}
            event_type = await found(channel, self._event_type)
            fields = await browse(channel, event_type, ua.NodeClass.Variable)
            paths += [[one.BrowseName] for one in fields if one.BrowseName.Name not in known]
        self._names = [".".join(str(part.Name) for part in path) for path in paths]
        self._names.append("ConditionId")
        self._kinds = await _kinds(channel)
        self._channel, self._structures = channel, channel.structures
        self._filter = _filter(paths, event_type)

    def request(self, handle: int) -> ua.MonitoredItemCreateRequest:
        """What the server is asked to send."""
        parameters = ua.MonitoringParameters(
            ClientHandle=handle,
            SamplingInterval=0.0,
            Filter=self._filter,
            QueueSize=_QUEUE,
            DiscardOldest=True,
        )
        return ua.MonitoredItemCreateRequest(
            ua.ReadValueId(self._node, ua.AttributeIds.EventNotifier),
            ua.MonitoringMode.Reporting,
            parameters,
        )

    def take(self, fields: Sequence[ua.Variant]) -> None:
        """Hand on an event.

        Raises:
            UnknownStructureError: The definition of a structure must be read first.
        """
        given = dict(zip(self._names, (field.Value for field in fields), strict=False))
        shown, condition = dict(given), given.get("ConditionId")
        if self._channel is not None and condition is not None:
            shown["ConditionId"] = written(self._channel, condition)
        event = _event(shown, self._kinds, self._structures)
        if self._conditions.is_news(given):
            self._tell(event)

    def wants_refresh(self) -> bool:
        """Whether the server wants to be asked for all conditions; asked for once."""
        return self._conditions.take_request()


async def _kinds(channel: Channel) -> dict[ua.NodeId, str]:
    """The names of all types of events that the server knows."""
    names: dict[ua.NodeId, str] = {}
    level = [ua.NodeId(ua.ObjectIds.BaseEventType)]
    while level:
        below = await browse_all(channel, level, ua.NodeClass.ObjectType)
        types = [one for part in below if not isinstance(part, DmiError) for one in part]
        fresh = {one.NodeId: str(one.BrowseName.Name) for one in types if one.NodeId not in names}
        names |= fresh
        level = list(fresh)
    return names


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

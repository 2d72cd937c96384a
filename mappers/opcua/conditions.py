"""Conditions and alarms of a device: which stand, and saying that somebody has seen to them."""

from collections.abc import Mapping
from typing import Any

from asyncua import ua

from dmi.errors import ConversionError, NotFoundError
from dmi.readings import Value
from mapper_sdk.driver import Method
from mappers.opcua.addresses import parse_node_id
from mappers.opcua.session.channel import Channel
from mappers.opcua.session.space import found
from mappers.opcua.values.refusals import status_error
from mappers.opcua.values.writing import bytes_of

__all__ = ["CONDITION_METHODS", "Conditions", "has_conditions"]

_REFRESH_START = ua.NodeId(ua.ObjectIds.RefreshStartEventType)
_REFRESH_END = ua.NodeId(ua.ObjectIds.RefreshEndEventType)
_REFRESH_REQUIRED = ua.NodeId(ua.ObjectIds.RefreshRequiredEventType)
_MOST = 10_000
"""Conditions that are kept in mind; the one that was heard of longest ago goes first."""

_IDS = {
    "acknowledge": ua.NodeId(ua.ObjectIds.AcknowledgeableConditionType_Acknowledge),
    "confirm": ua.NodeId(ua.ObjectIds.AcknowledgeableConditionType_Confirm),
}
"""Methods of the type, called on a condition that need not be a node itself.
Source: OPC UA Part 9, 5.7.3 and 5.7.4."""

_ARGUMENTS = {
    "condition": {
        "type": "string",
        "description": "which one: the ConditionId of its event",
    },
    "eventId": {
        "type": "string",
        "contentEncoding": "base64",
        "description": "which state of it: the EventId of its event; its last one without it",
        "default": "",
    },
    "comment": {
        "type": "string",
        "description": "what is to be remembered with it",
        "default": "",
    },
}
CONDITION_METHODS: Mapping[str, Method] = {
    "acknowledge": Method(
        "acknowledge", "Say that somebody has noticed a condition.", _ARGUMENTS, {}
    ),
    "confirm": Method(
        "confirm", "Say that somebody has done something about a condition.", _ARGUMENTS, {}
    ),
}
"""What can be called on the conditions of every event source."""


async def has_conditions(channel: Channel) -> bool:
    """Whether the server knows conditions that can be acknowledged."""
    (data,) = await channel.read([_IDS["acknowledge"]], ua.AttributeIds.NodeClass)
    return data.Value is not None and data.Value.Value is not None


class Conditions:
    """The conditions that stand, and the last event of each."""

    def __init__(self) -> None:
        self._last: dict[ua.NodeId, bytes] = {}
        self._told: set[ua.NodeId] = set()
        self._refresh_wanted = False

    def is_news(self, fields: Mapping[str, Any]) -> bool:
        """Keep in mind what an event says of a condition.

        Args:
            fields: Of the event, by name.

        Returns:
            Whether it is for the device: not a note of the server to us, and not what was
            told before, as happens after a subscription was made anew.
        """
        kind = fields.get("EventType")
        if kind == _REFRESH_START:
            self._told = set()
            return False
        if kind == _REFRESH_END:
            # What was not told again stands no more; its end was missed.
            self._last = {one: event for one, event in self._last.items() if one in self._told}
            return False
        if kind == _REFRESH_REQUIRED:
            self._refresh_wanted = True
            return False
        condition, event = fields.get("ConditionId"), fields.get("EventId")
        if condition is None or event is None or _is_branch(fields.get("BranchId")):
            return True
        self._told.add(condition)
        known = self._last.pop(condition, None)
        if fields.get("Retain"):
            self._last[condition] = event
            if len(self._last) > _MOST:
                del self._last[next(iter(self._last))]
        return bool(known != event)

    def take_request(self) -> bool:
        """Whether the server wants to be asked for all conditions; asked for once."""
        wanted, self._refresh_wanted = self._refresh_wanted, False
        return wanted

    async def call(self, channel: Channel, name: str, arguments: Mapping[str, Value]) -> None:
        """Acknowledge or confirm a condition.

        Raises:
            ConversionError: An argument is missing, unknown or of another type.
            NotFoundError: Nothing is known of such a condition.
            DmiError: The server refuses it.
        """
        if unknown := set(arguments) - set(_ARGUMENTS):
            raise ConversionError(f"{name} does not take {', '.join(sorted(unknown))}")
        if "condition" not in arguments:
            raise ConversionError(f"{name} needs `condition`, the ConditionId of an event")
        which, given = str(arguments["condition"]), arguments.get("eventId")
        condition = await _node(channel, which)
        event = given if isinstance(given, bytes) else bytes_of(str(given or ""))
        event = event or self._last.get(condition, b"")
        if not event:
            raise NotFoundError(f"nothing stands of the condition {which}")
        comment = ua.LocalizedText(str(arguments.get("comment", "")))
        request = ua.CallMethodRequest(
            ObjectId=condition,
            MethodId=_IDS[name],
            InputArguments=[
                ua.Variant(event, ua.VariantType.ByteString),
                ua.Variant(comment, ua.VariantType.LocalizedText),
            ],
        )
        (result,) = await channel.ask("calling", channel.session.call, [request])
        if not result.StatusCode.is_good():
            raise status_error(result.StatusCode.value, f"{name} {which}")


def _is_branch(branch: ua.NodeId | None) -> bool:
    """Whether an event is of an earlier state that is still to be seen to."""
    return branch is not None and not branch.is_null()


async def _node(channel: Channel, text: str) -> ua.NodeId:
    try:
        address = parse_node_id(text)
    except ValueError as error:
        raise ConversionError(f"condition: {error}") from None
    return await found(channel, address)

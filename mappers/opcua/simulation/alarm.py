"""The alarm of the simulated plant: the pump is too hot, until that is over and seen to."""

from typing import Any

from asyncua import Node, Server, ua, uamethod
from asyncua.server.event_generator import EventGenerator

__all__ = ["Overheating"]

_SEVERITY = 700
_IDS = ua.ObjectIds


class Overheating:
    """A condition that can be acknowledged and confirmed.

    It stands (is retained) while it is active, and after that until both has been done.

    Source:
        OPC UA Part 9, 5.5.2 (ConditionType), 5.7.2 (AcknowledgeableConditionType) and 5.8.2
        (AlarmConditionType).
    """

    def __init__(self, generator: EventGenerator, condition: ua.NodeId) -> None:
        self._generator = generator
        self._event: Any = generator.event
        self._event.NodeId = condition
        self._event.ConditionName = "Overheating"
        self._event.Severity = _SEVERITY
        self._set("EnabledState", True, "Enabled")
        self._set("ActiveState", False, "Inactive")
        self._set("AckedState", True, "Acknowledged")
        self._set("ConfirmedState", True, "Confirmed")
        self._event.Retain = False

    @classmethod
    async def add(cls, server: Server, pump: Node, index: int) -> "Overheating":
        """Add the condition to the pump, and what clients may call on it."""
        kind = server.get_node(_IDS.OffNormalAlarmType)
        generator = await server.get_event_generator(kind, pump)
        node = await pump.add_object(ua.NodeId("Pump.Overheating", index), f"{index}:Overheating")
        alarm = cls(generator, node.nodeid)
        calls = {
            _IDS.AcknowledgeableConditionType_Acknowledge: alarm._acknowledge,
            _IDS.AcknowledgeableConditionType_Confirm: alarm._confirm,
        }
        for method, callback in calls.items():
            server.link_method(server.get_node(method), callback)
        return alarm

    async def follow(self, *, hot: bool) -> None:
        """Take in whether the pump is too hot now; tells it when that has changed."""
        if hot == self._is("ActiveState"):
            return
        self._set("ActiveState", hot, "Active" if hot else "Inactive")
        if hot:
            self._set("AckedState", False, "Unacknowledged")
            self._set("ConfirmedState", False, "Unconfirmed")
        await self._tell("the pump is too hot" if hot else "the pump is cool again")

    def _set(self, name: str, state: bool, text: str) -> None:
        setattr(self._event, name, ua.LocalizedText(text))
        setattr(self._event, f"{name}/Id", state)

    def _is(self, name: str) -> bool:
        return bool(getattr(self._event, f"{name}/Id"))

    async def _tell(self, message: str) -> None:
        done = self._is("AckedState") and self._is("ConfirmedState")
        self._event.Retain = self._is("ActiveState") or not done
        await self._generator.trigger(message=message)

    @uamethod  # type: ignore[untyped-decorator]  # asyncua's
    async def _acknowledge(
        self, parent: ua.NodeId, event: bytes, comment: ua.LocalizedText
    ) -> object:
        return await self._see_to("AckedState", "Acknowledged", event, comment)

    @uamethod  # type: ignore[untyped-decorator]  # asyncua's
    async def _confirm(self, parent: ua.NodeId, event: bytes, comment: ua.LocalizedText) -> object:
        return await self._see_to("ConfirmedState", "Confirmed", event, comment)

    async def _see_to(
        self, state: str, text: str, event: bytes, comment: ua.LocalizedText
    ) -> ua.StatusCode | None:
        codes = ua.StatusCodes
        known = self._event.EventId
        if event != (known.Value if isinstance(known, ua.Variant) else known):
            return ua.StatusCode(codes.BadEventIdUnknown)
        if self._is(state):
            is_ack = state == "AckedState"
            already = codes.BadConditionBranchAlreadyAcked
            return ua.StatusCode(already if is_ack else codes.BadConditionBranchAlreadyConfirmed)
        self._set(state, True, text)
        self._event.Comment = comment
        await self._tell(f"{text.lower()}: {comment.Text or ''}")
        return None

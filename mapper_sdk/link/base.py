"""The interface between a mapper and whoever tells it what to serve."""

from abc import ABC, abstractmethod
from collections.abc import Set as AbstractSet
from typing import Protocol

from dmi.readings import Reading
from dmi.reports import Desired, DeviceState, Outcome
from dmi.resources import Device, DeviceModel, Key
from mapper_sdk.devices.plan import Point
from mapper_sdk.sessions.calling import Callee

__all__ = ["Link", "Served"]


class Served(Protocol):
    """What a link tells the mapper. Every call returns at once, and any order is fine."""

    def put_model(self, model: DeviceModel) -> None:
        """A model is new or changed."""

    def remove_model(self, key: Key) -> None:
        """A model is gone; unknown ones are ignored."""

    def put_device(self, device: Device) -> None:
        """A device is new or changed; its desired values come by `put_desired`."""

    def remove_device(self, key: Key) -> None:
        """A device is gone; unknown ones are ignored."""

    def put_desired(self, desired: Desired) -> None:
        """Somebody wants a property to have a value."""

    def keep_only(self, models: AbstractSet[Key], devices: AbstractSet[Key]) -> None:
        """A list has ended: everything that it did not hold is gone."""


class Link(ABC):
    """One way up. The `report` calls return at once and are bounded; `run` does the work.

    What cannot be delivered is kept while there is room, newest value of a property
    first; what must be dropped is counted by reason in `dropped`, and what the other side
    has taken over for good in `acknowledged`.
    """

    def __init__(self) -> None:
        self.callee: Callee | None = None
        self.dropped: dict[str, int] = {}
        self.connected = False
        self.acknowledged = 0

    def offer(self, callee: Callee) -> None:
        """Let the other side call methods, where it can; told once, before `run`."""
        self.callee = callee

    @abstractmethod
    async def run(self, served: Served) -> None:
        """Serve until cancelled: connect, list, watch, report; heal by itself."""

    @abstractmethod
    def report(self, batch: list[tuple[Point, Reading]]) -> None:
        """Take the readings of one look at a device."""

    @abstractmethod
    def report_state(self, state: DeviceState) -> None:
        """Take a device's new state."""

    @abstractmethod
    def report_outcome(self, outcome: Outcome) -> None:
        """Take what became of a wish."""

    @abstractmethod
    async def drain(self) -> None:
        """Return when everything taken so far is delivered."""

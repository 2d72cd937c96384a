"""The driver contract: what a protocol must supply, and the abilities it may add."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel

from dmi.errors import DmiError
from dmi.methods import Method
from dmi.readings import Reading, Value
from mapper_sdk.sessions.bus import Bus

__all__ = [
    "Alarming",
    "Answer",
    "Calling",
    "Discovering",
    "Driver",
    "Event",
    "Method",
    "Proposal",
    "Publish",
    "Remembering",
    "Subscribing",
    "Transacting",
    "Upgrading",
]

Answer = Value | Reading | DmiError
"""What a driver says of one visit: a bare value, a reading with the protocol's own time
and quality, or the error that this visit alone met."""

Publish = Callable[[int, Answer], None]
"""Hands over a pushed answer for the visit with this index; returns at once."""

Link = TypeVar("Link", bound=BaseModel)
Visit = TypeVar("Visit", bound=BaseModel)


class Driver(ABC, Generic[Link, Visit]):
    """One connection to one device. It speaks the wire protocol and nothing else.

    The session around it owns retries, timeouts, polling and the rule that on one bus
    `read`, `write` and the abilities never overlap. `connect` and `close` are called
    without holding the bus: a driver that talks there takes a turn itself. Library
    exceptions leave as `dmi.errors`.

    Attributes:
        protocol_name: Equal to `Device.spec.protocol.protocolName` of its devices.
        link_model: Reads `Device.spec.protocol.configData`.
        visit_model: Reads a property's `visitors.configData`. The settings common to
            all protocols (`mapper_sdk.devices.scaling`) are taken out before, except those
            that this model has a field for.
        takes_turns: Whether devices on one bus take turns. False where they share only a
            connection that queues by itself: their calls may overlap then.
        bus: What this device shares with others; set before `connect`.
        patience: Seconds that one call may take, retries inside the driver included;
            then it is cancelled and the connection counts as lost. May be set by
            `__init__` for a device that is slow by design.
        longest_wait: Most seconds between two attempts to reach a device that is away.
        tally: How often something noteworthy happened, by name, over all devices of the
            class; `/metrics` shows it.
    """

    protocol_name: ClassVar[str]
    link_model: ClassVar[type[BaseModel]]
    visit_model: ClassVar[type[BaseModel]]
    takes_turns: ClassVar[bool] = True
    bus: Bus
    patience: float = 10.0
    longest_wait: ClassVar[float] = 60.0
    tally: ClassVar[Counter[str]] = Counter()

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        cls.tally = Counter()

    def __init__(self, link: Link) -> None:
        self.link = link

    @classmethod
    def bus_key(cls, link: Link) -> str | None:
        """Name of the bus of a device; devices with one name share one `Bus`.

        None gives the device a bus of its own.
        """
        return None

    @abstractmethod
    async def connect(self) -> None:
        """Open the connection, or raise UnavailableError and hold nothing."""

    @abstractmethod
    async def read(self, visits: Sequence[Visit]) -> Sequence[Answer]:
        """Read everything that is due, in as few exchanges as the protocol allows.

        Returns one entry per visit, in order, in the unit the device itself uses; a
        visit that failed alone is answered by its error. A lost link raises
        UnavailableError.
        """

    @abstractmethod
    async def write(self, visit: Visit, value: Value) -> None:
        """Return only after the device has accepted the value.

        Raises:
            RefusedError: The device said no; it will not be tried again.
            UnavailableError: It is not known to have arrived; it may be tried again.
        """

    @abstractmethod
    async def close(self) -> None:
        """Release everything. Safe to call twice; never raises."""


class Transacting(ABC, Generic[Visit]):
    """Ability of a driver whose protocol can write several values at once, all or none."""

    @abstractmethod
    async def write_together(self, writes: Sequence[tuple[Visit, Value]]) -> None:
        """Return only after the device has accepted all these values; two or more.

        Raises:
            UnsupportedError: These cannot be written at once; none of them was. They will be
                written one by one.
            DmiError: As `Driver.write` says, of all of them.
        """


class Subscribing(ABC, Generic[Visit]):
    """Ability of a driver whose device pushes values by itself."""

    @abstractmethod
    async def subscribe(
        self, visits: Sequence[Visit], publish: Publish
    ) -> Sequence[DmiError | None]:
        """Ask the device to push these visits until `close`; replaces the last call.

        Returns one entry per visit: None where it is pushed from now on, else why not;
        those are polled instead.
        """


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at a device: an alarm, a condition that changed, a message.

    Attributes:
        time: When it happened, in seconds since 1970-01-01 UTC.
        kind: What sort of event, in the protocol's words.
        source: The part of the device that it comes from.
        severity: 1 (of no weight) to 1000 (the worst); 0 where nobody says.
        message: For people.
        fields: Everything else that the device tells, as JSON.
    """

    time: float
    kind: str
    source: str = ""
    severity: int = 0
    message: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)


class Alarming(ABC):
    """Ability of a driver whose device tells of events."""

    @abstractmethod
    async def listen(self, tell: Callable[[Event], None]) -> None:
        """Hand over events as they come, until `close`; returns at once.

        Called once after each connect, in a turn on the bus.
        """


class Remembering(ABC, Generic[Visit]):
    """Ability of a driver whose device keeps the values of the past."""

    @abstractmethod
    async def history(self, visit: Visit, start: float, end: float, limit: int) -> Sequence[Answer]:
        """Give what it has between two moments, oldest first, at most `limit`.

        Raises:
            UnsupportedError: Nothing is kept of this visit.
        """


class Calling(ABC):
    """Ability of a driver whose device has methods."""

    @abstractmethod
    async def methods(self) -> Sequence[Method]:
        """Say what can be called; asked once after each connect."""

    @abstractmethod
    async def call(self, name: str, arguments: Mapping[str, Value]) -> Mapping[str, Value]:
        """Run a method to its end and give its results by name."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A device that discovery found, as resources somebody may apply.

    Attributes:
        model: A DeviceModel as Kubernetes JSON.
        device: A Device as Kubernetes JSON.
    """

    model: Mapping[str, Any]
    device: Mapping[str, Any]


class Discovering(ABC):
    """Ability of a driver that can look for devices.

    Attributes:
        looking_setting: Name of the setting of `discover` that says for how many seconds to look;
            empty for a search that ends by itself.
    """

    looking_setting: ClassVar[str] = ""

    @classmethod
    @abstractmethod
    def discover(cls, settings: Mapping[str, Any]) -> AsyncIterator[Proposal]:
        """Search until cancelled or done; `settings` is the protocol's own."""


class Upgrading(ABC):
    """Ability of a driver whose device takes new software."""

    @abstractmethod
    async def versions(self) -> Mapping[str, str]:
        """Running version of each component that can be upgraded."""

    @abstractmethod
    async def upgrade(self, component: str, image: bytes, progress: Callable[[int], None]) -> str:
        """Install an image, saying percents on the way; gives the version that runs then."""

"""What one device pushes over its link, and again over the next one."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bleak.backends.characteristic import BleakGATTCharacteristic

from dmi.errors import DmiError, UnavailableError, UnsupportedError
from dmi.readings import Quality, Reading
from mapper_sdk.driver import Answer, Publish
from mappers.ble.links.exchange import Exchange, decode
from mappers.ble.visit import BleVisit, Push

__all__ = ["Subscriptions", "decoded"]


@dataclass(slots=True, eq=False)
class _Group:
    """The properties of one characteristic.

    Attributes:
        members: Their indexes.
        characteristic: As it was subscribed over the link of now; None while there is none.
        told: It has been pushed or read over that link.
    """

    members: list[int] = field(default_factory=list)
    characteristic: BleakGATTCharacteristic | None = None
    told: bool = False

    @property
    def is_readable(self) -> bool:
        """Whether it can be read as well; known once it was subscribed."""
        return self.characteristic is not None and "read" in self.characteristic.properties


class Subscriptions:
    """The characteristics that a device is to push; see `mappers.ble.links.gatt_link.Pushing`."""

    def __init__(self, told_all: Callable[[], None]) -> None:
        """Nothing yet.

        Args:
            told_all: Called when everything has been told once over a link.
        """
        self._told_all = told_all
        self._visits: Sequence[BleVisit] = ()
        self._publish: Publish | None = None
        self._groups: list[_Group] = []
        self._latest: dict[int, Reading] = {}

    @property
    def wanted(self) -> bool:
        """Whether anything is to be pushed."""
        return bool(self._groups)

    @property
    def complete(self) -> bool:
        """Whether everything has been told over this link."""
        return all(group.told for group in self._groups)

    def latest(self, visit: BleVisit) -> Reading | None:
        """What was pushed last of a property that cannot be read; None for all others."""
        return self._latest.get(id(visit))

    async def begin(
        self,
        exchange: Exchange,
        visits: Sequence[BleVisit],
        indexes: Sequence[int],
        publish: Publish,
    ) -> list[tuple[int, DmiError | None]]:
        """Have these pushed instead of what was pushed before; a refusal or None for each.

        Raises:
            UnavailableError: The link is lost.
        """
        await self.end(exchange)
        self._visits, self._publish = visits, publish
        done: list[tuple[int, DmiError | None]] = []
        groups: dict[tuple[str | None, str | None], _Group] = {}
        for index in indexes:
            if may_push(visits[index]):
                key = (visits[index].service, visits[index].characteristic)
                groups.setdefault(key, _Group()).members.append(index)
            else:
                done.append((index, UnsupportedError("is polled")))
        for group in groups.values():
            refusal = await self._subscribe(exchange, group)
            if refusal is None:
                self._groups.append(group)
                group.told = group.is_readable  # The session reads everything once at first.
            done += [(index, refusal) for index in group.members]
        return done

    async def end(self, exchange: Exchange) -> None:
        """Have nothing pushed any more.

        Raises:
            DmiError: The device refuses, or the link is lost.
        """
        self._publish = None
        self._latest.clear()
        while self._groups:
            characteristic = self._groups.pop().characteristic
            if characteristic is not None:
                await exchange.unsubscribe(characteristic)

    def forget(self) -> None:
        """Nobody listens any more; the link is about to end."""
        self._publish = None
        self._groups = []
        self._latest.clear()

    async def _subscribe(self, exchange: Exchange, group: _Group) -> DmiError | None:
        visits, members = self._visits, group.members

        def pushed(data: bytes) -> None:
            if visits is self._visits:
                self._on_pushed(group, data)

        try:
            group.characteristic = await exchange.subscribe(visits[members[0]], pushed)
        except UnavailableError:
            raise
        except DmiError as error:
            return error
        if not group.is_readable:
            for index in members:
                nothing = Reading(None, time.time(), Quality.BAD, "not_yet")
                self._latest.setdefault(id(visits[index]), nothing)
        return None

    async def resume(self, exchange: Exchange) -> None:
        """Subscribe everything again over a new link, and read and hand over what can be read.

        Raises:
            UnavailableError: The link is lost.
        """
        for group in self._groups:
            refusal = await self._subscribe(exchange, group)
            if refusal is None and group.is_readable:
                try:
                    self._on_pushed(group, await exchange.read(self._visits[group.members[0]]))
                except UnavailableError:
                    raise
                except DmiError as error:
                    refusal = error
            if refusal is not None:
                group.told = True
                self._hand_over(group, refusal)

    def ended(self) -> None:
        """The link is gone, and what was subscribed with it."""
        for group in self._groups:
            group.characteristic, group.told = None, False

    def _on_pushed(self, group: _Group, data: bytes) -> None:
        self._hand_over(group, data)
        if not group.told:
            group.told = True
            if self.complete:
                self._told_all()

    def _hand_over(self, group: _Group, data: bytes | DmiError) -> None:
        for index in group.members:
            visit = self._visits[index]
            answer = decoded(data, visit)
            if id(visit) in self._latest and not isinstance(answer, (DmiError, Reading)):
                self._latest[id(visit)] = Reading(answer, time.time())
            if self._publish is not None:
                self._publish(index, answer)


def may_push(visit: BleVisit) -> bool:
    """Whether a property of a characteristic is to be pushed where the device can."""
    return visit.notify is not Push.OFF and visit.descriptor is None


def decoded(data: bytes | DmiError, visit: BleVisit) -> Answer:
    """Make the answer of a property of what its characteristic holds, or of why it does not."""
    if isinstance(data, DmiError):
        return data
    try:
        return decode(data, visit)
    except DmiError as error:
        return error

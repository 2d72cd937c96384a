"""One unit's share in the connection of its endpoint."""

from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from dmi.errors import UnavailableError
from mapper_sdk.sessions.bus import Bus
from mappers.modbus.config import ModbusLink
from mappers.modbus.line import Pacing, same_line

__all__ = ["Membership"]


class _Wire(Protocol):
    """A connection, as far as its users care."""

    link: ModbusLink
    pacing: Pacing

    def is_active(self) -> bool:
        """Whether it is open."""

    async def shut(self) -> None:
        """Close it; safe to call twice."""


Wire = TypeVar("Wire", bound=_Wire)


class Membership(Generic[Wire]):
    """Joins, leaves and renews the connection that all units of an endpoint share."""

    def __init__(
        self, link: ModbusLink, open_wire: Callable[[ModbusLink], Awaitable[Wire]]
    ) -> None:
        self._link = link
        self._open_wire = open_wire
        self._bus: Bus | None = None
        self._wire: Wire | None = None
        self._late_until = 0.0

    async def join(self, bus: Bus) -> None:
        """Take part in the open connection, or open it.

        Raises:
            UnavailableError: It cannot be opened, or others use it with other line settings.
        """
        await self.leave()
        wire = await self._borrow(bus)
        if not same_line(wire.link, self._link):
            await bus.give_back(wire, _shut)
            raise UnavailableError(
                f"{self._link.endpoint} is in use with other line settings than this device has"
            )
        # A serial line opened anew is the same line: a late answer may come there too.
        wire.pacing.expect_late_until(self._link.unit, self._late_until)
        self._bus, self._wire = bus, wire

    async def leave(self) -> None:
        """Give the connection back; the last one closes it."""
        wire, self._wire = self._wire, None
        if wire is not None and self._bus is not None:
            self._late_until = wire.pacing.late_until(self._link.unit)
            await self._bus.give_back(wire, _shut)

    async def wire(self) -> Wire:
        """The connection; opened again if it was closed while nobody used it.

        Many devices close a connection that was idle for a while: that is no failure.

        Raises:
            UnavailableError: It was never joined, or cannot be opened again.
        """
        if self._wire is None or self._bus is None:
            raise UnavailableError(f"{self._link.endpoint}: not connected")
        if not self._wire.is_active():
            self._bus.discard(self._wire)
            await self.join(self._bus)
        return self._wire

    def drop_if_broken(self) -> bool:
        """Let the next user open a new connection where this one is closed; says whether."""
        if self._wire is None or self._bus is None or self._wire.is_active():
            return False
        self._bus.discard(self._wire)
        return True

    async def _borrow(self, bus: Bus) -> Wire:
        wire = await bus.borrow(self._open)
        while not wire.is_active():
            bus.discard(wire)
            await bus.give_back(wire, _shut)
            wire = await bus.borrow(self._open)
        return wire

    async def _open(self) -> Wire:
        return await self._open_wire(self._link)


async def _shut(wire: _Wire) -> None:
    await wire.shut()
